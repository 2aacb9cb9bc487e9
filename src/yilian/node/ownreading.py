"""A patient reads what a holder keeps of him: basis `patient`, logged like any access, in one call signed by R_h.

No grant, no presence, no practitioner: the signature of the enrolled key over target, request id and instant is all of it. The entry is
approved by the chart's own one-time key, so the patient finds it in his log.
Source   design 03 "access" (basis patient); design 04 "The patient's own view".
"""

from __future__ import annotations

from typing import Final

from yilian.base.artefacts import ReadRequest
from yilian.base.digests import sha256
from yilian.base.handovers import OwnReading
from yilian.base.keys import kid_of
from yilian.contracts.access import Basis
from yilian.node import reading, release
from yilian.node.asking import REQUEST_ID_SIZE
from yilian.node.charts import Chart
from yilian.node.member import Node
from yilian.node.refusals import No, NodeRefused, demand
from yilian.node.releases import Released
from yilian.node.schema import Stage
from yilian.records import Scope

STATEMENT_S_MAX: Final = 300
PURPOSE: Final = "PATRQT"  # v3-PurposeOfUse: patient requested


def chart_of(relationship_key: bytes, node: Node) -> Chart:
    """Return the chart on which this key is enrolled.

    Refuses  KEY_NOT_ENROLLED
    """
    chart = node.charts.of_kid(kid_of(relationship_key))
    if chart is None or chart.r_key != relationship_key:
        raise NodeRefused(No.KEY_NOT_ENROLLED)
    return chart


def who_asks(asked: OwnReading, node: Node) -> Chart:
    """Return the chart of who signed: the enrolled key, for this holder, now.

    Refuses  KEY_NOT_ENROLLED, NOT_SIGNED_BY_PATIENT, STATEMENT_ENDED
    """
    chart = chart_of(asked.relationship_key, node)
    is_for_us = asked.holder == node.id and len(asked.request_id) == REQUEST_ID_SIZE
    demand(is_for_us and asked.is_genuine(node.network), No.NOT_SIGNED_BY_PATIENT)
    now_s = node.members.final().now_s
    demand(now_s < asked.until_s <= now_s + STATEMENT_S_MAX, No.STATEMENT_ENDED, until_s=asked.until_s)
    return chart


async def read_own(asked: OwnReading, node: Node) -> Released:
    """Return what leaves: entered first, as for everybody.

    Refuses  NOT_SIGNED_BY_PATIENT, STATEMENT_ENDED, KEY_NOT_ENROLLED, NOT_READABLE, REQUEST_ID_USED, RELEASE_TOO_LATE, LEDGER_UNREACHABLE
    """
    chart = who_asks(asked, node)
    async with node.releases.alone(asked.request_id):
        prepared = node.releases.open.get(asked.request_id)
        digest = sha256(asked.signature)
        if prepared is None:
            row = node.releases.row(asked.request_id)
            if row is not None:  # of an earlier life of this process: what was never submitted is prepared again
                demand((row.digest, row.basis) == (digest, Basis.PATIENT), No.REQUEST_ID_USED)
                if row.stage not in (Stage.PREPARED, Stage.DROPPED):
                    return await release.sent_before(row, node)
            target = reading.parse_target("GET", asked.target, b"")
            demand(target.interaction != "emergency", No.NOT_READABLE)
            answer = reading.answer(node.store, target, Scope(patient_id=chart.patient_id), node.base_url)
            read = ReadRequest(node.id, node.id, "GET", asked.target, b"", PURPOSE, None, asked.request_id)
            prepared = await release.prepare_own(read, digest, chart, answer, node)
        demand(prepared.digest == digest and prepared.basis is Basis.PATIENT, No.REQUEST_ID_USED)
        if prepared.outcome is None:
            release.enter_own(prepared, node)
    return await release.outcome_of(prepared, node)
