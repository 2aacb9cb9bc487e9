"""The daily leaf: what lets a patient prove, alone and later, that an access tag is absent.

The first block whose time lies in a later UTC day first appends one system leaf for each day since the last, empty days included.
Leaf     `CBOR(["day", network id, day, access_root, state_digest before this block])`; access_root is the RFC 9162 root of that day's
         access tags in ascending order. Rows of tags older than the day before the new day are dropped.
Source   design 02 "Block".
"""

from __future__ import annotations

from dataclasses import dataclass

from yilian.base.codec import Malformed, decode, encode
from yilian.base.kinds import StateView, Writes
from yilian.base.merkle import leaf_hash, root
from yilian.contracts.access import TAG_PREFIX, tags_of_day

FORM = "day"


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
    tags: tuple[bytes, ...]


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


def close_days(view: StateView, network: bytes, days: range, state_digest: bytes) -> tuple[list[DailyLeaf], list[tuple[bytes, ...]]]:
    """Return the leaf of each day in `days`, and each day's tags."""
    tags = [tuple(tags_of_day(view, day)) for day in days]
    leaves = [DailyLeaf(network, day, access_root(of_day), state_digest) for day, of_day in zip(days, tags, strict=True)]
    return leaves, tags


def drop_old_tags(view: StateView, today: int) -> Writes:
    """Return the writes that delete the rows of tags older than yesterday."""
    kept_from = TAG_PREFIX + (today - 1).to_bytes(4, "big")
    return {key: None for key, _ in view.scan(TAG_PREFIX) if key < kept_from}
