"""The daily leaf: what lets a patient prove, alone and later, that an access tag is absent.

The first block whose time lies in a later UTC day first appends one system leaf for each day since the last, empty days included.
Leaf     `CBOR(["day", network id, day, access_root, state_digest before this block])`; access_root is the RFC 9162 root of that day's
         access tags in ascending order. Rows of tags older than the day before the new day are dropped.
Tagged   Who keeps for each day the lanes over the rows of its tags (`Tagged`) takes a day out of the digest as one, and need not look at
         its rows: they are no longer of the state by their keys alone (`gone`), whenever the disk forgets them (ADR-0156).
Source   design 02 "Block".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby, islice

from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import TAG_SIZE
from yilian.base.kinds import StateView
from yilian.base.merkle import leaf_hash, root
from yilian.base.times import day_of
from yilian.contracts import access
from yilian.ledger import lthash
from yilian.ledger.log import Frontier

FORM = "day"
_DAY_SIZE = len(access.day_prefix(0))
_TAGS_AT_ONCE = 1_024  # in memory as objects, with the nodes of the tree over them


Tagged = Mapping[int, bytes]  # UTC day -> LtHash lanes over all rows of its tags; a day that is not there is not known


@dataclass(frozen=True, slots=True)
class DailyLeaf:
    """One day, closed."""

    network: bytes
    day: int
    access_root: bytes
    state_digest: bytes

    def encoded(self) -> bytes:
        """Return the bytes of the system leaf."""
        return encode([FORM, self.network, self.day, self.access_root, self.state_digest])


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """A day's tags in ascending order, beside the leaf that commits to them; kept by a node to prove absences, not by the state."""

    day: int
    index: int  # of the leaf in the log
    joined: bytes  # the tags, one after the other

    @property
    def tags(self) -> tuple[bytes, ...]:
        """The tags one by one."""
        return tuple([self.joined[at : at + TAG_SIZE] for at in range(0, len(self.joined), TAG_SIZE)])


def parse_daily_leaf(data: bytes) -> DailyLeaf:
    """Return the daily leaf that `data` is.

    Raises   Malformed
    """
    match decode(data):
        case [str(form), bytes(network), int(day), bytes(access_root), bytes(state_digest)] if form == FORM:
            return DailyLeaf(network, day, access_root, state_digest)
        case _:
            raise Malformed("NOT_A_DAILY_LEAF")


def access_root(tags: tuple[bytes, ...]) -> bytes:
    """Return the root over a day's tags, which stand in ascending order."""
    return root([leaf_hash(tag) for tag in tags])


def tags_and_root(view: StateView, day: int) -> tuple[bytes, bytes]:
    """Return (the root over a day's tags, the tags one after the other); they pass through some at a time."""
    log, joined, left = Frontier(), bytearray(), access.each_tag_of_day(view, day)
    while part := list(islice(left, _TAGS_AT_ONCE)):
        joined += b"".join(part)
        log, _ = log.grown([leaf_hash(tag) for tag in part])
    return log.root(), bytes(joined)


def days_to_drop(last: int, today: int) -> range:
    """Return the days whose tags go with the first block of `today`, where the block before was of `last`: those before yesterday.

    There are tags of `last` and of the day before it alone: the first block of `last` dropped what was older, and time does not run back.
    """
    return range(max(0, last - 1), min(last + 1, today - 1))


def gone(time_ms: int) -> tuple[bytes, bytes]:
    """Return the range (first key, key after the last) of which no row is of the state any more after a block of this time."""
    return access.TAG_PREFIX, access.day_prefix(max(0, day_of(time_ms // 1_000) - 1))


def is_tag(key: bytes) -> bool:
    """Say whether the row at a key is a tag's."""
    return key.startswith(access.TAG_PREFIX)


def tagged_with(tagged: Tagged, rows: Iterable[lthash.Row]) -> Tagged:
    """Return the lanes of each day with the rows of more tags, ascending."""
    found = dict(tagged)
    for day, of_day in groupby(rows, key=_day_of_key):
        found[day] = lthash.combined(found.get(day, lthash.EMPTY), plus=[lthash.lanes_over(of_day)])
    return found


def tagged_at(time_ms: int, tagged: Tagged) -> Tagged:
    """Return the lanes of the two days of which a state of this time has tags, where `tagged` are those of all its tags."""
    today = day_of(time_ms // 1_000)
    return {day: tagged.get(day, lthash.EMPTY) for day in range(max(0, today - 1), today + 1)}


def _day_of_key(row: lthash.Row) -> int:
    return int.from_bytes(row[0][len(access.TAG_PREFIX) : _DAY_SIZE], "big")
