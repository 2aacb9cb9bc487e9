"""Orders and screening, asked by the member's own software (bearer token of the own client).

POST /orders/check              OrderAsk (CBOR) -> what mutual recognition says (JSON); nothing is counted
POST /orders                    OrderAsk (CBOR) -> the same, counted once; 409 RESULT_VALID if a result is valid and no reason was stated
GET  /statistics/examinations   -> avoided, repeated by reason, declared in the network (JSON)
POST /screening/{patient}       [europe, asia_pacific, credential key or null] (CBOR; regions 0-3) -> scores, what was kept (JSON)

Whether another member has a valid result is asked through its release gate (ADR-0089):
GET /members/{holder}/fhir/Observation/$valid-result?patient=&code=&at=
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian.node import No, NodeRefused, assessing, examinations, recognition, screening
from yilian.web.answers import NO_STORE, decoded_of, node_of, own_of, shape_of

JSON: Final = "application/json"


async def check(request: Request) -> Response:
    """Say whether an order is needed."""
    node, _ = node_of(request), own_of(request)
    return _json(_verdict(await examinations.before_order(await shape_of(request, examinations.OrderAsk), node)))


async def place(request: Request) -> Response:
    """Count what becomes of an order."""
    node, _ = node_of(request), own_of(request)
    return _json(_verdict(await examinations.place_order(await shape_of(request, examinations.OrderAsk), node)))


async def statistics(request: Request) -> Response:
    """Show the counters."""
    node, _ = node_of(request), own_of(request)
    return _json(examinations.counters(node))


async def screened(request: Request) -> Response:
    """Screen one patient."""
    node, _ = node_of(request), own_of(request)
    match await decoded_of(request):
        case [int(europe), int(asia_pacific), (bytes() | None) as practitioner] if {europe, asia_pacific} <= set(screening.Region):
            regions = screening.Region(europe), screening.Region(asia_pacific)
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)
    found = await assessing.screen(request.path_params["patient"], regions, practitioner, node)
    scores = [{"score": score.value, **_score(made), "kept": found.kept.get(score)} for score, made in found.scores.items()]
    return _json({"suggests_referral": found.suggests_referral, "scores": scores})


def _verdict(verdict: examinations.Verdict) -> dict[str, Any]:
    match verdict:
        case recognition.Recognise(results, until_s):
            return {"verdict": "recognise", "until_s": until_s, "results": [_result(one) for one in results]}
        case recognition.RetestAllowed(reason, instead_of):
            return {"verdict": "retest-allowed", "reason": reason.value, "instead_of": [_result(one) for one in instead_of]}
        case _:
            return {"verdict": "unknown"}


def _result(one: recognition.Result) -> dict[str, Any]:
    return {"loinc": one.loinc, "effective_s": one.effective_s, "member": one.member}


def _score(made: screening.Assessment | screening.Unscored) -> dict[str, Any]:
    if isinstance(made, screening.Unscored):
        return {"why_not": made.why.value, "sentence": list(made.sentence)}
    return {"percent": made.percent, "category": made.category.value, "suggests_referral": made.suggests_referral}


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type=JSON, headers=NO_STORE)


ROUTES: list[BaseRoute] = [
    Route("/orders/check", check, methods=["POST"]),
    Route("/orders", place, methods=["POST"]),
    Route("/statistics/examinations", statistics),
    Route("/screening/{patient}", screened, methods=["POST"]),
]
