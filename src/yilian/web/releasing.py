"""The two calls of the release gate, as other members make them, and the co-signing of an emergency.

POST /network/release                     ReleaseCall (CBOR) -> Offer (CBOR)
POST /network/release/{request_id}        {approval} -> the bytes, with `Yilian-Entry-Index`, `Yilian-Entry-Id`, `Yilian-Response-Salt`;
                                          or 409 with a fresh Offer (CBOR)
POST /network/emergency/{tag}/cosign      [credential key, signature] -> until when the session lives (CBOR)
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian.base.codec import encode
from yilian.node import No, NodeRefused, Released, asking, emergency, release
from yilian.web.answers import CBOR, NO_STORE, asker_of, body_of, decoded_of, hex_of, node_of

OFFERED_ANEW: Final = 409


async def prepare(request: Request) -> Response:
    """Answer call (a)."""
    node, asker = node_of(request), asker_of(request)
    call = asking.parse_call(await body_of(request), node.id, asker.member)
    offer = await release.prepare(call, asker, node)
    return Response(offer.encoded(), media_type=CBOR, headers=NO_STORE)


async def send(request: Request) -> Response:
    """Answer call (b): the bytes, once the entry is final."""
    node, asker = node_of(request), asker_of(request)
    request_id = hex_of(request.path_params["request_id"])
    approval = asking.approval_of(await body_of(request))
    try:
        released = await release.release(request_id, approval, asker, node)
    except release.OfferedAnew as anew:
        return Response(anew.offer.encoded(), OFFERED_ANEW, NO_STORE, CBOR)
    return sent(released)


def sent(released: Released) -> Response:
    """Answer with what was released and the entry that says so."""
    headers = {
        "Yilian-Entry-Index": str(released.entry_index),
        "Yilian-Entry-Id": released.entry_id.hex(),
        "Yilian-Response-Salt": released.salt.hex(),
        **NO_STORE,
    }
    return Response(released.body, released.status, headers, released.media_type)


async def cosign(request: Request) -> Response:
    """Take the second person's signature on an emergency."""
    node, asker = node_of(request), asker_of(request)
    match await decoded_of(request):
        case [bytes(key), bytes(signature)]:
            until_s = await emergency.cosign(hex_of(request.path_params["tag"]), key, signature, asker, node)
            return Response(encode(until_s), media_type=CBOR, headers=NO_STORE)
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)


ROUTES: list[BaseRoute] = [
    Route("/network/release", prepare, methods=["POST"]),
    Route("/network/release/{request_id}", send, methods=["POST"]),
    Route("/network/emergency/{tag}/cosign", cosign, methods=["POST"]),
]
