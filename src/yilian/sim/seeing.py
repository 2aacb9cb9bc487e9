"""A client that says with every question how far answers of other nodes have shown the ledger, so that none answers from before (ADR-0140).

A height is a node's word, and one node may lie. So each node's word is remembered by itself: a node is told the highest that another one
said. If it says that it cannot get there, and only one other node said so much, the question is asked once more without that word; it
does not count towards the same node again until a third has come as far. A height that two others said stays: who is asked is behind.
"""

from typing import Any, Final

import httpx

from yilian.peers import HEIGHT_HEADER

DIGITS_MAX: Final = 15  # as a node reads them
_BEHIND: Final = "9126 "  # HEIGHT_NOT_REACHED


class Heights:
    """What each node said of its height, and whose word which node could not follow."""

    def __init__(self) -> None:
        """Have heard nothing."""
        self._said: dict[str, int] = {}
        self._doubts: dict[tuple[str, str], int] = {}  # (asked, said by) -> the height that was said and not reached

    def to_say(self, asked: str) -> int:
        """Return the height to name to a node."""
        return max((height for node, height in self._said.items() if node != asked and not self._is_doubted(asked, node)), default=0)

    def learn(self, node: str, said: str) -> None:
        """Take a node's word; what is no height is none."""
        if said.isascii() and said.isdigit() and len(said) <= DIGITS_MAX:
            self._said[node] = max(self._said.get(node, 0), int(said))

    def doubt(self, asked: str, named: int) -> None:
        """Note that a node did not reach the height that it was told: who alone said as much may have lied."""
        sayers = [node for node, height in self._said.items() if node != asked and height >= named]
        if len(sayers) == 1:
            self._doubts[asked, sayers[0]] = self._said[sayers[0]]

    def _is_doubted(self, asked: str, node: str) -> bool:
        height = self._doubts.get((asked, node))
        return height is not None and all(said < height for other, said in self._said.items() if other != node)


class Seeing(httpx.AsyncClient):
    """The client. A question that a node refused because it is behind did nothing there: it may be asked again."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - httpx's own options
        """Have seen nothing; `options` are httpx's."""
        super().__init__(**options)
        self.heights = Heights()

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own options
        """Ask, and once more where one node's word alone was in the way."""
        asked = request.url.netloc.decode("ascii")
        named = self.heights.to_say(asked)
        response = await self._sent(asked, named, request, options)
        if response.headers.get("yilian-refusal", "").startswith(_BEHIND) and _stands_at(response) < named:
            self.heights.doubt(asked, named)
            again = self.heights.to_say(asked)
            if again < named:
                await response.aclose()
                response = await self._sent(asked, again, request, options)
        return response

    async def _sent(self, asked: str, named: int, request: httpx.Request, options: dict[str, Any]) -> httpx.Response:
        request.headers[HEIGHT_HEADER] = str(named)
        response = await super().send(request, **options)
        self.heights.learn(asked, response.headers.get(HEIGHT_HEADER, ""))
        return response


def _stands_at(response: httpx.Response) -> int:
    """Return the height of the node itself that answered: a refusal that it passed on for another is not its own."""
    said = response.headers.get(HEIGHT_HEADER, "")
    return int(said) if said.isascii() and said.isdigit() and len(said) <= DIGITS_MAX else 0
