"""Tables of node.db for what members do together: receipts, anchors, referrals, examinations. Part of `schema.SCHEMA`."""

from __future__ import annotations

from typing import Final

TABLES: Final = (
    # how far the log was read for what an export needs, and which of its entries changed the directory
    "CREATE TABLE followed (name TEXT PRIMARY KEY, height INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE directory_entries (entry_index INTEGER PRIMARY KEY)",
    # other members' signatures on log roots, fetched once; a root that is not ours is kept as evidence (`is_split`)
    """CREATE TABLE checkpoints (
        height INTEGER, member TEXT, signed BLOB NOT NULL, is_split INTEGER NOT NULL, PRIMARY KEY (height, member, is_split)
    ) WITHOUT ROWID""",
    # a tick that was built: written before it is submitted, so that a crash cannot lose which versions it covers
    """CREATE TABLE ticks (
        number INTEGER PRIMARY KEY, tx BLOB NOT NULL, exp_s INTEGER NOT NULL, records_root BLOB NOT NULL, versions BLOB NOT NULL,
        own_readings BLOB NOT NULL, entry_index INTEGER
    )""",
    # messages of referrals to other members: rows first, then the post, again and again until it is acknowledged
    """CREATE TABLE outbox (
        message_id BLOB PRIMARY KEY, peer TEXT NOT NULL, path TEXT NOT NULL, body BLOB NOT NULL, made_at_s INTEGER NOT NULL,
        sent_at_s INTEGER, refused TEXT
    ) WITHOUT ROWID""",
    "CREATE INDEX outbox_open ON outbox (made_at_s) WHERE sent_at_s IS NULL",
    # messages that were taken: a repeat gets the same answer
    """CREATE TABLE inbox (
        message_id BLOB PRIMARY KEY, sender TEXT NOT NULL, digest BLOB NOT NULL, received_at_s INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # one row per order that mutual recognition had something to say about; no patient
    """CREATE TABLE examinations (
        number INTEGER PRIMARY KEY, at_s INTEGER NOT NULL, loinc TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT, order_id BLOB NOT NULL UNIQUE,
        declared_index INTEGER
    )""",
    # declarations of avoided examinations: built, submitted, final
    "CREATE TABLE declarations (number INTEGER PRIMARY KEY, tx BLOB NOT NULL, exp_s INTEGER NOT NULL, until_number INTEGER NOT NULL,"
    " entry_index INTEGER)",
    # id-only notices (FHIR Subscription) that other members sent
    """CREATE TABLE heard (
        number INTEGER PRIMARY KEY, sender TEXT NOT NULL, focus TEXT NOT NULL, event INTEGER NOT NULL, at_s INTEGER NOT NULL,
        UNIQUE (sender, focus, event)
    )""",
)
