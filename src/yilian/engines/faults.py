"""Why an engine stops, or does not order now: one class per cause, each with a sentence that says what to do. Nothing acknowledged is
lost by any of them.

Source   design 02 "Errors".
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA}
_PRIMARY = 0xFF  # an extended SQLite code carries the primary one in its low byte: https://www.sqlite.org/rescode.html


class EngineStopped(RuntimeError):
    """The engine cannot go on. The text says why and what to do; what was acknowledged is on the disk."""

    path: Path | None = None  # of the file or folder that the text names, if it names one

    def without_path(self) -> str:
        """Return the text for those whom our folders do not concern: what it names is named without where it lies, and so is what a quoted
        program says of the same folder.
        """
        return str(self) if self.path is None else str(self).replace(f"{self.path.parent}/", "")


class EngineClosed(EngineStopped):
    """The engine was closed on purpose."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the engine is closed: what was not acknowledged was not ordered; open it again and submit again")


class StoreCorrupt(EngineStopped):
    """The ledger's files are not what was written."""

    def __init__(self, path: Path, why: str) -> None:
        """Name the file and what is wrong with it."""
        self.path, self.why = path, why
        super().__init__(
            f"the ledger in {path} is damaged ({why}): keep a copy, then restore the backup, or a snapshot and follow another member; "
            "in a consortium `yilian network repair` fetches the ledger from the others"
        )


class DiskFull(EngineStopped):
    """There is no room for the next block."""

    def __init__(self, path: Path) -> None:
        """Name the disk by the file."""
        self.path = path
        super().__init__(
            f"no room left on the disk of {path}: the block was not written and not acknowledged; free some space, then start again"
        )


class DiskFailed(EngineStopped):
    """The disk did not do what it was asked."""

    def __init__(self, path: Path, why: str) -> None:
        """Name the file and what the system said."""
        self.path, self.why = path, why
        super().__init__(
            f"the disk of {path} failed ({why}): the block was not acknowledged; check disk, rights and limits, then start again"
        )


class StoreLocked(EngineStopped):
    """Another process has the ledger open."""

    def __init__(self, path: Path) -> None:
        """Name the folder."""
        self.path = path
        super().__init__(f"another process has the ledger in {path} open: stop it first, or give this node a data folder of its own")


class WrongNetwork(EngineStopped):
    """The folder holds another network's ledger."""

    def __init__(self, path: Path, expected: bytes, found: bytes) -> None:
        """Name both networks."""
        self.path, self.expected, self.found = path, expected, found
        super().__init__(
            f"the ledger in {path} belongs to network {found.hex()[:16]}, this genesis is network {expected.hex()[:16]}: "
            "give the right genesis file or another data folder"
        )


class AppHashMismatch(EngineStopped):
    """The same block gave another state here than where it was ordered."""

    def __init__(self, height: int, expected: bytes, found: bytes) -> None:
        """Name the height and both hashes."""
        self.height, self.expected, self.found = height, expected, found
        super().__init__(
            f"block {height} gives app hash {found.hex()[:16]} here and {expected.hex()[:16]} where it was ordered: "
            "run `yilian node check`, compare software versions, and do not trust this copy until both agree"
        )


class RulesMissing(EngineStopped):
    """The network has moved to rules that this software does not have."""


class BlockOutOfOrder(EngineStopped):
    """The stream of blocks has a gap."""

    def __init__(self, expected_height: int, height: int) -> None:
        """Name the block that was due and the one that came."""
        self.expected_height, self.height = expected_height, height
        super().__init__(f"block {height} came where block {expected_height} was due: the node that serves the blocks must be checked")


class BlockUnreadable(EngineStopped):
    """What was served as a block is none."""

    def __init__(self, height: int) -> None:
        """Name the block that was due."""
        self.height = height
        super().__init__(f"what was served as block {height} is no block: the node that serves the blocks must be checked")


class AnswerNotKept(EngineStopped):
    """The operator answered that a transaction is final, and the block that it named does not hold it."""

    def __init__(self, transaction_id: bytes, height: int) -> None:
        """Name the transaction and the block."""
        self.transaction_id, self.height = transaction_id, height
        super().__init__(
            f"the operator said that transaction {transaction_id.hex()[:16]} is final in block {height}, but that block does not hold it: "
            "keep the answer and this node's data as evidence, and ask the other members"
        )


class NotOrdering(RuntimeError):
    """The network makes no blocks now. The engine goes on: it answers again as soon as the network does."""

    def __init__(self, since_s: int) -> None:
        """Say for how long."""
        self.since_s = since_s
        super().__init__(
            f"the network has made no block for {since_s} s, so nothing can be final: a third of its validators or more cannot be reached. "
            "A transaction that was on its way may still be committed; submit the same bytes again to learn what became of it"
        )


class BeginningMissing(RuntimeError):
    """This copy began with a snapshot and lacks the entries before it, one of which may be the transaction. The engine goes on."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(
            "this copy of the ledger does not hold its first entries yet, and the transaction may be one of them: nobody here can say what "
            "became of it; submit the same bytes again once they are fetched (`yilian network status` says how far that is)"
        )


class TooManyWaiting(RuntimeError):
    """As many transactions wait for their turn as may. The engine goes on; this one was not taken."""

    def __init__(self, waiting_max: int) -> None:
        """Say how many may wait."""
        self.waiting_max = waiting_max
        super().__init__(f"{waiting_max} transactions wait for their turn already: this one was not; submit the same bytes again later")


def stopped_by(error: sqlite3.Error, path: Path) -> EngineStopped:
    """Return the cause that a SQLite error stands for. An error that is our defect (wrong SQL, wrong type) is raised again as it is."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        raise error
    if code & _PRIMARY in _FULL:
        return DiskFull(path)
    if code & _PRIMARY in _CORRUPT:
        return StoreCorrupt(path, str(error))
    if code & _PRIMARY in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLocked(path)
    if code & _PRIMARY in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return DiskFailed(path, str(error))
    raise error
