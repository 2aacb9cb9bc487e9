"""What came before a snapshot: fetched from other members afterwards, proven leaf by leaf, replayed from genesis, and joined to the copy.

Life     frames of blocks -> `read` -> a proof of whoever sent them that the log so far is the beginning of the snapshot's -> `take`: the
         proof holds, every rule and signature is decided again in a second copy beside the first, and gives those very leaves -> ... ->
         the second copy stands at the snapshot's height with the snapshot's app hash, time and root -> `join` -> one copy, whole.
Crash    the second copy is durable block by block and goes on where it stood; joining is begun again and gives the same. Who
         opens the copy for an engine removes what was on its way out.
Trusts   the snapshot's own root and app hash (checked when it was restored), and nobody who sends. Not proven by either: heights and times
         of blocks, as far as no row of the state depends on them. A member signs no root of a block that it has by this way (ADR-0122).
Source   design 02 "Snapshot": older leaves are fetched from peers afterwards and checked against the root; RFC 9162 section 2.1.4.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from yilian.base.codec import Malformed
from yilian.base.merkle import is_consistent, leaf_hash
from yilian.engines.replica import Replica
from yilian.engines.store import FILE
from yilian.engines.tables import Row
from yilian.engines.tiles import BAND, WIDTH, tile_key
from yilian.engines.wire import RawBlock, decode_block
from yilian.ledger import Frontier, parse_chain

FOLDER = "older"  # beside the ledger's own file
_AWAY = "older.away"  # the same on its way out: renamed first, so that a folder that is half removed is never taken for one to go on with
BEGUN_AGAIN = "older.refused"  # beside it: why all that was fetched was thrown away, a line for each time, until the copy is whole
JOINED_BYTES_AT_ONCE = 1_000_000  # in one SQLite transaction: blocks that come meanwhile wait no longer than for a large one of their own
_TABLES = {
    "blocks": "height, time_ms, proposer, app_hash, log_size, log_root, body",
    "places": "prefix, place",
    "tiles": "key, hashes",
    "days": "day, leaf, tags",
    "changes": "entry, height",
}


class Lied(Exception):
    """What was sent is not of this ledger. `is_sender` says that it was this sender; else one of those before it may have been it."""

    def __init__(self, sentence: str, *, is_sender: bool) -> None:
        super().__init__(sentence)
        self.is_sender = is_sender


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of what came before the snapshot is here and proven: entries of so many, blocks of so many."""

    entries: int
    entries_all: int
    height: int
    height_all: int
    begun_again: tuple[str, ...] = ()  # why what was fetched was thrown away, a sentence for each time


@dataclass(frozen=True, slots=True)
class Part:
    """Blocks that were sent, one after the other, and the log after them if they are true."""

    blocks: tuple[RawBlock, ...]
    log: Frontier


class Older:
    """What came before the snapshot of one replica. One thread at a time."""

    def __init__(self, replica: Replica) -> None:
        """Begin, or go on; only for a replica of which something is missing.

        Raises   StoreLocked, StoreCorrupt, DiskFull, DiskFailed
        """
        assert replica.missing, "asked of the replica before"
        block = replica.block(replica.began)
        assert block is not None, "the marker that `restore` left"
        self._replica = replica
        self._end = (block.height, block.time_ms, block.app_hash, block.log_size, block.log_root)
        self._folder = replica.path.parent / FOLDER
        self._begun_again = self._folder.with_name(BEGUN_AGAIN)
        self._copy = Replica.open(self._folder, replica.genesis)

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        chain = self._copy.chain
        return Progress(chain.log.size, self._end[3], chain.height, self._end[0], _reasons(self._begun_again))

    @property
    def since_height(self) -> int:
        """Above which height blocks are to be asked for."""
        return self._copy.chain.height

    @property
    def is_whole(self) -> bool:
        """Say whether all of it is here, and is what the snapshot stands for."""
        chain = self._copy.chain
        return (chain.height, chain.time_ms, chain.app_hash, chain.log.size, chain.log.root()) == self._end

    def read(self, frames: Iterable[bytes]) -> Part:
        """Return the blocks that were sent, as far as they are asked for; none of them is believed yet.

        Raises   Lied, if they are no blocks, or not the next ones
        """
        blocks: list[RawBlock] = []
        hashes: list[bytes] = []
        for frame in frames:
            try:
                block = decode_block(frame)
            except Malformed as error:
                raise Lied(f"block {self.since_height + len(blocks) + 1} cannot be read ({error})", is_sender=True) from error
            if block.header.height != self.since_height + len(blocks) + 1:
                raise Lied(f"block {block.header.height} is not the next", is_sender=True)
            if block.header.height > self._end[0]:
                break
            blocks.append(block)
            hashes += [leaf_hash(leaf) for leaf in block.leaves]
        return Part(tuple(blocks), self._copy.chain.log.grown(hashes)[0])

    def take(self, part: Part, proof: Sequence[bytes]) -> None:
        """Decide blocks again, after `proof` has shown that the log after them is the beginning of the snapshot's.

        Raises   Lied; where `is_sender` is false, all that was fetched is thrown away and begun again. RulesMissing, DiskFull, DiskFailed
        """
        size, root = self._end[3:]
        is_short = part.log.size <= size and (not part.log.size or is_consistent(part.log.size, part.log.root(), size, root, proof))
        if not is_short:
            raise Lied(f"the log of {part.log.size} entries is not the beginning of the one of {size}", is_sender=True)
        for block in part.blocks:
            header = self._copy.header_again(block.header, block.system_leaves)
            decided = self._copy.decide(header, block.transactions)
            if decided.applied.leaves != block.leaves:
                raise self._begin_again(f"block {block.header.height} was decided otherwise: its time, or an earlier one's, is false")
            self._copy.commit(decided)
        if self.since_height == self._end[0] and not self.is_whole:
            raise self._begin_again("the blocks lead to another state than the snapshot's: the time of one of them is false")

    def join(self) -> Iterator[None]:
        """Make one whole copy of the two, a part at each step: a block that is committed meanwhile waits for one step at most.

        Raises   DiskFull, DiskFailed, StoreCorrupt
        """
        assert self.is_whole, "asked before"
        shared: dict[int, bytes] = {}
        size = self._end[3]
        keys = {tile_key(band, (size >> BAND * band) // WIDTH) for band in range(-(-size.bit_length() // BAND))}
        for table, columns in _TABLES.items():
            for rows in _parts(self._copy.dump(table, columns)):
                if table == "tiles":
                    shared.update({row[0]: row[1] for row in rows if row[0] in keys})
                self._replica.take_in(table, [row for row in rows if table != "tiles" or row[0] not in keys])
                yield
        self._replica.completed(shared)
        self.close()
        remove_leftovers(self._replica)

    def forget(self) -> None:
        """Throw away what was fetched, to begin again.

        Raises   DiskFull, DiskFailed
        """
        self._copy.close()
        _remove(self._folder)
        self._copy = Replica.open(self._folder, self._replica.genesis)

    def close(self) -> None:
        """Let go of the second copy's files; what is in them stays."""
        self._copy.close()

    def _begin_again(self, why: str) -> Lied:
        """Throw away what was fetched, keep why, and return what to raise."""
        with self._begun_again.open("a") as file:
            file.write(why + "\n")
        self.forget()
        return Lied(why, is_sender=False)


def remove_leftovers(replica: Replica) -> None:
    """Remove what a killed process left: a second copy that was on its way out, and any beside a copy from which nothing is missing."""
    folder = replica.path.parent
    _remove(folder / _AWAY)
    if not replica.missing:
        _remove(folder / FOLDER)
        (folder / BEGUN_AGAIN).unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    away = folder.with_name(_AWAY)
    if away.exists():
        shutil.rmtree(away)
    if folder.exists():
        shutil.rmtree(folder.rename(away))


def progress_in(folder: Path) -> Progress | None:
    """Return how far a ledger's folder has come, whichever process works on it; None if nothing is missing."""
    if not (folder / FILE).exists():
        return None
    facts = _facts(folder / FILE)
    if "horizon" not in facts:
        return None
    entries_all, height_all = (int.from_bytes(facts[name], "big") for name in ("horizon", "began"))
    chain = _facts(folder / FOLDER / FILE).get("chain") if (folder / FOLDER / FILE).exists() else None
    again = _reasons(folder / BEGUN_AGAIN)
    if chain is None:
        return Progress(0, entries_all, 0, height_all, again)
    at = parse_chain(chain)
    return Progress(at.log.size, entries_all, at.height, height_all, again)


def _reasons(file: Path) -> tuple[str, ...]:
    return tuple(file.read_text().splitlines()) if file.exists() else ()


def _facts(file: Path) -> dict[str, bytes]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        try:
            return dict(connection.execute("SELECT name, value FROM facts"))
        except sqlite3.OperationalError:  # being made at this moment
            return {}


def _parts(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Yield rows in lists of about JOINED_BYTES_AT_ONCE."""
    part: list[Row] = []
    size_bytes = 0
    for row in rows:
        part.append(row)
        size_bytes += 64 + sum(len(value) for value in row if isinstance(value, bytes))
        if size_bytes > JOINED_BYTES_AT_ONCE:
            yield part
            part, size_bytes = [], 0
    if part:
        yield part
