"""Anchoring: once in each window the member shows, in two roots, what records it has and what its own staff read.

A tick      is built, written down with what it covers, submitted, and only then are the versions marked; the same bytes are submitted
            again after a crash. What a lost tick covered is covered by the next. After an outage one tick covers all.
Own care    leaf n is the AuditEvent's detail under `artefacts.own_key(K, n)`: whoever has the chart's K and the event can find it.
Source      design 03 "anchor"; design 04 "Anchors and correction"; ADR-0087.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any, Final

from yilian.base.chartlogs import OwnReadingShown
from yilian.base.codec import encode, load
from yilian.base.digests import sha256
from yilian.base.merkle import inclusion_path, leaf_hash, root
from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import parse_header
from yilian.contracts import anchor, directory
from yilian.engines import Committed
from yilian.ledger import Anchored, RecordProof
from yilian.node.carriage import act_of
from yilian.node.charts import Chart
from yilian.node.housekeeping import duty
from yilian.node.member import Node
from yilian.node.receipts import export
from yilian.node.refusals import No, NodeRefused, demand
from yilian.records import Pending, Proof

WAIT_S_MIN: Final = 1  # between two looks at the clock


# --- ticks


@duty
async def tick_in_time(node: Node) -> None:
    """Tick if the running window has none of ours yet, and wish to be woken for the next.

    Refuses  LEDGER_UNREACHABLE
    """
    interval_s = directory.parameter(node.engine.read(), "anchor_interval_s")
    try:
        await tick(node)
    finally:
        now_s = node.members.final().now_s
        node.housekeeping.wake_in(max(WAIT_S_MIN, (now_s // interval_s + 1) * interval_s - now_s))


async def tick(node: Node) -> int | None:
    """Anchor what was written since the last tick, also if that is nothing; return the entry's index, or None if it is not time yet.

    Refuses  LEDGER_UNREACHABLE, what the ledger refuses but TICKED_ALREADY
    """
    await _settle_all(node)
    final = node.members.final()
    last = anchor.last_tick(final.view, node.id)
    interval_s = directory.parameter(final.view, "anchor_interval_s")
    if last is not None and final.now_s // interval_s <= last.at_s // interval_s:
        return None
    number, transaction = await _built(node)
    committed = await node.carriage.submit(transaction)
    await _settled(node, number, committed)
    if committed.index is None and committed.reason != Reason.TICKED_ALREADY:
        raise Refused(Reason(committed.reason), **committed.facts)
    return committed.index


async def _built(node: Node) -> tuple[int, bytes]:
    """Write down a tick over all that is open, and return its number and bytes."""
    pending = await asyncio.to_thread(node.store.pending_for_anchor)
    readings = node.journal.all("SELECT number, leaf FROM own_readings WHERE tick_index IS NULL ORDER BY number")
    own_care_root = root([leaf_hash(leaf) for _, leaf in readings])
    protected = node.carriage.header("anchor.tick")
    transaction = node.carriage.enveloped(protected, act_of("anchor.tick", anchor.Tick(pending.records_root, own_care_root)), ())
    versions, numbers = encode(list(pending.numbers)), encode([number for number, _ in readings])
    row = (transaction, parse_header(protected).exp_s, pending.records_root, versions, numbers)

    def insert(db: sqlite3.Connection) -> int:
        added = db.execute("INSERT INTO ticks (tx, exp_s, records_root, versions, own_readings) VALUES (?, ?, ?, ?, ?)", row).lastrowid
        assert added is not None, "a row was added"
        return added

    return await node.journal.write(insert), transaction


async def _settle_all(node: Node) -> None:
    """Find out what became of ticks whose answer was lost."""
    for number, transaction, exp_s in node.journal.all("SELECT number, tx, exp_s FROM ticks WHERE entry_index IS NULL ORDER BY number"):
        known = await node.carriage.outcome(transaction, exp_s)
        if known is None:
            await node.journal.execute("DELETE FROM ticks WHERE number = ?", (number,))
        else:
            await _settled(node, number, known)


async def _settled(node: Node, number: int, committed: Committed) -> None:
    """Mark what a final tick covers; forget one that was refused."""
    if committed.index is None:
        await node.journal.execute("DELETE FROM ticks WHERE number = ?", (number,))
        return
    index = committed.index
    records_root, versions, readings = node.journal.one(
        "SELECT records_root, versions, own_readings FROM ticks WHERE number = ?", (number,)
    )
    covered: Any = load(versions)
    read: Any = load(readings)
    await asyncio.to_thread(node.store.anchored, index, Pending(records_root, tuple(covered)))

    def update(db: sqlite3.Connection) -> None:
        places = [(index, position, each) for position, each in enumerate(read)]
        db.executemany("UPDATE own_readings SET tick_index = ?, position = ? WHERE number = ? AND tick_index IS NULL", places)
        db.execute("UPDATE ticks SET entry_index = ?, versions = x'80', own_readings = x'80' WHERE number = ?", (index, number))

    await node.journal.write(update)


# --- the own staff's readings (written by `ownuse`)


def own_readings(node: Node, chart: Chart, after: int = 0, count: int = 100) -> tuple[OwnReadingShown, ...]:
    """Return the own staff's readings of a chart that ticks cover, ascending, from the one after number `after`."""
    rows = node.journal.all(
        "SELECT number, audit_sealed, tick_index, position FROM own_readings WHERE chart = ? AND number > ? AND tick_index IS NOT NULL"
        " ORDER BY number LIMIT ?",
        (chart.id, after, count),
    )
    leaves: dict[int, list[bytes]] = {}
    proofs = []
    for number, sealed, tick_index, position in rows:
        if tick_index not in leaves:
            of_tick = node.journal.all("SELECT leaf FROM own_readings WHERE tick_index = ? ORDER BY position", (tick_index,))
            leaves[tick_index] = [leaf_hash(leaf) for (leaf,) in of_tick]
        event = node.keys.open(chart.patient_id, sealed, encode(["own", node.id]))
        path = tuple(inclusion_path(leaves[tick_index], position))
        proofs.append(OwnReadingShown(number, event, tick_index, position, len(leaves[tick_index]), path))
    return tuple(proofs)


# --- corrections and proofs


async def correct(node: Node, resource_type: str, resource_id: str, amended_version: str, amending_version: str) -> int | None:
    """Link an anchored version to the one that amends it; return the entry's index, or None if that very link was entered before.

    Refuses  NOT_ANCHORED, LEDGER_UNREACHABLE, what the ledger refuses (ALREADY_CORRECTED by another), NotFound
    """
    amended = node.store.proof(resource_type, resource_id, amended_version)
    amending = node.store.proof(resource_type, resource_id, amending_version)
    demand(amended.is_anchored, No.NOT_ANCHORED)
    before = anchor.correction(node.engine.read(), amended.tick_index, amended.commitment)
    if before is not None and before.amending == amending.commitment:
        return None
    message = anchor.Correct(
        amended.tick_index,
        amended.commitment,
        sha256(amended.erase_pk),
        amended.position,
        amended.size,
        list(amended.path),
        amending.commitment,
    )
    protected = node.carriage.header("anchor.correct")
    committed = await node.carriage.submit(node.carriage.enveloped(protected, act_of("anchor.correct", message), ()))
    if committed.index is None:
        raise Refused(Reason(committed.reason), **committed.facts)
    return committed.index


async def record_proof(node: Node, resource_type: str, resource_id: str, version_id: str, pinned_size: int | None = None) -> RecordProof:
    """Return a file by which anyone can check, offline, that a version stood unaltered since its tick. It holds the version itself.

    `anchored` is None until a tick covers the version: then it proves nothing yet, and the check says so.

    Refuses  NotFound, RECORD_ERASED, RECEIPT_NOT_AVAILABLE
    """
    found = node.store.proof(resource_type, resource_id, version_id)
    if found.k is None:
        raise NodeRefused(No.RECORD_ERASED)
    return RecordProof(
        node.network,
        node.id,
        found.stored.type,
        found.stored.id,
        str(found.stored.version_id),
        found.received,
        found.k,
        found.erase_pk,
        await _anchored(node, found, pinned_size),
    )


async def _anchored(node: Node, found: Proof, pinned_size: int | None) -> Anchored | None:
    if not found.is_anchored:
        return None
    exported = await export(node, [found.tick_index], pinned_size)
    return Anchored(found.tick_index, found.position, found.size, found.path, exported.encoded())
