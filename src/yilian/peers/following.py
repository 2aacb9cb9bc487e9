"""The way to a node that is followed: what `engines.remote` needs, over HTTP. Frames are u32 big-endian length, then a block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

import httpx

from yilian.peers.authorities import authorities
from yilian.peers.peers import TIMEOUT_S, Unreachable

FRAME_LENGTH_BYTES: Final = 4
BLOCK_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
OK: Final = 200


class FollowedNode:
    """One other node's `/network` as a transport."""

    def __init__(self, endpoint: str, ca_file: str | None = None) -> None:
        """Prepare to follow the node at `endpoint`."""
        self._endpoint = endpoint.rstrip("/")
        verify = authorities(ca_file)
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(TIMEOUT_S, read=None), verify=verify, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def genesis(self) -> bytes:
        """Return the network's genesis.

        Raises   Unreachable
        """
        return await self._content("GET", "/network/genesis", b"")

    async def submit(self, transaction: bytes) -> bytes:
        """Return what became of a transaction, as the node encoded it.

        Raises   Unreachable
        """
        return await self._content("POST", "/network/transactions", transaction)

    async def blocks(self, since_height: int) -> AsyncIterator[bytes]:
        """Yield the blocks above a height as they were encoded, and new ones as they come.

        Raises   Unreachable, also when the stream ends
        """
        try:
            asked: dict[str, str] = {"since": str(since_height), "follow": ""}
            async with self._client.stream("GET", f"{self._endpoint}/network/blocks", params=asked) as response:
                if response.status_code != OK:
                    raise Unreachable(f"{self._endpoint} answered {response.status_code} when asked for its blocks")
                waiting = b""
                async for piece in response.aiter_raw():
                    waiting += piece
                    while len(waiting) >= FRAME_LENGTH_BYTES:
                        end = FRAME_LENGTH_BYTES + int.from_bytes(waiting[:FRAME_LENGTH_BYTES], "big")
                        if end > BLOCK_SIZE_BYTES_MAX:
                            raise Unreachable(f"{self._endpoint} sent a block of more than {BLOCK_SIZE_BYTES_MAX} bytes")
                        if len(waiting) < end:
                            break
                        yield waiting[FRAME_LENGTH_BYTES:end]
                        waiting = waiting[end:]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self._endpoint} cannot be followed: {type(error).__name__}") from error
        raise Unreachable(f"{self._endpoint} ended its stream of blocks")

    async def _content(self, method: str, path: str, body: bytes) -> bytes:
        try:
            response = await self._client.request(method, self._endpoint + path, content=body, timeout=TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self._endpoint} did not answer: {type(error).__name__}") from error
        if response.status_code != OK:
            raise Unreachable(f"{self._endpoint} answered {response.status_code}")
        return response.content
