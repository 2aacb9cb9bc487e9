"""The keys that were drawn, one row each, in a database of their own: sealed under the member's vault key, gone when destroyed.

File     `vault.db`: SQLite, WAL, synchronous=FULL, secure_delete, opened by one process at a time. Row (kind, name) -> AES-256-GCM of the
         key with `CBOR([kind, name])` as associated data, so that a row can neither be read nor exchanged by who has the file alone.
Limit    what a disk or a file system keeps of overwritten blocks is beyond us: ADR-0061.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable
from enum import IntEnum
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from yilian.base.codec import encode
from yilian.vault.faults import VaultCorrupt, VaultInUse, VaultMissing

NONCE_BYTES: Final = 12
CACHED_MAX: Final = 100_000  # keys in memory, about 20 MB; older ones are read again
_SCHEMA: Final = """
CREATE TABLE key (kind INTEGER NOT NULL, name BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE owner (member_key BLOB NOT NULL);
"""


class Kind(IntEnum):
    """What a key is for. Numbers are permanent."""

    GRANT = 1  # name: public key; value: the 16-byte id it was derived from
    DATA = 2  # name: patient; value: AES-256 key of the bodies
    VERSION = 3  # name: version key id; value: k of a record's commitment
    ERASE = 4  # name: patient; value: public key of who may say that versions were erased
    CONSENT = 5  # name: control key; value: k of a Consent's commitment
    CHART = 6  # name: chart; value: K of the chart's log
    OTHER = 7  # name: whatever the node calls it


class Shelf:
    """All drawn keys of one member, with a memory in front."""

    def __init__(self, path: Path, member_key: bytes, vault_key: bytes, entropy: Callable[[int], bytes], *, is_new: bool) -> None:
        """Open the database, or make it.

        Raises   VaultMissing, VaultInUse, VaultCorrupt
        """
        if not is_new and not path.exists():
            raise VaultMissing(f"{path} is not there: restore it from its own backup")
        self._path = path
        self._box = AESGCM(vault_key)
        self._entropy = entropy
        self._turn = threading.RLock()
        self._known: dict[tuple[int, bytes], bytes] = {}
        if is_new:
            path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
        try:
            self._prepare(member_key, is_new=is_new)
        except sqlite3.OperationalError as error:
            self._db.close()
            if "locked" in str(error):
                raise VaultInUse(f"{path} is open in another process: one node at a time works on a data folder") from error
            raise VaultCorrupt(f"{path} cannot be read ({error}): restore it from its own backup") from error
        except (sqlite3.DatabaseError, VaultCorrupt) as error:
            self._db.close()
            raise VaultCorrupt(f"{path} is damaged or of another member: restore it from its own backup") from error

    def _prepare(self, member_key: bytes, *, is_new: bool) -> None:
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {pragma}")
        if is_new:
            self._db.executescript(_SCHEMA)
            self._db.execute("INSERT INTO owner VALUES (?)", (member_key,))
        self._db.execute("BEGIN EXCLUSIVE")
        self._db.execute("COMMIT")
        if self._db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise VaultCorrupt("quick_check")
        if self._db.execute("SELECT member_key FROM owner").fetchall() != [(member_key,)]:
            raise VaultCorrupt("owner")

    def put(self, kind: Kind, keys: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep (name, key) pairs, all or none; they are on disk when this returns. An old key of the name is replaced."""
        rows = list(keys)
        sealed = [(int(kind), name, self._seal(kind, name, key)) for name, key in rows]
        with self._turn:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT OR REPLACE INTO key VALUES (?, ?, ?)", sealed)
            except sqlite3.Error:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            for name, key in rows:
                self._remember(kind, name, key)

    def get(self, kind: Kind, name: bytes) -> bytes | None:
        """Return the key, or None if there is none (any more).

        Raises   VaultCorrupt
        """
        known = self._known.get((kind, name))
        if known is not None:
            return known
        with self._turn:
            row = self._db.execute("SELECT sealed FROM key WHERE kind = ? AND name = ?", (int(kind), name)).fetchone()
            if row is None:
                return None
            try:
                key = self._box.decrypt(row[0][:NONCE_BYTES], row[0][NONCE_BYTES:], encode([kind, name]))
            except InvalidTag as error:
                raise VaultCorrupt(f"a key in {self._path} is damaged: restore the file from its own backup") from error
            self._remember(kind, name, key)
            return key

    def destroy(self, kind: Kind, names: Iterable[bytes]) -> int:
        """Forget keys for good and return how many there were: overwritten in the file, and the write-ahead log emptied."""
        with self._turn:
            gone = 0
            self._db.execute("BEGIN IMMEDIATE")
            for name in names:
                gone += self._db.execute("DELETE FROM key WHERE kind = ? AND name = ?", (int(kind), name)).rowcount
                self._known.pop((kind, name), None)
            self._db.execute("COMMIT")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return gone

    def names(self, kind: Kind) -> list[bytes]:
        """Return the names of all keys of a kind, ascending."""
        with self._turn:
            return [name for (name,) in self._db.execute("SELECT name FROM key WHERE kind = ? ORDER BY name", (int(kind),))]

    def backup(self, to: Path) -> None:
        """Write a copy of the database, while in use; it stays sealed under the member's seed."""
        with self._turn, sqlite3.connect(to) as copy:
            self._db.backup(copy)
        copy.close()

    def close(self) -> None:
        """Leave; the next process may open it."""
        with self._turn:
            self._known.clear()
            self._db.close()

    def _seal(self, kind: Kind, name: bytes, key: bytes) -> bytes:
        nonce = self._entropy(NONCE_BYTES)
        return nonce + self._box.encrypt(nonce, key, encode([kind, name]))

    def _remember(self, kind: Kind, name: bytes, key: bytes) -> None:
        if len(self._known) >= CACHED_MAX:
            self._known.pop(next(iter(self._known)))
        self._known[kind, name] = key
