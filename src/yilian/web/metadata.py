"""What this FHIR server can, for whoever asks, without a login: FHIR and SMART clients read it first. It names no patient and no record.

GET  /fhir/metadata    CapabilityStatement (R4), `kind: instance`
Source   https://hl7.org/fhir/R4/capabilitystatement.html, http.html#capabilities; SMART App Launch 2.2 "Conformance".
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian import __version__
from yilian.base.datetimes import datetime_text
from yilian.contracts import directory
from yilian.node import Node
from yilian.records import resource_types, search_parameters
from yilian.web.answers import node_of
from yilian.web.errors import FHIR_JSON

_INTERACTIONS: Final = ("read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type")
_OAUTH: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SERVICE: Final = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_DEFINITION: Final = "http://hl7.org/fhir/OperationDefinition/"
_BULK: Final = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"


async def metadata(request: Request) -> Response:
    """Answer with the CapabilityStatement; it changes only with the software and the member's name."""
    node, state = node_of(request), request.app.state
    name = _name(node)
    if getattr(state, "capabilities", (None,))[0] != name:
        state.capabilities = (name, orjson.dumps(capabilities(node)))
    return Response(state.capabilities[1], media_type=FHIR_JSON, headers={"Cache-Control": "max-age=60"})


def capabilities(node: Node) -> dict[str, Any]:
    """Return the CapabilityStatement of a member's server."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": datetime_text(node.genesis.started_at_s),
        "kind": "instance",
        "software": {"name": "Yilian", "version": __version__},
        "implementation": {"description": _name(node), "url": node.base_url},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "security": _security(node),
                "resource": [_resource(name) for name in sorted(resource_types())],
                "interaction": [{"code": code} for code in ("transaction", "batch", "history-system")],
                "operation": [{"name": "export", "definition": _BULK + "export"}],
            }
        ],
    }


def _name(node: Node) -> str:
    """Return the member's name as the directory has it now."""
    member = directory.member(node.engine.read(), node.id)
    return node.id if member is None or not member.name else member.name


def _security(node: Node) -> dict[str, Any]:
    return {
        "extension": [{"url": _OAUTH, "extension": [{"url": "token", "valueUri": node.tokens.endpoint}]}],
        "service": [{"coding": [{"system": _SERVICE, "code": "SMART-on-FHIR"}]}],
        "description": "The member's own software: a bearer token. Other members: the release gate, with a practitioner's signature.",
    }


def _resource(name: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "type": name,
        "interaction": [{"code": code} for code in _INTERACTIONS],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalUpdate": False,
        "searchParam": [{"name": code, "type": kind} for code, kind in search_parameters(name)],
    }
    if name == "Patient":
        said["operation"] = [
            {"name": "everything", "definition": _DEFINITION + "Patient-everything"},
            {"name": "export", "definition": _BULK + "patient-export"},
        ]
    return said


ROUTES: list[BaseRoute] = [Route("/fhir/metadata", metadata)]
"""Before `own`, which takes the rest of /fhir and asks for a token."""
