"""Contract directory: members, practitioners, parameters, rules versions. The door: kinds 1 to 7, genesis, and what others may ask."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from yilian.base.keys import kid_of
from yilian.base.kinds import Kind, StateView, Writes, kind
from yilian.contracts.directory import state
from yilian.contracts.directory.changes import PARAMETERS, RULES_BLOCKS_AHEAD_MIN, Range, Setting
from yilian.contracts.directory.messages import (
    END,
    MOVE,
    POWER_MAX,
    PROPOSE,
    REGISTER,
    REINSTATE,
    SUSPEND,
    VOTE,
    Admit,
    Change,
    ChangeNumber,
    End,
    Move,
    Propose,
    Register,
    Reinstate,
    Remove,
    Rotate,
    SetParameter,
    SetPower,
    SetRules,
    Suspend,
    Vote,
    change_of,
    is_admissible,
    propose_change,
)
from yilian.contracts.directory.rules import (
    CREDENTIAL_S_MAX,
    PROPOSAL_S,
    Tally,
    decide_end,
    decide_move,
    decide_propose,
    decide_register,
    decide_reinstate,
    decide_suspend,
    decide_vote,
    equivocation_writes,
    is_live,
    tally,
    validator_address,
    version_at,
)
from yilian.contracts.directory.state import (
    MEMBER_KINDS,
    MEMBER_PREFIX,
    PREFIX,
    REGULATOR,
    STATE,
    Credential,
    KeyOwner,
    KeyUse,
    Member,
    Proposal,
    Stage,
    Version,
    credential,
    key_owner,
    member,
    members,
    parameter,
    proposal,
    proposals,
    versions,
)

KINDS: tuple[Kind, ...] = (
    kind(PROPOSE, "directory.propose", Propose, "the member itself (carrier)", decide_propose),
    kind(VOTE, "directory.vote", Vote, "the member itself (carrier)", decide_vote),
    kind(SUSPEND, "directory.suspend", Suspend, "a regulator (carrier)", decide_suspend),
    kind(REINSTATE, "directory.reinstate", Reinstate, "a regulator (carrier)", decide_reinstate),
    kind(REGISTER, "practitioner.register", Register, "the member itself (carrier)", decide_register),
    kind(END, "practitioner.end", End, "the member itself (carrier)", decide_end),
    kind(MOVE, "directory.move", Move, "the member itself (carrier)", decide_move),
)


class Founder(Protocol):
    """A founding member, as genesis names it."""

    @property
    def id(self) -> str:
        """ASCII, up to 32 characters."""

    @property
    def kinds(self) -> Sequence[str]:
        """Ascending."""

    @property
    def name(self) -> str:
        """Of the organisation."""

    @property
    def endpoint(self) -> str:
        """Where its node is reached."""

    @property
    def node_key(self) -> bytes:
        """Signs envelopes."""

    @property
    def sealing_key(self) -> bytes:
        """Others seal to it."""

    @property
    def receipt_key(self) -> bytes:
        """Signs log roots."""

    @property
    def consensus_key(self) -> bytes | None:
        """Of its validator, if it has one."""

    @property
    def power(self) -> int:
        """Its votes."""


def genesis_writes(founders: Iterable[Founder], parameters: Mapping[str, int], rules_version: int) -> Writes:
    """Return the rows that a network begins with; parameters that genesis does not name get their defaults.

    Raises   ValueError, if genesis itself breaks a rule: nobody can be refused yet
    """
    writes: Writes = {}
    ids: set[str] = set()
    kids: set[bytes] = set()
    somebody_votes = False
    for one in founders:
        fields = (one.id, sorted(one.kinds), one.name, one.endpoint, one.node_key, one.sealing_key, one.receipt_key, one.consensus_key)
        admit = Admit(*fields, one.power)
        if not is_admissible(admit) or one.id in ids:
            raise ValueError(f"genesis: {one.id!r} cannot be a member")
        founder = Member(admit.id, tuple(admit.kinds), *fields[2:], one.power, Stage.ACTIVE, 0)
        kids_of_founder = [kid_of(key) for key in (one.node_key, one.receipt_key, one.consensus_key) if key is not None]
        if len(kids.union(kids_of_founder)) != len(kids) + len(kids_of_founder):
            raise ValueError(f"genesis: {one.id!r} has a key that stands twice")
        kids.update(kids_of_founder)
        ids.add(one.id)
        writes.update(state.write_member(None, founder))
        somebody_votes |= founder.power > 0
    if not somebody_votes:
        raise ValueError("genesis: nobody has a vote")
    for name in parameters:
        if name not in PARAMETERS:
            raise ValueError(f"genesis: there is no parameter {name!r}")
    for name, allowed in PARAMETERS.items():
        value = parameters.get(name, allowed.default)
        if not allowed.least <= value <= allowed.most:
            raise ValueError(f"genesis: {name} is {value}, not {allowed.least} to {allowed.most}")
        writes.update(state.write_parameter(name, value))
    writes.update(state.write_versions((Version(rules_version, 0),)))
    return writes


def key_table(view: StateView) -> dict[bytes, tuple[str, bytes]]:
    """Return kid -> (member id, node key) of every active member: who may carry a transaction."""
    return {kid_of(one.node_key): (one.id, one.node_key) for one in members(view) if one.stage is Stage.ACTIVE}


def rules_version_at(view: StateView, height: int) -> int:
    """Return the rules version that decides at `height`."""
    return version_at(versions(view), height)


def credential_at(view: StateView, key: bytes, now_s: int) -> Credential | None:
    """Return the credential if its key may sign at `now_s`, by this view of the state; else None."""
    found = credential(view, key)
    return found if found is not None and is_live(found, member(view, found.member), now_s) else None


__all__ = [
    "CREDENTIAL_S_MAX",
    "END",
    "KINDS",
    "MEMBER_KINDS",
    "MEMBER_PREFIX",
    "MOVE",
    "PARAMETERS",
    "POWER_MAX",
    "PREFIX",
    "PROPOSAL_S",
    "PROPOSE",
    "REGISTER",
    "REGULATOR",
    "REINSTATE",
    "RULES_BLOCKS_AHEAD_MIN",
    "STATE",
    "SUSPEND",
    "VOTE",
    "Admit",
    "Change",
    "ChangeNumber",
    "Credential",
    "End",
    "Founder",
    "KeyOwner",
    "KeyUse",
    "Member",
    "Move",
    "Proposal",
    "Propose",
    "Range",
    "Register",
    "Reinstate",
    "Remove",
    "Rotate",
    "SetParameter",
    "SetPower",
    "SetRules",
    "Setting",
    "Stage",
    "Suspend",
    "Tally",
    "Version",
    "Vote",
    "change_of",
    "credential",
    "credential_at",
    "equivocation_writes",
    "genesis_writes",
    "key_owner",
    "key_table",
    "member",
    "members",
    "parameter",
    "proposal",
    "proposals",
    "propose_change",
    "rules_version_at",
    "tally",
    "validator_address",
    "version_at",
    "versions",
]
