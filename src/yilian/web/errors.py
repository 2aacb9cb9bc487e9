"""Every no and every defect as HTTP: OperationOutcome where FHIR is spoken, problem+json elsewhere.

Refusals carry their permanent number, name and facts, which are public; a defect carries a number under which the operator's
log has the rest: the type and the places in the code, and not what the exception says, which may quote a record.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from yilian.base.refusals import Refused
from yilian.engines import EngineStopped
from yilian.node import RETRY_AFTER_S, No, NodeRefused, noted, number_and_name, said, status_of, without_words
from yilian.records import Issue, RecordFault, operation_outcome

PROBLEM: Final = "application/problem+json"
FHIR_JSON: Final = "application/fhir+json"
CLIENT_GONE: Final = 400  # nobody reads it
REFUSAL_SYSTEM: Final = "urn:yilian:refusal:"
_ISSUE_TYPES: Final = {400: "invalid", 401: "login", 403: "forbidden", 404: "not-found", 405: "not-supported", 409: "conflict",
                       410: "expired", 413: "too-long", 415: "not-supported", 429: "throttled", 503: "transient"}  # fmt: skip
_log = logging.getLogger("yilian.web")


def speaks_fhir(path: str) -> bool:
    """Say whether a path is one where FHIR is spoken."""
    return "/fhir" in path


def _answer(request: Request, status: int, number: int, name: str, facts: dict[str, Any], sentence: str) -> Response:
    headers = {"Cache-Control": "no-store", "Yilian-Refusal": f"{number} {name}"}
    if status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:  # noqa: PLR2004 - RFC 9449 section 7.1
        headers["WWW-Authenticate"] = 'DPoP algs="EdDSA"'
    shown = {key: value.hex() if isinstance(value, bytes) else value for key, value in facts.items()}
    if speaks_fhir(request.url.path):
        issue = Issue("error", _ISSUE_TYPES.get(status, "processing"), "", sentence)
        return Response(operation_outcome((issue,)), status, headers, FHIR_JSON)
    problem = {"type": f"{REFUSAL_SYSTEM}{name}", "title": sentence, "status": status, "number": number, "name": name, "facts": shown}
    return Response(orjson.dumps(problem), status, headers, PROBLEM)


async def refused(request: Request, refusal: Exception) -> Response:
    """Answer a refusal: ours or a rule's."""
    assert isinstance(refusal, NodeRefused | Refused), "registered for these"
    number, name = number_and_name(refusal)
    return _answer(request, status_of(refusal), number, name, dict(refusal.facts), said(refusal))


async def engine_stopped(request: Request, stopped: Exception) -> Response:
    """Answer where the ledger here cannot be read any more. No defect: who watches the engine says why and ends the node."""
    assert isinstance(stopped, EngineStopped), "registered for these"
    return await refused(request, NodeRefused(No.LEDGER_UNREACHABLE))


async def not_ready(request: Request, stopped: EngineStopped) -> Response:
    """Answer whoever asks whether this node is ready, with the sentence of why it is not and will not be by itself."""
    no = No.LEDGER_UNREACHABLE
    return _answer(request, 503, int(no), no.name, {}, stopped.without_path())


async def record_fault(_request: Request, fault: Exception) -> Response:
    """Answer what the record store could not do."""
    assert isinstance(fault, RecordFault), "registered for these"
    return Response(fault.outcome(), fault.status, {"Cache-Control": "no-store"}, FHIR_JSON)


async def http_error(request: Request, error: Exception) -> Response:
    """Answer what the framework found wrong: no such path, no such method."""
    assert isinstance(error, HTTPException), "registered for these"
    return _answer(request, error.status_code, error.status_code, "HTTP", {}, str(error.detail))


async def gone(_request: Request, _error: Exception) -> Response:
    """Answer nobody: who asked went away, or died, before the whole request had come. No defect of ours."""
    return Response(status_code=CLIENT_GONE)


async def defect(request: Request, error: Exception) -> Response:
    """Answer our own defect, without a word of its inside; the log has its cause under the same number, and no request body."""
    return defective(request, noted(error, request.scope.get("endpoint"), _log))


def defective(request: Request, case: str) -> Response:
    """Answer a defect that stands in the log under a case number."""
    return _answer(request, 500, 500, "DEFECT", {"case": case}, f"Our defect, case {case}: nothing was released. Tell the operator.")


class WithoutWords(logging.Filter):
    """Has the server below us log an exception as we do: it is handed every defect again after it was answered."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the exception by its type and places."""
        if record.exc_info and record.exc_info[1] is not None:
            said = without_words(record.exc_info[1])
            record.msg, record.args, record.exc_info, record.exc_text = f"{record.getMessage().strip()}: {said}", (), None, None
        return True


logging.getLogger("uvicorn.error").addFilter(WithoutWords())
