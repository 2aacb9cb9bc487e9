"""What must happen later and must not be forgotten: tags to be skipped, entries to be marked unsent, releases left open by a crash.

Each duty is a row, written before anybody was told; this task carries it out when it is woken, and again after a pause when the ledger was
unreachable. Duties of other files (anchor ticks, referrals) are added with `duty`; one that has its time asks for it with `wake_in`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from yilian.base.refusals import Refused
from yilian.node.refusals import NodeRefused

if TYPE_CHECKING:
    from yilian.node.member import Node

Duty = Callable[["Node"], Awaitable[None]]
PAUSE_S: Final = 5  # after a failure; as long as a requester waits for a carrier (design 02)
DUTIES: Final[list[Duty]] = []
"""What every node does; files of this floor add theirs when they are imported."""
STARTS: Final[list[Duty]] = []
"""What every node does once, before it answers anybody."""


ALONGSIDE: Final[list[Duty]] = []
"""What every node does in the background from its start to its end, each in a task of its own."""


def alongside(work: Duty) -> Duty:
    """Add what runs beside everything else until it is done or the node ends."""
    ALONGSIDE.append(work)
    return work


def duty(work: Duty) -> Duty:
    """Add a duty: called whenever the node is woken, it carries out what its rows say and returns."""
    DUTIES.append(work)
    return work


def on_start(work: Duty) -> Duty:
    """Add what is done once, before the first request is answered."""
    STARTS.append(work)
    return work


@dataclass(slots=True)
class Housekeeping:
    """The task of one node."""

    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _node: Node | None = None
    _timer: asyncio.TimerHandle | None = None
    _beside: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self, node: Node) -> None:
        """Do what is done on start, then begin."""
        self._node = node
        for work in STARTS:
            await work(node)
        self._task = asyncio.get_running_loop().create_task(self._run(node))
        self._beside = [asyncio.get_running_loop().create_task(_beside(work, node)) for work in ALONGSIDE]
        self.wake()

    def wake(self) -> None:
        """Say that a duty has been written down."""
        self._wanted.set()

    def wake_in(self, wait_s: float) -> None:
        """Wake after a while, for a duty that has its time. Of several such wishes the earliest counts; the others wish again then."""
        loop = asyncio.get_running_loop()
        at = loop.time() + wait_s
        if self._timer is not None and self._timer.when() <= at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.wake()

    async def stop(self) -> None:
        """Carry out once more what can be, then end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._end(self._beside)
        if self._task is not None:
            await self._end([self._task])
            self._task = None
        if self._node is not None:
            await _attempt(self._node)
            self._node = None

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()  # it ended by itself; if of a defect of ours, who stops the node is told
        self._beside = [task for task in self._beside if task not in tasks]

    async def _run(self, node: Node) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if not await _attempt(node):
                await asyncio.sleep(PAUSE_S)
                self._wanted.set()


async def _beside(work: Duty, node: Node) -> None:
    await work(node)


async def _attempt(node: Node) -> bool:
    """Carry out every duty; say whether all of them ended without a refusal."""
    is_done = True
    for work in DUTIES:
        try:
            await work(node)
        except (NodeRefused, Refused):  # the rows stand; it is tried again
            is_done = False
    return is_done
