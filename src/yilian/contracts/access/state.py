"""Access: what the ledger remembers of accesses, emergencies and reviews.

Rows     `t/ day tag` a tag used on that day (day: 4 bytes big-endian; the daily leaf drops what is older than the day before);
         `a/e/ index` an entry (8 bytes big-endian); `a/b/ member` an emergency bucket; `a/s/ tag` an emergency session;
         `a/r/ member` the reviews a member owes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from yilian.base.codec import encode, load
from yilian.base.kinds import StateView, Table, Writes

TAG_PREFIX = b"t/"
PREFIX = b"a/"
ENTRY_PREFIX, BUCKET_PREFIX, SESSION_PREFIX, REVIEWS_PREFIX = b"a/e/", b"a/b/", b"a/s/", b"a/r/"
TAG_KEY_SIZE = len(TAG_PREFIX) + 4  # what precedes the tag in a key


class Basis(IntEnum):
    """By what right. Legal and sealed are numbered and not yet taken by any rule."""

    GRANT = 1
    PATIENT = 2
    EMERGENCY = 3
    LEGAL = 4
    SEALED = 5


@dataclass(frozen=True, slots=True)
class Spent:
    """A tag used on a day, by the entry at `index`."""

    index: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An access as entered. By grant: two of the grant's keys, no member; in an emergency: the requesting member, no grant."""

    basis: Basis
    tag: bytes
    control_key: bytes | None
    holder_key: bytes | None
    member: str | None
    unsent: int | None  # the reason why no byte was sent
    is_disputed: bool


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a member may still open in emergencies; one opening costs 86,400, each second adds the cap."""

    level: int
    at_s: int


@dataclass(frozen=True, slots=True)
class Session:
    """An emergency opened by a member: later pages name its tag."""

    member: str
    until_s: int


@dataclass(frozen=True, slots=True)
class Review:
    """A review that is owed for the entry at `index`."""

    index: int
    due_s: int


STATE = (
    Table(TAG_PREFIX, "day (4 bytes), tag (16 bytes)", Spent, "no tag twice; the root of the daily leaf"),
    Table(ENTRY_PREFIX, "log index (8 bytes)", Entry, "who may mark it unsent, dispute it, review it"),
    Table(BUCKET_PREFIX, "member id (ASCII)", Bucket, "how many emergencies a member may open"),
    Table(SESSION_PREFIX, "tag (16 bytes)", Session, "later pages of an emergency cost nothing"),
    Table(REVIEWS_PREFIX, "member id (ASCII)", Review, "which reviews a member owes; a list"),
)


def tag_key(day: int, tag: bytes) -> bytes:
    """Return the key of a tag's row."""
    return day_prefix(day) + tag


def is_tag_used(view: StateView, day: int, tag: bytes) -> bool:
    """Say whether the tag was used on that day."""
    return view.get(tag_key(day, tag)) is not None


def write_tag(day: int, tag: bytes, index: int) -> Writes:
    """Return the row of a tag."""
    return {tag_key(day, tag): encode(index)}


def tags_of_day(view: StateView, day: int) -> list[bytes]:
    """Return the tags used on a day, ascending: the leaves of its access root."""
    return list(each_tag_of_day(view, day))


def each_tag_of_day(view: StateView, day: int) -> Iterator[bytes]:
    """Yield the tags used on a day, ascending; there may be a million."""
    for key, _ in view.scan(day_prefix(day)):
        yield key[TAG_KEY_SIZE:]


def day_prefix(day: int) -> bytes:
    """Return what the keys of a day's tags begin with."""
    return TAG_PREFIX + day.to_bytes(4, "big")


def write_entry(index: int, entry: Entry) -> Writes:
    """Return the row of an entry."""
    row = [entry.basis, entry.tag, entry.control_key, entry.holder_key, entry.member, entry.unsent, entry.is_disputed]
    return {ENTRY_PREFIX + index.to_bytes(8, "big"): encode(row)}


def entry(view: StateView, index: int) -> Entry | None:
    """Return the access entered at `index`, or None if that entry is none."""
    value = view.get(ENTRY_PREFIX + index.to_bytes(8, "big"))
    if value is None:
        return None
    row: Any = load(value)
    basis, tag, control_key, holder_key, member, unsent, is_disputed = row
    return Entry(Basis(basis), tag, control_key, holder_key, member, unsent, is_disputed)


def write_bucket(member: str, bucket: Bucket) -> Writes:
    """Return the row of a member's bucket."""
    return {BUCKET_PREFIX + member.encode(): encode([bucket.level, bucket.at_s])}


def bucket(view: StateView, member: str) -> Bucket | None:
    """Return a member's bucket as it was last left, or None if it never opened an emergency."""
    value = view.get(BUCKET_PREFIX + member.encode())
    if value is None:
        return None
    row: Any = load(value)
    level, at_s = row
    return Bucket(level, at_s)


def write_session(tag: bytes, session: Session) -> Writes:
    """Return the row of an emergency session."""
    return {SESSION_PREFIX + tag: encode([session.member, session.until_s])}


def session(view: StateView, tag: bytes) -> Session | None:
    """Return the emergency session that the entry with `tag` opened, or None."""
    value = view.get(SESSION_PREFIX + tag)
    if value is None:
        return None
    row: Any = load(value)
    member, until_s = row
    return Session(member, until_s)


def write_reviews(member: str, reviews: tuple[Review, ...]) -> Writes:
    """Return the row of the reviews a member owes; no row for none."""
    key = REVIEWS_PREFIX + member.encode()
    return {key: encode([[each.index, each.due_s] for each in reviews]) if reviews else None}


def reviews(view: StateView, member: str) -> tuple[Review, ...]:
    """Return the reviews a member owes, in the order of their entries."""
    value = view.get(REVIEWS_PREFIX + member.encode())
    rows: Any = [] if value is None else load(value)
    return tuple([Review(index, due_s) for index, due_s in rows])
