"""What wallets ask any node, without a login: an envelope, to be carried, a one-time key, to be heard. All bodies are CBOR.

POST /network/header     text: a kind's name             -> the protected bytes to approve
POST /network/submit     [header, act, [[key, signature] ...]] -> [id, index, height], or problem+json with the refusal
POST /network/grant-key                                  -> GrantKey
POST /network/revoked    RevokeNotice                    -> 204, once it is on the disk
POST /network/grants     [control key, sealed bundle]    -> 204: a patient hands the requester its grant
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian.base.codec import encode
from yilian.base.handovers import RevokeNotice
from yilian.base.refusals import Reason, Refused
from yilian.node import No, NodeRefused, limits, requesting, wallets
from yilian.web.answers import CBOR, NO_STORE, address_of, decoded_of, node_of, shape_of, shaped


async def header(request: Request) -> Response:
    """Answer with a fresh envelope of this member for one act."""
    node = node_of(request)
    node.limits.spend(limits.HEADERS, address_of(request))
    match await decoded_of(request):
        case str(kind_name):
            return Response(node.carriage.header_for(kind_name), media_type=CBOR, headers=NO_STORE)
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)


async def submit(request: Request) -> Response:
    """Carry what was approved in an envelope of ours."""
    node = node_of(request)
    node.limits.spend(limits.SUBMISSIONS, address_of(request))
    match await decoded_of(request):
        case [bytes(protected), bytes(act), [*approvals]]:
            pairs = [_approval(item) for item in approvals]
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)
    committed = await node.carriage.carry(protected, act, pairs)
    if committed.index is None:
        raise Refused(Reason(committed.reason), **committed.facts)
    node.housekeeping.wake()
    return Response(encode([committed.id, committed.index, committed.height]), media_type=CBOR, headers=NO_STORE)


async def grant_key(request: Request) -> Response:
    """Hand out a one-time key for one grant."""
    node = node_of(request)
    node.limits.spend(limits.GRANT_KEYS, address_of(request))
    return shaped(await wallets.hand_out_grant_key(node))


async def revoked(request: Request) -> Response:
    """Refuse a grant from now on."""
    node = node_of(request)
    node.limits.spend(limits.REVOCATIONS, address_of(request))
    await wallets.take_revocation(await shape_of(request, RevokeNotice), node)
    return Response(status_code=204, headers=NO_STORE)


async def grants(request: Request) -> Response:
    """Take a grant that names this member as the requester."""
    node = node_of(request)
    node.limits.spend(limits.GRANT_KEYS, address_of(request))
    match await decoded_of(request):
        case [bytes(control_key), bytes(sealed)]:
            await requesting.take_grant(control_key, sealed, node)
            return Response(status_code=204, headers=NO_STORE)
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)


def _approval(item: object) -> tuple[bytes, bytes]:
    match item:
        case [bytes(key), bytes(signature)]:
            return key, signature
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)


ROUTES: list[BaseRoute] = [
    Route("/network/header", header, methods=["POST"]),
    Route("/network/submit", submit, methods=["POST"]),
    Route("/network/grant-key", grant_key, methods=["POST"]),
    Route("/network/revoked", revoked, methods=["POST"]),
    Route("/network/grants", grants, methods=["POST"]),
]
