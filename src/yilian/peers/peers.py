"""One pool of kept-alive connections to the other members' nodes.

Redirects are not followed and cookies not kept: who answers is who the directory names. An answer is read up to a bound, so that a hostile
peer cannot fill this node's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import httpx

from yilian.peers.authorities import authorities

TIMEOUT_S: Final = 10  # longer than a requester waits for a carrier (design 02: 5 s), shorter than a person does
CONNECTIONS_MAX: Final = 64
KEPT_ALIVE_MAX: Final = 32
HEIGHT_HEADER: Final = "yilian-height"  # in a question: what its asker has seen; in an answer: where that node stands
ANSWER_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024  # one page of a large chart


class Unreachable(ConnectionError):
    """The other node did not answer, or not as one; the sentence names the address and the cause, and nothing that was sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Peers:
    """Outbound connections of one node, which says with every question at which height it stands."""

    def __init__(
        self, ca_file: str | None = None, transport: httpx.AsyncBaseTransport | None = None, height: Callable[[], int] = lambda: 0
    ) -> None:
        """Trust `ca_file` besides the machine's own authorities' default when given; `transport` replaces the network."""
        self._height = height
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=KEPT_ALIVE_MAX, keepalive_expiry=60)
        verify = authorities(ca_file)
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits, verify=verify, trust_env=False, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.aclose()

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a GET.

        Raises   Unreachable
        """
        return await self._ask("GET", url, b"", headers)

    async def post(self, url: str, content: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a POST.

        Raises   Unreachable
        """
        return await self._ask("POST", url, content, headers)

    async def _ask(self, method: str, url: str, content: bytes, headers: Mapping[str, str] | None) -> Answer:
        try:
            said = {**(headers or {}), HEIGHT_HEADER: str(self._height())}
            async with self._client.stream(method, url, content=content, headers=said) as response:
                pieces, size_bytes = [], 0
                async for piece in response.aiter_bytes():
                    size_bytes += len(piece)
                    if size_bytes > ANSWER_SIZE_BYTES_MAX:
                        raise Unreachable(f"{_address(url)} sent more than {ANSWER_SIZE_BYTES_MAX} bytes")
                    pieces.append(piece)
                return Answer(response.status_code, response.headers, b"".join(pieces))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{_address(url)} did not answer: {type(error).__name__}") from error


def _address(url: str) -> str:
    """Return scheme and host: the rest of a URL may say whom it is about."""
    return "/".join(url.split("/", 3)[:3])
