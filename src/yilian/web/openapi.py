"""This member's HTTP interface as OpenAPI 3.1, made from the routes themselves: none is forgotten, none is invented.

GET  /openapi.json
Security   `own`: a bearer token of the member's own software; `member`: a DPoP-bound token of another member (RFC 9449); none: public, or
           signed by the patient's key inside the body. What a route does is the first line of its function.
Source     https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian import __version__
from yilian.web.answers import node_of

_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
_SECURITY: Final = {"own": "own", "bulk": "own", "anchors": "own", "examinations": "own", "referrals": "own", "releasing": "member"}
"""Room of this floor -> who must show a token. Where only some of its routes ask for one, the exceptions are below."""
_OPEN: Final = frozenset({"own.enrol", "referrals.inbox"})  # signed: by the patient's key, by another member's
_ERRORS: Final = {
    "description": "A refusal, with its permanent number and its facts; under /fhir an OperationOutcome says the same.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "number", "name", "facts"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "number": {"type": "integer"},
        "name": {"type": "string"},
        "facts": {"type": "object"},
    },
}


async def openapi(request: Request) -> Response:
    """Answer with the description of this interface."""
    state = request.app.state
    if not hasattr(state, "openapi"):
        state.openapi = orjson.dumps(document(request.app.routes, node_of(request).settings.endpoint))
    return Response(state.openapi, media_type="application/json", headers={"Cache-Control": "max-age=60"})


def document(routes: list[BaseRoute], url: str) -> dict[str, Any]:
    """Return the description of all routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        assert isinstance(route, Route), "nothing is mounted here"
        path = _PARAMETER.sub(r"{\1}", route.path)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            said = paths.setdefault(path, {})
            if method.lower() not in said:  # of two routes on one path the first answers
                said[method.lower()] = _operation(route, method)
    schemes = {
        "own": {"type": "http", "scheme": "bearer", "description": "The member's own software."},
        "member": {"type": "http", "scheme": "DPoP", "description": "Another member's node, for one practitioner."},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Yilian: one member's interface", "version": __version__},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {"securitySchemes": schemes, "schemas": {"Problem": _PROBLEM}},
    }


def _operation(route: Route, method: str) -> dict[str, Any]:
    room = route.endpoint.__module__.rpartition(".")[2]
    name = f"{room}.{route.endpoint.__name__}"
    summary = (route.endpoint.__doc__ or "").strip().partition("\n")[0]
    parameters = [{"name": one, "in": "path", "required": True, "schema": {"type": "string"}} for one in _PARAMETER.findall(route.path)]
    scheme = None if name in _OPEN else _SECURITY.get(room)
    place = _PARAMETER.sub(r"by-\1", route.path).strip("/").replace("/", "-")
    return {
        "operationId": f"{name}.{method.lower()}.{place}",
        "tags": [room],
        "summary": summary,
        **({"parameters": parameters} if parameters else {}),
        **({"security": [{scheme: []}]} if scheme is not None else {}),
        "responses": {"200": {"description": summary}, "default": _ERRORS},
    }


ROUTES: list[BaseRoute] = [Route("/openapi.json", openapi)]
