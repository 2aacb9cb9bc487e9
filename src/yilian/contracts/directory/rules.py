"""Directory: members are admitted, changed and removed by more than two thirds of the votes; the regulator suspends at once.

Who acts is `act.carrier`, the member whose node key signed the envelope: in this contract the member itself acts (design 02).
Time     `act.now_s` is the block's time, Unix seconds; a proposal is closed from second `opened_at_s + PROPOSAL_S` on.
Source   design 03 "directory"; design 02 "Rule versions"; ADR-0042 (votes), ADR-0043 (parameters).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from yilian.base.digests import sha256
from yilian.base.kinds import Act, StateView, Writes
from yilian.base.refusals import Reason, Refused, require
from yilian.base.times import DAY_S
from yilian.contracts.directory import state
from yilian.contracts.directory.changes import Board, Enacted, Setting, enact, present
from yilian.contracts.directory.messages import Change, End, Move, Propose, Register, Reinstate, Suspend, Vote, change_of
from yilian.contracts.directory.state import REGULATOR, Credential, Member, Proposal, Stage, Version

PROPOSAL_S = 30 * DAY_S  # ADR-0042
ADDRESS_SIZE = 20  # CometBFT crypto: a validator's address is a truncated SHA-256 of its Ed25519 key
CREDENTIAL_S_MAX = 5 * 366 * DAY_S  # ADR-0042: five years, leap days included


def voter(board: Board, act: Act) -> Member:
    """Return the member that votes.

    Refuses  NOT_A_VOTER
    """
    member = board.members.get(act.carrier)
    if member is None or member.stage is not Stage.ACTIVE or member.power == 0:
        raise Refused(Reason.NOT_A_VOTER, member=act.carrier)
    return member


def propose(board: Board, message: Propose, change: Change, act: Act) -> Proposal:
    """Return the proposal as opened, with its proposer's yes. What could not be enacted now is not even proposed.

    Refuses  NOT_A_VOTER, and what `enact` refuses
    """
    proposer = voter(board, act)
    enact(board, change, act.height)
    yes = (proposer.id,)
    return Proposal(act.index, proposer.id, message.change, message.details, act.now_s, yes, (), is_carried(board, yes))


def vote(board: Board, proposal: Proposal | None, *, yes: bool, act: Act) -> Proposal:
    """Return the proposal with one more vote, passed if that carries it. Each member once, for good.

    Refuses  NOT_A_VOTER, NO_SUCH_PROPOSAL, PROPOSAL_CLOSED, ALREADY_VOTED
    """
    member = voter(board, act)
    if proposal is None:
        raise Refused(Reason.NO_SUCH_PROPOSAL)
    closes_at_s = proposal.opened_at_s + PROPOSAL_S
    require(not proposal.is_passed and act.now_s < closes_at_s, Reason.PROPOSAL_CLOSED, closes_at_s=closes_at_s)
    require(member.id not in (*proposal.yes, *proposal.no), Reason.ALREADY_VOTED)
    if not yes:
        return replace(proposal, no=tuple(sorted((*proposal.no, member.id))))
    said_yes = tuple(sorted((*proposal.yes, member.id)))
    return replace(proposal, yes=said_yes, is_passed=is_carried(board, said_yes))


class Tally(NamedTuple):
    """The votes for a proposal, of how many there are."""

    votes_for: int
    whole: int

    @property
    def needed(self) -> int:
        """The fewest votes that carry: more than two thirds."""
        return 2 * self.whole // 3 + 1


def tally(members: Iterable[Member], yes: tuple[str, ...]) -> Tally:
    """Return how the votes of the members that say yes stand.

    A suspended member cannot say yes but still counts in the whole: the regulator must not gain the vote by suspending (ADR-0042).
    """
    voting = [member for member in members if member.stage is not Stage.REMOVED]
    said_yes = [member for member in voting if member.id in yes and member.stage is Stage.ACTIVE]
    return Tally(sum([member.power for member in said_yes]), sum([member.power for member in voting]))


def is_carried(board: Board, yes: tuple[str, ...]) -> bool:
    """Say whether the members that say yes have more than two thirds of the votes."""
    votes = tally(board.members.values(), yes)
    return votes.votes_for >= votes.needed


def enact_passed(board: Board, change: Change, act: Act) -> Enacted:
    """Return what a change leaves, at the vote that carries it; between proposal and vote it may have become impossible.

    Refuses  PROPOSAL_NO_LONGER_APPLIES(because), the number of the reason
    """
    try:
        return enact(board, change, act.height)
    except Refused as no:
        raise Refused(Reason.PROPOSAL_NO_LONGER_APPLIES, because=int(no.reason)) from no


def suspend(board: Board, message: Suspend, act: Act) -> Member:
    """Return the member as suspended: it carries nothing and votes on nothing until it is reinstated.

    Refuses  NOT_THE_REGULATOR, NO_SUCH_MEMBER, MEMBER_REMOVED, ALREADY_SUSPENDED
    """
    require_regulator(board, act)
    member = present(board, message.member)
    require(member.stage is Stage.ACTIVE, Reason.ALREADY_SUSPENDED)
    return replace(member, stage=Stage.SUSPENDED)


def validator_address(consensus_key: bytes) -> bytes:
    """Return the 20 bytes by which CometBFT names a validator, and a peer."""
    return sha256(consensus_key)[:ADDRESS_SIZE]


def suspend_equivocator(board: Board, address: bytes) -> Member | None:
    """Return the member as suspended whose validator signed two blocks of one height, or None if no active member has that validator.

    `address`: what `validator_address` gives. Nobody decides this: the two signatures do (design 02 "Engines").
    """
    for member in board.members.values():
        if member.stage is Stage.ACTIVE and member.consensus_key is not None and validator_address(member.consensus_key) == address:
            return replace(member, stage=Stage.SUSPENDED)
    return None


def reinstate(board: Board, message: Reinstate, act: Act) -> Member:
    """Return the member as active again.

    Refuses  NOT_THE_REGULATOR, NO_SUCH_MEMBER, MEMBER_REMOVED, NOT_SUSPENDED
    """
    require_regulator(board, act)
    member = present(board, message.member)
    require(member.stage is Stage.SUSPENDED, Reason.NOT_SUSPENDED)
    return replace(member, stage=Stage.ACTIVE)


def require_regulator(board: Board, act: Act) -> None:
    """Refuse anybody but an active regulator.

    Refuses  NOT_THE_REGULATOR
    """
    member = board.members.get(act.carrier)
    is_regulator = member is not None and member.stage is Stage.ACTIVE and REGULATOR in member.kinds
    require(is_regulator, Reason.NOT_THE_REGULATOR)


def register(existing: Credential | None, message: Register, act: Act) -> Credential:
    """Return the credential as registered by the practitioner's member. A key is registered once, for ever.

    Refuses  CREDENTIAL_EXISTS, CREDENTIAL_END_NOT_ALLOWED
    """
    require(existing is None, Reason.CREDENTIAL_EXISTS)
    latest_s = act.now_s + CREDENTIAL_S_MAX
    require(act.now_s < message.until_s <= latest_s, Reason.CREDENTIAL_END_NOT_ALLOWED, until_s=message.until_s, latest_s=latest_s)
    return Credential(message.credential_key, act.carrier, message.role, act.now_s, message.until_s, None)


def end(credential: Credential | None, act: Act) -> Credential:
    """Return the credential as ended now, by its own member.

    Refuses  NO_SUCH_CREDENTIAL, NOT_THE_CREDENTIALS_MEMBER, CREDENTIAL_ENDED
    """
    if credential is None:
        raise Refused(Reason.NO_SUCH_CREDENTIAL)
    require(act.carrier == credential.member, Reason.NOT_THE_CREDENTIALS_MEMBER, member=credential.member)
    ended_at_s = credential.until_s if credential.ended_at_s is None else credential.ended_at_s
    require(act.now_s < ended_at_s, Reason.CREDENTIAL_ENDED, ended_at_s=ended_at_s)
    return replace(credential, ended_at_s=act.now_s)


def is_live(credential: Credential, member: Member | None, now_s: int) -> bool:
    """Say whether a credential's key may sign at `now_s`: its time has come and not gone, and its member is active."""
    until_s = credential.until_s if credential.ended_at_s is None else min(credential.until_s, credential.ended_at_s)
    return credential.from_s <= now_s < until_s and member is not None and member.stage is Stage.ACTIVE


def move(board: Board, message: Move, act: Act) -> Member:
    """Return the member at its new address.

    Refuses  NO_SUCH_MEMBER, MEMBER_REMOVED
    """
    return replace(present(board, act.carrier), endpoint=message.endpoint)


def version_at(versions: tuple[Version, ...], height: int) -> int:
    """Return the rules version that decides at `height`."""
    return max(each.version for each in versions if each.activation_height <= height)


def board_of(view: StateView) -> Board:
    """Return what changes and votes are judged against."""
    return Board({member.id: member for member in state.members(view)}, state.versions(view))


def write_enacted(board: Board, enacted: Enacted) -> Writes:
    """Return the rows of what a change leaves."""
    if isinstance(enacted, Member):
        return state.write_member(board.members.get(enacted.id), enacted)
    if isinstance(enacted, Setting):
        return state.write_parameter(enacted.name, enacted.value)
    return state.write_versions(enacted)


def decide_propose(view: StateView, message: Propose, act: Act) -> Writes:
    """Return what a `directory.propose` writes; a proposal that its own proposer carries is enacted at once."""
    change = change_of(message.change, message.details)
    board = board_of(view)
    proposal = propose(board, message, change, act)
    enacted = write_enacted(board, enact(board, change, act.height)) if proposal.is_passed else {}
    return {**state.write_proposal(proposal), **enacted}


def decide_vote(view: StateView, message: Vote, act: Act) -> Writes:
    """Return what a `directory.vote` writes: the vote, and what it carries."""
    board = board_of(view)
    proposal = vote(board, state.proposal(view, message.proposal), yes=message.yes, act=act)
    if not proposal.is_passed:
        return state.write_proposal(proposal)
    enacted = enact_passed(board, change_of(proposal.change, proposal.details), act)
    return {**state.write_proposal(proposal), **write_enacted(board, enacted)}


def decide_suspend(view: StateView, message: Suspend, act: Act) -> Writes:
    """Return what a `directory.suspend` writes. Its reason commitment is kept by the log, not by the state."""
    board = board_of(view)
    return write_enacted(board, suspend(board, message, act))


def equivocation_writes(view: StateView, address: bytes) -> tuple[str, Writes] | None:
    """Return (the member that equivocated, what its suspension writes), or None where there is nobody to suspend."""
    board = board_of(view)
    member = suspend_equivocator(board, address)
    return None if member is None else (member.id, write_enacted(board, member))


def decide_reinstate(view: StateView, message: Reinstate, act: Act) -> Writes:
    """Return what a `directory.reinstate` writes."""
    board = board_of(view)
    return write_enacted(board, reinstate(board, message, act))


def decide_move(view: StateView, message: Move, act: Act) -> Writes:
    """Return what a `directory.move` writes."""
    board = board_of(view)
    return write_enacted(board, move(board, message, act))


def decide_register(view: StateView, message: Register, act: Act) -> Writes:
    """Return what a `practitioner.register` writes."""
    return state.write_credential(register(state.credential(view, message.credential_key), message, act))


def decide_end(view: StateView, message: End, act: Act) -> Writes:
    """Return what a `practitioner.end` writes."""
    return state.write_credential(end(state.credential(view, message.credential_key), act))
