"""Who waits for an answer, in whichever event loop: answered in batches, one wake-up for each loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from yilian.engines.protocol import Committed


class Waiter:
    """A submitted transaction and the future that its answer goes to."""

    __slots__ = ("data", "future", "loop")

    def __init__(self, data: bytes, loop: asyncio.AbstractEventLoop) -> None:
        """Wait in `loop` for what becomes of `data`."""
        self.data = data
        self.loop = loop
        self.future: asyncio.Future[Committed] = loop.create_future()


Answer = tuple[Waiter, Committed | BaseException]


def answer(answers: Iterable[Answer]) -> None:
    """Hand each waiter its answer; called by any thread. A waiter whose loop is gone needs none."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
    for each in answers:
        by_loop.setdefault(each[0].loop, []).append(each)
    for loop, of_loop in by_loop.items():
        with contextlib.suppress(RuntimeError):  # "Event loop is closed"
            loop.call_soon_threadsafe(_settle, of_loop)


def _settle(answers: list[Answer]) -> None:
    for waiter, said in answers:
        if waiter.future.done():  # its caller gave up waiting; the transaction took its way all the same
            continue
        if isinstance(said, Committed):
            waiter.future.set_result(said)
        else:
            waiter.future.set_exception(said)


class Bell:
    """Wakes those who follow the blocks when there is a new one; rung by any thread."""

    def __init__(self) -> None:
        """Begin with nobody listening."""
        self._events: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Give an event of the running loop that each ring sets."""
        event = asyncio.Event()
        self._events[event] = asyncio.get_running_loop()
        try:
            yield event
        finally:
            del self._events[event]

    def ring(self) -> None:
        """Set every event."""
        for event, loop in list(self._events.items()):
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)
