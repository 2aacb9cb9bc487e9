"""How the practitioner's software asks its signer. Never imported by a node: whoever can open the socket can ask for signatures."""

from asyncio.subprocess import Process
from pathlib import Path
from typing import cast

from yilian import talks
from yilian.base.artefacts import ReadRequest
from yilian.base.codec import Value
from yilian.signer.protocol import No, SignerRefused
from yilian.talks import Asking, Fields, Gone


class SignerGone(Gone):
    """The signer's process ended or closed the connection."""


class SignerClient(Asking):
    """One connection. `key` may be left out where the signer holds one key only."""

    who, gone = "the signer", SignerGone

    def _refused(self, no: str, facts: dict[str, str | int]) -> SignerRefused:
        return SignerRefused(No(no), **facts)

    async def is_locked(self) -> bool:
        """Tell whether a passphrase is needed."""
        return bool((await self._ask("status"))["locked"])

    async def keys(self) -> list[str]:
        """Return the names of the keys, sorted; known also while locked."""
        return cast("list[str]", (await self._ask("status"))["keys"])

    async def unlock(self, passphrase: str) -> int:
        """Begin the sitting; return after how many idle seconds it ends.

        Refuses  WRONG_PASSPHRASE, TOO_MANY_TRIES
        """
        return cast("int", (await self._ask("unlock", passphrase=passphrase))["idle_s"])

    async def lock(self) -> None:
        """End the sitting."""
        await self._ask("lock")

    async def public_key(self, key: str | None = None) -> bytes:
        """Return the 32-byte credential key; known also while locked.

        Refuses  NO_SUCH_KEY
        """
        return cast("bytes", (await self._ask("public_key", **_named(key)))["public_key"])

    async def sign_read(self, network: bytes, request: ReadRequest, key: str | None = None) -> bytes:
        """Return the practitioner's signature for one read (64 bytes, over `request.statement(network)`).

        Refuses  LOCKED, NO_SUCH_KEY, BAD_REQUEST
        """
        answer = await self._ask(
            "sign_read",
            **_named(key),
            network=network,
            holder=request.holder,
            requester=request.requester,
            method=request.method,
            target=request.target,
            body=request.body,
            purpose=request.purpose,
            control_key=request.control_key,
            request_id=request.request_id,
        )
        return cast("bytes", answer["signature"])

    async def sign_intent(self, network: bytes, member: str, act: str, facts: list[bytes | str | int], key: str | None = None) -> bytes:
        """Return the signature for another act of the practitioner's own (over `intent_statement`).

        Refuses  LOCKED, NO_SUCH_KEY, BAD_REQUEST
        """
        answer = await self._ask("sign_intent", **_named(key), network=network, member=member, act=act, facts=cast("list[Value]", facts))
        return cast("bytes", answer["signature"])


def _named(key: str | None) -> Fields:
    return {} if key is None else {"key": key}


async def spawn(key_file: Path, socket_path: Path, idle_s: int | None = None) -> tuple[Process, SignerClient]:
    """Start a signer that lives as long as we do, and connect to it. End it by closing `process.stdin`, then `await process.wait()`.

    SignerGone if it did not start (its own sentence is on standard error).
    """
    options = [] if idle_s is None else ["--idle", str(idle_s)]
    return await talks.spawn("yilian.signer", ["--keys", str(key_file), *options], socket_path, SignerClient)
