"""Referrals over HTTP: the inbox for other members, and what the member's own software asks.

POST /network/inbox             Message -> Acknowledgement (CBOR): from member to member, sealed and signed (`node.postbox`)
POST /referrals                 Ask (CBOR) -> the referral (JSON)                                   own software
GET  /referrals[?side=received] -> {"referrals": [...]} (JSON): the inbox, or what was sent        own software
GET  /referrals/{from_key}      -> the referral with its papers (JSON)                              own software
POST /referrals/{from_key}/{accept|reject|start|complete|down|cancel}   StepAsk (CBOR) -> the referral (JSON)   own software
GET  /subscriptions/events?after=number   -> id-only notices of other members (JSON)                 own software
GET  /statistics/referrals      -> how long the steps of all referrals of the network took (JSON)  own software
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian.contracts.referral import Stage
from yilian.node import Node, postbox, referral_book, referral_papers, referral_statistics, referring, subscriptions
from yilian.web.answers import NO_STORE, hex_of, node_of, own_of, shape_of, shaped
from yilian.web.proofs import number

JSON: Final = "application/json"


async def inbox(request: Request) -> Response:
    """Take another member's message."""
    return shaped(await postbox.take(await shape_of(request, postbox.Message), node_of(request)))


async def ask(request: Request) -> Response:
    """Refer a patient."""
    node, _ = node_of(request), own_of(request)
    return _json(_shown(await referring.request(await shape_of(request, referring.Ask), node), node))


async def listed(request: Request) -> Response:
    """List referrals, the latest changed first."""
    node, _ = node_of(request), own_of(request)
    where = {"received": "is_sent = 0", "sent": "is_sent = 1"}.get(request.query_params.get("side", ""), "1")
    return _json({"referrals": [_shown(row, node) for row in referral_book.rows(node, where)]})


async def one(request: Request) -> Response:
    """Show one referral with its papers."""
    node, _ = node_of(request), own_of(request)
    row = referral_book.row(node, hex_of(request.path_params["from_key"]))
    package = referral_book.package_of(node, row)
    papers = {
        "service_request": orjson.loads(package.service_request),
        "patient": orjson.loads(package.patient),
        "grants": [grant.control_key.hex() for grant in package.grants],
        "practitioner": package.practitioner.hex(),
    }
    return _json(_shown(row, node) | papers)


async def step(request: Request) -> Response:
    """Take a step of a referral."""
    node, _ = node_of(request), own_of(request)
    from_key, act = hex_of(request.path_params["from_key"]), request.path_params["act"]
    return _json(_shown(await referring.step(act, from_key, await shape_of(request, referring.StepAsk), node), node))


async def statistics(request: Request) -> Response:
    """Show how long the steps of the network's referrals took."""
    node, _ = node_of(request), own_of(request)
    return _json(await asyncio.to_thread(referral_statistics.statistics, node))


def _shown(row: referral_book.Row, node: Node) -> dict[str, Any]:
    steps = [
        {
            "step": referral_papers.STEP_WORD[Stage(each.stage)],
            "by": each.member,
            "practitioner": each.practitioner.hex(),
            "at_s": each.at_s,
            "entry": each.entry_index,
            "has_document": each.document_sealed is not None,
        }
        for each in referral_book.steps(node, row.from_key)
    ]
    return {
        "from_key": row.from_key.hex(),
        "referral_id": row.referral_id.hex(),
        "side": "sent" if row.is_sent else "received",
        "peer": row.peer,
        "status": _status(row),
        "is_received": bool(row.is_received),
        "patient_id": row.patient_id,
        "changed_at_s": row.changed_at_s,
        "entry": row.entry_index,
        "steps": steps,
    }


def _status(row: referral_book.Row) -> str:
    if row.stage == 0:
        return "draft"
    stage = Stage(row.stage)
    return "received" if stage is Stage.REQUESTED and row.is_received else referral_papers.STEP_WORD[stage]


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type=JSON, headers=NO_STORE)


async def events(request: Request) -> Response:
    """Show which Tasks changed, by id only."""
    node, _ = node_of(request), own_of(request)
    after = number(request.query_params.get("after", "0"))
    return _json({"events": [asdict(each) for each in subscriptions.heard(node, after)]})


ROUTES: list[BaseRoute] = [
    Route("/subscriptions/events", events),
    Route(postbox.INBOX, inbox, methods=["POST"]),
    Route("/referrals", listed),
    Route("/referrals", ask, methods=["POST"]),
    Route("/referrals/{from_key}", one),
    Route("/referrals/{from_key}/{act}", step, methods=["POST"]),
    Route("/statistics/referrals", statistics),
]
