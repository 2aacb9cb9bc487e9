"""A record's proof and corrections, for the member's own software (bearer token of the own client).

GET  /records/{type}/{id}/{version}/proof[?pinned=size]     -> a file for `yilian verify-record`; it holds the version itself
POST /records/{type}/{id}/{amended}/amended-by/{amending}   -> {"entry": index}, or null if that link was entered before (JSON)
"""

from __future__ import annotations

from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian.node import anchoring
from yilian.web.answers import CBOR, NO_STORE, node_of, own_of
from yilian.web.proofs import number

JSON: Final = "application/json"


async def proof(request: Request) -> Response:
    """Answer with a record's file."""
    node, _ = node_of(request), own_of(request)
    said, pinned = request.path_params, request.query_params.get("pinned")
    made = await anchoring.record_proof(node, said["type"], said["id"], said["version"], None if pinned is None else number(pinned))
    headers = NO_STORE | {"Content-Disposition": f'attachment; filename="{made.resource_type}-{made.resource_id}.yilian-record"'}
    return Response(made.encoded(), media_type=CBOR, headers=headers)


async def correct(request: Request) -> Response:
    """Link a version to the one that amends it."""
    node, _ = node_of(request), own_of(request)
    said = request.path_params
    index = await anchoring.correct(node, said["type"], said["id"], said["amended"], said["amending"])
    return Response(orjson.dumps({"entry": index}), media_type=JSON, headers=NO_STORE)


ROUTES: list[BaseRoute] = [
    Route("/records/{type}/{id}/{version}/proof", proof),
    Route("/records/{type}/{id}/{amended}/amended-by/{amending}", correct, methods=["POST"]),
]
