"""After a release: what the ledger must still be told, and what a restart finds.

PREPARED dropped (a chart's tag is skipped). SUBMITTED: the same bytes again until `exp`, then skipped (basis grant: nothing). FINAL without
SENDING: sent if asked for inside the 30 s, else marked unsent. SENDING counts as released.
Source   design 04 "After a restart".
"""

from __future__ import annotations

import asyncio
from typing import Final

from yilian.base.digests import key_tag
from yilian.base.refusals import Reason
from yilian.base.transaction import approve
from yilian.contracts import access
from yilian.contracts.access import Basis, UnsentReason
from yilian.engines import Committed
from yilian.node.carriage import act_of
from yilian.node.housekeeping import PAUSE_S, duty, on_start
from yilian.node.member import Node
from yilian.node.offering import notice_of_no_entry
from yilian.node.refusals import NodeRefused
from yilian.node.release import why_not_send
from yilian.node.releases import PREPARED_S, SEND_S, Row
from yilian.node.schema import Stage

_SETTLED: Final = (Reason.ALREADY_UNSENT, Reason.TAG_USED)
"""Refusals that say the duty is done: by an earlier try whose answer was lost."""
KEPT_S: Final = PREPARED_S + 2 * SEND_S  # after this no call can ask for the bytes


@on_start
async def recover(node: Node) -> None:
    """Settle what an earlier life of this process left open, before anybody is answered."""
    for row in node.releases.rows_at(Stage.PREPARED):
        await node.releases.drop(row.request_id, notice_of_no_entry(row.request_id, node))
    for row in node.releases.rows_at(Stage.SUBMITTED, Stage.FINAL):
        await _settle(row, node)


@duty
async def settle_submitted(node: Node) -> None:
    """Carry on with releases whose submission got no answer, unless a call is carrying them right now.

    Refuses  LEDGER_UNREACHABLE
    """
    for row in node.releases.rows_at(Stage.SUBMITTED, Stage.FINAL):
        prepared = node.releases.open.get(row.request_id)
        if prepared is None:
            await _settle(row, node)


async def _settle(row: Row, node: Node) -> None:
    """Find out what became of a submitted entry and write it down. An unreachable ledger leaves the row as it is."""
    assert row.tx is not None, "SUBMITTED is written with the transaction"
    if row.stage == Stage.SUBMITTED:
        committed = await _again(row, row.tx, node)
        if committed is None:
            return
        if committed.index is None:
            await node.releases.refused(row.request_id, committed.reason, notice_of_no_entry(row.request_id, node))
            return
        await node.journal.execute(
            "UPDATE releases SET stage = ?, entry_index = ?, entry_id = ?, block_ms = ? WHERE request_id = ? AND stage = ?",
            (int(Stage.FINAL), committed.index, committed.id, committed.time_ms, row.request_id, int(Stage.SUBMITTED)),
        )
        row = _read_again(row, node)
    assert row.block_ms is not None and row.entry_index is not None and row.entry_id is not None, "FINAL has its entry"  # noqa: PT018 - one fact
    until_ms = row.block_ms + SEND_S * 1_000
    reason = why_not_send(row.control_key, until_ms, node)
    if reason is not None:
        marked = UnsentReason.INTERRUPTED if reason is UnsentReason.TOO_LATE else reason
        await node.releases.unsent(row.request_id, row.entry_index, row.entry_id, int(marked))
    else:
        _look_again(until_ms, node)


async def _again(row: Row, transaction: bytes, node: Node) -> Committed | None:
    """Return what became of the same bytes, offered again until `exp`; None if it never was entered, or that is not known yet."""
    try:
        committed = await node.carriage.outcome(transaction, row.exp_s)
    except NodeRefused:
        _look_again(max(row.exp_s * 1_000, node.members.clock_ms() + PAUSE_S * 1_000), node)  # or a beginning is still being fetched
        return None
    if committed is None:
        await node.releases.drop(row.request_id, notice_of_no_entry(row.request_id, node))
    return committed


def _read_again(row: Row, node: Node) -> Row:
    again = node.releases.row(row.request_id)
    assert again is not None, "rows are never deleted"
    return again


def _look_again(at_ms: int, node: Node) -> None:
    """Wake the housekeeping when an instant has passed."""
    wait_s = max(0, at_ms - node.members.clock_ms()) / 1_000 + 1
    asyncio.get_running_loop().call_later(wait_s, node.housekeeping.wake)


@duty
async def mark_unsent(node: Node) -> None:
    """Tell the ledger after which entries nothing was sent.

    Refuses  LEDGER_UNREACHABLE
    """
    for index, request_id, reason in node.journal.all("SELECT entry_index, request_id, reason FROM unsents WHERE mark_index IS NULL"):
        row = node.releases.row(request_id)
        assert row is not None, "an unsent entry has its release"
        is_by_grant = row.basis == Basis.GRANT
        key = node.keys.grant_key(row.holder_key or b"") if is_by_grant else node.keys.entry_key(row.chart, row.month, row.n)
        assert key is not None, "we approved the entry with it"
        protected, act = node.carriage.header("access.unsent"), act_of("access.unsent", access.Unsent(index, reason))
        committed = await node.carriage.submit(node.carriage.enveloped(protected, act, [approve(key, protected, act)]))
        if committed.is_accepted or committed.reason in _SETTLED:
            marked = -1 if committed.index is None else committed.index
            await node.journal.execute("UPDATE unsents SET mark_index = ? WHERE entry_index = ?", (marked, index))


@duty
async def skip_tags(node: Node) -> None:
    """Consume on the ledger the tags that were allotted and never recorded, so that a patient sees no gap.

    Refuses  LEDGER_UNREACHABLE
    """
    for chart, month, number in node.journal.all("SELECT chart, month, n FROM skips WHERE entry_index IS NULL"):
        key = node.keys.entry_key(chart, month, number)
        protected, act = node.carriage.header("access.skip"), act_of("access.skip", access.Skip(key_tag(key.public_key)))
        committed = await node.carriage.submit(node.carriage.enveloped(protected, act, [approve(key, protected, act)]))
        if committed.is_accepted or committed.reason in _SETTLED:
            marked = -1 if committed.index is None else committed.index
            await node.journal.execute(
                "UPDATE skips SET entry_index = ? WHERE chart = ? AND month = ? AND n = ?", (marked, chart, month, number)
            )


@duty
async def forget_bodies(node: Node) -> None:
    """Blank the bodies that no call can ask for any more: what was released is the requester's to keep, not a second copy here."""
    before_s = node.members.now_s() - KEPT_S
    row = node.journal.one("SELECT 1 FROM releases WHERE body_sealed IS NOT NULL AND prepared_at_s < ? LIMIT 1", (before_s,))
    if row is not None:
        await node.journal.execute(
            "UPDATE releases SET body_sealed = NULL WHERE body_sealed IS NOT NULL AND prepared_at_s < ? AND stage NOT IN (2, 3)",
            (before_s,),
        )
