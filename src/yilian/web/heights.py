"""What was final at one member is not unseen at the next: who asks says how far it has seen the ledger, and the node catches up first.

A wallet's grant is final where it was carried; the member it is brought to may be a block behind, and would know of no such grant. So
every answer says the node's height, and a question may say the highest that its asker has seen. A node that is behind waits a moment and
then says so, rather than judge on a ledger that its asker knows to be old. Heights are public; a false one costs its asker a wait, and
places to wait at are counted by address, so that it costs nobody else anything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yilian.engines import EngineStopped
from yilian.node import No, Node, NodeRefused
from yilian.peers import HEIGHT_HEADER
from yilian.web import errors
from yilian.web.answers import address_of

_HEADER: Final = HEIGHT_HEADER.encode()
WAIT_S: Final = 5  # as long as a requester waits for its own node (design 02)
AHEAD_MAX: Final = 1_000  # blocks; further behind than this is not made good in a moment
WAITING_MAX: Final = 64  # questions of one address at once: each holds a task and a connection, and a region may share a machine
_DIGITS_MAX: Final = 15


class Heights:
    """ASGI middleware: says our height in every answer, and lets a question wait for the height that it names."""

    def __init__(self, app: ASGIApp, node: Node) -> None:
        """Stand before `app`."""
        self._app = app
        self._node = node
        self._waiting: Counter[str] = Counter()  # by address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            height = self._height()
            if message["type"] == "http.response.start" and height is not None:
                message["headers"] = [*message.get("headers", ()), (_HEADER, b"%d" % height)]
            await send(message)

        no = await self._no(_seen(scope), address_of(Request(scope)))
        await (self._app if no is None else await errors.refused(Request(scope), no))(scope, receive, told)

    def _height(self) -> int | None:
        """Return our height; None once the engine has stopped, and whatever can be answered without it still is."""
        try:
            return self._node.members.final().view.chain.height
        except EngineStopped:
            return None

    async def _no(self, seen: int, address: str) -> NodeRefused | None:
        """Return why a question from an address is not answered, after it waited; None: it is."""
        height = self._height()
        if height is None or seen <= height:
            return None
        try:
            if seen - height <= AHEAD_MAX and await self._has_caught_up(seen, address):
                return None
        except EngineStopped:
            return NodeRefused(No.LEDGER_UNREACHABLE)
        height = self._height()
        return NodeRefused(No.LEDGER_UNREACHABLE) if height is None else NodeRefused(No.HEIGHT_NOT_REACHED, height=height)

    async def _has_caught_up(self, seen: int, address: str) -> bool:
        if self._waiting[address] >= WAITING_MAX:
            return False
        self._waiting[address] += 1
        try:
            async with asyncio.timeout(WAIT_S):
                await self._node.engine.reached(seen)
        except TimeoutError:
            return False
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
        return True


def _seen(scope: Scope) -> int:
    """Return the height that a question names; 0 if it names none."""
    for name, value in scope["headers"]:
        if name == _HEADER and value.isdigit() and len(value) <= _DIGITS_MAX:
            return int(value)
    return 0
