"""What a kind of transaction is: its number, its message's shape, and the function that decides it.

A message is a frozen dataclass; its fields, in order, are the keys 1, 2, 3 ... of the transaction's body; a field that may be absent is
`... | None`. From that one declaration come the shape check, the encoder and the tables in each contract's README.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, NamedTuple, Protocol, get_args, get_type_hints

from yilian.base.digests import DIGEST_SIZE
from yilian.base.refusals import Reason, Refused, require

Writes = dict[bytes, bytes | None]  # key -> new value; None deletes the row


class StateView(Protocol):
    """The state as a rule may see it: by key, or all rows under a prefix in ascending key order."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key`, or None."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) for every key that begins with `prefix`, ascending."""


class Act(NamedTuple):
    """The circumstances in which a message is decided; all of them are the block's, none the machine's."""

    now_s: int
    height: int
    index: int  # type: ignore[assignment]  # the log index that the entry will have if it is accepted (a tuple's method is not missed)
    exp_s: int
    carrier: str  # the member whose node key signed the envelope
    approved_by: frozenset[bytes]  # public keys
    members: tuple[str, ...] = ()  # members whose node keys are among `approved_by`, ascending; filled where the kind asks for it

    def approved_by_members(self, members: tuple[str, ...]) -> Act:
        """Return the act with the members named whose node keys approved it."""
        return self._replace(members=members)


@dataclass(frozen=True, slots=True)
class FieldType:
    """A type of field: its name in the tables, and whether a decoded value fits."""

    name: str
    fits: Callable[[Any], bool]


def _bytes_of(size: int) -> FieldType:
    return FieldType(f"bytes({size})", lambda value: type(value) is bytes and len(value) == size)


_UINT = FieldType("uint", lambda value: type(value) is int and value >= 0)

Key32 = Annotated[bytes, _bytes_of(32)]  # an Ed25519 public key
Digest32 = Annotated[bytes, _bytes_of(32)]  # a SHA-256, an HMAC or a Merkle root
Tag16 = Annotated[bytes, _bytes_of(16)]
Uint = Annotated[int, _UINT]
Flag = Annotated[bool, FieldType("bool", lambda value: type(value) is bool)]
TEXT_LENGTH_MAX = 64  # a role, a name: never free text
MEMO_SIZE_BYTES_MAX = 2_048  # an HPKE seal with ML-KEM-768 takes 1,136 bytes besides what it holds
PATH_LENGTH_MAX = 40  # of a Merkle tree of up to 2**40 leaves

Text64 = Annotated[str, FieldType("text(1..64)", lambda value: type(value) is str and 1 <= len(value) <= TEXT_LENGTH_MAX)]
Bytes2048 = Annotated[bytes, FieldType("bytes(0..2048)", lambda value: type(value) is bytes and len(value) <= MEMO_SIZE_BYTES_MAX)]
Path = Annotated[
    list[bytes],
    FieldType(
        "path",
        lambda value: (
            type(value) is list
            and len(value) <= PATH_LENGTH_MAX
            and all(type(item) is bytes and len(item) == DIGEST_SIZE for item in value)
        ),
    ),
]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one shape in a contract's state. From it comes the table State of the contract's README."""

    prefix: bytes
    key: str  # what follows the prefix
    row: type[Any]  # the dataclass that a row is
    why: str  # what the row is kept for


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its key in the body, its name and type, and whether it may be absent."""

    number: int
    name: str
    type: FieldType
    is_optional: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of transaction. `decide` is None where `ledger` composes it from several contracts."""

    number: int
    name: str
    message: type[Any]
    approved_by: str
    decide: Callable[[StateView, Any, Act], Writes] | None
    fields: tuple[Field, ...]
    asks_members: bool = False  # whether `Act.members` is wanted

    def read(self, body: dict[int, Any]) -> Any:  # noqa: ANN401 - an instance of `self.message`
        """Return the message that `body` is.

        Refuses  BAD_SHAPE(field)
        """
        values: list[Any] = []
        seen = 0
        for field in self.fields:
            value = body.get(field.number)
            if value is None:
                require(field.is_optional and field.number not in body, Reason.BAD_SHAPE, field=field.number)
            elif field.type.fits(value):
                seen += 1
            else:  # not `require`: to hand it facts that are not needed costs 0.25 us, and most entries have five fields
                raise Refused(Reason.BAD_SHAPE, field=field.number)
            values.append(value)
        require(seen == len(body), Reason.BAD_SHAPE, field=0)
        return self.message(*values)

    def body(self, message: Any) -> dict[int, Any]:  # noqa: ANN401 - an instance of `self.message`
        """Return the body that says `message`; absent fields are left out."""
        values = ((field.number, getattr(message, field.name)) for field in self.fields)
        return {number: value for number, value in values if value is not None}


def kind(
    number: int,
    name: str,
    message: type[Any],
    approved_by: str,
    decide: Callable[[StateView, Any, Act], Writes] | None,
    *,
    asks_members: bool = False,
) -> Kind:
    """Return the kind whose fields are read off the message's declaration."""
    return Kind(number, name, message, approved_by, decide, fields_of(message), asks_members)


def fields_of(message: type[Any]) -> tuple[Field, ...]:
    """Return the fields of a message class, numbered from 1 in the order of their declaration."""
    hints = get_type_hints(message, include_extras=True)
    return tuple(
        Field(number, field.name, _field_type(hints[field.name]), type(None) in get_args(hints[field.name]))
        for number, field in enumerate(fields(message), 1)
    )


def _field_type(hint: Any) -> FieldType:  # noqa: ANN401 - a type hint
    for part in (hint, *get_args(hint)):
        for note in getattr(part, "__metadata__", ()):
            if isinstance(note, FieldType):
                return note
    raise TypeError(f"{hint} is not the type of a field")


def by_number(*rooms: tuple[Kind, ...]) -> dict[int, Kind]:
    """Return all kinds by number; a number or a name that stands twice is our defect."""
    table: dict[int, Kind] = {}
    for each in (each for room in rooms for each in room):
        if each.number in table or any(other.name == each.name for other in table.values()):
            raise ValueError(f"kind {each.number} {each.name} stands twice")
        table[each.number] = each
    return table
