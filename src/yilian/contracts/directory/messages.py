"""Directory: what a transaction may say, and what a proposal may change. Kind and change numbers are permanent.

A proposal carries its change as bytes: `CBOR([field, ...])`, the fields of one of the change classes in their order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Annotated, Any

from yilian.base.codec import Malformed, decode, encode
from yilian.base.keys import PUBLIC_KEY_SIZE
from yilian.base.kinds import Digest32, FieldType, Flag, Key32, Text64, Uint
from yilian.base.refusals import Reason, Refused
from yilian.base.seal import MEMBER_PUBLIC_SIZE
from yilian.base.transaction import MEMBER_ID_LENGTH_MAX
from yilian.contracts.directory.state import MEMBER_KINDS, KeyUse

PROPOSE, VOTE, SUSPEND, REINSTATE, REGISTER, END, MOVE = 1, 2, 3, 4, 5, 6, 7

DETAILS_SIZE_BYTES_MAX = 4_096  # ADR-0042: the widest change, an admission, has about 1,600 bytes
ENDPOINT_LENGTH_MAX = 200  # ADR-0042: a URL of a host with a port and a short path
NAME_LENGTH_MAX = 64  # ADR-0042
POWER_MAX = 2**40  # ADR-0042: sums of power stay far below what any consensus engine counts in 63 bits
NUMBER_MAX = 2**62  # ADR-0042: heights, versions and parameters in a change


def is_member_id(value: object) -> bool:
    """Say whether `value` can name a member: 1 to 32 visible ASCII characters (design 02)."""
    return type(value) is str and 0 < len(value) <= MEMBER_ID_LENGTH_MAX and value.isascii() and value.isprintable() and " " not in value


def is_endpoint(value: object) -> bool:
    """Say whether `value` can be where a member is reached; empty while it is nowhere."""
    return type(value) is str and len(value) <= ENDPOINT_LENGTH_MAX and value.isascii() and value.isprintable()


MemberId = Annotated[str, FieldType("member id", is_member_id)]
Endpoint = Annotated[str, FieldType(f"text(0..{ENDPOINT_LENGTH_MAX})", is_endpoint)]
Details = Annotated[
    bytes, FieldType(f"bytes(1..{DETAILS_SIZE_BYTES_MAX})", lambda value: type(value) is bytes and 0 < len(value) <= DETAILS_SIZE_BYTES_MAX)
]


@dataclass(frozen=True, slots=True)
class Propose:
    """A member proposes a change; that is its own yes."""

    change: Uint
    details: Details


@dataclass(frozen=True, slots=True)
class Vote:
    """A member votes on the proposal that entry `proposal` made."""

    proposal: Uint
    yes: Flag


@dataclass(frozen=True, slots=True)
class Suspend:
    """The regulator suspends a member at once, and commits to its reason."""

    member: MemberId
    commitment: Digest32


@dataclass(frozen=True, slots=True)
class Reinstate:
    """The regulator ends a suspension."""

    member: MemberId


@dataclass(frozen=True, slots=True)
class Register:
    """A member says that a key is a practitioner's who acts for it."""

    credential_key: Key32
    role: Text64
    until_s: Uint


@dataclass(frozen=True, slots=True)
class End:
    """A member ends a credential of its own early."""

    credential_key: Key32


@dataclass(frozen=True, slots=True)
class Move:
    """A member says where it is reached from now on."""

    endpoint: Endpoint


class ChangeNumber(IntEnum):
    """What a proposal changes."""

    ADMIT = 1
    REMOVE = 2
    ROTATE = 3
    SET_POWER = 4
    SET_PARAMETER = 5
    SET_RULES = 6


@dataclass(frozen=True, slots=True)
class Admit:
    """A new member. `kinds` ascending."""

    id: str
    kinds: list[str]
    name: str
    endpoint: str
    node_key: bytes
    sealing_key: bytes
    receipt_key: bytes
    consensus_key: bytes | None
    power: int


@dataclass(frozen=True, slots=True)
class Remove:
    """A member leaves, for ever."""

    member: str


@dataclass(frozen=True, slots=True)
class Rotate:
    """A member's key is replaced; `use` is a KeyUse."""

    member: str
    use: int
    key: bytes


@dataclass(frozen=True, slots=True)
class SetPower:
    """A member's votes change."""

    member: str
    power: int


@dataclass(frozen=True, slots=True)
class SetParameter:
    """A parameter changes."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class SetRules:
    """Another rules version decides from a height on."""

    version: int
    activation_height: int


Change = Admit | Remove | Rotate | SetPower | SetParameter | SetRules

CHANGES: dict[ChangeNumber, type[Any]] = {
    ChangeNumber.ADMIT: Admit,
    ChangeNumber.REMOVE: Remove,
    ChangeNumber.ROTATE: Rotate,
    ChangeNumber.SET_POWER: SetPower,
    ChangeNumber.SET_PARAMETER: SetParameter,
    ChangeNumber.SET_RULES: SetRules,
}


def are_kinds(value: object) -> bool:
    """Say whether `value` lists kinds of member: at least one, ascending, none twice."""
    return (
        type(value) is list
        and value != []
        and all(type(one) is str and one in MEMBER_KINDS for one in value)
        and value == sorted(set(value))
    )


def _is_text(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= NAME_LENGTH_MAX


def _is_number(value: object, most: int = NUMBER_MAX) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_key(value: object, size: int = PUBLIC_KEY_SIZE) -> bool:
    return type(value) is bytes and len(value) == size


def propose_change(change: Change) -> Propose:
    """Return the message that proposes `change`."""
    number = next(number for number, kind in CHANGES.items() if isinstance(change, kind))
    return Propose(int(number), encode([getattr(change, field.name) for field in fields(change)]))


def change_of(number: int, details: bytes) -> Change:
    """Return the change that the bytes say.

    Refuses  BAD_SHAPE(field=1) for a number that is no change, BAD_SHAPE(field=2) for bytes that do not say one
    """
    if number not in CHANGES:
        raise Refused(Reason.BAD_SHAPE, field=1)
    kind = CHANGES[ChangeNumber(number)]
    try:
        values = decode(details)
    except Malformed as error:
        raise Refused(Reason.BAD_SHAPE, field=2) from error
    if type(values) is not list or len(values) != len(fields(kind)):
        raise Refused(Reason.BAD_SHAPE, field=2)
    change: Change = kind(*values)
    if not _fits(change):
        raise Refused(Reason.BAD_SHAPE, field=2)
    return change


def _fits(change: Change) -> bool:
    """Say whether every field of a change is of its shape."""
    if isinstance(change, Admit):
        return is_admissible(change)
    if isinstance(change, Remove):
        return is_member_id(change.member)
    if isinstance(change, Rotate):
        is_key = _is_key(change.key, MEMBER_PUBLIC_SIZE) if change.use == KeyUse.SEALING else _is_key(change.key)
        return is_member_id(change.member) and type(change.use) is int and change.use in tuple(KeyUse) and is_key
    if isinstance(change, SetPower):
        return is_member_id(change.member) and _is_number(change.power, POWER_MAX)
    if isinstance(change, SetParameter):
        return _is_text(change.name) and change.name.isascii() and _is_number(change.value)
    return _is_number(change.version) and _is_number(change.activation_height)


def is_admissible(one: Admit) -> bool:
    """Say whether every field of a new member is of its shape."""
    are_keys = _is_key(one.node_key) and _is_key(one.sealing_key, MEMBER_PUBLIC_SIZE) and _is_key(one.receipt_key)
    is_validator = one.consensus_key is None or _is_key(one.consensus_key)
    is_reachable = is_endpoint(one.endpoint) and _is_number(one.power, POWER_MAX)
    return is_member_id(one.id) and are_kinds(one.kinds) and _is_text(one.name) and are_keys and is_validator and is_reachable
