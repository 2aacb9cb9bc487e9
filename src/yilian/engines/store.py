"""The ledger on disk: one SQLite file, one SQLite transaction for each block, durable when `commit` returns.

Files    FOLDER/ledger.sqlite with its -wal and -shm; FOLDER/lock, held while the ledger is open.
Source   design 02 "State" and "Engines"; ADR-0050; https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from yilian.engines.faults import StoreCorrupt, stopped_by
from yilian.engines.folders import hold, sync_folder
from yilian.engines.tables import CHANGES, SCHEMA, STAGED, BlockRow, Change, DayRow, Row

FORMAT = b"yilian-ledger-1"
FILE = "ledger.sqlite"
POSITION_BITS = 20  # a block holds fewer than a million transactions: CometBFT's 8 MB hold under 50,000 of the smallest
PREFIX_SIZE = 8  # bytes of an id in `places`: two ids may share them, so the whole id is compared with the block's bytes

_ROWS_AT_ONCE = 128  # one statement for many rows: the B-tree work is then done without the interpreter's lock
_PAGE_ROWS = 1_024
_CACHE_KIB = 64 * 1024  # of the writing connection
_READ_CACHE_KIB = 8 * 1024
_WAL_PAGES_MAX = 8_192  # 32 MiB: when to copy the write-ahead log back into the file
WAL_SIZE_BYTES_KEPT = 64 * 1024 * 1024  # to what it is cut when it begins anew: a long reader, such as a snapshot, lets it grow
BLOCKS_SIZE_BYTES = 4_000_000  # bodies after which a follower's read ends: two full blocks, 10 MB once they are parsed


class Store:
    """An open ledger file: one thread writes through `commit`, any thread reads what was committed."""

    def __init__(self, folder: Path, *, is_durable: bool = True) -> None:
        """Open or create the ledger in `folder`. What is not durable is for a replay whose result is thrown away.

        Raises   StoreLocked, StoreCorrupt, DiskFull, DiskFailed
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self._lock_file = hold(folder)
        self._reading = threading.Lock()
        self._wal_pages = 0
        try:
            with self._guarded():
                self._writer = self._connect(_CACHE_KIB, is_durable=is_durable)
                self._create()
                self._reader = self._connect(_READ_CACHE_KIB, is_durable=is_durable)
                self._reader.execute("PRAGMA query_only=ON")
        except BaseException:
            self._lock_file.close()
            raise
        sync_folder(folder)

    def _connect(self, cache_kib: int, *, is_durable: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=256)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if is_durable else 'OFF'}")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(f"PRAGMA journal_size_limit={WAL_SIZE_BYTES_KEPT}")
        connection.execute(f"PRAGMA cache_size=-{cache_kib}")
        connection.execute("PRAGMA temp_store=MEMORY")
        return connection

    def _create(self) -> None:
        if self._writer.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
            self._writer.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";"):
                self._writer.execute(statement)
            self._writer.execute(CHANGES)
            self._writer.execute("INSERT INTO facts VALUES('format', ?), ('changes', x'')", (FORMAT,))
            self._writer.execute("COMMIT")
        self._writer.execute("DROP TABLE IF EXISTS staged")  # of a restore that was interrupted
        self._writer.execute(CHANGES)  # a store that is older than this table; `Replica` fills it
        found = self._writer.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
        if found != (FORMAT,):
            raise StoreCorrupt(self.path, f"its format is {found and found[0]!r}, this software reads {FORMAT!r}")

    # -- writing: one thread

    def commit(self, change: Change, facts: dict[str, bytes] | None = None, *, is_adopting: bool = False) -> None:
        """Make a block durable, as a whole or not at all. Who is adopting has the staged rows in the place of the state.

        Raises   DiskFull, DiskFailed, StoreCorrupt; nothing of the block is then on the disk
        """
        with self._writing() as run:
            if is_adopting:
                run("DROP TABLE state")
                run("ALTER TABLE staged RENAME TO state")
            self._write(change)
            for name, value in {**(facts or {}), "chain": change.chain}.items():
                run("INSERT INTO facts VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value", (name, value))
        self._wal_pages += len(change.writes) + len(change.ids) + len(change.tiles or ()) + 2 + len(change.chain) // 4096
        if self._wal_pages > _WAL_PAGES_MAX:
            self.checkpoint()

    def stage(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Put the next rows of a snapshot, in ascending key order, beside the state, which stays as it is until a commit adopts them.

        Raises   DiskFull, DiskFailed
        """
        with self._writing() as run:
            run(STAGED)
            self._insert("staged(key, value)", rows)
        self.checkpoint()

    def take_in(self, table: str, rows: Sequence[Row], facts: dict[str, bytes | None] | None = None) -> None:
        """Put whole rows of another copy of this ledger into a table, in the place of those with their keys, and facts (None: gone).

        Raises   DiskFull, DiskFailed; nothing of it is then on the disk
        """
        with self._writing() as run:
            if rows:
                marks = ",".join("?" * len(rows[0]))
                self._writer.executemany(f"INSERT OR REPLACE INTO {table} VALUES({marks})", rows)
            for name, value in (facts or {}).items():
                run("DELETE FROM facts WHERE name = ?", (name,))
                if value is not None:
                    run("INSERT INTO facts VALUES(?, ?)", (name, value))
        self.checkpoint()

    def unstage(self) -> None:
        """Drop what was staged."""
        with self._guarded():
            self._writer.execute("DROP TABLE IF EXISTS staged")

    def _write(self, change: Change) -> None:
        run = self._writer.execute
        kept = sorted((key, value) for key, value in change.writes.items() if value is not None)
        gone = sorted(key for key, value in change.writes.items() if value is None)
        self._insert("state(key, value)", kept, "ON CONFLICT(key) DO UPDATE SET value = excluded.value")
        self._writer.executemany("DELETE FROM state WHERE key = ?", ((key,) for key in gone))
        if change.forgotten is not None:
            run("DELETE FROM state WHERE key >= ? AND key <= ?", change.forgotten)
        block = change.block
        if block is not None:
            row = (block.height, block.time_ms, block.proposer, block.app_hash, block.log_size, block.log_root, block.body)
            run("INSERT INTO blocks VALUES(?, ?, ?, ?, ?, ?, ?)", row)
            first = block.height << POSITION_BITS
            self._insert("changes(entry, height)", [(index, block.height) for index in change.changes])
            self._insert("places(prefix, place)", sorted((prefix_of(id_), first + n) for n, id_ in enumerate(change.ids)))
        again = "ON CONFLICT(key) DO UPDATE SET hashes = excluded.hashes"
        self._insert("tiles(key, hashes)", sorted((change.tiles or {}).items()), again)
        self._writer.executemany("INSERT INTO days VALUES(?, ?, ?)", [(day.day, day.leaf, day.tags) for day in change.days])

    def _insert(self, table: str, rows: Sequence[tuple[object, object]], again: str = "") -> None:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            # the parts are sizes 1, 2, 4 ... 128, so that few statements are ever prepared
            while part:
                size = 1 << (len(part).bit_length() - 1)
                marks = ",".join(["(?,?)"] * size)
                values = [value for row in part[:size] for value in row]
                self._writer.execute(f"INSERT INTO {table} VALUES {marks} {again}", values)  # noqa: S608 - our own constants
                part = part[size:]

    def checkpoint(self) -> None:
        """Copy the write-ahead log back into the file, so that it does not grow without end."""
        with self._guarded():
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._wal_pages = 0

    # -- reading through the writing connection: the writing thread only, its pages are warm

    @contextmanager
    def at_once(self) -> Iterator[Callable[[bytes], bytes | None]]:
        """Give what reads the state's value at a key. All reads are of one SQLite transaction: a lock for each was 2.9 us of its 6.6 us."""
        with self._guarded():
            self._writer.execute("BEGIN")
            try:
                yield self._value_for_writer
            finally:
                self._writer.execute("COMMIT")

    def _value_for_writer(self, key: bytes) -> bytes | None:
        row = self._writer.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return row[0] if row is not None else None

    # -- reading: any thread

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key` in the state."""
        try:
            with self._reading:
                row = self._reader.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise stopped_by(error, self.path) from error
        return row[0] if row is not None else None

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """Return (key, value) of every row under `prefix`, ascending."""
        end = _after(prefix)
        if end is None:
            return self._all("SELECT key, value FROM state WHERE key >= ? ORDER BY key", (prefix,))
        return self._all("SELECT key, value FROM state WHERE key >= ? AND key < ? ORDER BY key", (prefix, end))

    def stream(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of every row under `prefix`, ascending, of which a page is in memory at a time.

        For the writing thread, between whose commits the state stands still.
        """
        end, since = _after(prefix), prefix
        query = f"SELECT key, value FROM state WHERE key >= ? {'' if end is None else 'AND key < ? '}ORDER BY key LIMIT {_PAGE_ROWS}"  # noqa: S608 - our own
        while page := self._all(query, (since,) if end is None else (since, end)):
            yield from page
            if len(page) < _PAGE_ROWS:
                return
            since = page[-1][0] + b"\0"

    def first(self, since: bytes, until: bytes, count_max: int) -> list[tuple[bytes, bytes]]:
        """Return the first rows from key `since` on and before `until`, ascending."""
        return self._all("SELECT key, value FROM state WHERE key >= ? AND key < ? ORDER BY key LIMIT ?", (since, until, count_max))

    def fact(self, name: str) -> bytes | None:
        """Return what is kept under a name."""
        row = self._one("SELECT value FROM facts WHERE name = ?", (name,))
        return row[0] if row is not None else None

    def block(self, height: int) -> BlockRow | None:
        """Return the block at a height."""
        row = self._one("SELECT * FROM blocks WHERE height = ?", (height,))
        return BlockRow(*row) if row is not None else None

    def block_of_leaf(self, index: int) -> BlockRow | None:
        """Return the block that brought the leaf at `index`."""
        row = self._one("SELECT * FROM blocks WHERE log_size > ? ORDER BY log_size, height LIMIT 1", (index,))
        return BlockRow(*row) if row is not None else None

    def blocks(self, since_height: int, until_height: int) -> list[BlockRow]:
        """Return the blocks above `since_height` up to and with `until_height`; the first ones, where all are large."""
        query = "SELECT * FROM blocks WHERE height > ? AND height <= ? ORDER BY height"
        found: list[BlockRow] = []
        size_bytes = 0
        with self._reading, self._guarded(), closing(self._reader.execute(query, (since_height, until_height))) as rows:
            for row in rows:
                found.append(BlockRow(*row))
                size_bytes += len(found[-1].body)
                if size_bytes >= BLOCKS_SIZE_BYTES:
                    break
        return found

    def places(self, ids: Sequence[bytes], *, is_writer: bool = False) -> dict[int, list[int]]:
        """Return where transactions whose ids begin like these are: prefix -> places, ascending. The writing thread has warm pages."""
        marks = ",".join("?" * len(ids))
        query = f"SELECT prefix, place FROM places WHERE prefix IN ({marks}) ORDER BY prefix, place"  # noqa: S608 - marks only
        found: dict[int, list[int]] = {}
        values = [prefix_of(id_) for id_ in ids]
        if is_writer:
            with self._guarded():
                rows = self._writer.execute(query, values).fetchall()
        else:
            rows = self._all(query, values)
        for prefix, place in rows:
            found.setdefault(prefix, []).append(place)
        return found

    def tile(self, key: int) -> bytes:
        """Return a tile of the log.

        Raises   StoreCorrupt, if it is not there
        """
        hashes = self.tile_or_none(key)
        if hashes is None:
            raise StoreCorrupt(self.path, f"tile {key:x} of the log is missing")
        return hashes

    def tile_or_none(self, key: int) -> bytes | None:
        """Return a tile of the log, or None."""
        row = self._one("SELECT hashes FROM tiles WHERE key = ?", (key,))
        return None if row is None else row[0]

    def day(self, day: int) -> DayRow | None:
        """Return a closed day."""
        row = self._one("SELECT day, leaf, tags FROM days WHERE day = ?", (day,))
        return DayRow(*row) if row is not None else None

    def changes(self) -> list[int]:
        """Return the log indexes of what changed who the members are, ascending."""
        return [index for (index,) in self._all("SELECT entry FROM changes ORDER BY entry", ())]

    def last_before(self, time_ms: int, until_height: int) -> int:
        """Return the last height up to `until_height` whose block is older than `time_ms`; 0 if there is none: time does not run back."""
        older, newer = 0, until_height + 1
        while newer - older > 1:
            middle = (older + newer) // 2
            row = self._one("SELECT time_ms FROM blocks WHERE height >= ? ORDER BY height LIMIT 1", (middle,))
            older, newer = (middle, newer) if row is not None and row[0] < time_ms else (older, middle)
        return older

    def dump(self, table: str, columns: str) -> Iterator[tuple[object, ...]]:
        """Yield every row of a table in the order of its key, through a connection of its own."""
        with self._guarded():
            connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, check_same_thread=False)
            try:
                yield from connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2")  # noqa: S608 - our own constants
            finally:
                connection.close()

    @contextmanager
    def at_one_moment(self) -> Iterator[tuple[bytes, Iterator[tuple[bytes, bytes]]]]:
        """Give the chain and the state's rows in key order as they are now, whatever is committed meanwhile; one thread throughout."""
        with self._guarded():
            # Read by one thread; where it was left in the middle, the collector may close it from another.
            connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("BEGIN")
                chain = connection.execute("SELECT value FROM facts WHERE name = 'chain'").fetchone()[0]
                yield chain, iter(connection.execute("SELECT key, value FROM state ORDER BY key"))
            finally:
                connection.close()

    def check(self) -> None:
        """Let SQLite check its own pages.

        Raises   StoreCorrupt
        """
        answer = self._one("PRAGMA integrity_check(1)", ())
        if answer != ("ok",):
            raise StoreCorrupt(self.path, str(answer and answer[0]))

    def close(self) -> None:
        """Let go of the files. What was committed stays."""
        with self._reading:
            self._reader.close()
            self._writer.close()
            self._lock_file.close()

    def _one(self, query: str, values: Sequence[object]) -> Row | None:
        with self._reading, self._guarded():
            row: Row | None = self._reader.execute(query, values).fetchone()
        return row

    def _all(self, query: str, values: Sequence[object]) -> list[Row]:
        with self._reading, self._guarded():
            return self._reader.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[Callable[..., object]]:
        """Run statements as one SQLite transaction: on the disk as a whole when it ends, or not at all."""
        with self._guarded():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer.execute
                self._writer.execute("COMMIT")
            except sqlite3.Error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise stopped_by(error, self.path) from error


def prefix_of(id_: bytes) -> int:
    """Return the first 8 bytes of an id as the signed integer that SQLite keeps."""
    return int.from_bytes(id_[:PREFIX_SIZE], "big", signed=True)


def _after(prefix: bytes) -> bytes | None:
    """Return the least key above every key with this prefix; None if there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None
