"""Directory: who the members are, what the network has agreed, and which practitioners act for a member.

Rows     `d/m/ member id` a member; `d/k/ kid` whose key it is; `d/p/ name` a parameter; `d/v` the schedule of rules versions;
         `d/c/ credential key` a practitioner's credential; `d/q/ index` a proposal (the index of its own entry, 8 bytes big-endian).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from yilian.base.codec import encode, load
from yilian.base.keys import kid_of
from yilian.base.kinds import StateView, Table, Writes

PREFIX = b"d/"
MEMBER_PREFIX, KEY_PREFIX, PARAMETER_PREFIX = b"d/m/", b"d/k/", b"d/p/"
VERSIONS_KEY, CREDENTIAL_PREFIX, PROPOSAL_PREFIX = b"d/v", b"d/c/", b"d/q/"

MEMBER_KINDS = frozenset(
    {"hospital", "clinic", "pharmacy", "manufacturer", "distributor", "insurer", "data_buyer", "exchange", "regulator"}  # design 03
)
REGULATOR = "regulator"


class Stage(IntEnum):
    """Where a member stands. Removed is for ever: an id is never given twice."""

    ACTIVE = 1
    SUSPENDED = 2
    REMOVED = 3


class KeyUse(IntEnum):
    """What a member's key is for. A sealing key signs nothing and has no kid."""

    NODE = 1
    SEALING = 2
    RECEIPT = 3
    CONSENSUS = 4


@dataclass(frozen=True, slots=True)
class Member:
    """A member. `power` is its votes and its weight as a validator; `since_height` is 0 for a founder."""

    id: str
    kinds: tuple[str, ...]
    name: str
    endpoint: str
    node_key: bytes
    sealing_key: bytes
    receipt_key: bytes
    consensus_key: bytes | None
    power: int
    stage: Stage
    since_height: int


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Whose key a kid stands for, and what for."""

    member: str
    use: KeyUse


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that the network agreed on."""

    value: int


@dataclass(frozen=True, slots=True)
class Version:
    """A rules version and the first height that it decides."""

    version: int
    activation_height: int


@dataclass(frozen=True, slots=True)
class Credential:
    """A practitioner's key: for which member it acts, in which role, until when. Its signatures live in artefacts only."""

    key: bytes
    member: str
    role: str
    from_s: int
    until_s: int
    ended_at_s: int | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that waits for votes; `details` are the bytes of the change, see messages. Votes are member ids, ascending."""

    id: int
    proposer: str
    change: int
    details: bytes
    opened_at_s: int
    yes: tuple[str, ...]
    no: tuple[str, ...]
    is_passed: bool


STATE = (
    Table(MEMBER_PREFIX, "member id (ASCII)", Member, "who may carry, vote, sign receipts; where it is reached"),
    Table(KEY_PREFIX, "kid (16 bytes)", KeyOwner, "no key twice; whose a signature is"),
    Table(PARAMETER_PREFIX, "name (ASCII)", Parameter, "what the rules read"),
    Table(VERSIONS_KEY, "none", Version, "which rules decide at a height; a list"),
    Table(CREDENTIAL_PREFIX, "credential key (32 bytes)", Credential, "was this practitioner's key good at a height"),
    Table(PROPOSAL_PREFIX, "log index (8 bytes)", Proposal, "who has voted how"),
)


def keys_of(member: Member) -> dict[bytes, KeyUse]:
    """Return the kids of a member's signing keys; none once it is removed."""
    if member.stage is Stage.REMOVED:
        return {}
    keys = [(member.node_key, KeyUse.NODE), (member.receipt_key, KeyUse.RECEIPT), (member.consensus_key, KeyUse.CONSENSUS)]
    return {kid_of(key): use for key, use in keys if key is not None}


def write_member(before: Member | None, after: Member) -> Writes:
    """Return the rows of a member and of its keys; keys that it no longer has are deleted."""
    writes: Writes = {KEY_PREFIX + kid: None for kid in (keys_of(before) if before is not None else {})}
    writes.update({KEY_PREFIX + kid: encode([after.id, use]) for kid, use in keys_of(after).items()})
    keys = [after.node_key, after.sealing_key, after.receipt_key, after.consensus_key]
    row = [list(after.kinds), after.name, after.endpoint, *keys, after.power, after.stage, after.since_height]
    writes[MEMBER_PREFIX + after.id.encode()] = encode(row)
    return writes


def member(view: StateView, member_id: str) -> Member | None:
    """Return the member with this id, whatever its stage, or None."""
    value = view.get(MEMBER_PREFIX + member_id.encode())
    return None if value is None else _member_of(member_id, value)


def members(view: StateView) -> Iterator[Member]:
    """Yield all members there ever were, by ascending id."""
    for key, value in view.scan(MEMBER_PREFIX):
        yield _member_of(key[len(MEMBER_PREFIX) :].decode(), value)


def _member_of(member_id: str, value: bytes) -> Member:
    row: Any = load(value)
    kinds, name, endpoint, node_key, sealing_key, receipt_key, consensus_key, power, stage, since_height = row
    keys = (node_key, sealing_key, receipt_key, consensus_key)
    return Member(member_id, tuple(kinds), name, endpoint, *keys, power, Stage(stage), since_height)


def key_owner(view: StateView, kid: bytes) -> KeyOwner | None:
    """Return whose key `kid` stands for now, or None."""
    value = view.get(KEY_PREFIX + kid)
    if value is None:
        return None
    row: Any = load(value)
    owner, use = row
    return KeyOwner(owner, KeyUse(use))


def write_parameter(name: str, value: int) -> Writes:
    """Return the row of a parameter."""
    return {PARAMETER_PREFIX + name.encode(): encode(value)}


def parameter(view: StateView, name: str) -> int:
    """Return a parameter; KeyError if the network has none of that name, which is our defect: genesis writes them all."""
    value = view.get(PARAMETER_PREFIX + name.encode())
    if value is None:
        raise KeyError(name)
    number: Any = load(value)
    return int(number)


def write_versions(versions: tuple[Version, ...]) -> Writes:
    """Return the row of the schedule."""
    return {VERSIONS_KEY: encode([[each.version, each.activation_height] for each in versions])}


def versions(view: StateView) -> tuple[Version, ...]:
    """Return the schedule of rules versions, in ascending order."""
    value = view.get(VERSIONS_KEY)
    rows: Any = [] if value is None else load(value)
    return tuple([Version(version, height) for version, height in rows])


def write_credential(credential: Credential) -> Writes:
    """Return the row of a credential."""
    row = [credential.member, credential.role, credential.from_s, credential.until_s, credential.ended_at_s]
    return {CREDENTIAL_PREFIX + credential.key: encode(row)}


def credential(view: StateView, key: bytes) -> Credential | None:
    """Return the credential of this key, ended or not, or None."""
    value = view.get(CREDENTIAL_PREFIX + key)
    if value is None:
        return None
    row: Any = load(value)
    owner, role, from_s, until_s, ended_at_s = row
    return Credential(key, owner, role, from_s, until_s, ended_at_s)


def write_proposal(one: Proposal) -> Writes:
    """Return the row of a proposal."""
    row = [one.proposer, one.change, one.details, one.opened_at_s, list(one.yes), list(one.no), one.is_passed]
    return {PROPOSAL_PREFIX + one.id.to_bytes(8, "big"): encode(row)}


def proposal(view: StateView, proposal_id: int) -> Proposal | None:
    """Return the proposal that entry `proposal_id` made, or None."""
    value = view.get(PROPOSAL_PREFIX + proposal_id.to_bytes(8, "big"))
    return None if value is None else _proposal_of(proposal_id, value)


def proposals(view: StateView) -> Iterator[Proposal]:
    """Yield all proposals there ever were, in the order of their entries."""
    for key, value in view.scan(PROPOSAL_PREFIX):
        yield _proposal_of(int.from_bytes(key[len(PROPOSAL_PREFIX) :], "big"), value)


def _proposal_of(proposal_id: int, value: bytes) -> Proposal:
    row: Any = load(value)
    proposer, change, details, opened_at_s, yes, no, is_passed = row
    return Proposal(proposal_id, proposer, change, details, opened_at_s, tuple(yes), tuple(no), is_passed)
