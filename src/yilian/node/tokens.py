"""Who asks: client assertions, access tokens and proofs of possession. A token says who speaks; it never authorises by itself.

Assertion   SMART Backend Services `private_key_jwt` (RFC 7523): iss = sub = member id, aud = the token endpoint, at most 300 s, `jti` once;
            UDAP `extensions.hl7-b2b`. Its header carries the token key as `jwk`, with the node key's signature over it
            as that JWK's `binding`, so that no server has to be asked; the same key stands at `/.well-known/jwks.json` (ADR-0071).
Token       at most 300 s, a JWT with IHE IUA and PCF claims, DPoP-bound (RFC 9449); known to this process only: after a restart the client
            logs in again, and no proof of an earlier life can be replayed.
Own staff   the member's own software logs in with its own key as client `own`; such a token opens the member's own API only.
"""

from __future__ import annotations

import itertools
import secrets
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from yilian.base import labels
from yilian.base.digests import labelled, sha256
from yilian.base.keys import SigningKey, is_signed
from yilian.node import jose
from yilian.node.journal import Journal
from yilian.node.keys import Keys
from yilian.node.members import Members
from yilian.node.refusals import No, NodeRefused, demand
from yilian.node.settings import Settings

TOKEN_S: Final = 300  # design 04
ASSERTION_S_MAX: Final = 300  # SMART Backend Services: exp at most five minutes ahead
PROOF_S_MAX: Final = 60  # RFC 9449 section 11.1: seconds or minutes
SKEW_S: Final = 30  # of another member's clock
TOKENS_MAX: Final = 20_000
PROOFS_MAX: Final = 200_000
PROOFS_OF_ONE_MAX: Final = 50_000  # of one key: some 550 requests a second; a quarter of all, so that no one shuts the others out
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
OWN_CLIENT: Final = "own"
_TEXT_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Asker:
    """Who a token speaks for. `practitioner` is a credential key; for the member's own software it is None."""

    member: str
    practitioner: bytes | None
    purpose: str
    control_key: bytes | None
    is_own: bool
    thumbprint: str
    until_s: int


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a login is for: the UDAP extension's facts."""

    practitioner: bytes
    role: str
    purpose: str
    control_key: bytes | None


class Tokens:
    """The token endpoint of one member, and how it logs in at others."""

    def __init__(self, settings: Settings, keys: Keys, journal: Journal, members: Members, own_client: bytes) -> None:
        self._settings = settings
        self._keys = keys
        self._journal = journal
        self._members = members
        self._own_client = own_client
        self._issued: dict[str, tuple[Asker, str]] = {}
        self._proofs: dict[str, tuple[int, str]] = {}
        self._proofs_of: Counter[str] = Counter()
        self._binding = keys.node_key.sign(binding_statement(keys.network, settings.id, keys.token_key.public_key))

    @property
    def endpoint(self) -> str:
        """Return the URL of the token endpoint."""
        return self._settings.endpoint + "/oauth/token"

    def jwks(self) -> dict[str, Any]:
        """Return the member's published keys."""
        return {"keys": [{**self._jwk(), "use": "sig", "alg": "EdDSA"}]}

    def assertion(self, audience: str, purpose: Purpose) -> str:
        """Return this member's assertion for another member's token endpoint."""
        now_s = self._members.now_s()
        extension: dict[str, Any] = {
            "version": "1",
            "organization_id": f"urn:yilian:member:{self._settings.id}",
            "subject_id": purpose.practitioner.hex(),
            "subject_role": purpose.role,
            "purpose_of_use": [f"urn:oid:2.16.840.1.113883.5.8#{purpose.purpose}"],
        }
        if purpose.control_key is not None:
            extension["consent_reference"] = [f"urn:yilian:grant:{purpose.control_key.hex()}"]
        claims = {
            "iss": self._settings.id,
            "sub": self._settings.id,
            "aud": audience,
            "iat": now_s,
            "exp": now_s + ASSERTION_S_MAX - SKEW_S,
            "jti": secrets.token_urlsafe(16),
            "extensions": {"hl7-b2b": extension},
        }
        header = {"typ": "JWT", "kid": self._keys.token_key.kid.hex(), "jwk": self._jwk()}
        return jose.signed(self._keys.token_key, header, claims)

    async def issue(self, form: Mapping[str, str], proof: str | None) -> dict[str, Any]:
        """Return the answer to a token request.

        Refuses  ASSERTION_NOT_VALID, ASSERTION_USED, PROOF_NOT_VALID, MEMBER_NOT_ACTIVE, CREDENTIAL_NOT_LIVE
        """
        is_ours = form.get("grant_type") == "client_credentials" and form.get("client_assertion_type") == ASSERTION_TYPE
        demand(is_ours and "client_assertion" in form, No.ASSERTION_NOT_VALID)
        claims, member = self._claims(form["client_assertion"])
        demand(proof is not None or member == OWN_CLIENT, No.PROOF_NOT_VALID)
        bound_to = "" if proof is None else self._prove(proof, "POST", self.endpoint, None)
        now_s = self._members.now_s()
        asker = self._asker(claims, member, bound_to, now_s)
        await self._spend(f"{member}:{claims['jti']}", claims["exp"], now_s)
        token = jose.signed(self._keys.token_key, {"typ": "at+jwt"}, self._token_claims(asker, now_s))
        self._remember(token, asker, now_s)
        return {
            "access_token": token,
            "token_type": "DPoP",
            "expires_in": asker.until_s - now_s,
            "scope": "own" if asker.is_own else "system/*.rs",
        }

    def authorize(self, authorization: str | None, proof: str | None, method: str, url: str) -> Asker:
        """Return who a request speaks for.

        Refuses  TOKEN_MISSING, TOKEN_NOT_VALID, PROOF_NOT_VALID
        """
        if authorization is None or not authorization.startswith("DPoP ") or proof is None:
            raise NodeRefused(No.TOKEN_MISSING)
        token = authorization[5:]
        known = self._issued.get(token)
        if known is None or self._members.now_s() >= known[0].until_s:
            raise NodeRefused(No.TOKEN_NOT_VALID)
        asker, token_hash = known
        self._prove(proof, method, url, token_hash, asker.thumbprint)
        return asker

    def authorize_own(self, authorization: str | None) -> Asker:
        """Return the member's own software, which speaks to its own node on its own machine with a bearer token.

        Refuses  TOKEN_MISSING, TOKEN_NOT_VALID
        """
        if authorization is None or not authorization.startswith("Bearer "):
            raise NodeRefused(No.TOKEN_MISSING)
        known = self._issued.get(authorization[7:])
        if known is None or not known[0].is_own or self._members.now_s() >= known[0].until_s:
            raise NodeRefused(No.TOKEN_NOT_VALID)
        return known[0]

    # --- the parts

    def _jwk(self) -> dict[str, Any]:
        key = self._keys.token_key
        return {**jose.jwk_of(key.public_key), "kid": key.kid.hex(), "binding": jose.to_text(self._binding)}

    def _claims(self, assertion: str) -> tuple[dict[str, Any], str]:
        """Return the claims of an assertion signed by the key of the client it names."""
        try:
            header = jose.header_of(assertion)
            presented = jose.public_key_of(header["jwk"]) if "jwk" in header else b""
            if presented and presented == self._own_client:
                claims, expected = jose.verified(assertion, presented), OWN_CLIENT
            else:
                claims = jose.verified(assertion, presented)
                expected = str(claims.get("iss", ""))
                demand(expected != OWN_CLIENT, No.ASSERTION_NOT_VALID)  # a member of that name is not the member's own software
                row = self._members.active(self._members.final().view, expected)
                binding = jose.from_text(str(header["jwk"].get("binding", "")))
                is_bound = is_signed(row.node_key, binding_statement(self._keys.network, expected, presented), binding)
                demand(is_bound, No.ASSERTION_NOT_VALID)
        except jose.NotAToken as error:
            raise NodeRefused(No.ASSERTION_NOT_VALID) from error
        now_s = self._members.now_s()
        are_numbers = type(claims.get("exp")) is int and type(claims.get("iat", 0)) is int
        demand(are_numbers and claims.get("iss") == claims.get("sub") == expected, No.ASSERTION_NOT_VALID)
        demand(claims.get("aud") == self.endpoint and now_s < claims["exp"] <= now_s + ASSERTION_S_MAX, No.ASSERTION_NOT_VALID)
        jti = claims.get("jti")
        demand(isinstance(jti, str) and 0 < len(jti) <= _TEXT_MAX, No.ASSERTION_NOT_VALID)
        return claims, expected

    def _asker(self, claims: dict[str, Any], member: str, bound_to: str, now_s: int) -> Asker:
        until_s = now_s + TOKEN_S
        if member == OWN_CLIENT:
            return Asker(self._settings.id, None, "TREAT", None, is_own=True, thumbprint=bound_to, until_s=until_s)
        extensions = claims.get("extensions")
        extension: Any = extensions.get("hl7-b2b") if isinstance(extensions, dict) else None
        demand(isinstance(extension, dict) and extension.get("organization_id") == f"urn:yilian:member:{member}", No.ASSERTION_NOT_VALID)
        try:
            practitioner = bytes.fromhex(str(extension["subject_id"]))
            purpose = str(extension["purpose_of_use"][0]).rsplit("#", 1)[-1]
            reference = extension.get("consent_reference")
            control_key = None if reference is None else bytes.fromhex(str(reference[0]).rsplit(":", 1)[-1])
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise NodeRefused(No.ASSERTION_NOT_VALID) from error
        final = self._members.final()
        self._members.credential(final.view, practitioner, member, final.now_s)
        return Asker(member, practitioner, purpose, control_key, is_own=False, thumbprint=bound_to, until_s=until_s)

    async def _spend(self, jti: str, until_s: int, now_s: int) -> None:
        """Use an assertion's number, durably: an assertion works once, also across a restart."""

        def insert(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM assertions WHERE until_s < ?", (now_s,))
            used = db.execute("INSERT INTO assertions VALUES (?, ?) ON CONFLICT DO NOTHING", (jti, until_s)).rowcount
            demand(used == 1, No.ASSERTION_USED)

        await self._journal.write(insert)

    def _token_claims(self, asker: Asker, now_s: int) -> dict[str, Any]:
        """Return the claims of an access token: RFC 9068, IHE IUA `ihe_iua`, IHE PCF `ihe_pcf`."""
        extensions: dict[str, Any] = {
            "ihe_iua": {
                "subject_organization_id": f"urn:yilian:member:{asker.member}",
                "person_id": None if asker.practitioner is None else asker.practitioner.hex(),
                "purpose_of_use": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": asker.purpose}],
            }
        }
        if asker.control_key is not None:
            extensions["ihe_pcf"] = {"doc_id": f"urn:yilian:grant:{asker.control_key.hex()}"}
        return {
            "iss": self._settings.endpoint,
            "aud": self._settings.endpoint + "/fhir",
            "sub": asker.member,
            "client_id": OWN_CLIENT if asker.is_own else asker.member,
            "iat": now_s,
            "exp": asker.until_s,
            "jti": secrets.token_urlsafe(16),
            "cnf": {"jkt": asker.thumbprint},
            "extensions": extensions,
        }

    def _remember(self, token: str, asker: Asker, now_s: int) -> None:
        if len(self._issued) >= TOKENS_MAX:
            self._issued = {text: held for text, held in self._issued.items() if held[0].until_s > now_s}
            demand(len(self._issued) < TOKENS_MAX, No.TOO_MANY_REQUESTS)
        self._issued[token] = (asker, jose.to_text(sha256(token.encode())))

    def _prove(self, proof: str, method: str, url: str, token_hash: str | None, bound_to: str | None = None) -> str:
        """Return the thumbprint of the key that made a fresh DPoP proof for this very request, RFC 9449 section 4.3.

        Refuses  PROOF_NOT_VALID, also when it is not the key that the token is bound to; TOO_MANY_REQUESTS
        """
        try:
            header = jose.header_of(proof)
            public_key = jose.public_key_of(header.get("jwk"))
            claims = jose.verified(proof, public_key)
        except jose.NotAToken as error:
            raise NodeRefused(No.PROOF_NOT_VALID) from error
        now_s = self._members.now_s()
        jti: Any = claims.get("jti")
        issued_at_s: Any = claims.get("iat")
        is_shaped = header.get("typ") == "dpop+jwt" and isinstance(jti, str) and 0 < len(jti) <= _TEXT_MAX and type(issued_at_s) is int
        demand(is_shaped and claims.get("htm") == method and claims.get("htu") == url, No.PROOF_NOT_VALID)
        demand(-SKEW_S <= now_s - issued_at_s <= PROOF_S_MAX, No.PROOF_NOT_VALID)
        demand(token_hash is None or claims.get("ath") == token_hash, No.PROOF_NOT_VALID)
        demand(jti not in self._proofs, No.PROOF_NOT_VALID)
        thumbprint = jose.thumbprint(public_key)
        demand(bound_to is None or thumbprint == bound_to, No.PROOF_NOT_VALID)  # before it is kept: it counts against nobody else
        self._forget_proofs(now_s)
        demand(self._proofs_of[thumbprint] < PROOFS_OF_ONE_MAX, No.TOO_MANY_REQUESTS)
        self._proofs[jti] = (now_s + PROOF_S_MAX + SKEW_S, thumbprint)
        self._proofs_of[thumbprint] += 1
        return thumbprint

    def _forget_proofs(self, now_s: int) -> None:
        """Drop proofs that are too old to be accepted anyway; they stand in the order in which they came."""
        for jti in list(itertools.islice(self._proofs, 2)):
            until_s, thumbprint = self._proofs[jti]
            if until_s < now_s:
                del self._proofs[jti]
                self._proofs_of[thumbprint] -= 1
                if not self._proofs_of[thumbprint]:
                    del self._proofs_of[thumbprint]
        demand(len(self._proofs) < PROOFS_MAX, No.TOO_MANY_REQUESTS)


def binding_statement(network: bytes, member: str, token_key: bytes) -> bytes:
    """Return what a member's node key signs to say which key logs in for it."""
    return labelled(labels.TOKEN_KEY, network, member, token_key)


def dpop_proof(key: SigningKey, method: str, url: str, now_s: int, token: str | None) -> str:
    """Return a DPoP proof for one request, RFC 9449 section 4.2."""
    claims: dict[str, Any] = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": now_s}
    if token is not None:
        claims["ath"] = jose.to_text(sha256(token.encode()))
    return jose.signed(key, {"typ": "dpop+jwt", "jwk": jose.jwk_of(key.public_key)}, claims)


def own_assertion(key: SigningKey, audience: str, now_s: int) -> str:
    """Return the assertion by which the member's own software logs in at its own node."""
    claims = {
        "iss": OWN_CLIENT,
        "sub": OWN_CLIENT,
        "aud": audience,
        "iat": now_s,
        "exp": now_s + ASSERTION_S_MAX - SKEW_S,
        "jti": secrets.token_urlsafe(16),
    }
    return jose.signed(key, {"typ": "JWT", "jwk": jose.jwk_of(key.public_key)}, claims)
