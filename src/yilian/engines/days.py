"""The days whose tags a copy's state has: the lanes over each, so that one leaves the digest at once; what the disk has of older ones.

The first block of a day takes a day's tags out of the state, of which there may be a million. Their keys say that they are gone
(`views.Present`); the disk forgets them with the blocks that follow, some with each (ADR-0156).
"""

from __future__ import annotations

from yilian.base.codec import Malformed
from yilian.engines.faults import StoreCorrupt
from yilian.engines.rows import tagged_in, tagged_row
from yilian.engines.store import Store
from yilian.engines.views import Row
from yilian.ledger import Chain, Tagged, gone, tagged_at

TAGGED = "tagged"
FORGOTTEN_AT_ONCE = 1_024  # rows with each block: a million in the first thousand blocks of a day


class Days:
    """The days of one copy; only who writes it asks."""

    def __init__(self, store: Store, chain: Chain) -> None:
        """Go on as the store was left at `chain`. One that is older than these lanes knows those of its next day first; the days before
        go row by row.

        Raises   StoreCorrupt
        """
        self._store = store
        self._row = store.fact(TAGGED)
        try:
            self.tagged = tagged_in(self._row) if self._row is not None else {} if chain.height else tagged_at(chain.time_ms, {})
        except Malformed as error:
            raise StoreCorrupt(store.path, "its days' lanes cannot be read") from error
        self._may_hold = True  # rows that are no longer of the state

    def leaving(self, before: Chain, after: Chain) -> list[Row]:
        """Return rows that the disk may forget with the block that leads from one chain to the other: they left the state earlier."""
        now = gone(before.time_ms)
        found = self._store.first(*now, FORGOTTEN_AT_ONCE) if self._may_hold else []
        self._may_hold = len(found) == FORGOTTEN_AT_ONCE or gone(after.time_ms) != now
        return found

    def changed(self, tagged: Tagged) -> dict[str, bytes]:
        """Return what the store is to keep where the lanes are these from now on: nothing, if it does."""
        row = tagged_row(tagged)
        return {} if row == self._row else {TAGGED: row}

    def take(self, tagged: Tagged) -> None:
        """Know these lanes, which the store keeps."""
        self.tagged, self._row = tagged, tagged_row(tagged)
