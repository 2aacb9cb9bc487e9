"""What is under way and must end before the node does: a release whose entry may be on the ledger is never abandoned by a shutdown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from yilian.node.refusals import No, NodeRefused

T = TypeVar("T")


@dataclass(slots=True)
class Flight:
    """The tasks that a shutdown waits for. A caller who goes away does not end them."""

    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _is_landing: bool = False

    @property
    def is_landing(self) -> bool:
        """Say whether the node is about to end: what can be begun again ends now."""
        return self._is_landing

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start `work` as a task of its own.

        Refuses  SHUTTING_DOWN
        """
        if self._is_landing:
            work.close()
            raise NodeRefused(No.SHUTTING_DOWN)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def attempt(self, work: Coroutine[Any, Any, None]) -> None:
        """Start `work` unless the node is ending: its rows are enough to do it after the next start."""
        if self._is_landing:
            work.close()
            return
        task = self.start(_settled(work))
        task.add_done_callback(lambda done: done.result())

    async def land(self) -> None:
        """Take nothing new and wait until everything has ended."""
        self._is_landing = True
        while self._tasks:
            await asyncio.wait(set(self._tasks))


async def _settled(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(NodeRefused):  # the row stands; the next start finds it
        await work
