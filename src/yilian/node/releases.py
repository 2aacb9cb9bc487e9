"""The releases of one holder: prepared in memory and in node.db, entered, sent once, remembered for ever by their request id."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from yilian.base.codec import encode
from yilian.contracts.access import Basis
from yilian.node.asking import Offer, parse_offer
from yilian.node.charts import Chart, Charts
from yilian.node.journal import Journal
from yilian.node.keys import Keys
from yilian.node.lanes import Lane
from yilian.node.reading import Answer
from yilian.node.refusals import No, NodeRefused, demand
from yilian.node.schema import Stage

NO_OFFER: Final = Offer(b"", b"", b"", b"", b"")  # until one is made
SEND_S: Final = 30  # design 04 step 6: bytes leave until block time + 30 s
PREPARED_S: Final = 120  # how long an offer waits for its approval, and a request id may be prepared again after a restart
OPEN_MAX: Final = 4_000  # prepared and not yet sent, at a time: a bound on memory
OPEN_EACH_MAX: Final = 1_000  # of these, for one requester: it does not take the others' places
OPEN_EACH_SIZE_BYTES_MAX: Final = 256 * 1024 * 1024  # their bodies, unless it is one alone


NoEntry = tuple[bytes, int] | None
"""(sealed notice, when) for the patient of a release that was offered and never entered; None: nobody is to be told."""


@dataclass(frozen=True, slots=True)
class Released:
    """What leaves: the bytes as fixed at PREPARED, the salt of their hash, and the entry that says so."""

    status: int
    media_type: str
    body: bytes
    salt: bytes
    entry_index: int
    entry_id: bytes
    until_ms: int


@dataclass(slots=True)
class Prepared:
    """One release between its call (a) and the end of its 30 seconds."""

    request_id: bytes
    digest: bytes
    requester: str
    practitioner: bytes | None
    purpose: str
    basis: Basis
    chart: Chart
    control_key: bytes | None
    approver: bytes  # whose approval is awaited; empty where the patient's own signature was enough
    answer: Answer
    audit_event: bytes
    request_salt: bytes
    salt: bytes
    prepared_at_s: int
    month: int
    holder_key: bytes | None = None  # of the grant
    opens: bool = False
    may_open: bool = False  # a session: the patient was shown to be here, or the grant is standing
    session: bytes | None = None
    number: int = -1  # of the grant's entry, or n of the chart's month; none allotted yet
    tag: bytes = b""
    offer: Offer = NO_OFFER
    exp_s: int = 0
    transaction: bytes | None = None
    released: Released | None = None
    outcome: asyncio.Task[Released] | None = None


@dataclass(slots=True)
class Releases:
    """What is under way, by request id and by grant; the rows are the memory beyond that."""

    journal: Journal
    keys: Keys
    charts: Charts
    open: dict[bytes, Prepared] = field(default_factory=dict)
    lanes: dict[bytes, Lane] = field(default_factory=dict)
    _next: dict[tuple[bytes, int], int] = field(default_factory=dict)
    _unsent_sizes: dict[str, dict[bytes, int]] = field(default_factory=dict)
    _preparing: dict[bytes, asyncio.Lock] = field(default_factory=dict)

    @asynccontextmanager
    async def alone(self, request_id: bytes) -> AsyncIterator[None]:
        """Let one caller at a time prepare a request id: who comes second finds what the first did."""
        turn = self._preparing.setdefault(request_id, asyncio.Lock())
        try:
            async with turn:
                yield
        finally:
            if not turn.locked():
                self._preparing.pop(request_id, None)

    def lane(self, control_key: bytes) -> Lane:
        """Return the lane of a grant."""
        return self.lanes.setdefault(control_key, Lane())

    def leave(self, prepared: Prepared) -> None:
        """Take an offer off its grant's lane."""
        if prepared.control_key is None or prepared.control_key not in self.lanes:
            return
        lane = self.lanes[prepared.control_key]
        lane.leave(prepared.request_id)
        if not lane.numbers and not lane.approved:
            del self.lanes[prepared.control_key]

    def next_number(self, chart: bytes, month: int) -> int:
        """Return the next n of a chart's month; it is written down with the release that uses it."""
        key = (chart, month)
        if key not in self._next:
            row = self.journal.one("SELECT next_n FROM months WHERE chart = ? AND month = ?", key)
            self._next[key] = 0 if row is None else row[0]
        self._next[key] += 1
        return self._next[key] - 1

    def count(self, chart: bytes, month: int) -> int:
        """Return how many numbers of a chart's month were allotted."""
        row = self.journal.one("SELECT next_n FROM months WHERE chart = ? AND month = ?", (chart, month))
        return max(self._next.get((chart, month), 0), 0 if row is None else row[0])

    async def keep(self, prepared: Prepared, challenge: bytes | None, challenge_until_s: int) -> None:
        """Write PREPARED, the tag's number and the use of the presence proof: all of it, durably, or nothing.

        Refuses  PRESENCE_USED, TOO_MANY_REQUESTS
        """
        theirs = self._unsent_sizes.setdefault(prepared.requester, {})
        is_small = not theirs or sum(theirs.values()) + len(prepared.answer.body) <= OPEN_EACH_SIZE_BYTES_MAX
        all_open = sum(len(each) for each in self._unsent_sizes.values())
        demand(is_small and len(theirs) < OPEN_EACH_MAX and all_open < OPEN_MAX, No.TOO_MANY_REQUESTS)
        context, patient_id = prepared.request_id, prepared.chart.patient_id
        row = (
            prepared.request_id,
            int(Stage.PREPARED),
            prepared.digest,
            prepared.requester,
            prepared.practitioner,
            int(prepared.basis),
            prepared.control_key,
            prepared.chart.id,
            prepared.month,
            prepared.number,
            prepared.prepared_at_s,
            prepared.answer.status,
            self.keys.seal(patient_id, prepared.answer.body, _context("body", context)),
            prepared.tag,
            prepared.holder_key,
            self.keys.seal(patient_id, prepared.audit_event, _context("audit", context)),
            prepared.answer.media_type,
            self.keys.seal(patient_id, prepared.offer.encoded(), _context("offer", context)),
            prepared.exp_s,
            prepared.salt,
        )

        def insert(db: sqlite3.Connection) -> None:
            if challenge is not None:
                db.execute("DELETE FROM presence_uses WHERE until_s < ?", (prepared.prepared_at_s - PREPARED_S,))
                bound = (challenge, prepared.request_id, challenge_until_s)
                db.execute("INSERT INTO presence_uses VALUES (?, ?, ?) ON CONFLICT (challenge) DO NOTHING", bound)
                (used_by,) = db.execute("SELECT request_id FROM presence_uses WHERE challenge = ?", (challenge,)).fetchone()
                demand(used_by == prepared.request_id, No.PRESENCE_USED)
            db.execute(
                "INSERT OR REPLACE INTO releases (request_id, stage, digest, requester, practitioner, basis, control_key, chart, month, n,"
                " prepared_at_s, status, body_sealed, tag, holder_key, audit_sealed, media_type, offer_sealed, exp_s, salt)"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                row,
            )
            if prepared.basis is not Basis.GRANT:
                month = (prepared.chart.id, prepared.month)
                next_n = db.execute("SELECT coalesce(max(next_n), 0) FROM months WHERE chart = ? AND month = ?", month).fetchone()[0]
                # numbers come here in the order in which they were allotted: one left out was of a release that was refused here
                lost = [(*month, n) for n in range(next_n, prepared.number)]
                db.executemany("INSERT INTO skips VALUES (?, ?, ?, NULL) ON CONFLICT DO NOTHING", lost)
                bound_month = (*month, prepared.number + 1)
                db.execute(
                    "INSERT INTO months VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next_n = max(next_n, excluded.next_n)", bound_month
                )

        await self.journal.write(insert)
        self.open[prepared.request_id] = prepared
        theirs[prepared.request_id] = len(prepared.answer.body)

    def forget(self, prepared: Prepared) -> None:
        """Take a release out of memory; its row stays."""
        self.open.pop(prepared.request_id, None)
        self._unsent_sizes.get(prepared.requester, {}).pop(prepared.request_id, None)
        self.leave(prepared)

    async def submitted(self, prepared: Prepared, transaction: bytes) -> None:
        """Write SUBMITTED with the whole transaction: durable before it is sent to the ledger (design 04: the outbox)."""
        offer = self.keys.seal(prepared.chart.patient_id, prepared.offer.encoded(), _context("offer", prepared.request_id))
        await self.journal.execute(
            "UPDATE releases SET stage = ?, tx = ?, exp_s = ?, offer_sealed = ?, tag = ? WHERE request_id = ?",
            (int(Stage.SUBMITTED), transaction, prepared.exp_s, offer, prepared.tag, prepared.request_id),
        )
        prepared.transaction = transaction

    async def refused(self, request_id: bytes, reason: int, told: NoEntry) -> None:
        """Write that the ledger refused: final, no byte leaves under this request id. `told` is the patient's notice of that, if any."""

        def update(db: sqlite3.Connection) -> None:
            db.execute(  # a chart's number that was allotted and will never be recorded is skipped on the ledger, or the patient sees a gap
                "INSERT INTO skips SELECT chart, month, n, NULL FROM releases WHERE request_id = ? AND basis <> 1 ON CONFLICT DO NOTHING",
                (request_id,),
            )
            bound = (int(Stage.REFUSED), reason, request_id)
            statement = "UPDATE releases SET stage = ?, reason = ?, body_sealed = NULL WHERE request_id = ? AND stage IN (1, 2)"
            if db.execute(statement, bound).rowcount == 1:
                _tell_of_no_entry(db, request_id, told)

        await self.journal.write(update)

    async def sending(self, prepared: Prepared, released: Released, notice: bytes, at_s: int) -> None:
        """Write SENDING and the patient's notice: durable before a byte leaves. From here on it counts as released."""
        block_ms = released.until_ms - SEND_S * 1_000
        bound = (int(Stage.SENDING), released.entry_index, released.entry_id, block_ms, prepared.request_id)
        patient_notice = (prepared.chart.id, at_s, "access", released.entry_index, notice)

        def update(db: sqlite3.Connection) -> None:
            db.execute("UPDATE releases SET stage = ?, entry_index = ?, entry_id = ?, block_ms = ? WHERE request_id = ?", bound)
            db.execute("INSERT INTO notices (chart, at_s, kind, entry_index, facts_sealed) VALUES (?, ?, ?, ?, ?)", patient_notice)
            if prepared.basis is Basis.EMERGENCY and prepared.opens:
                session = (prepared.tag, prepared.requester, prepared.chart.id, prepared.practitioner, at_s)
                db.execute("INSERT INTO emergencies (tag, requester, chart, practitioner, opened_at_s) VALUES (?, ?, ?, ?, ?)", session)

        await self.journal.write(update)
        prepared.released = released
        self._unsent_sizes.get(prepared.requester, {}).pop(prepared.request_id, None)

    async def resumed(self, row: Row, notice: bytes, at_s: int) -> bool:
        """Write SENDING and the patient's notice for an entry of an earlier life, once; say whether it counts as released now."""

        def update(db: sqlite3.Connection) -> bool:
            bound = (int(Stage.SENDING), row.request_id, int(Stage.FINAL))
            if db.execute("UPDATE releases SET stage = ? WHERE request_id = ? AND stage = ?", bound).rowcount == 1:
                told = (row.chart, at_s, "access", row.entry_index, notice)
                db.execute("INSERT INTO notices (chart, at_s, kind, entry_index, facts_sealed) VALUES (?, ?, ?, ?, ?)", told)
            (stage,) = db.execute("SELECT stage FROM releases WHERE request_id = ?", (row.request_id,)).fetchone()
            return bool(stage == Stage.SENDING)

        return await self.journal.write(update)

    async def unsent(self, request_id: bytes, index: int, entry_id: bytes, reason: int) -> None:
        """Write that nothing left under an entry, and that the ledger is to be told; what is SENDING already has left."""

        def update(db: sqlite3.Connection) -> None:
            bound = (int(Stage.UNSENT), index, entry_id, reason, request_id, int(Stage.SENDING))
            changed = db.execute(
                "UPDATE releases SET stage = ?, entry_index = ?, entry_id = ?, reason = ?, body_sealed = NULL"
                " WHERE request_id = ? AND stage <> ?",
                bound,
            ).rowcount
            if changed == 1:
                db.execute("INSERT INTO unsents VALUES (?, ?, ?, NULL) ON CONFLICT DO NOTHING", (index, request_id, reason))

        await self.journal.write(update)

    async def drop(self, request_id: bytes, told: NoEntry) -> None:
        """Write DROPPED for what was never entered; a tag that was allotted is to be skipped on the ledger. `told` is as in `refused`."""

        def update(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO skips SELECT chart, month, n, NULL FROM releases WHERE request_id = ? AND stage IN (1, 2) AND basis <> 1"
                " ON CONFLICT DO NOTHING",
                (request_id,),
            )
            bound = (int(Stage.DROPPED), request_id)
            statement = "UPDATE releases SET stage = ?, body_sealed = NULL, tx = NULL WHERE request_id = ? AND stage IN (1, 2)"
            if db.execute(statement, bound).rowcount == 1:
                _tell_of_no_entry(db, request_id, told)

        await self.journal.write(update)

    def row(self, request_id: bytes) -> Row | None:
        """Return what node.db remembers of a request id, or None."""
        found = self.journal.one(f"SELECT {', '.join(Row.__dataclass_fields__)} FROM releases WHERE request_id = ?", (request_id,))  # noqa: S608 - our own field names
        return None if found is None else Row(*found)

    def rows_at(self, *stages: Stage) -> list[Row]:
        """Return all releases at these stages."""
        marks = ",".join(str(int(stage)) for stage in stages)
        found = self.journal.all(f"SELECT {', '.join(Row.__dataclass_fields__)} FROM releases WHERE stage IN ({marks})")  # noqa: S608 - numbers
        return [Row(*each) for each in found]

    def offer_of(self, row: Row) -> Offer:
        """Return the offer that was made for a row."""
        return parse_offer(self.keys.open(self.charts.of_id(row.chart).patient_id, row.offer_sealed, _context("offer", row.request_id)))

    def audit_event_of(self, patient_id: str, request_id: bytes, sealed: bytes) -> bytes:
        """Return the AuditEvent of a release, as it was committed to."""
        return self.keys.open(patient_id, sealed, _context("audit", request_id))

    def released_of(self, row: Row) -> Released:
        """Return what a row's release sends.

        Refuses  RELEASE_TOO_LATE, if its bytes are gone
        """
        if row.body_sealed is None or row.block_ms is None or row.entry_index is None or row.entry_id is None:
            raise NodeRefused(No.RELEASE_TOO_LATE)
        body = self.keys.open(self.charts.of_id(row.chart).patient_id, row.body_sealed, _context("body", row.request_id))
        until_ms = row.block_ms + SEND_S * 1_000
        return Released(row.status, row.media_type, body, row.salt, row.entry_index, row.entry_id, until_ms)


def _tell_of_no_entry(db: sqlite3.Connection, request_id: bytes, told: NoEntry) -> None:
    if told is not None:
        notice, at_s = told
        db.execute(
            "INSERT INTO notices (chart, at_s, kind, entry_index, facts_sealed)"
            " SELECT chart, ?, 'no-entry', NULL, ? FROM releases WHERE request_id = ?",
            (at_s, notice, request_id),
        )


def _context(part: str, request_id: bytes) -> bytes:
    """Return what a sealed column is bound to: it cannot stand in for another row's or column's."""
    return encode([part, request_id])


@dataclass(frozen=True, slots=True)
class Row:
    """One row of `releases`; the fields are its columns."""

    request_id: bytes
    stage: int
    digest: bytes
    requester: str
    basis: int
    control_key: bytes | None
    chart: bytes
    month: int
    n: int
    prepared_at_s: int
    status: int
    media_type: str
    body_sealed: bytes | None
    offer_sealed: bytes
    tag: bytes
    holder_key: bytes | None
    tx: bytes | None
    exp_s: int
    entry_index: int | None
    entry_id: bytes | None
    block_ms: int | None
    reason: int | None
    salt: bytes
