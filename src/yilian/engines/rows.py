"""Blocks as the store keeps them, what their leaves say, and the days' lanes beside them."""

from __future__ import annotations

from yilian.base.codec import Malformed, decode, encode
from yilian.engines.protocol import Block
from yilian.engines.tables import BlockRow
from yilian.engines.wire import encode_body
from yilian.ledger import LANES_SIZE_BYTES, Applied, Chain, Tagged, parse_equivocation


def marker_of(chain: Chain) -> BlockRow:
    """Return the row that stands for the block of a snapshot: without its transactions, which are not known yet."""
    return BlockRow(chain.height, chain.time_ms, "", chain.app_hash, chain.log.size, chain.log.root(), encode_body((), (), ()))


def block_of(applied: Applied, transactions: tuple[bytes, ...]) -> Block:
    """Return the block that was decided."""
    chain, results = applied.chain, applied.results
    system_leaves = applied.leaves[: len(applied.leaves) - sum(1 for each in results if each.index is not None)]
    said = (transactions, results, system_leaves)
    return Block(chain.height, chain.time_ms, applied.header.proposer, applied.app_hash, chain.log.size, chain.log.root(), *said)


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


def tagged_row(tagged: Tagged) -> bytes:
    """Return the bytes to keep of the days' lanes."""
    return encode([[day, lanes] for day, lanes in sorted(tagged.items())])


def tagged_in(row: bytes) -> Tagged:
    """Return the days' lanes that a row keeps.

    Raises   Malformed
    """
    tagged: dict[int, bytes] = {}
    match decode(row):
        case [*days]:
            for each in days:
                match each:
                    case [int(day), bytes(lanes)] if len(lanes) == LANES_SIZE_BYTES:
                        tagged[day] = lanes
                    case _:
                        raise Malformed("NOT_A_DAY")
        case _:
            raise Malformed("NOT_DAYS")
    return tagged
