"""Which entries and leaves changed who the members are: noted with each block, so that whoever proves an old entry need not look for them.

A store that is older than this table is looked through once, when it is opened; broken off, that begins again.
Source   design 02 "Receipt"; ADR-0092, ADR-0120, ADR-0129.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from yilian.base.transaction import parse
from yilian.engines.protocol import Block
from yilian.engines.rows import equivocator_in
from yilian.engines.store import Store
from yilian.engines.tables import BlockRow, Row
from yilian.ledger import MEMBERSHIP

BLOCKS_AT_ONCE: Final = 10_000  # between two sentences
_MEMBERSHIP: Final = MEMBERSHIP.encode()
_log = logging.getLogger("yilian.engines")


def changes_in(block: Block) -> list[int]:
    """Return the log indexes of the block's entries and leaves that changed who the members are, ascending."""
    first = block.log_size - len(block.system_leaves) - sum(each.index is not None for each in block.results)
    found = [first + place for place, leaf in enumerate(block.system_leaves) if equivocator_in(leaf) is not None]
    for data, result in zip(block.transactions, block.results, strict=True):
        # the kind's name stands in the header as it is: what does not hold the text is not one, and most are not read again
        if result.index is not None and _MEMBERSHIP in data and parse(data).header.subject.startswith(MEMBERSHIP):
            found.append(result.index)
    return found


def look_through(store: Store, heights: range, parsed: Callable[[BlockRow], Block]) -> None:
    """Fill the table of a store that has none yet, from the blocks above `heights.start` up to and with `heights.stop`.

    Raises   StoreCorrupt, DiskFull, DiskFailed
    """
    found: list[Row] = []
    for since in range(heights.start, heights.stop, BLOCKS_AT_ONCE):
        _log.warning("%s is looked through once for changes of members: block %d of %d", store.path, since, heights.stop)
        at, until = since, min(heights.stop, since + BLOCKS_AT_ONCE)
        while rows := store.blocks(at, until):
            found += [(index, row.height) for row in rows for index in changes_in(parsed(row))]
            at = rows[-1].height
    store.take_in("changes", found, {"changes": b""})
