"""Token endpoint and discovery.

POST /oauth/token                      client assertion, DPoP proof -> access token (design 04)
GET  /.well-known/jwks.json            the member's token key with the node key's signature over it
GET  /.well-known/smart-configuration  what the token endpoint can; also under /fhir, where SMART looks for it
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from yilian.node import No, NodeRefused, limits
from yilian.web.answers import NO_STORE, address_of, body_of, node_of

FORM_SIZE_BYTES_MAX = 32 * 1024


async def token(request: Request) -> Response:
    """Issue an access token."""
    node = node_of(request)
    node.limits.spend(limits.ASSERTIONS, address_of(request))
    try:
        form = dict(parse_qsl((await body_of(request, FORM_SIZE_BYTES_MAX)).decode("ascii"), strict_parsing=True))
    except ValueError as error:
        raise NodeRefused(No.ASSERTION_NOT_VALID) from error
    return JSONResponse(await node.tokens.issue(form, request.headers.get("dpop")), headers=NO_STORE)


async def jwks(request: Request) -> Response:
    """Answer with the published keys."""
    return JSONResponse(node_of(request).tokens.jwks())


async def configuration(request: Request) -> Response:
    """Answer with SMART's discovery document."""
    node = node_of(request)
    return JSONResponse(
        {
            "issuer": node.settings.endpoint,
            "jwks_uri": node.settings.endpoint + "/.well-known/jwks.json",
            "token_endpoint": node.tokens.endpoint,
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["EdDSA"],
            "dpop_signing_alg_values_supported": ["EdDSA"],
            "grant_types_supported": ["client_credentials"],
            "scopes_supported": ["system/*.rs"],
            "udap_authorization_extensions_supported": ["hl7-b2b"],
            "udap_authorization_extensions_required": ["hl7-b2b"],
            "capabilities": ["client-confidential-asymmetric", "permission-v2"],
        }
    )


ROUTES: list[BaseRoute] = [
    Route("/oauth/token", token, methods=["POST"]),
    Route("/.well-known/jwks.json", jwks),
    Route("/.well-known/smart-configuration", configuration),
    Route("/fhir/.well-known/smart-configuration", configuration),
]
