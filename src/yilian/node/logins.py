"""How this member speaks to another's API: tokens kept until they end, one proof of possession per request.

The DPoP key is drawn when the process starts and never written down: a token in a backup opens nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

import orjson

from yilian.base.keys import SEED_SIZE, SigningKey
from yilian.node.members import Members
from yilian.node.refusals import No, NodeRefused
from yilian.node.tokens import ASSERTION_TYPE, SKEW_S, Purpose, Tokens, dpop_proof
from yilian.peers import Answer, Peers, Unreachable

KEPT_MAX: Final = 4_096
CBOR: Final = "application/cbor"
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(slots=True)
class Logins:
    """The tokens that other members gave us."""

    tokens: Tokens
    peers: Peers
    members: Members
    delivered: set[bytes] = field(default_factory=set)  # control keys of grants whose artefacts the holder has
    _key: SigningKey = field(default_factory=lambda: SigningKey(secrets.token_bytes(SEED_SIZE)))
    _held: dict[tuple[str, Purpose], tuple[str, int]] = field(default_factory=dict)

    async def post(self, endpoint: str, path: str, body: bytes, purpose: Purpose) -> Answer:
        """Return the answer of another member's node to a call made for one practitioner; a token that was forgotten there is renewed once.

        Refuses  HOLDER_UNREACHABLE, ASSERTION_NOT_VALID
        """
        answer = await self._post(endpoint, path, body, await self._token(endpoint, purpose))
        if answer.status == 401:  # noqa: PLR2004 - Unauthorized: the other process began anew, or the token just ended
            self._held.pop((endpoint, purpose), None)
            answer = await self._post(endpoint, path, body, await self._token(endpoint, purpose))
        return answer

    async def _post(self, endpoint: str, path: str, body: bytes, token: str) -> Answer:
        url = endpoint + path
        proof = dpop_proof(self._key, "POST", url, self.members.now_s(), token)
        return await self._ask(url, body, {"Authorization": f"DPoP {token}", "DPoP": proof, "Content-Type": CBOR})

    async def _token(self, endpoint: str, purpose: Purpose) -> str:
        now_s = self.members.now_s()
        held = self._held.get((endpoint, purpose))
        if held is not None and now_s < held[1] - SKEW_S:
            return held[0]
        url = endpoint + "/oauth/token"
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.tokens.assertion(url, purpose),
            "scope": "system/*.rs",
        }
        proof = dpop_proof(self._key, "POST", url, now_s, None)
        answer = await self._ask(url, urlencode(form).encode(), {"DPoP": proof, "Content-Type": FORM})
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise NodeRefused(No.ASSERTION_NOT_VALID, status=answer.status)
        said = orjson.loads(answer.content)
        if len(self._held) >= KEPT_MAX:
            self._held.clear()
        self._held[endpoint, purpose] = (str(said["access_token"]), now_s + int(said["expires_in"]))
        return str(said["access_token"])

    async def _ask(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            return await self.peers.post(url, body, headers)
        except Unreachable as error:
            raise NodeRefused(No.HOLDER_UNREACHABLE) from error
