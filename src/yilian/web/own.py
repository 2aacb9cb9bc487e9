"""The member's own software at its own node, with a bearer token: its own FHIR API, other members' behind an ordinary GET, the desk.

/fhir/...                          the member's own records; every interaction is recorded before it is answered
GET|POST /members/{holder}/fhir/.. another member's, through its release gate. Headers: `Yilian-Practitioner`, `Yilian-Signature`,
                                   `Yilian-Request-Id`, `Yilian-Purpose`, and `Yilian-Grant`, `Yilian-Presence` or `Yilian-Reason`
POST /desk/challenge               [credential key, purpose, nonce32] -> SignedChallenge
POST /desk/offer                   [Desk, [[credential key, signature] ...]] -> EnrolAsk
POST /desk/enrolment/{nonce}       EnrolAnswer -> Relationship (no login: the wallet brings it, and it is signed)
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian.base.artefacts import ReadRequest
from yilian.base.handovers import EnrolAnswer
from yilian.node import No, Node, NodeRefused, asking, enrolment, limits, ownuse, requesting
from yilian.web.answers import NO_STORE, address_of, body_of, decoded_of, hex_of, node_of, own_of, shape_of, shaped

FHIR_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024


def _target(request: Request) -> str:
    """Return path and query exactly as they were sent: that is what a practitioner signs."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    query: bytes = request.scope["query_string"]
    return (raw + (b"?" + query if query else b"")).decode("ascii", "replace")


async def own_records(request: Request) -> Response:
    """Carry out an interaction on the member's own records."""
    node, _ = node_of(request), own_of(request)
    asked = ownuse.Interaction(
        method=request.method,
        target=_target(request),
        body=await body_of(request, FHIR_SIZE_BYTES_MAX),
        practitioner=ownuse.practitioner_named(request.headers.get("yilian-practitioner")),
        if_match=request.headers.get("if-match"),
        if_none_exist=request.headers.get("if-none-exist"),
        media_type=request.headers.get("content-type"),
    )
    written = await ownuse.interact(asked, node)
    answer, stored = written.answer, written.stored
    headers = dict(NO_STORE)
    if stored is not None:
        headers |= {"ETag": stored.etag, "Last-Modified": stored.last_updated, "Location": f"{node.base_url}/{stored.location}"}
    return Response(answer.body, answer.status, headers, answer.media_type)


async def elsewhere(request: Request) -> Response:
    """Read another member's records for a practitioner of this one."""
    node, _ = node_of(request), own_of(request)
    reading = _reading(request, await body_of(request), node)
    received = await requesting.read_elsewhere(reading, node)
    headers = dict(NO_STORE)
    if received.entry_index is not None and received.entry_id is not None:
        headers |= {"Yilian-Entry-Index": str(received.entry_index), "Yilian-Entry-Id": received.entry_id.hex()}
    if received.refusal is not None:
        headers["Yilian-Refusal"] = received.refusal
    return Response(received.body, received.status, headers, received.media_type)


def _reading(request: Request, body: bytes, node: Node) -> requesting.Reading:
    """Return what the headers say; the signature is over exactly this."""
    headers, holder = request.headers, request.path_params["holder"]
    control_key = hex_of(headers["yilian-grant"]) if "yilian-grant" in headers else None
    read = ReadRequest(
        holder=holder,
        requester=node.id,
        method=request.method,
        target=_target(request).removeprefix(f"/members/{holder}"),
        body=body,
        purpose=headers.get("yilian-purpose", ""),
        control_key=control_key,
        request_id=hex_of(headers.get("yilian-request-id")),
    )
    presence = asking.presence_of(hex_of(headers["yilian-presence"])) if "yilian-presence" in headers else None
    practitioner, signature = hex_of(headers.get("yilian-practitioner")), hex_of(headers.get("yilian-signature"))
    if len(read.request_id) != asking.REQUEST_ID_SIZE or not practitioner or not signature:
        raise NodeRefused(No.NOT_UNDERSTOOD)
    reason = unquote(headers["yilian-reason"]) if "yilian-reason" in headers else None
    return requesting.Reading(read, practitioner, signature, presence, reason)


async def challenge(request: Request) -> Response:
    """Make the challenge that the desk shows to a wallet."""
    node, _ = node_of(request), own_of(request)
    match await decoded_of(request):
        case [bytes(practitioner), str(purpose), bytes(nonce)]:
            return shaped(requesting.challenge(practitioner, purpose, nonce, node))
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)


async def offer(request: Request) -> Response:
    """Open the desk for the enrolment of one person, on the word of two staff."""
    node, asker = node_of(request), own_of(request)
    match await decoded_of(request):
        case [[str(patient_id), int(generation), int(level), str(method), bytes(nonce)], [*signatures]]:
            pairs = tuple(_pair(item) for item in signatures)
            return shaped(await enrolment.offer(enrolment.Desk(patient_id, generation, level, method, nonce), pairs, asker, node))
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)


async def enrol(request: Request) -> Response:
    """Take a wallet's answer to what the desk showed."""
    node = node_of(request)
    node.limits.spend(limits.GRANT_KEYS, address_of(request))
    answer = await shape_of(request, EnrolAnswer)
    return shaped(await enrolment.enrol(hex_of(request.path_params["nonce"]), answer, node))


def _pair(item: object) -> tuple[bytes, bytes]:
    match item:
        case [bytes(key), bytes(signature)]:
            return key, signature
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)


_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
ROUTES: list[BaseRoute] = [
    Route("/members/{holder}/fhir/{rest:path}", elsewhere, methods=["GET", "POST"]),
    Route("/desk/challenge", challenge, methods=["POST"]),
    Route("/desk/offer", offer, methods=["POST"]),
    Route("/desk/enrolment/{nonce}", enrol, methods=["POST"]),
    Route("/fhir", own_records, methods=["GET", "POST"]),
    Route("/fhir/{rest:path}", own_records, methods=_METHODS),
]
