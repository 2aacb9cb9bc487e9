"""Blocks as the store keeps them, and what their leaves say."""

from __future__ import annotations

from yilian.base.codec import Malformed
from yilian.engines.protocol import Block
from yilian.engines.tables import BlockRow
from yilian.engines.wire import encode_body
from yilian.ledger import Chain, parse_equivocation


def marker_of(chain: Chain) -> BlockRow:
    """Return the row that stands for the block of a snapshot: without its transactions, which are not known yet."""
    return BlockRow(chain.height, chain.time_ms, "", chain.app_hash, chain.log.size, chain.log.root(), encode_body((), (), ()))


def row_of(block: Block) -> BlockRow:
    """Return the row of a block."""
    body = encode_body(block.transactions, block.results, block.system_leaves)
    return BlockRow(block.height, block.time_ms, block.proposer, block.app_hash, block.log_size, block.log_root, body)


def equivocator_in(leaf: bytes) -> str | None:
    """Return the member that a system leaf suspends for equivocation; None if it is a leaf of another form (ADR-0013)."""
    try:
        return parse_equivocation(leaf).member
    except Malformed:
        return None
