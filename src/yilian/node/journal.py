"""node.db and its one writer: jobs that arrive while a commit is under way go together into the next one. No timers.

A job is a function of the open transaction. It runs alone in a savepoint: if it refuses, only what it wrote is undone. What `write`
returned is on the disk (WAL, synchronous=FULL: the commit waits for fsync).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from yilian.node.refusals import No, NodeRefused
from yilian.node.schema import SCHEMA, UPGRADES, VERSION

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
GROUP_MAX: Final = 256  # jobs in one commit: a bound on how long the first of them waits for the last
CACHE_KIB: Final = 8 * 1024
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NOT_OPENED: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)


class Journal:
    """The tables of one node. Reads are made on the event loop's own connection and see what was committed."""

    def __init__(self, path: Path) -> None:
        """Open node.db, or make it.

        Raises   TablesDamaged
        """
        with _named(path):
            self._writer = _connect(path)
            _install(self._writer, path)
            self.db = _connect(path)
            self.db.execute("PRAGMA query_only=ON")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="node-journal")
        self._waiting: list[tuple[Job[Any], asyncio.Future[Any]]] = []
        self._draining: asyncio.Task[None] | None = None
        self._is_closed = False

    async def write(self, job: Job[T]) -> T:
        """Return what `job` returned, once it is durable.

        Refuses  what the job refuses; STORAGE_FAILED, and then nothing was written; SHUTTING_DOWN
        """
        if self._is_closed:
            raise NodeRefused(No.SHUTTING_DOWN)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((job, done))
        if self._draining is None:
            self._draining = loop.create_task(self._drain())
        return await done

    async def execute(self, statement: str, bound: Sequence[object] = ()) -> None:
        """Write one statement, durably."""
        await self.write(lambda db: db.execute(statement, bound) and None)

    def one(self, statement: str, bound: Sequence[object] = ()) -> Any:  # noqa: ANN401 - a row of the statement's own columns
        """Return the first row, or None."""
        return self.db.execute(statement, bound).fetchone()

    def all(self, statement: str, bound: Sequence[object] = ()) -> list[Any]:
        """Return all rows."""
        return self.db.execute(statement, bound).fetchall()

    async def close(self) -> None:
        """Write what waits, then let go of the file."""
        self._is_closed = True
        while self._draining is not None:
            await asyncio.shield(self._draining)
        self._thread.shutdown(wait=True)
        self.db.close()
        self._writer.close()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
                outcomes = await loop.run_in_executor(self._thread, self._commit, [job for job, _ in group])
                for (_, done), outcome in zip(group, outcomes, strict=True):
                    if done.done():  # who asked has gone away; the write stands
                        continue
                    if isinstance(outcome, BaseException):
                        done.set_exception(outcome)
                    else:
                        done.set_result(outcome)
        finally:
            self._draining = None

    def _commit(self, jobs: list[Job[Any]]) -> list[Any]:
        """Run the jobs in one transaction and return each one's outcome: its result, or the exception it ended with."""
        db = self._writer
        outcomes: list[Any] = []
        try:
            db.execute("BEGIN IMMEDIATE")
            outcomes.extend(_in_savepoint(db, job) for job in jobs)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(db)
            failed = NodeRefused(
                No.STORAGE_FAILED, code=error.sqlite_errorname if hasattr(error, "sqlite_errorname") else type(error).__name__
            )
            return [failed for _ in jobs]
        return outcomes


def _in_savepoint(db: sqlite3.Connection, job: Job[Any]) -> Any:  # noqa: ANN401 - what the job returns
    db.execute("SAVEPOINT job")
    try:
        outcome = job(db)
    except sqlite3.IntegrityError:
        raise
    except Exception as ended:
        if isinstance(ended, sqlite3.Error):
            raise
        db.execute("ROLLBACK TO job")
        outcome = ended
    db.execute("RELEASE job")
    return outcome


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"cache_size=-{CACHE_KIB}", "foreign_keys=ON", "busy_timeout=5000"):
        db.execute(f"PRAGMA {pragma}")
    return db


class TablesDamaged(RuntimeError):
    """node.db is not what this software wrote, or cannot be opened; the sentence says what to do."""


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say in a sentence what the file or the disk lacks. Any other error of SQLite's is a wrong statement: our defect, and it stays one."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary one: https://www.sqlite.org/rescode.html
        if code in _DAMAGED:
            raise TablesDamaged(
                f"{path} is damaged ({error}): keep a copy, then restore it from a backup (docs/operating/backup.md)"
            ) from error
        if code in _NOT_OPENED:
            what = "see that it is this user's, that no other process has it and that the disk has room"
            raise TablesDamaged(f"{path} cannot be opened ({error}): {what}, then start again") from error
        raise


def _install(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            db.execute(statement)
        db.execute(f"PRAGMA user_version={VERSION}")
        db.execute("COMMIT")
    elif version in UPGRADES:
        db.execute("BEGIN IMMEDIATE")
        for number in range(version, VERSION):
            for statement in UPGRADES[number]:
                db.execute(statement)
        db.execute(f"PRAGMA user_version={VERSION}")
        db.execute("COMMIT")
    elif version != VERSION:
        raise TablesDamaged(
            f"{path} was written by another version ({version}, this one writes {VERSION}): use that one, or restore a backup"
        )
