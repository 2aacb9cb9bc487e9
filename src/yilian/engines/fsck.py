"""Replay a copy of the ledger from genesis and compare everything: what `yilian node check` runs.

Trusts   the genesis that it is given and the bytes of the transactions; nothing else. Every signature is checked again, every rule decides
         again, into a second copy in a folder of its own; then blocks, state, log nodes, places and closed days of both are compared.
Begun    with a snapshot, and what came before it is still being fetched: there is nothing to replay from. Then the log is grown again from
         the snapshot's root by the leaves since, the digest of the whole state is made again, and both must give the app hash of the last
         block; what is missing is said, and trusted is the snapshot's app hash as it was when the copy was restored.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from yilian.base.merkle import leaf_hash
from yilian.engines.faults import AppHashMismatch, StoreCorrupt
from yilian.engines.protocol import Block
from yilian.engines.replica import Replica
from yilian.engines.tables import Row
from yilian.ledger import BlockHeader, Genesis, frontier_at, is_tag, lanes_over, tagged_at, tagged_with

_TABLES = {  # what a replay must give again besides the state; `facts` and `blocks` are compared block by block
    "places": "prefix, place",
    "tiles": "key, hashes",
    "days": "day, leaf, tags",
    "changes": "entry, height",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found sound."""

    height: int
    entries: int
    state_rows: int
    app_hash: bytes
    missing: int = 0  # of the log's first leaves, which are not here yet: nothing was replayed


def fsck(replica: Replica, workspace: Path | None = None, progress: Callable[[int, int], None] | None = None) -> Checked:
    """Return what a replay of the whole ledger confirms; nobody may be writing to `replica`.

    `workspace` holds the second copy while the check runs (about as large as the first); `progress` is told (height, last height).
    Raises   StoreCorrupt, AppHashMismatch
    """
    replica.check_pages()
    if replica.missing:
        return _check_since(replica, progress or (lambda _height, _last: None))
    with tempfile.TemporaryDirectory(prefix="yilian-check-", dir=workspace) as folder:
        again = Replica.open(Path(folder), replica.genesis, is_durable=False)
        try:
            return _compare(replica, again, progress or (lambda _height, _last: None))
        finally:
            again.close()


def fsck_folder(
    folder: Path, genesis: Genesis, workspace: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Checked:
    """Return what `fsck` says of the ledger in `folder`, which no node may have open.

    Raises   StoreLocked, StoreCorrupt, WrongNetwork, AppHashMismatch
    """
    replica = Replica.open(folder, genesis)
    try:
        return fsck(replica, workspace, progress)
    finally:
        replica.close()


def _compare(replica: Replica, again: Replica, progress: Callable[[int, int], None]) -> Checked:
    last = replica.chain.height
    for block in _all_blocks(replica):
        if block.height != again.chain.height + 1:
            raise StoreCorrupt(replica.path, f"block {again.chain.height + 1} is missing")
        header = again.header_again(BlockHeader(block.height, block.time_ms, block.proposer), block.system_leaves)
        decided = again.decide(header, block.transactions)
        if decided.applied.app_hash != block.app_hash:
            raise AppHashMismatch(block.height, block.app_hash, decided.applied.app_hash)
        if again.commit(decided) != block:
            raise StoreCorrupt(replica.path, f"block {block.height} keeps other results than its transactions have")
        progress(block.height, last)
    if (again.chain.height, again.chain) != (last, replica.chain):
        raise StoreCorrupt(replica.path, f"its chain row is not what {last} blocks lead to")
    if not replica.days.tagged.items() <= again.days.tagged.items():
        raise StoreCorrupt(replica.path, "its days' lanes are not those of their tags")
    for table, columns in _TABLES.items():
        _same_rows(replica, table, replica.dump(table, columns), again.dump(table, columns))
    count = _same_rows(replica, "state", _rows(replica), _rows(again))
    return Checked(last, replica.chain.log.size, count, replica.chain.app_hash)


def _check_since(replica: Replica, progress: Callable[[int, int], None]) -> Checked:
    """Check what a copy that began with a snapshot holds.

    Raises   StoreCorrupt, AppHashMismatch
    """
    chain = replica.chain
    log, height = frontier_at(replica, replica.missing), replica.began
    for block in _all_blocks(replica):
        entries = [data for data, each in zip(block.transactions, block.results, strict=True) if each.index is not None]
        log, nodes = log.grown([leaf_hash(leaf) for leaf in (*block.system_leaves, *entries)])
        height += 1
        if (block.height, block.log_size, block.log_root) != (height, log.size, log.root()):
            raise StoreCorrupt(replica.path, f"block {height} is missing, or its leaves do not give its log root")
        if any(replica.node(level, index) != digest for level, index, digest in nodes):
            raise StoreCorrupt(replica.path, f"the log's nodes are not those of the leaves of block {height}")
        progress(height, chain.height)
    if (height, log, lanes_over(_rows(replica))) != (chain.height, chain.log, chain.lanes):
        raise StoreCorrupt(replica.path, "its state or its log is not that of its last block")
    if (
        not replica.days.tagged.items()
        <= tagged_at(chain.time_ms, tagged_with({}, (row for row in _rows(replica) if is_tag(row[0])))).items()
    ):
        raise StoreCorrupt(replica.path, "its days' lanes are not those of their tags")
    count = sum(1 for _ in _rows(replica))
    return Checked(chain.height, chain.log.size, count, chain.app_hash, replica.missing)


def _rows(replica: Replica) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows of the state, ascending; what the disk has not forgotten yet is not among them."""
    with replica.at_one_moment() as (_, rows):
        yield from rows


def _all_blocks(replica: Replica) -> Iterator[Block]:
    height = 0
    while found := replica.blocks(height):
        yield from found
        height = found[-1].height


def _same_rows(replica: Replica, table: str, ours: Iterator[Row], theirs: Iterator[Row]) -> int:
    """Return how many rows both copies have.

    Raises   StoreCorrupt, if a row of one is not in the other
    """
    count = 0
    for one, other in zip_longest(ours, theirs):
        if one != other:
            raise StoreCorrupt(replica.path, f"row {count} of its table {table} is not what the transactions give")
        count += 1
    return count
