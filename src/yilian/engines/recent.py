"""The latest blocks, parsed: what was just committed is what followers and receipts ask for. Bounded by what it holds, not by blocks alone:
a full block of CometBFT's takes about 5 MB.
"""

from __future__ import annotations

import threading

from yilian.engines.protocol import Block

BLOCKS_KEPT = 16
TRANSACTIONS_KEPT = 12_000  # three full blocks, about 15 MB


class Recent:
    """Some blocks by height; the one that was kept first goes first. Any thread."""

    def __init__(self) -> None:
        """Begin empty."""
        self._guard = threading.Lock()
        self._blocks: dict[int, Block] = {}
        self._transactions = 0

    def get(self, height: int) -> Block | None:
        """Return the block at a height, if it is here."""
        return self._blocks.get(height)

    def keep(self, block: Block) -> Block:
        """Keep a block and return it; it is kept alone if it is larger than all that may be."""
        with self._guard:
            if block.height not in self._blocks:
                self._transactions += len(block.transactions)
            self._blocks[block.height] = block
            while len(self._blocks) > BLOCKS_KEPT or (self._transactions > TRANSACTIONS_KEPT and len(self._blocks) > 1):
                gone = self._blocks.pop(next(iter(self._blocks)))
                self._transactions -= len(gone.transactions)
        return block
