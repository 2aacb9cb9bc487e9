"""One member's copy of the ledger: the store, the latest final state, and the step from one block to the next.

Every way of ordering drives one of these: `decide` says what a block does, `commit` makes it durable and then visible. The latter is called
by one thread; `decide`, which another may call ahead (ADR-0145), never runs beside it. Everything else may be called by any.
Source   design 02 "Engines": persist as a whole or not at all, acknowledge after that.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from yilian.base.codec import Malformed
from yilian.base.digests import sha256
from yilian.base.merkle import leaf_hash
from yilian.contracts import directory
from yilian.contracts.access import tags_of_day
from yilian.engines.changes import changes_in, look_through
from yilian.engines.days import Days
from yilian.engines.faults import RulesMissing, StoreCorrupt, WrongNetwork
from yilian.engines.protocol import Block, Committed, Entry
from yilian.engines.recent import Recent
from yilian.engines.rows import block_of, equivocator_in, marker_of, row_of
from yilian.engines.store import POSITION_BITS, Store, prefix_of
from yilian.engines.tables import BlockRow, Change, DayRow, Row
from yilian.engines.tiles import Tiles, joined, peaks
from yilian.engines.views import Cache, Moment, Present, View, WriterView
from yilian.engines.wire import decode_body
from yilian.ledger import (
    Applied,
    BlockHeader,
    Chain,
    Genesis,
    KeyTable,
    Result,
    Screened,
    Tagged,
    VersionMissing,
    apply,
    consistency,
    inclusion,
    parse_chain,
    root_at,
    start,
)

TAG_SIZE = 16
_HORIZON, _BEGAN = "horizon", "began"
_BLOCKS_AT_ONCE = 16  # read for a follower in one query
_PLACES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Decided:
    """What a block will do, not yet durable."""

    transactions: tuple[bytes, ...]
    applied: Applied


class NotHeld(LookupError):
    """What came before the snapshot with which this copy began has not been fetched yet."""


class Replica:
    """A copy of one network's ledger in one folder."""

    def __init__(self, store: Store, genesis: Genesis) -> None:
        """Open the copy that `store` holds, or begin it.

        Raises   WrongNetwork, StoreCorrupt
        """
        self.genesis = genesis
        self._store = store
        chain = self._begin() if store.fact("genesis") is None else self._reopen()
        self._cache = Cache()
        self._moment = Moment()
        self.days = Days(store, chain)
        self._tiles = Tiles(store.tile, chain.log.size)
        self._recent = Recent()
        self.missing = int.from_bytes(store.fact(_HORIZON) or b"", "big")  # so many first leaves are not here yet, but a snapshot
        self.began = int.from_bytes(store.fact(_BEGAN) or b"", "big")  # the snapshot's height: blocks up to it were decided elsewhere
        self._growing = threading.Lock()  # held by who writes: a block, or what came before a snapshot
        if root_at(self._tiles, chain.log.size) != chain.log.root():
            raise StoreCorrupt(store.path, "the log's nodes do not give its root")
        if store.fact("changes") is None:
            look_through(store, range(self.began, chain.height), self._parsed)
        self._final = self._seen(replace(chain, keys=directory.key_table(self._seen(chain))))

    @classmethod
    def open(cls, folder: Path, genesis: Genesis, *, is_durable: bool = True) -> Replica:
        """Open or begin the copy in `folder`.

        Raises   StoreLocked, StoreCorrupt, DiskFull, DiskFailed, WrongNetwork
        """
        store = Store(folder, is_durable=is_durable)
        try:
            return cls(store, genesis)
        except BaseException:
            store.close()
            raise

    def _seen(self, chain: Chain) -> View:
        return View(chain, self._moment, self._cache, self._store.get, self._store.scan)

    def _begin(self) -> Chain:
        chain, writes = start(self.genesis)
        self._store.commit(Change(chain.encoded(), writes), {"genesis": self.genesis.encoded()})
        return chain

    def _reopen(self) -> Chain:
        path = self._store.path
        found = sha256(self._store.fact("genesis") or b"")
        if found != self.genesis.network_id:
            raise WrongNetwork(path, self.genesis.network_id, found)
        try:
            chain = parse_chain(self._store.fact("chain") or b"")
        except Malformed as error:
            raise StoreCorrupt(path, "its chain row cannot be read") from error
        last = self._store.block(chain.height)
        if chain.height and (last is None or (last.app_hash, last.log_size) != (chain.app_hash, chain.log.size)):
            raise StoreCorrupt(path, f"its last block and its chain row differ at height {chain.height}")
        return chain

    # -- the step from one block to the next: one thread

    def header_again(self, header: BlockHeader, system_leaves: Sequence[bytes]) -> BlockHeader:
        """Return the header with which a block was decided elsewhere: its leaves say which validators were proven to equivocate.

        An operator has no validators, so its word on them counts for nothing. Asked at the height before the block's.
        """
        named = [] if self.genesis.operator else [equivocator_in(leaf) for leaf in system_leaves]
        members = [directory.member(self._final, name) for name in named if name is not None]
        keys = [member.consensus_key for member in members if member is not None and member.consensus_key is not None]
        return replace(header, equivocators=tuple([directory.validator_address(key) for key in keys]))

    def decide(self, header: BlockHeader, transactions: Sequence[bytes], known: Mapping[bytes, Screened] | None = None) -> Decided:
        """Return what a block does to the latest final state; nothing changes yet.

        Raises   RulesMissing
        """
        with self._growing, self._store.at_once() as fetch:
            view = WriterView(self.chain, self._cache, fetch, self._store.stream)
            try:
                applied = apply(view, self.chain, header, transactions, known or {}, self.days.tagged)
            except VersionMissing as why:
                raise RulesMissing(str(why)) from why
        return Decided(tuple(transactions), applied)

    def commit(self, decided: Decided) -> Block:
        """Make a decided block durable, then visible, and return it.

        Raises   DiskFull, DiskFailed, StoreCorrupt; the block is then not on the disk, and this copy is of no more use
        """
        applied = decided.applied
        chain, block = applied.chain, block_of(applied, decided.transactions)
        with self._growing:  # to the end: whoever works ahead reads the rows through the cache and keeps there what it read
            forgotten = self.days.leaving(self.chain, chain)
            after = self._moment.end({**applied.replaced, **dict(forgotten)})
            self._store.commit(
                Change(
                    chain.encoded(),
                    applied.writes,
                    row_of(block),
                    [each.id for each in block.results],
                    self._tiles.grow(applied.nodes),
                    [DayRow(each.day, each.index, each.joined) for each in applied.days],
                    changes_in(block),
                    (forgotten[0][0], forgotten[-1][0]) if forgotten else None,
                ),
                self.days.changed(applied.tagged),
            )
            self.days.take(applied.tagged)
            self._cache.replace(applied.writes)
            self._moment = after
            self._recent.keep(block)
            self._final = self._seen(chain)
        return block

    def advance(self, now_ms: int, transactions: Sequence[bytes], known: Mapping[bytes, Screened] | None = None) -> Block:
        """Order transactions as the operator does, as one block at `now_ms` or just after the last; decide and commit it."""
        chain = self.chain
        header = BlockHeader(chain.height + 1, max(chain.time_ms + 1, now_ms), self.genesis.operator)
        return self.commit(self.decide(header, transactions, known))

    def stage(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Take the next rows of a snapshot, ascending; nothing else changes before `restore`.

        Raises   DiskFull, DiskFailed
        """
        assert self.chain.height == 0, "a copy that has blocks is not thrown away for a snapshot"
        with self._growing:
            self._store.stage(rows)

    def unstage(self) -> None:
        """Forget the rows of a snapshot that was rejected or given up."""
        with self._growing:
            self._store.unstage()

    def restore(self, chain: Chain, tagged: Tagged) -> None:
        """Go on from the staged rows, which `ledger.Restore` has checked and added up; only a copy that has no block yet may.

        What came before the snapshot's height is not here: neither its blocks, nor its entries, nor proofs of them.
        Raises   DiskFull, DiskFailed; this copy is then of no more use, and what is on the disk is still as it began
        """
        assert self.chain.height == 0, "a copy that has blocks is not thrown away for a snapshot"
        marker = marker_of(chain)
        with self._growing:
            after = self._moment.end(dict(self._store.scan(b"")), is_whole=True)
            change = Change(chain.encoded(), {}, marker, [], self._tiles.grow(peaks(chain.log)))
            facts = {_HORIZON: chain.log.size.to_bytes(8, "big"), _BEGAN: chain.height.to_bytes(8, "big")}
            self._store.commit(change, facts | self.days.changed(tagged), is_adopting=True)
            self.days.take(tagged)
            self.missing, self.began = chain.log.size, chain.height
            self._cache, self._moment = Cache(), after
            self._final = self._seen(replace(chain, keys=directory.key_table(self._seen(chain))))

    def last_before(self, time_ms: int, until_height: int) -> int:
        """Return the last height up to `until_height` whose block is older than `time_ms`; 0 if there is none."""
        return self._store.last_before(time_ms, until_height)

    def take_in(self, table: str, rows: Sequence[Row]) -> None:
        """Take whole rows of what came before the snapshot; nothing of it is shown before `completed`.

        Raises   DiskFull, DiskFailed
        """
        with self._growing:
            self._store.take_in(table, rows)

    def completed(self, shared: Mapping[int, bytes]) -> None:
        """Show what came before the snapshot, all of which is taken in but for the tiles that both sides have a part of.

        Raises   DiskFull, DiskFailed
        """
        with self._growing:
            whole = [(key, joined(theirs, self._store.tile_or_none(key))) for key, theirs in shared.items()]
            self._store.take_in("tiles", whole, {_HORIZON: None})
            self._tiles = Tiles(self._store.tile, self.chain.log.size)  # none that was remembered in parts
            self._recent = Recent()
            self.missing = 0

    @contextmanager
    def at_one_moment(self) -> Iterator[tuple[bytes, Iterator[tuple[bytes, bytes]]]]:
        """Give the chain and the state's rows in key order as they are now, whatever is committed meanwhile."""
        with self._store.at_one_moment() as (chain, rows):
            yield chain, Present(parse_chain(chain)).among(rows)

    def checkpoint(self) -> None:
        """Bring the store's write-ahead log into its file."""
        with self._growing:
            self._store.checkpoint()

    # -- what is final: any thread

    @property
    def chain(self) -> Chain:
        """The chain value at the latest final height."""
        return self._final.chain

    def keys(self) -> KeyTable:
        """Return the node keys that may carry, by key identifier, at the latest final height; the same object while they do not change."""
        keys = self._final.chain.keys
        assert keys is not None, "read off the state when the replica was opened, and kept by every block since"
        return keys

    def read(self) -> View:
        """Return the state at the latest final height."""
        return self._final

    def block(self, height: int) -> Block | None:
        """Return one final block; None above the latest final height."""
        if height > self.chain.height or (self.missing and height < self.began):
            return None
        kept = self._recent.get(height)
        if kept is not None:
            return kept
        row = self._store.block(height)
        return None if row is None else self._recent.keep(self._parsed(row))

    def blocks(self, since_height: int) -> list[Block]:
        """Return the next few final blocks above `since_height`; none at the end. While the first ones are missing, those after them."""
        since_height = max(since_height, self.began) if self.missing else since_height
        until = min(self.chain.height, since_height + _BLOCKS_AT_ONCE)
        recent = [self._recent.get(height) for height in range(since_height + 1, until + 1)]
        fresh = [block for block in recent if block is not None]  # who follows closely asks for what was just committed
        return fresh if len(fresh) == len(recent) else [self._parsed(row) for row in self._store.blocks(since_height, until)]

    def find(self, ids: Sequence[bytes], *, is_writer: bool = False) -> dict[bytes, Committed]:
        """Return what became of those of the transactions that a final block holds; the first, where one was repeated."""
        found: dict[bytes, Committed] = {}
        for start_at in range(0, len(ids), _PLACES_AT_ONCE):
            part = ids[start_at : start_at + _PLACES_AT_ONCE]
            places = self._store.places(part, is_writer=is_writer)
            for id_ in part if places else ():
                answers = (self._at(place) for place in places.get(prefix_of(id_), ()))
                answer = next((each for each in answers if each is not None and each.id == id_), None)
                if answer is not None:
                    found[id_] = answer
        return found

    def _at(self, place: int) -> Committed | None:
        height, position = place >> POSITION_BITS, place & (1 << POSITION_BITS) - 1
        block = self.block(height)
        return None if block is None else answer_of(block, block.results[position])

    def entry(self, index: int) -> Entry | None:
        """Return the leaf at `index`; None if the final log is not that long."""
        if not self.missing <= index < self.chain.log.size:
            return None
        row = self._store.block_of_leaf(index)
        if row is None:
            return None
        block = self._recent.get(row.height) or self._recent.keep(self._parsed(row))
        entries = [data for data, each in zip(block.transactions, block.results, strict=True) if each.index is not None]
        leaves = [*block.system_leaves, *entries]
        data = leaves[index - (block.log_size - len(leaves))]
        return Entry(index, leaf_hash(data), data, block.height, block.time_ms)

    def member_changes(self) -> list[int]:
        """Return the log indexes of what changed who the members are, ascending; without those before a snapshot that are missing."""
        return self._store.changes()

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a full subtree of the log."""
        return self._tiles.node(level, index)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of leaf `index` in the final log's first `size` leaves."""
        self._require_final(size)
        self._require_held(index)
        return inclusion(self._tiles, index, size)

    def consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the proof that the first `new_size` leaves begin with the first `old_size`."""
        self._require_final(new_size)
        self._require_held(old_size or self.missing)
        return consistency(self._tiles, old_size, new_size)

    def log_root(self, size: int) -> bytes:
        """Return the root of the first `size` leaves."""
        self._require_final(size)
        self._require_held(size or self.missing)
        return root_at(self._tiles, size)

    def access_tags(self, day: int) -> tuple[bytes, ...]:
        """Return the access tags of a UTC day in ascending order, whether its rows are still in the state or not."""
        row = self._store.day(day)
        found = tags_of_day(self._final, day) if row is None else [row.tags[n : n + TAG_SIZE] for n in range(0, len(row.tags), TAG_SIZE)]
        return tuple(found)

    def daily_leaf(self, day: int) -> int | None:
        """Return the log index of the leaf that closed a day."""
        row = self._store.day(day)
        return None if row is None else row.leaf

    @property
    def path(self) -> Path:
        """The store's file."""
        return self._store.path

    def check_pages(self) -> None:
        """Let the store check its own pages.

        Raises   StoreCorrupt
        """
        self._store.check()

    def dump(self, table: str, columns: str) -> Iterator[tuple[object, ...]]:
        """Yield every row of one of the store's tables, in the order of its key."""
        yield from self._store.dump(table, columns)

    def close(self) -> None:
        """Let go of the files, once nothing is being decided or written."""
        with self._growing:
            self._store.close()

    def _require_final(self, size: int) -> None:
        if not 0 <= size <= self.chain.log.size:
            raise ValueError(f"the final log has {self.chain.log.size} leaves, not {size}")

    def _require_held(self, at: int) -> None:
        if at < self.missing:
            raise NotHeld("this copy began with a snapshot and does not hold the log before it yet: ask another member for this proof")

    def _parsed(self, row: BlockRow) -> Block:
        try:
            transactions, results, leaves = decode_body(row.body, row.log_size)
        except Malformed as error:
            raise StoreCorrupt(self._store.path, f"block {row.height} cannot be read") from error
        return Block(row.height, row.time_ms, row.proposer, row.app_hash, row.log_size, row.log_root, transactions, results, leaves)


def answer_of(block: Block, result: Result) -> Committed:
    """Return the answer to a transaction, from the block that holds it."""
    return Committed(result.id, result.index, block.height, block.time_ms, result.reason, result.facts)
