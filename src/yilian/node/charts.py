"""Charts: which patient's record a relationship key opens, and how that key was proved. One row per patient this member knows.

A chart without R_h has a log all the same (an emergency comes before any enrolment): K is drawn at first contact.
Source   design 04 "Enrolment"; design 03 "access".
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from yilian.base.codec import decode
from yilian.base.keys import kid_of
from yilian.node.journal import Journal
from yilian.node.keys import Keys

CHART_SIZE: Final = 16
CACHED_MAX: Final = 100_000
_COLUMNS: Final = "chart, patient_id, r_key, s_key, generation, level, method, clerks, enrolled_at_s, height, nonce, answer"


@dataclass(frozen=True, slots=True)
class Chart:
    """One patient at this member. The fields after `patient_id` are None until somebody was enrolled."""

    id: bytes
    patient_id: str
    r_key: bytes | None = None
    s_key: bytes | None = None
    generation: int = 0
    level: int | None = None
    method: str | None = None
    clerks: tuple[bytes, ...] = ()
    enrolled_at_s: int | None = None
    height: int | None = None
    nonce: bytes | None = None
    answer: bytes | None = None

    @property
    def is_enrolled(self) -> bool:
        """Say whether a wallet's key stands on the chart."""
        return self.r_key is not None


class Charts:
    """The charts of one member, remembered by patient and by the kid of R_h."""

    def __init__(self, journal: Journal, keys: Keys) -> None:
        self._journal = journal
        self._keys = keys
        self._known: dict[str | bytes, Chart] = {}

    def of_patient(self, patient_id: str) -> Chart | None:
        """Return the chart of a Patient resource, or None."""
        return self._find(patient_id, "patient_id = ?", patient_id)

    def of_id(self, chart: bytes) -> Chart:
        """Return a chart that exists."""
        found = self._find(chart, "chart = ?", chart)
        assert found is not None, "charts are never deleted"
        return found

    def of_kid(self, kid: bytes) -> Chart | None:
        """Return the chart on which the relationship key with this kid stands now, or None."""
        known = self._known.get(b"kid" + kid)
        if known is not None:
            return known
        row = self._journal.one(f"SELECT {_COLUMNS} FROM charts WHERE kid = ?", (kid,))  # noqa: S608 - our own column names
        return None if row is None else self._remember(_chart(row))

    async def meet(self, patient_id: str) -> Chart:
        """Return the patient's chart, begun now if this is the first contact."""
        known = self.of_patient(patient_id)
        if known is not None:
            return known
        chart = secrets.token_bytes(CHART_SIZE)
        await self._keys.draw_chart_key(chart)

        def insert(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO charts (chart, patient_id) VALUES (?, ?) ON CONFLICT (patient_id) DO NOTHING", (chart, patient_id))

        await self._journal.write(insert)
        met = self.of_patient(patient_id)
        assert met is not None, "just written"
        return met

    def forget(self, chart: Chart) -> None:
        """Read the chart again next time: its row has changed."""
        for name in (chart.id, chart.patient_id, b"kid" + kid_of(chart.r_key) if chart.r_key is not None else b""):
            self._known.pop(name, None)

    def _find(self, name: str | bytes, where: str, bound: str | bytes) -> Chart | None:
        known = self._known.get(name)
        if known is not None:
            return known
        row = self._journal.one(f"SELECT {_COLUMNS} FROM charts WHERE {where}", (bound,))  # noqa: S608 - `where` is ours
        return None if row is None else self._remember(_chart(row))

    def _remember(self, chart: Chart) -> Chart:
        if len(self._known) >= CACHED_MAX:
            self._known.clear()
        self._known[chart.id] = self._known[chart.patient_id] = chart
        if chart.r_key is not None:
            self._known[b"kid" + kid_of(chart.r_key)] = chart
        return chart


def _chart(row: tuple[Any, ...]) -> Chart:
    chart, patient_id, r_key, s_key, generation, level, method, clerks, enrolled_at_s, height, nonce, answer = row
    signed: Any = [] if clerks is None else decode(clerks)
    return Chart(chart, patient_id, r_key, s_key, generation, level, method, tuple(signed), enrolled_at_s, height, nonce, answer)
