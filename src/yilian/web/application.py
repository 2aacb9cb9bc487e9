"""One member's routes, put together."""

from __future__ import annotations

import asyncio
from collections import Counter

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from yilian.base.refusals import Refused
from yilian.engines import EngineStopped
from yilian.node import RETRY_AFTER_S, Node, NodeRefused
from yilian.records import RecordFault
from yilian.web import alliance, bulk, carrying, errors, following, login, metadata, openapi, own, patient, releasing
from yilian.web.heights import Heights


async def health(_request: Request) -> Response:
    """Say that the process answers."""
    return JSONResponse({"status": "up"})


async def ready(request: Request) -> Response:
    """Say whether the ledger can be read and written, and at which height this node stands; 503 with the reason if it cannot."""
    node: Node = request.app.state.node
    try:
        chain = node.members.final().view.chain
    except EngineStopped as stopped:
        return await errors.not_ready(request, stopped)
    stands = {"member": node.id, "network": node.network.hex(), "height": chain.height, "entries": chain.log.size}
    reason = node.members.engine.not_ready()
    if reason:
        return JSONResponse({"status": "not ready", "reason": reason, **stands}, 503, {"retry-after": str(RETRY_AFTER_S)})
    return JSONResponse({"status": "ready", **stands})


def application(node: Node) -> Starlette:
    """Return the ASGI application of a node."""
    routes: list[BaseRoute] = [Route("/health", health), Route("/ready", ready)]
    # `own` last: it takes all of /fhir
    for room in (openapi, releasing, login, metadata, bulk, carrying, following, patient, alliance, own):
        routes += room.ROUTES
    handlers = {
        NodeRefused: errors.refused,
        Refused: errors.refused,
        EngineStopped: errors.engine_stopped,
        RecordFault: errors.record_fault,
        HTTPException: errors.http_error,
        ClientDisconnect: errors.gone,
        Exception: errors.defect,
    }
    app = Starlette(routes=routes, middleware=[Middleware(Heights, node=node)], exception_handlers=handlers)  # by class, as documented
    app.state.node = node
    app.state.closing = asyncio.Event()
    app.state.streams = Counter()  # of blocks, that each address follows now
    return app
