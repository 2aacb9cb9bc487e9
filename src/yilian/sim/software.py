"""A member's own software, as a hospital's HIS would speak to the member's node: over HTTP, with the own client's key, and a practitioner's
signature from the signer for every read elsewhere. It holds no key that could open a record at another member.

Raises   Said, with the node's number, name and facts, for every refusal; Silent, if a node does not answer.
"""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import httpx

from yilian.base.artefacts import ReadRequest, intent_statement
from yilian.base.codec import encode
from yilian.base.handovers import EnrolAnswer, EnrolAsk, PresenceProof, Relationship, SignedChallenge
from yilian.base.keys import SigningKey
from yilian.base.shapes import pack, unpack
from yilian.node import Folder, asking, enrolment, tokens
from yilian.sim.seeing import Seeing

TIMEOUT_S: Final = 60
FHIR_JSON: Final = "application/fhir+json"
CBOR: Final = "application/cbor"
TREATMENT: Final = "TREAT"  # v3-PurposeOfUse
EMERGENCY: Final = "ETREAT"
_UNAUTHORIZED: Final = 401
_NUMBERED: Final = 1_000  # below: HTTP's own


class Said(Exception):
    """A node's no: status, permanent number, name, facts; and the entry under which it was said, where the asking itself was entered."""

    def __init__(self, status: int, number: int, name: str, facts: Mapping[str, int | str], entry_index: int | None = None) -> None:
        super().__init__(status, number, name, dict(facts))
        self.entry_index = entry_index
        self.status = status
        self.number = number
        self.name = name
        self.facts = dict(facts)

    def __str__(self) -> str:
        """Say it as the command line does."""
        shown = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.number} {self.name}" + (f"({shown})" if shown else "")


class Silent(ConnectionError):
    """A node did not answer."""


class Signing(Protocol):
    """A practitioner with an unlocked signer, wherever it is."""

    @property
    def public_key(self) -> bytes:
        """The credential key."""

    async def sign_read(self, network: bytes, request: ReadRequest) -> bytes:
        """Return the signature of one read."""

    async def sign_intent(self, network: bytes, act: str, facts: list[bytes | str | int]) -> bytes:
        """Return the signature of another act."""


@dataclass(frozen=True, slots=True)
class Release:
    """What another member released: the bytes, and the entry that says so."""

    status: int
    body: bytes
    entry_index: int
    entry_id: str

    @classmethod
    def of(cls, response: httpx.Response) -> "Release":
        """Return what a response of the gate released."""
        headers = response.headers
        return cls(response.status_code, response.content, int(headers["yilian-entry-index"]), headers["yilian-entry-id"])

    @property
    def resource(self) -> dict[str, Any]:
        """The body as FHIR."""
        said: dict[str, Any] = json.loads(self.body)
        return said

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resources of a Bundle, or the one resource."""
        said = self.resource
        return [one["resource"] for one in said.get("entry", [])] if said.get("resourceType") == "Bundle" else [said]


def connected(*, verify: bool | str = True) -> httpx.AsyncClient:
    """Return a client that says with every question how far its answers have shown the ledger, so that none answers from before."""
    return Seeing(timeout=TIMEOUT_S, trust_env=False, verify=verify)


async def asked(
    client: httpx.AsyncClient, method: str, url: str, content: bytes = b"", headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """Return a node's yes.

    Raises   Said, Silent
    """
    try:
        response = await client.request(method, url, content=content, headers=dict(headers or {}))
    except httpx.HTTPError as error:
        raise Silent(f"{url.split('/', 3)[2]} did not answer ({type(error).__name__})") from error
    if response.is_success:
        return response
    raise said_of(response)


def said_of(response: httpx.Response) -> Said:
    """Return a node's no as it said it: problem+json, or the header beside an OperationOutcome."""
    try:
        problem = json.loads(response.content)
    except ValueError:
        problem = {}
    if isinstance(problem, dict) and problem.get("number", 0) >= _NUMBERED:
        return Said(response.status_code, int(problem["number"]), str(problem["name"]), problem.get("facts") or {})
    number, _, name = response.headers.get("yilian-refusal", "").partition(" ")
    if number.isdigit() and int(number) >= _NUMBERED:
        return Said(response.status_code, int(number), name, {})
    issue = (problem.get("issue") or [{}])[0] if isinstance(problem, dict) else {}
    entry = response.headers.get("yilian-entry-index")
    name = str(issue.get("code") or response.reason_phrase or "HTTP").upper().replace("-", "_").replace(" ", "_")
    return Said(response.status_code, response.status_code, name, {}, None if entry is None else int(entry))


class Software:
    """One member's software at its own node."""

    def __init__(self, member: str, url: str, folder: Path, network: bytes, client: httpx.AsyncClient) -> None:
        """Log in with the key that lies in the member's folder."""
        self.member = member
        self.url = url
        self.network = network
        self._client = client
        self._key = SigningKey(Folder(folder).own_client.read_bytes())
        self._token = ""

    # the member's own records

    async def fhir(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the answer of the member's own FHIR API; `path` follows `/fhir/`."""
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        response = await self._own(method, f"/fhir/{path}".removesuffix("/"), content, {"Content-Type": FHIR_JSON})
        said: dict[str, Any] = response.json() if response.content else {}
        return said

    async def search(self, path: str) -> list[dict[str, Any]]:
        """Return the resources of all pages of a search at the own node."""
        found: list[dict[str, Any]] = []
        following: str | None = path
        while following is not None:
            page = await self.fhir("GET", following)
            found += [one["resource"] for one in page.get("entry", []) if one.get("search", {}).get("mode", "match") != "outcome"]
            links = [one["url"] for one in page.get("link", []) if one["relation"] == "next"]
            following = links[0].partition("/fhir/")[2] if links else None
        return found

    # the desk

    async def offer(self, patient_id: str, staff: tuple[Signing, Signing], method: str = "id-card") -> tuple[EnrolAsk, str]:
        """Return what the desk shows to a wallet for a person whom two staff see, and where the wallet's answer goes."""
        nonce = secrets.token_bytes(32)
        desk: list[bytes | str | int] = [patient_id, 0, 2, method, nonce]
        signatures = [[one.public_key, await one.sign_intent(self.network, enrolment.OFFER_ACT, desk)] for one in staff]
        response = await self._own("POST", "/desk/offer", encode([desk, signatures]), {"Content-Type": CBOR})
        return unpack(EnrolAsk, response.content), f"{self.url}/desk/enrolment/{nonce.hex()}"

    async def challenge(self, practitioner: Signing, purpose: str = TREATMENT) -> SignedChallenge:
        """Return the challenge that the desk shows, as QR, to the patient's wallet."""
        body = encode([practitioner.public_key, purpose, secrets.token_bytes(32)])
        return unpack(SignedChallenge, (await self._own("POST", "/desk/challenge", body, {"Content-Type": CBOR})).content)

    # other members' records

    async def read(
        self,
        holder: str,
        path: str,
        practitioner: Signing,
        *,
        grant: bytes | None = None,
        presence: tuple[SignedChallenge, PresenceProof] | None = None,
        reason: str | None = None,
        purpose: str = TREATMENT,
        request_id: bytes | None = None,
    ) -> Release:
        """Return what another member releases to a practitioner of this one; `path` follows `/fhir/`, exactly as sent."""
        target = f"/fhir/{path}"
        request = ReadRequest(holder, self.member, "GET", target, b"", purpose, grant, request_id or secrets.token_bytes(16))
        headers = {
            "Yilian-Practitioner": practitioner.public_key.hex(),
            "Yilian-Signature": (await practitioner.sign_read(self.network, request)).hex(),
            "Yilian-Request-Id": request.request_id.hex(),
            "Yilian-Purpose": purpose,
        }
        if grant is not None:
            headers["Yilian-Grant"] = grant.hex()
        if presence is not None:
            headers["Yilian-Presence"] = pack(asking.PresenceShown(*presence)).hex()
        if reason is not None:
            headers["Yilian-Reason"] = quote(reason)
        response = await self._own("GET", f"/members/{holder}{target}", b"", headers)
        return Release.of(response)

    async def call(self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Return the answer to any other call of the member's own API."""
        return await self._own(method, path, content, headers or {"Content-Type": CBOR})

    async def _own(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
        for is_last_try in (False, True):
            if not self._token:
                await self._log_in()
            try:
                return await asked(self._client, method, self.url + path, content, {**headers, "Authorization": f"Bearer {self._token}"})
            except Said as no:
                if no.status != _UNAUTHORIZED or is_last_try:
                    raise
                self._token = ""  # it ended, or the node began anew
        raise AssertionError("the last try returns or raises")

    async def _log_in(self) -> None:
        endpoint = f"{self.url}/oauth/token"
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": tokens.ASSERTION_TYPE,
            "client_assertion": tokens.own_assertion(self._key, endpoint, int(time.time())),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._token = str((await asked(self._client, "POST", endpoint, urlencode(form).encode(), headers)).json()["access_token"])


async def bring_enrolment(client: httpx.AsyncClient, address: str, answer: EnrolAnswer) -> Relationship:
    """Return the holder's word for a wallet's answer."""
    response = await asked(client, "POST", address, pack(answer), {"Content-Type": CBOR})
    return unpack(Relationship, response.content)


__all__ = ["EMERGENCY", "TREATMENT", "Release", "Said", "Signing", "Silent", "Software", "asked", "bring_enrolment", "intent_statement"]
