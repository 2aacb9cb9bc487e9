"""The tables of the SQLite store, how a connection is opened, and what becomes of SQLite's errors.

Layout   ADR-0020. WAL with synchronous=FULL: what was answered is on the disk.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from yilian.records.faults import StoreUnavailable

LAYOUT: Final = 1
"""The version of this layout; another one in the file is refused."""
BUSY_MS: Final = 5_000
CACHE_KIB: Final = 4_096
"""Page cache per connection; eight members of a demonstration in one process stay small."""
MMAP_BYTES: Final = 64 * 1024 * 1024

DDL: Final = """
CREATE TABLE fact(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE parameter(id INTEGER PRIMARY KEY, type TEXT NOT NULL, code TEXT NOT NULL, UNIQUE(type, code));
CREATE TABLE person(handle INTEGER PRIMARY KEY, id TEXT NOT NULL);
CREATE TABLE labelset(id INTEGER PRIMARY KEY, codes TEXT NOT NULL UNIQUE);
CREATE TABLE resource(
  id INTEGER PRIMARY KEY, handle INTEGER NOT NULL UNIQUE, type INTEGER NOT NULL, rid TEXT NOT NULL,
  version INTEGER NOT NULL, head INTEGER NOT NULL, updated_ms INTEGER NOT NULL, deleted INTEGER NOT NULL,
  patient INTEGER NOT NULL, from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, labels INTEGER NOT NULL);
CREATE INDEX resource_by_type ON resource(type, deleted, id);
CREATE INDEX resource_by_time ON resource(type, updated_ms);
CREATE INDEX resource_by_patient ON resource(patient, type, id);
CREATE TABLE version(
  id INTEGER PRIMARY KEY, resource INTEGER NOT NULL, version INTEGER NOT NULL, updated_ms INTEGER NOT NULL, method TEXT NOT NULL,
  patient INTEGER NOT NULL, from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, labels INTEGER NOT NULL,
  digest BLOB NOT NULL, key_id BLOB NOT NULL, commitment BLOB NOT NULL, erase_pk BLOB NOT NULL, batch INTEGER, position INTEGER,
  body BLOB NOT NULL);
CREATE UNIQUE INDEX version_of ON version(resource, version);
CREATE INDEX version_pending ON version(id) WHERE batch IS NULL;
CREATE INDEX version_batch ON version(batch, position) WHERE batch IS NOT NULL;
CREATE TABLE batch(id INTEGER PRIMARY KEY, tick_index INTEGER NOT NULL, root BLOB NOT NULL, size INTEGER NOT NULL);
CREATE TABLE member(patient INTEGER NOT NULL, resource INTEGER NOT NULL, PRIMARY KEY(patient, resource)) WITHOUT ROWID;
CREATE TABLE ix(parameter INTEGER NOT NULL, value INTEGER NOT NULL, resource INTEGER NOT NULL,
  PRIMARY KEY(parameter, value, resource)) WITHOUT ROWID;
CREATE TABLE ix_range(parameter INTEGER NOT NULL, key INTEGER NOT NULL, low NUMERIC NOT NULL, high NUMERIC NOT NULL,
  usystem INTEGER NOT NULL, unit INTEGER NOT NULL, resource INTEGER NOT NULL,
  PRIMARY KEY(parameter, key, resource, low, high, usystem, unit)) WITHOUT ROWID;
CREATE INDEX ix_range_low ON ix_range(parameter, key, low, high);
CREATE TABLE ix_string(parameter INTEGER NOT NULL, text TEXT NOT NULL, exact INTEGER NOT NULL, resource INTEGER NOT NULL,
  PRIMARY KEY(parameter, text, resource, exact)) WITHOUT ROWID;
"""

SENTENCES: Final = (
    ("full", "The disk is full: free space on the store's volume; nothing of this request was written."),
    ("no space left", "The disk is full: free space on the store's volume; nothing of this request was written."),
    ("malformed", "The record database is damaged: restore it from a backup, then replay; nothing was written."),
    ("not a database", "The record database is damaged or not ours: restore it from a backup; nothing was written."),
    ("locked", "The record database is locked by another process: stop it, then try again."),
    ("readonly", "The record database cannot be written: check its owner and the volume's mount options."),
    ("no such file", "The record database cannot be opened: check that its folder exists and may be written."),
    ("permission denied", "The record database cannot be opened: check that its folder exists and may be written."),
    ("unable to open", "The record database cannot be opened: check that its folder exists and may be written."),
    ("disk i/o", "The disk under the record database fails: check the volume; nothing of this request was written."),
)


@contextmanager
def named() -> Iterator[None]:
    """Turn SQLite's own errors into StoreUnavailable; what is our defect (a wrong statement) stays what it is."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except (sqlite3.DatabaseError, OSError) as error:
        said = str(error).lower()
        sentence = next((s for part, s in SENTENCES if part in said), None)
        if sentence is None:
            raise
        raise StoreUnavailable(sentence) from error


def connect(path: Path, *, for_writing: bool) -> sqlite3.Connection:
    """Open one connection with our settings; the tables are there afterwards."""
    if for_writing:
        path.touch(mode=0o600)  # SQLite gives its journal the same rights
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=BUSY_MS / 1000)
    db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    db.execute(f"PRAGMA mmap_size={MMAP_BYTES}")
    db.execute("PRAGMA temp_store=MEMORY")  # no sorted names in a temporary file
    if for_writing:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        _prepare(db)
    else:
        db.execute("PRAGMA query_only=ON")
    return db


def _prepare(db: sqlite3.Connection) -> None:
    """Create the tables in an empty file; refuse a file of another layout."""
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found == LAYOUT:
        return
    if found or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreUnavailable(f"The record database has layout {found}, this program reads {LAYOUT}: use the program that wrote it.")
    db.execute("BEGIN IMMEDIATE")
    for statement in DDL.split(";"):
        if statement.strip():
            db.execute(statement)
    db.execute("INSERT INTO fact VALUES('fold', ?)", (secrets.token_bytes(32),))
    db.execute(f"PRAGMA user_version={LAYOUT}")
    db.execute("COMMIT")
