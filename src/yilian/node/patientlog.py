"""The patient's own view of a holder's log: one month of one chart, with everything that shows nothing is missing.

Shown     the entries of the month (by grant, the patient's own readings, emergencies, skipped numbers, marks) with AuditEvents and places
          in the log; for each closed day, where the asked tags stand under its leaf; for the others, under a signed root; the head.
Order     words on open days first, then the entries, then the log's root: what is shown is never older than what is said to be absent.
          An entry that is final but not yet written down here is waited for; one that never comes is the patient's to find.
Source    design 04 "The patient's own view"; shapes and check: `base.chartlogs`, `wallet.check` (ADR-0063, ADR-0086).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from yilian.base.chartlogs import ABSENT_AHEAD, LogAnswer, OpenDay, ShownDay, ShownEntry, places_of, sign_head
from yilian.base.codec import load
from yilian.base.digests import grant_tag, key_tag, sha256
from yilian.base.handovers import LogRequest
from yilian.base.keys import PUBLIC_KEY_SIZE
from yilian.base.times import day_of, month_days
from yilian.contracts import consent
from yilian.contracts.access import Basis
from yilian.node.charts import Chart
from yilian.node.member import Node
from yilian.node.ownreading import STATEMENT_S_MAX, chart_of
from yilian.node.receipts import checkpoints, consistency, day_answers, day_key, entry_at
from yilian.node.refusals import No, NodeRefused, demand

CONTROL_KEYS_MAX: Final = 512  # a wallet has a handful of grants at one holder
NONCE_SIZE: Final = 32
_SETTLES_S: Final = 2.0  # between an entry's being final and its row here lie milliseconds
_LOOK_EVERY_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class _Line:
    """One entry of the month: its index, and the AuditEvent it commits to."""

    index: int
    audit_event: bytes | None


@dataclass(frozen=True, slots=True)
class _Month:
    """What node.db has of a month; `count` is that of the chart's own numbers."""

    lines: tuple[_Line, ...]
    count: int


async def show_log(asked: LogRequest, node: Node) -> LogAnswer:
    """Return one month of a chart's log.

    Refuses  NOT_SIGNED_BY_PATIENT, STATEMENT_ENDED, KEY_NOT_ENROLLED, NOT_UNDERSTOOD, NOT_FINAL_YET, RECEIPT_NOT_AVAILABLE, SPLIT_VIEW
    """
    chart = _chart_of(asked, node)
    days = _days(asked.month, node)
    open_days = [(day, await day_answers(node, day)) for day in days if node.engine.daily_leaf(day) is None]
    month, tags = await _settled(chart, asked, [tags for _, said in open_days for _, tags in said], node)
    chain = node.engine.read().chain
    signed = await checkpoints(node, chain.height)
    size = signed[0].size
    assert chart.r_key is not None, "the chart was found by it"
    digest = sha256(node.keys.month_key(chart.id, asked.month))
    return LogAnswer(
        holder=node.id,
        month=asked.month,
        checkpoints=tuple(one.encoded() for one in signed),
        old_size=asked.seen_size,
        consistency=tuple(consistency(node, asked.seen_size, size)),
        head=sign_head(node.keys.node_key, node.network, chart.r_key, (asked.month, digest), month.count, chain.height),
        entries=tuple(_shown(line, size, node) for line in sorted(month.lines, key=lambda line: line.index)),
        days=await asyncio.to_thread(_closed, days, tags, size, node),
        state_answers=(),
        open_days=tuple(OpenDay(day, (word,), len(of_day), places_of(of_day, tags)) for day, said in open_days for word, of_day in said),
    )


def _chart_of(asked: LogRequest, node: Node) -> Chart:
    demand(asked.holder == node.id and asked.is_genuine(node.network), No.NOT_SIGNED_BY_PATIENT)
    demand(len(asked.nonce) == NONCE_SIZE and len(asked.control_keys) <= CONTROL_KEYS_MAX, No.NOT_UNDERSTOOD)
    demand(all(len(each) == PUBLIC_KEY_SIZE for each in asked.control_keys), No.NOT_UNDERSTOOD)
    now_s = node.members.final().now_s
    demand(now_s < asked.until_s <= now_s + STATEMENT_S_MAX, No.STATEMENT_ENDED, until_s=asked.until_s)
    return chart_of(asked.relationship_key, node)


def _days(month: int, node: Node) -> list[int]:
    """Return the days on which tags of a month are looked for, since the network began, until now."""
    last = day_of(max(node.members.final().now_s, node.engine.read().chain.time_ms // 1_000))
    try:
        return [day for day in month_days(month) if day_of(node.genesis.started_at_s) <= day <= last]
    except (ValueError, OverflowError) as error:  # no month of any calendar
        raise NodeRefused(No.NOT_UNDERSTOOD) from error


async def _settled(chart: Chart, asked: LogRequest, open_tags: Sequence[tuple[bytes, ...]], node: Node) -> tuple[_Month, tuple[bytes, ...]]:
    """Return the month and the tags that must be absent, once node.db has every entry that the open days' words speak of."""
    until = asyncio.get_running_loop().time() + _SETTLES_S
    while True:
        month = _month(chart, asked.month, node)
        tags, is_whole = _tags(chart, asked, month.count, node)
        is_whole = is_whole and not any(tag in of_day for of_day in open_tags for tag in tags)
        if is_whole or asyncio.get_running_loop().time() >= until:
            return month, tags
        await asyncio.sleep(_LOOK_EVERY_S)


def _tags(chart: Chart, asked: LogRequest, count: int, node: Node) -> tuple[tuple[bytes, ...], bool]:
    """Return the next numbers' tags of the month and of each grant; and whether every entry of those grants is written down here."""
    numbers = range(count, count + ABSENT_AHEAD)
    own = [key_tag(node.keys.entry_key(chart.id, asked.month, number).public_key) for number in numbers]
    by_grant, is_whole, view = [], True, node.engine.read()
    for control_key in asked.control_keys:
        row = consent.read(view, control_key)
        entries = 0 if row is None else row.entries
        (known,) = node.journal.one("SELECT count(*) FROM releases WHERE control_key = ? AND entry_index IS NOT NULL", (control_key,))
        is_whole = is_whole and known >= entries
        by_grant.append(grant_tag(control_key, entries))
    return (*own, *by_grant), is_whole


def _month(chart: Chart, month: int, node: Node) -> _Month:
    rows = node.journal.all(
        "SELECT request_id, basis, n, entry_index, audit_sealed FROM releases WHERE chart = ? AND month = ? AND entry_index IS NOT NULL",
        (chart.id, month),
    )
    lines, numbers, indexes = [], [], []
    for request_id, basis, number, index, sealed in rows:
        lines.append(_Line(index, node.releases.audit_event_of(chart.patient_id, request_id, sealed)))
        indexes.append(index)
        if basis != Basis.GRANT:
            numbers.append(number)
    for number, index in _skipped(chart, month, node):
        numbers.append(number)
        lines.append(_Line(index, None))
    lines += [_Line(mark, None) for index in indexes for mark in _marks(index, node)]
    return _Month(tuple(lines), max(numbers, default=-1) + 1)


def _skipped(chart: Chart, month: int, node: Node) -> Iterator[tuple[int, int]]:
    """Yield (number, index) of the month's skipped numbers; an index whose answer was lost is looked up by its tag."""
    for number, index in node.journal.all(
        "SELECT n, entry_index FROM skips WHERE chart = ? AND month = ? AND entry_index IS NOT NULL", (chart.id, month)
    ):
        if index >= 0:
            yield number, index
            continue
        view = node.engine.read()
        today = day_of(view.chain.time_ms // 1_000)
        tag = key_tag(node.keys.entry_key(chart.id, month, number).public_key)
        found = [view.get(day_key(day) + tag) for day in (today - 1, today)]
        yield from ((number, load(value)) for value in found if value is not None)


def _marks(index: int, node: Node) -> list[int]:
    """Return the indexes of the entries that mark an entry as unsent."""
    rows = node.journal.all("SELECT mark_index FROM unsents WHERE entry_index = ? AND mark_index >= 0", (index,))
    return [mark for (mark,) in rows]


def _shown(line: _Line, size: int, node: Node) -> ShownEntry:
    return ShownEntry(line.index, entry_at(node, line.index).data, tuple(node.engine.inclusion(line.index, size)), line.audit_event)


def _closed(days: Sequence[int], tags: Sequence[bytes], size: int, node: Node) -> tuple[ShownDay, ...]:
    """Return the closed days with the places of the asked tags. Called in a thread: a busy day's tree is tens of thousands of hashes."""
    shown = []
    for day in days:
        index = node.engine.daily_leaf(day)
        if index is None or index >= size:
            continue
        leaf = node.engine.entry(index)
        assert leaf is not None, "a closed day has its leaf"
        of_day = node.engine.access_tags(day)
        shown.append(ShownDay(index, leaf.data, tuple(node.engine.inclusion(index, size)), len(of_day), places_of(of_day, tags)))
    return tuple(shown)
