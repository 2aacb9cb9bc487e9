"""What proves an entry: checkpoints, the roots of open days, statements with receipts, exports. Public: it names members and one-time keys.

GET /network/checkpoints/{height|latest}    a checkpoint of this member (COSE_Sign1)
GET /network/day-roots/{day}                its word on the root over a day's tags so far (CBOR)
GET /network/receipts/{id}                  the entry as a Transparent Statement, by its id (64 hex digits)
GET /network/entries/{index}                the same, by its index
GET /network/exports/{index}[?pinned=size]  a file for `yilian verify`; `pinned` is the size of a checkpoint that the reader keeps
GET /network/changes?since=INDEX            the next changes of members after an entry, an export for who follows them; without since: all
GET /network/consistency?old=&new=          the path that shows one log to be the beginning of another (CBOR)
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian.base.codec import encode
from yilian.node import No, NodeRefused, limits, receipts
from yilian.web.answers import CBOR, NO_STORE, address_of, hex_of, node_of

COSE: Final = "application/cose"
_DIGITS_MAX: Final = 19
_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


async def checkpoint(request: Request) -> Response:
    """Answer with this member's own signature on a root."""
    node, said = node_of(request), request.path_params["height"]
    height = receipts.latest(node) if said == "latest" else number(said)
    return Response(receipts.own_checkpoint(node, height).encoded(), media_type=COSE)


async def day_root(request: Request) -> Response:
    """Answer with this member's word on an open day."""
    said = receipts.own_day_answer(node_of(request), number(request.path_params["day"]))
    return Response(said.encoded(), media_type=CBOR, headers=NO_STORE)


async def by_id(request: Request) -> Response:
    """Answer with an entry and its receipts, by id."""
    statement = await receipts.statement_of(node_of(request), hex_of(request.path_params["id"]))
    return Response(statement, media_type=COSE, headers=_FOR_EVER)


async def by_index(request: Request) -> Response:
    """Answer with an entry and its receipts, by index."""
    statement = await receipts.statement_with_receipts(node_of(request), number(request.path_params["index"]))
    return Response(statement, media_type=COSE, headers=_FOR_EVER)


async def export(request: Request) -> Response:
    """Answer with a file that is checked offline."""
    pinned = request.query_params.get("pinned")
    index = number(request.path_params["index"])
    made = await receipts.export(node_of(request), [index], None if pinned is None else number(pinned))
    headers = {"Content-Disposition": f'attachment; filename="entry-{index}.yilian"'}
    return Response(made.encoded(), media_type=CBOR, headers=headers)


async def changes(request: Request) -> Response:
    """Answer with the next changes of members."""
    node, since = node_of(request), request.query_params.get("since")
    node.limits.spend(limits.CHANGES, address_of(request))
    made = await receipts.changes(node, -1 if since is None else number(since))
    return Response(made.encoded(), media_type=CBOR, headers=NO_STORE)


async def consistency(request: Request) -> Response:
    """Answer with a consistency proof of this member's own log."""
    old, new = (number(request.query_params.get(name, "")) for name in ("old", "new"))
    return Response(encode(receipts.consistency(node_of(request), old, new)), media_type=CBOR)


def number(text: str) -> int:
    """Return a number as a URL says it.

    Refuses  NOT_UNDERSTOOD
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise NodeRefused(No.NOT_UNDERSTOOD)
    return int(text)


ROUTES: list[BaseRoute] = [
    Route(receipts.CHECKPOINTS + "/{height}", checkpoint),
    Route(receipts.DAY_ROOTS + "/{day}", day_root),
    Route("/network/receipts/{id}", by_id),
    Route("/network/entries/{index}", by_index),
    Route("/network/exports/{index}", export),
    Route("/network/changes", changes),
    Route("/network/consistency", consistency),
]
