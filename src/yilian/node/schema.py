"""The tables of node.db. Columns that hold health data end in `_sealed`: AES-256-GCM under the patient's data key, so that
an erasure takes them along.

Life of a release (design 04): PREPARED -> SUBMITTED -> FINAL -> SENDING, or UNSENT, REFUSED, DROPPED. PREPARED needs no memory of its own
beyond the request id, which is never forgotten: a practitioner's signature opens one answer, once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from yilian.node.alliance_schema import TABLES

VERSION: Final = 3
HANDED_KEYS: Final = (
    # one-time keys that were handed to whoever asked, until they are swept or found in a grant (`handedkeys`)
    "CREATE TABLE handed_keys (key BLOB PRIMARY KEY, end_s INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX handed_keys_by_end ON handed_keys (end_s)",
)
NO_CHANGES: Final = ("DROP TABLE directory_entries", "DELETE FROM followed WHERE name = 'changes'")  # the ledger's store has them now
UPGRADES: Final = {1: HANDED_KEYS, 2: NO_CHANGES}
"""What makes the tables of a version those of the next. Keys that were handed out before are not swept: nobody knows which they are."""


class Stage(IntEnum):
    """Where a release stands. Numbers are permanent: they are on disks."""

    PREPARED = 1
    SUBMITTED = 2
    FINAL = 3
    SENDING = 4
    UNSENT = 5
    REFUSED = 6
    DROPPED = 7


SCHEMA: Final = (
    # one row per chart: whose keys and how they were proved (design 04 "Enrolment"); K is in the vault; NULL until the desk
    """CREATE TABLE charts (
        chart BLOB PRIMARY KEY, patient_id TEXT NOT NULL UNIQUE,
        r_key BLOB UNIQUE, kid BLOB UNIQUE, s_key BLOB, generation INTEGER NOT NULL DEFAULT 0, level INTEGER, method TEXT, clerks BLOB,
        enrolled_at_s INTEGER, height INTEGER, nonce BLOB, answer BLOB
    ) WITHOUT ROWID""",
    """CREATE TABLE offers (
        nonce BLOB PRIMARY KEY, patient_id TEXT NOT NULL, generation INTEGER NOT NULL, level INTEGER NOT NULL, method TEXT NOT NULL,
        clerks BLOB NOT NULL, until_s INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # next number of a chart's own tags in a month (not basis grant)
    "CREATE TABLE months (chart BLOB, month INTEGER, next_n INTEGER NOT NULL, PRIMARY KEY (chart, month)) WITHOUT ROWID",
    # the artefact of each grant as it was first shown and checked: [consent bytes, signature]; its k is in the vault
    """CREATE TABLE consents (
        control_key BLOB PRIMARY KEY, chart BLOB NOT NULL, evidence_sealed BLOB NOT NULL, seen_at_s INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE releases (
        request_id BLOB PRIMARY KEY, stage INTEGER NOT NULL, digest BLOB NOT NULL, requester TEXT NOT NULL, practitioner BLOB,
        basis INTEGER NOT NULL, control_key BLOB, chart BLOB NOT NULL, month INTEGER, n INTEGER, prepared_at_s INTEGER NOT NULL,
        status INTEGER NOT NULL, body_sealed BLOB, audit_sealed BLOB NOT NULL, tag BLOB NOT NULL, holder_key BLOB,
        media_type TEXT NOT NULL, offer_sealed BLOB NOT NULL, tx BLOB, exp_s INTEGER, entry_index INTEGER, entry_id BLOB, block_ms INTEGER,
        reason INTEGER, salt BLOB NOT NULL
    )""",
    "CREATE INDEX releases_bodies ON releases (prepared_at_s) WHERE body_sealed IS NOT NULL",
    "CREATE INDEX releases_open ON releases (stage) WHERE stage IN (1, 2, 3)",
    "CREATE INDEX releases_by_chart ON releases (chart, entry_index)",
    "CREATE TABLE presence_uses (challenge BLOB PRIMARY KEY, request_id BLOB NOT NULL, until_s INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE assertions (jti TEXT PRIMARY KEY, until_s INTEGER NOT NULL) WITHOUT ROWID",
    # revocations told directly; of a grant on the ledger never deleted, of one that never came kept for an hour
    """CREATE TABLE revocations (
        control_key BLOB PRIMARY KEY, revoked_at_s INTEGER NOT NULL, signature BLOB NOT NULL, told_at_s INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # tags that were allotted and never recorded: to be skipped on the ledger, so that the patient sees no gap
    "CREATE TABLE skips (chart BLOB, month INTEGER, n INTEGER, entry_index INTEGER, PRIMARY KEY (chart, month, n)) WITHOUT ROWID",
    # entries after which nothing was sent: to be marked on the ledger
    "CREATE TABLE unsents (entry_index INTEGER PRIMARY KEY, request_id BLOB NOT NULL, reason INTEGER NOT NULL, mark_index INTEGER)",
    # emergency sessions: opened by P1, co-signed by P2 or over after 15 minutes
    """CREATE TABLE emergencies (
        tag BLOB PRIMARY KEY, requester TEXT NOT NULL, chart BLOB NOT NULL, practitioner BLOB NOT NULL, opened_at_s INTEGER NOT NULL,
        cosigner BLOB, cosigned_at_s INTEGER
    ) WITHOUT ROWID""",
    """CREATE TABLE notices (
        number INTEGER PRIMARY KEY, chart BLOB NOT NULL, at_s INTEGER NOT NULL, kind TEXT NOT NULL, entry_index INTEGER,
        facts_sealed BLOB NOT NULL
    )""",
    "CREATE INDEX notices_by_chart ON notices (chart, number)",
    # the holder's own staff's readings, and the ticks that cover them (design 03 "anchor")
    # `leaf` is the AuditEvent's detail under artefacts.own_key: what the tick's own_care_root is made of
    """CREATE TABLE own_readings (
        number INTEGER PRIMARY KEY, chart BLOB NOT NULL, at_s INTEGER NOT NULL, leaf BLOB NOT NULL, audit_sealed BLOB NOT NULL,
        tick_index INTEGER, position INTEGER
    )""",
    "CREATE INDEX own_readings_open ON own_readings (number) WHERE tick_index IS NULL",
    "CREATE INDEX own_readings_by_chart ON own_readings (chart, number)",
    # grants that patients handed to this member as a requester: the bundle, sealed under the member's own key
    """CREATE TABLE held (
        control_key BLOB PRIMARY KEY, holder TEXT NOT NULL, bundle_sealed BLOB NOT NULL, taken_at_s INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # what this member, as a requester, was released: its evidence
    """CREATE TABLE receipts (
        request_id BLOB PRIMARY KEY, holder TEXT NOT NULL, control_key BLOB, entry_index INTEGER NOT NULL, entry_id BLOB NOT NULL,
        evidence_sealed BLOB NOT NULL, at_s INTEGER NOT NULL
    ) WITHOUT ROWID""",
    *HANDED_KEYS,
    *TABLES,
)
