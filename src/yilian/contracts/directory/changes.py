"""Directory: what each change leaves, once it is carried.

Source   design 03 "directory"; design 02 "Rule versions"; ADR-0043 (parameters).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from yilian.base.keys import kid_of
from yilian.base.refusals import Reason, Refused, require
from yilian.base.times import DAY_S
from yilian.contracts.directory.messages import Admit, Change, Remove, Rotate, SetParameter, SetRules
from yilian.contracts.directory.state import KeyUse, Member, Stage, Version, keys_of

RULES_BLOCKS_AHEAD_MIN = 1_000  # design 02: a rules version is set at least 1,000 blocks ahead


@dataclass(frozen=True, slots=True)
class Range:
    """What a parameter may be, both ends included, and what it is where genesis does not say."""

    least: int
    most: int
    default: int


PARAMETERS: Mapping[str, Range] = {  # ADR-0043
    "anchor_interval_s": Range(1, DAY_S, 60),
    "emergency_cap": Range(1, 1_000, 20),
    "memo_size": Range(0, 2_048, 0),
}


@dataclass(frozen=True, slots=True)
class Board:
    """What a change is judged against: all members there ever were, by id, and the schedule of rules versions."""

    members: Mapping[str, Member]
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """A parameter as a change leaves it."""

    name: str
    value: int


Enacted = Member | Setting | tuple[Version, ...]


def enact(board: Board, change: Change, height: int) -> Enacted:
    """Return what a change leaves: a member, a parameter, or the schedule.

    Refuses  MEMBER_EXISTS, KEY_IN_USE, NO_SUCH_MEMBER, MEMBER_REMOVED, NO_POWER_LEFT, NO_SUCH_PARAMETER, PARAMETER_OUT_OF_RANGE,
             VERSION_NOT_NEWER, VERSION_TOO_SOON
    """
    if isinstance(change, Admit):
        return admit(board, change, height)
    if isinstance(change, SetParameter):
        return set_parameter(change)
    if isinstance(change, SetRules):
        return set_rules(board.versions, change, height)
    before = present(board, change.member)
    if isinstance(change, Rotate):
        return rotate(board, before, change)
    return weigh(board, replace(before, stage=Stage.REMOVED) if isinstance(change, Remove) else replace(before, power=change.power))


def present(board: Board, member_id: str) -> Member:
    """Return a member that has not been removed.

    Refuses  NO_SUCH_MEMBER, MEMBER_REMOVED
    """
    member = board.members.get(member_id)
    if member is None:
        raise Refused(Reason.NO_SUCH_MEMBER, member=member_id)
    require(member.stage is not Stage.REMOVED, Reason.MEMBER_REMOVED, member=member_id)
    return member


def admit(board: Board, change: Admit, height: int) -> Member:
    """Return the new member. Its id was never used; its keys are nobody's.

    Refuses  MEMBER_EXISTS, KEY_IN_USE
    """
    require(change.id not in board.members, Reason.MEMBER_EXISTS, member=change.id)
    after = Member(
        id=change.id,
        kinds=tuple(change.kinds),
        name=change.name,
        endpoint=change.endpoint,
        node_key=change.node_key,
        sealing_key=change.sealing_key,
        receipt_key=change.receipt_key,
        consensus_key=change.consensus_key,
        power=change.power,
        stage=Stage.ACTIVE,
        since_height=height,
    )
    require_own_keys(board, after)
    return after


def rotate(board: Board, before: Member, change: Rotate) -> Member:
    """Return the member with one key replaced by a fresh one.

    Refuses  KEY_IN_USE
    """
    own = (before.node_key, before.sealing_key, before.receipt_key, before.consensus_key)
    require(change.key not in own, Reason.KEY_IN_USE, kid=kid_of(change.key))
    if change.use == KeyUse.NODE:
        after = replace(before, node_key=change.key)
    elif change.use == KeyUse.SEALING:
        after = replace(before, sealing_key=change.key)
    elif change.use == KeyUse.RECEIPT:
        after = replace(before, receipt_key=change.key)
    else:
        after = replace(before, consensus_key=change.key)
    require_own_keys(board, after)
    return after


def set_parameter(change: SetParameter) -> Setting:
    """Return the parameter as set.

    Refuses  NO_SUCH_PARAMETER, PARAMETER_OUT_OF_RANGE
    """
    allowed = PARAMETERS.get(change.name)
    if allowed is None:
        raise Refused(Reason.NO_SUCH_PARAMETER)
    is_allowed = allowed.least <= change.value <= allowed.most
    require(is_allowed, Reason.PARAMETER_OUT_OF_RANGE, value=change.value, least=allowed.least, most=allowed.most)
    return Setting(change.name, change.value)


def set_rules(versions: tuple[Version, ...], change: SetRules, height: int) -> tuple[Version, ...]:
    """Return the schedule with one more version; versions and heights both rise.

    Refuses  VERSION_NOT_NEWER, VERSION_TOO_SOON
    """
    last = versions[-1]
    require(change.version > last.version, Reason.VERSION_NOT_NEWER, version=last.version)
    earliest_height = max(height + RULES_BLOCKS_AHEAD_MIN, last.activation_height + 1)
    require(change.activation_height >= earliest_height, Reason.VERSION_TOO_SOON, earliest_height=earliest_height)
    return (*versions, Version(change.version, change.activation_height))


def require_own_keys(board: Board, after: Member) -> None:
    """Refuse a member that shares a signing key with another, or uses one for two things.

    Refuses  KEY_IN_USE
    """
    seen = {kid for member in board.members.values() if member.id != after.id for kid in keys_of(member)}
    for key in (after.node_key, after.receipt_key, after.consensus_key):
        if key is not None:
            require(kid_of(key) not in seen, Reason.KEY_IN_USE, kid=kid_of(key))
            seen.add(kid_of(key))


def weigh(board: Board, after: Member) -> Member:
    """Return a member whose votes change, unless nobody could vote any more.

    Refuses  NO_POWER_LEFT
    """
    members = [after if member.id == after.id else member for member in board.members.values()]
    require(any(member.stage is Stage.ACTIVE and member.power > 0 for member in members), Reason.NO_POWER_LEFT)
    return after
