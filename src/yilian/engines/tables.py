"""What the ledger's file holds: its tables, and their rows as values.

Tables   state    key -> value: what the rules see
         blocks   height -> header, app hash, the log after it, and in `body` every transaction's bytes and what became of it
         places   first 8 bytes of a transaction's id with `height << 20 | position`: where a transaction is
         tiles    the log's nodes (see `tiles`)
         days     UTC day -> log index of its leaf, and its access tags in ascending order
         changes  log index -> height of each entry or leaf that changed who the members are
         facts    "format", "genesis", "chain", "changes" (the table of that name is complete),
                  "tagged": `CBOR([[day, lanes over the rows of its tags], ...])` of days of which all are counted
                  of a copy that began with a snapshot "began", its height, and "horizon", the log's size
                  there, until what came before has been fetched
         staged   the rows of a snapshot that is being restored, in the state's own shape; it becomes `state` as a whole or is dropped
Source   design 02 "State" and "Engines"; ADR-0050.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yilian.base.kinds import Writes

SCHEMA = """
CREATE TABLE facts(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE state(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks(height INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, proposer TEXT NOT NULL, app_hash BLOB NOT NULL,
  log_size INTEGER NOT NULL, log_root BLOB NOT NULL, body BLOB NOT NULL);
CREATE INDEX blocks_by_log_size ON blocks(log_size);
CREATE TABLE places(prefix INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY(prefix, place)) WITHOUT ROWID;
CREATE TABLE tiles(key INTEGER PRIMARY KEY, hashes BLOB NOT NULL);
CREATE TABLE days(day INTEGER PRIMARY KEY, leaf INTEGER NOT NULL, tags BLOB NOT NULL);
"""
CHANGES = "CREATE TABLE IF NOT EXISTS changes(entry INTEGER PRIMARY KEY, height INTEGER NOT NULL)"
STAGED = "CREATE TABLE IF NOT EXISTS staged(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One row of `blocks`."""

    height: int
    time_ms: int
    proposer: str
    app_hash: bytes
    log_size: int
    log_root: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class DayRow:
    """One row of `days`; `tags` are 16 bytes each, one after the other."""

    day: int
    leaf: int
    tags: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """All that one block changes on disk. `block` is None for genesis."""

    chain: bytes
    writes: Writes
    block: BlockRow | None = None
    ids: Sequence[bytes] = ()
    tiles: dict[int, bytes] | None = None
    days: Sequence[DayRow] = ()
    changes: Sequence[int] = ()  # log indexes
    forgotten: tuple[bytes, bytes] | None = None  # the first and the last key of rows that left the state earlier, and the disk now
