"""Tables of node.db for what members do together: receipts, anchors, referrals, examinations. Part of `schema.SCHEMA`."""

from __future__ import annotations

from typing import Final

TABLES: Final = (
    # up to which entry the receipts of changes of members are kept
    "CREATE TABLE followed (name TEXT PRIMARY KEY, height INTEGER NOT NULL) WITHOUT ROWID",
    # other members' signatures on log roots, fetched once; a root that is not ours is kept as evidence (`is_split`)
    """CREATE TABLE checkpoints (
        height INTEGER, member TEXT, signed BLOB NOT NULL, is_split INTEGER NOT NULL, PRIMARY KEY (height, member, is_split)
    ) WITHOUT ROWID""",
    # a tick that was built: written before it is submitted, so that a crash cannot lose which versions it covers
    """CREATE TABLE ticks (
        number INTEGER PRIMARY KEY, tx BLOB NOT NULL, exp_s INTEGER NOT NULL, records_root BLOB NOT NULL, versions BLOB NOT NULL,
        own_readings BLOB NOT NULL, entry_index INTEGER
    )""",
    # messages to other members: rows first, then the post, again and again until it is acknowledged or refused for good
    """CREATE TABLE outbox (
        message_id BLOB PRIMARY KEY, peer TEXT NOT NULL, kind TEXT NOT NULL, sealed BLOB NOT NULL, made_at_s INTEGER NOT NULL,
        acknowledged BLOB, refused TEXT
    ) WITHOUT ROWID""",
    "CREATE INDEX outbox_open ON outbox (made_at_s) WHERE acknowledged IS NULL AND refused IS NULL",
    # messages that were taken: a repeat gets the same answer
    """CREATE TABLE inbox (
        sender TEXT, message_id BLOB, digest BLOB NOT NULL, received_at_s INTEGER NOT NULL, PRIMARY KEY (sender, message_id)
    ) WITHOUT ROWID""",
    # referrals that were sent or received; `stage` 0: written down, not yet on the ledger. The package's k is in the vault
    """CREATE TABLE referrals (
        from_key BLOB PRIMARY KEY, referral_id BLOB NOT NULL UNIQUE, is_sent INTEGER NOT NULL, peer TEXT NOT NULL, stage INTEGER NOT NULL,
        is_received INTEGER NOT NULL, patient_id TEXT, changed_at_s INTEGER NOT NULL, package_sealed BLOB NOT NULL, asked BLOB,
        tx BLOB, exp_s INTEGER, entry_index INTEGER
    ) WITHOUT ROWID""",
    # steps after the request, ours (with the transaction) and the other side's
    """CREATE TABLE referral_steps (
        from_key BLOB, stage INTEGER, member TEXT NOT NULL, practitioner BLOB NOT NULL, signature BLOB NOT NULL, document_sealed BLOB,
        digest BLOB NOT NULL, at_s INTEGER NOT NULL, tx BLOB, exp_s INTEGER, entry_index INTEGER, PRIMARY KEY (from_key, stage)
    ) WITHOUT ROWID""",
    # one row per order that mutual recognition had something to say about; no patient
    """CREATE TABLE examinations (
        number INTEGER PRIMARY KEY, at_s INTEGER NOT NULL, loinc TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT,
        order_id BLOB NOT NULL UNIQUE, declared_index INTEGER
    )""",
    # declarations of avoided examinations: built, submitted, final
    """CREATE TABLE declarations (
        number INTEGER PRIMARY KEY, tx BLOB NOT NULL, exp_s INTEGER NOT NULL, until_number INTEGER NOT NULL, entry_index INTEGER
    )""",
    # id-only notices (FHIR Subscription) that other members sent
    """CREATE TABLE heard (
        number INTEGER PRIMARY KEY, sender TEXT NOT NULL, focus TEXT NOT NULL, event INTEGER NOT NULL, at_s INTEGER NOT NULL,
        UNIQUE (sender, focus, event)
    )""",
)
