"""The ledger to read and to order through, for nodes that follow this one. Public: it names members and one-time keys, nothing more.

GET  /network/genesis                  the network's first word (CBOR)
GET  /network/blocks?since=H[&follow]  frames: u32 big-endian length, then a block as `engines` writes it; with `follow` it goes on,
                                       with `limit=N` it ends after N blocks or BLOCKS_SIZE_BYTES_MAX, whichever is sooner
POST /network/transactions             a transaction -> what became of it, as `engines` writes it
GET  /network/members                  the directory (JSON)
GET  /network/state/{key}              a signed state answer at the latest final height (CBOR)
GET  /network/grants/{beginning}       [[signed state answer, row] ...] of grants whose control keys begin so, at most 16 (CBOR)
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import islice
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from yilian.base.codec import encode
from yilian.base.transaction import TRANSACTION_SIZE_BYTES_MAX
from yilian.contracts import consent, directory
from yilian.engines import Block, EngineStopped, encode_block, encode_committed
from yilian.ledger import Chain, sign_answer
from yilian.node import No, Node, NodeRefused, limits
from yilian.web.answers import CBOR, NO_STORE, address_of, body_of, hex_of, node_of

FRAME_LENGTH_BYTES: Final = 4
KEY_LENGTH_MAX: Final = 64
BEGINNING_LENGTH_MIN: Final = 2  # who asks knows of a grant: one in 65,536 begins so, and nobody lists them all
GRANTS_MAX: Final = 16
HEIGHT_MAX: Final = 2**62
HEIGHT_DIGITS_MAX: Final = 19
LIMIT_DIGITS_MAX: Final = 3
BLOCKS_SIZE_BYTES_MAX: Final = 4_000_000  # about what one block of a busy consortium may take
STREAMS_MAX: Final = 64  # of one address at once: a member needs one, and a region of tens of members may share a machine


async def genesis(request: Request) -> Response:
    """Answer with the genesis."""
    return Response(node_of(request).genesis.encoded(), media_type=CBOR)


async def blocks(request: Request) -> Response:
    """Answer with all final blocks above a height, in frames."""
    text = request.query_params.get("since", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= HEIGHT_DIGITS_MAX and int(text) < HEIGHT_MAX):
        raise NodeRefused(No.NOT_UNDERSTOOD)
    node = node_of(request)
    node.engine.read()  # an engine that has stopped is said now: once frames flow there is no other answer than their end
    if int(text) < node.engine.began and node.engine.missing:  # this copy began with a snapshot: others have what came before
        raise NodeRefused(No.NOT_FINAL_YET, height=node.engine.began)
    if "limit" in request.query_params:
        said = request.query_params["limit"]
        if not (said.isascii() and said.isdigit() and 0 < len(said) <= LIMIT_DIGITS_MAX):
            raise NodeRefused(No.NOT_UNDERSTOOD)
        some = await asyncio.to_thread(_some, node, int(text), int(said))
        return Response(some, media_type="application/octet-stream", headers=NO_STORE)
    is_followed = "follow" in request.query_params
    streams: Counter[str] = request.app.state.streams
    address = address_of(request)
    if is_followed and streams[address] >= STREAMS_MAX:
        raise NodeRefused(No.TOO_MANY_REQUESTS, streams_max=STREAMS_MAX)
    frames = _frames(node, int(text), request.app.state.closing, is_followed=is_followed)
    if is_followed:
        frames = _counted(frames, streams, address)
    return StreamingResponse(frames, media_type="application/octet-stream", headers=NO_STORE)


def _some(node: Node, since_height: int, limit: int) -> bytes:
    """Return the frames of at most `limit` blocks."""
    frames = b""
    for height in range(since_height + 1, since_height + 1 + limit):
        block = node.engine.block(height)
        if block is None:
            break
        frames += _frame(encode_block(block))
        if len(frames) > BLOCKS_SIZE_BYTES_MAX:
            break
    return frames


async def _counted(frames: AsyncGenerator[bytes, None], streams: Counter[str], address: str) -> AsyncGenerator[bytes, None]:
    """Pass frames on; the address has one stream more meanwhile."""
    streams[address] += 1
    try:
        async with aclosing(frames):
            async for frame in frames:
                yield frame
    finally:
        streams[address] -= 1
        if not streams[address]:
            del streams[address]


async def _frames(node: Node, since_height: int, closing: asyncio.Event, *, is_followed: bool) -> AsyncGenerator[bytes, None]:
    """Yield frames; a stream that is followed ends when the server does, so that it does not hold up a shutdown."""
    height = since_height
    while not is_followed:
        try:
            block = node.engine.block(height + 1)
        except EngineStopped:
            return  # the same as with those who follow
        if block is None:
            return
        yield _frame(encode_block(block))
        height += 1
    coming = aiter(node.engine.blocks(since_height))
    ends = asyncio.ensure_future(closing.wait())
    following: asyncio.Future[Block] | None = None
    try:
        while not ends.done():
            following = asyncio.ensure_future(anext(coming))
            await asyncio.wait([following, ends], return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                return
            yield _frame(encode_block(following.result()))
    except EngineStopped:
        return  # whoever follows sees the stream end and asks again; who watches the engine says why it stopped
    finally:
        ends.cancel()
        if following is not None:  # who followed may have gone while it waited: nobody else would ever take what it came to
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def _frame(data: bytes) -> bytes:
    return len(data).to_bytes(FRAME_LENGTH_BYTES, "big") + data


async def transactions(request: Request) -> Response:
    """Order a transaction that another member signed."""
    node = node_of(request)
    node.limits.spend(limits.TRANSACTIONS, address_of(request))
    committed = await node.carriage.order(await body_of(request, TRANSACTION_SIZE_BYTES_MAX))
    return Response(encode_committed(committed), media_type=CBOR, headers=NO_STORE)


async def members(request: Request) -> Response:
    """Answer with all members there ever were."""
    view = node_of(request).engine.read()
    shown = [
        {
            "id": one.id,
            "kinds": list(one.kinds),
            "name": one.name,
            "endpoint": one.endpoint,
            "node_key": one.node_key.hex(),
            "sealing_key": one.sealing_key.hex(),
            "receipt_key": one.receipt_key.hex(),
            "power": one.power,
            "stage": one.stage.name.lower(),
        }
        for one in directory.members(view)
    ]
    return JSONResponse({"height": view.chain.height, "members": shown}, headers=NO_STORE)


async def state(request: Request) -> Response:
    """Answer, signed, with what the state holds at a key."""
    node, key = node_of(request), hex_of(request.path_params["key"])
    if not 0 < len(key) <= KEY_LENGTH_MAX:
        raise NodeRefused(No.NOT_UNDERSTOOD)
    view = node.engine.read()
    return Response(_answered(node, view.chain, key, view.get(key)), media_type=CBOR, headers=NO_STORE)


async def grants(request: Request) -> Response:
    """Answer with the ledger's rows of the grants that begin so: public, as every member has them, and none names a patient."""
    node, beginning = node_of(request), hex_of(request.path_params["beginning"])
    if not BEGINNING_LENGTH_MIN <= len(beginning) <= KEY_LENGTH_MAX:
        raise NodeRefused(No.NOT_UNDERSTOOD)
    view = node.engine.read()
    found = islice(view.scan(consent.PREFIX + beginning), GRANTS_MAX)
    return Response(encode([[_answered(node, view.chain, key, row), row] for key, row in found]), media_type=CBOR, headers=NO_STORE)


def _answered(node: Node, chain: Chain, key: bytes, value: bytes | None) -> bytes:
    at = (chain.height, chain.time_ms // 1_000)
    return sign_answer(node.keys.vault.receipt_key, node.network, at, (key, value)).encoded()


ROUTES: list[BaseRoute] = [
    Route("/network/genesis", genesis),
    Route("/network/blocks", blocks),
    Route("/network/transactions", transactions, methods=["POST"]),
    Route("/network/members", members),
    Route("/network/state/{key}", state),
    Route("/network/grants/{beginning}", grants),
]
