"""The patient's own view of a holder, besides reading: the log, notices, the own staff's readings. Signed by R_h; no login.

POST /patient/log       LogRequest                                      -> LogAnswer (CBOR): one month, with its proofs
POST /patient/notices   OwnReading of `/patient/notices?after=number`   -> JSON {"notices": [...]}
POST /patient/own-care  OwnReading of `/patient/own-care?after=number`  -> OwnCare (CBOR): readings that ticks cover, with their places
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian.base.chartlogs import OwnCare
from yilian.base.handovers import LogRequest, OwnReading
from yilian.node import No, Node, NodeRefused, anchoring, charts, limits, notices, ownreading, patientlog
from yilian.web.answers import NO_STORE, address_of, node_of, shape_of, shaped
from yilian.web.proofs import number

NOTICES: Final = "/patient/notices"
OWN_CARE: Final = "/patient/own-care"


async def log(request: Request) -> Response:
    """Answer one month of a chart's log."""
    node = node_of(request)
    node.limits.spend(limits.PATIENT_READS, address_of(request))
    return shaped(await patientlog.show_log(await shape_of(request, LogRequest), node))


async def told(request: Request) -> Response:
    """Answer with what the patient is told."""
    node = node_of(request)
    chart, after = _asked(await shape_of(request, OwnReading), NOTICES, request, node)
    shown = [asdict(one) for one in notices.notices(node, chart, after)]
    return Response(orjson.dumps({"notices": shown}), media_type="application/json", headers=NO_STORE)


async def own_care(request: Request) -> Response:
    """Answer with what the holder's own staff did."""
    node = node_of(request)
    chart, after = _asked(await shape_of(request, OwnReading), OWN_CARE, request, node)
    return shaped(OwnCare(node.id, anchoring.own_readings(node, chart, after)))


def _asked(asked: OwnReading, path: str, request: Request, node: Node) -> tuple[charts.Chart, int]:
    """Return the chart of who asks, and the number to go on from.

    Refuses  TOO_MANY_REQUESTS, NOT_SIGNED_BY_PATIENT, STATEMENT_ENDED, KEY_NOT_ENROLLED, NOT_UNDERSTOOD
    """
    node.limits.spend(limits.PATIENT_READS, address_of(request))
    chart = ownreading.who_asks(asked, node)
    said, _, query = asked.target.partition("?")
    if said != path or not (query == "" or query.startswith("after=")):
        raise NodeRefused(No.NOT_UNDERSTOOD)
    return chart, number(query.removeprefix("after=") or "0")


ROUTES: list[BaseRoute] = [
    Route("/patient/log", log, methods=["POST"]),
    Route(NOTICES, told, methods=["POST"]),
    Route(OWN_CARE, own_care, methods=["POST"]),
]
