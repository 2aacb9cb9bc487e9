"""What CheckTx admitted and no block holds yet, and which of it CometBFT's mempool has to hold as well.

CometBFT tells every peer all that its mempool takes in, also what came from a peer; where all members are connected, each item so arrives
three times at each of four, and each echo is packed, sealed, opened, and written out as text for a log line that nobody reads. An item
that came from another member therefore stays here alone: CheckTx answers "kept", a number that CometBFT takes for a no, and PrepareProposal
proposes it all the same.
CometBFT is given what is our own, for that is how the others hear of it; the first item of a height, for it does not propose in its turn
while its mempool is empty; what there is no room for here; and, of a member that proposes nothing, everything. Where a block leaves items
of which it was given none (`unheard`), the oldest is handed over like our own: so what waits anywhere is told to all, a block later.
Source   ADR-0157; CometBFT v0.38.25, mempool/reactor.go Receive, mempool/clist_mempool.go resCbFirstTime.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from yilian.engines.cometbft.held import Held

WAITING_SIZE_BYTES_MAX = 16 * 1024 * 1024  # two full blocks, as they lie in memory (ADR-0115); CometBFT's mempool takes what is beyond


class _Waits(NamedTuple):
    """One item: its transactions, and whether CometBFT's mempool was given it."""

    transactions: int
    is_given: bool


class Waiting:
    """The items in their order. Any thread may ask."""

    def __init__(self, size_bytes_max: int, cost_bytes: Callable[[bytes], int]) -> None:
        """Begin with none; `cost_bytes` says what an item takes in memory."""
        self._guard = threading.Lock()
        self._items: Held[_Waits] = Held(size_bytes_max, cost_bytes)
        self._ours: Held[None] = Held(size_bytes_max, cost_bytes)  # lately handed over
        self._given_at: int | None = None  # the last height at which CometBFT's mempool was given an item

    def are_ours(self, items: Sequence[bytes]) -> None:
        """Hear that this node hands these items over now; CheckTx may be asked about one long after the call was answered or broke off."""
        with self._guard:
            for item in items:
                self._ours.hold(item, None)

    def begin_anew(self) -> None:
        """Hear that CometBFT's mempool is empty again."""
        with self._guard:
            self._given_at = None
            for item, each in self._items.items():
                self._items[item] = each._replace(is_given=False)

    def take(self, item: bytes, count: int, height: int, *, may_keep: bool = True) -> bool:
        """Take in an item of `count` transactions, asked about at `height`; say whether CometBFT's mempool is to have it too."""
        with self._guard:
            known = self._items.get(item)
            is_here = known is not None or self._items.has_room(item)
            is_first = self._given_at != height
            is_to_be_kept = may_keep and is_here and not is_first and item not in self._ours and not (known is not None and known.is_given)
            if not is_to_be_kept:
                self._given_at = height
            if is_here:
                self._items.hold(item, _Waits(count, not is_to_be_kept))
            return not is_to_be_kept

    def unheard(self) -> bytes | None:
        """Return the oldest item, if there are some and CometBFT's mempool was given none of them."""
        with self._guard:
            return None if any(each.is_given for each in self._items.values()) else next(iter(self._items), None)

    def drop(self, items: Sequence[bytes]) -> bool:
        """Forget items: a block holds them, or they hold no longer. Say whether any of them was here."""
        with self._guard:
            was_here = any(item in self._items for item in items)
            for item in items:
                self._items.forget(item)
                self._ours.forget(item)
            return was_here

    def items(self) -> list[bytes]:
        """Return the items in their order."""
        with self._guard:
            return list(self._items)

    def transactions(self) -> int:
        """Return how many transactions the items have."""
        with self._guard:
            return sum([each.transactions for each in self._items.values()])
