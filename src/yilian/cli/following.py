"""The way over HTTP to the node that orders, for a node that follows it: what `engines.remote` calls a transport."""

from collections.abc import AsyncIterator
from typing import Final, Self

import httpx

from yilian.engines.remote import Unreachable

LENGTH_BYTES: Final = 4
BLOCK_BYTES_MAX: Final = 64 * 1024 * 1024  # far above a block of 500 of the largest transactions
CONNECT_S: Final = 10
SUBMIT_S: Final = 60
_OK: Final = 200


class OverHttp:
    """One node's ledger, from outside: its room `web/following.py` is the other side."""

    def __init__(self, url: str, ca_file: str = "") -> None:
        """Follow the node at `url`; its certificate is checked against `ca_file`, or the machine's authorities."""
        self._url = url.rstrip("/")
        timeout = httpx.Timeout(SUBMIT_S, connect=CONNECT_S)
        self._client = httpx.AsyncClient(timeout=timeout, trust_env=False, verify=ca_file or True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def genesis(self) -> bytes:
        """Return the network's genesis."""
        return await self._whole("GET", "/network/genesis")

    async def submit(self, transaction: bytes) -> bytes:
        """Return what became of a transaction."""
        return await self._whole("POST", "/network/transactions", transaction)

    async def blocks(self, since_height: int) -> AsyncIterator[bytes]:
        """Yield the blocks above a height, and new ones as they come. An idle ledger says nothing for hours: there is no read timeout."""
        path = f"{self._url}/network/blocks?since={since_height}&follow"
        waiting = b""
        try:
            async with self._client.stream("GET", path, timeout=httpx.Timeout(None, connect=CONNECT_S)) as response:
                if response.status_code != _OK:
                    raise Unreachable(f"{self._url} answers {response.status_code} when asked for blocks")
                async for piece in response.aiter_raw():
                    waiting += piece
                    while (frame := _first(waiting)) is not None:
                        yield frame
                        waiting = waiting[LENGTH_BYTES + len(frame) :]
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._url} did not answer ({type(error).__name__})") from error
        raise Unreachable(f"{self._url} ended the stream of blocks")

    async def _whole(self, method: str, path: str, content: bytes = b"") -> bytes:
        try:
            response = await self._client.request(method, self._url + path, content=content)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._url} did not answer ({type(error).__name__})") from error
        if response.status_code != _OK:
            raise Unreachable(f"{self._url} answers {response.status_code}")
        return response.content


def _first(waiting: bytes) -> bytes | None:
    """Return the first whole frame's content, or None if it has not arrived yet.

    Raises   Unreachable, if it says that it is larger than any block: what answers is no node
    """
    if len(waiting) < LENGTH_BYTES:
        return None
    size = int.from_bytes(waiting[:LENGTH_BYTES], "big")
    if size > BLOCK_BYTES_MAX:
        raise Unreachable("what answers does not send blocks")
    end = LENGTH_BYTES + size
    return waiting[LENGTH_BYTES:end] if len(waiting) >= end else None
