"""The daily leaf: what lets a patient prove, alone and later, that an access tag is absent.

The first block whose time lies in a later UTC day first appends one system leaf for each day since the last, empty days included.
Leaf     `CBOR(["day", network id, day, access_root, state_digest before this block])`; access_root is the RFC 9162 root of that day's
         access tags in ascending order. Rows of tags older than the day before the new day are dropped.
Source   design 02 "Block".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import TAG_SIZE
from yilian.base.kinds import StateView
from yilian.base.merkle import leaf_hash, root
from yilian.contracts.access import each_tag_of_day
from yilian.ledger.log import Frontier

FORM = "day"
_TAGS_AT_ONCE = 1_024  # in memory as objects, with the nodes of the tree over them


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
    log, joined, left = Frontier(), bytearray(), each_tag_of_day(view, day)
    while part := list(islice(left, _TAGS_AT_ONCE)):
        joined += b"".join(part)
        log, _ = log.grown([leaf_hash(tag) for tag in part])
    return log.root(), bytes(joined)


def days_to_drop(last: int, today: int) -> range:
    """Return the days whose tags go with the first block of `today`, where the block before was of `last`: those before yesterday.

    There are tags of `last` and of the day before it alone: the first block of `last` dropped what was older, and time does not run back.
    """
    return range(max(0, last - 1), min(last + 1, today - 1))
