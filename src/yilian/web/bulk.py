"""Bulk export for the member's own software (bearer token of the own client), as FHIR Bulk Data Access says it.

GET    /fhir/$export, /fhir/Patient/$export    `Prefer: respond-async` -> 202, `Content-Location`; without it, ndjson at once (`own`)
         _outputFormat (ndjson), _type, _since
GET    /fhir/$export-jobs/{job}                -> 202 with `X-Progress`, or 200 and the manifest, or what went wrong
DELETE /fhir/$export-jobs/{job}                -> 202; its files are gone
GET    /fhir/$export-jobs/{job}/{type}.ndjson  -> one file; each is an interaction of its own in the own-care series
Source   https://hl7.org/fhir/uv/bulkdata/STU2/export.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from yilian.node import exporting, ownuse, reading
from yilian.records import NotFound, instant
from yilian.web import errors
from yilian.web.answers import NO_STORE, node_of, own_of
from yilian.web.own import own_records

JOBS: Final = "/fhir/$export-jobs"
NDJSON: Final = "application/fhir+ndjson"
RETRY_AFTER_S: Final = 2


async def kick_off(request: Request) -> Response:
    """Begin an export, or answer at once where no other way was asked for."""
    if "respond-async" not in request.headers.get("prefer", ""):
        return await own_records(request)
    node, _ = node_of(request), own_of(request)
    path, query = request.url.path, request.scope["query_string"].decode("ascii", "replace")
    target = f"{path}?{query}" if query else path
    wanted = exporting.wanted_of(node.settings.endpoint + target, is_of_patients=path == "/fhir/Patient/$export", query=query)
    await _recorded(request, target, "")
    job = node_of(request).exports.start(wanted)
    return Response(status_code=202, headers=NO_STORE | {"Content-Location": f"{node.settings.endpoint}{JOBS}/{job.id}"})


async def status(request: Request) -> Response:
    """Say how far an export is, and where its files are."""
    node, _ = node_of(request), own_of(request)
    job = _job(request)
    if job.ended_at_s is None:
        progress = {"X-Progress": f"{sum(list(job.counts.values()))} resources", "Retry-After": str(RETRY_AFTER_S)}
        return Response(status_code=202, headers=NO_STORE | progress)
    if job.fault is not None:
        raise job.fault
    if job.case is not None:
        return errors.defective(request, job.case)
    manifest = {
        "transactionTime": instant(job.asked_at_ms),
        "request": job.wanted.request,
        "requiresAccessToken": True,
        "output": [
            {"type": name, "url": f"{node.settings.endpoint}{JOBS}/{job.id}/{name}.ndjson", "count": count}
            for name, count in sorted(job.counts.items())
        ],
        "error": [],
    }
    ends = format_datetime(datetime.fromtimestamp(job.ended_at_s + exporting.KEPT_S, UTC), usegmt=True)
    return Response(orjson.dumps(manifest), media_type="application/json", headers=NO_STORE | {"Expires": ends})


async def cancel(request: Request) -> Response:
    """End and forget an export."""
    own_of(request)
    node_of(request).exports.cancel(_job(request))
    return Response(status_code=202, headers=NO_STORE)


async def file(request: Request) -> Response:
    """Answer with one file of an export that is done."""
    own_of(request)
    job, name = _job(request), request.path_params["type"]
    if not job.is_done or name not in job.counts:
        raise NotFound("There is no such file.")
    await _recorded(request, f"{JOBS}/{job.id}/{name}.ndjson", name)
    return StreamingResponse(node_of(request).exports.lines(job, name), media_type=NDJSON, headers=NO_STORE)


def _job(request: Request) -> exporting.Job:
    """Return the export that the path names.

    Refuses  NotFound
    """
    job = node_of(request).exports.find(request.path_params["job"])
    if job is None:
        raise NotFound("There is no such export, or not any more.")
    return job


async def _recorded(request: Request, target: str, name: str) -> None:
    """Write the interaction into the own-care series before anything is answered."""
    practitioner = ownuse.practitioner_named(request.headers.get("yilian-practitioner"))
    answer = reading.Answer(200, NDJSON, b"", "export", name)
    await ownuse.record(ownuse.Interaction("GET", target, practitioner=practitioner), ownuse.Written(answer, None), node_of(request))


ROUTES: list[BaseRoute] = [
    Route("/fhir/$export", kick_off),
    Route("/fhir/Patient/$export", kick_off),
    Route(JOBS + "/{job}", status),
    Route(JOBS + "/{job}", cancel, methods=["DELETE"]),
    Route(JOBS + "/{job}/{type}.ndjson", file),
]
