"""Small things that every inbound file needs: the node, the address, CBOR in and out."""

from __future__ import annotations

from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from yilian.base.codec import Malformed, decode
from yilian.base.shapes import pack, unpack
from yilian.node import No, Node, NodeRefused, tokens

CBOR: Final = "application/cbor"
BODY_SIZE_BYTES_MAX: Final = 1024 * 1024  # of a network message; FHIR bodies have their own bound
NO_STORE: Final = {"Cache-Control": "no-store"}
Shape = TypeVar("Shape")


def node_of(request: Request) -> Node:
    """Return the node that this application serves."""
    node: Node = request.app.state.node
    return node


def address_of(request: Request) -> str:
    """Return the remote address; all who come over a socket without one share a limit."""
    return request.client.host if request.client is not None else ""


async def body_of(request: Request, size_bytes_max: int = BODY_SIZE_BYTES_MAX) -> bytes:
    """Return the body, read no further than its bound.

    Refuses  NOT_UNDERSTOOD
    """
    pieces, size_bytes = [], 0
    async for piece in request.stream():
        size_bytes += len(piece)
        if size_bytes > size_bytes_max:
            raise NodeRefused(No.NOT_UNDERSTOOD, size_bytes_max=size_bytes_max)
        pieces.append(piece)
    return b"".join(pieces)


async def decoded_of(request: Request) -> object:
    """Return the body as the value it encodes.

    Refuses  NOT_UNDERSTOOD
    """
    try:
        return decode(await body_of(request))
    except Malformed as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error


async def shape_of(request: Request, shape: type[Shape]) -> Shape:
    """Return the body as the handover it must be.

    Refuses  NOT_UNDERSTOOD
    """
    try:
        return unpack(shape, await body_of(request))
    except Malformed as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error


def shaped(value: object) -> Response:
    """Answer with a handover."""
    return Response(pack(value), media_type=CBOR, headers=NO_STORE)


def asker_of(request: Request) -> tokens.Asker:
    """Return who the request's token speaks for.

    Refuses  TOKEN_MISSING, TOKEN_NOT_VALID, PROOF_NOT_VALID
    """
    node = node_of(request)
    url = node.settings.endpoint + request.url.path
    return node.tokens.authorize(request.headers.get("authorization"), request.headers.get("dpop"), request.method, url)


def own_of(request: Request) -> tokens.Asker:
    """Return the member's own software.

    Refuses  TOKEN_MISSING, TOKEN_NOT_VALID
    """
    return node_of(request).tokens.authorize_own(request.headers.get("authorization"))


def hex_of(text: str | None) -> bytes:
    """Return the bytes of a header or path part in hexadecimal.

    Refuses  NOT_UNDERSTOOD
    """
    try:
        return bytes.fromhex(text or "")
    except ValueError as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error
