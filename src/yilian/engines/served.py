"""What every engine answers from its replica, whichever way it orders: one place, so that engines differ in ordering only."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from types import TracebackType
from typing import NoReturn

from yilian.engines.collector import collect_seldom
from yilian.engines.older import Older, remove_leftovers
from yilian.engines.protocol import Block, Committed, Entry
from yilian.engines.replica import Replica
from yilian.engines.views import View
from yilian.engines.waiters import Bell, Waiter, answer
from yilian.ledger import Genesis


class Served:
    """The reading side of an engine, its bell for new blocks, and how it stops."""

    def __init__(self, replica: Replica) -> None:
        """Answer from `replica`."""
        collect_seldom()
        remove_leftovers(replica)
        self.replica = replica
        self._bell = Bell()
        self._waiting: set[Waiter] = set()
        self._stopping = threading.Lock()
        self._failure: BaseException | None = None
        self._failed_at: TracebackType | None = None

    @property
    def genesis(self) -> Genesis:
        """The network's first word."""
        return self.replica.genesis

    def read(self) -> View:
        """Return the state at the latest final height."""
        self._require_running()
        return self.replica.read()

    def not_ready(self) -> str:
        """Return why nothing can become final here now: no reason, where the first transaction makes the first block."""
        return ""

    def remark(self) -> str:
        """Return what the operator should know of how this engine runs here: nothing."""
        return ""

    async def blocks(self, since_height: int) -> AsyncIterator[Block]:
        """Yield every block above `since_height` in order, then each new one as it becomes final."""
        height = since_height
        with self._bell.listening() as rung:
            while True:
                self._require_running()
                rung.clear()  # before looking: a block that comes after the look rings again
                found = self.replica.blocks(height)
                for block in found:
                    yield block
                    height = block.height
                if not found:
                    await rung.wait()

    async def reached(self, height: int) -> None:
        """Wait until the block at `height` is final here."""
        with self._bell.listening() as rung:
            while self.read().chain.height < height:
                await rung.wait()
                rung.clear()  # before the next look: a block that comes after it rings again

    def block(self, height: int) -> Block | None:
        """Return one block; None above the latest final height."""
        self._require_running()
        return self.replica.block(height)

    def find(self, transaction_id: bytes) -> Committed | None:
        """Return what became of a transaction that a block holds."""
        self._require_running()
        return self.replica.find([transaction_id]).get(transaction_id)

    def entry(self, index: int) -> Entry | None:
        """Return the leaf at `index`; None if the log is not that long."""
        self._require_running()
        return self.replica.entry(index)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of leaf `index` in the log of `size` leaves."""
        self._require_running()
        return self.replica.inclusion(index, size)

    def consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the proof that the log of `new_size` leaves extends the one of `old_size`."""
        self._require_running()
        return self.replica.consistency(old_size, new_size)

    def log_root(self, size: int) -> bytes:
        """Return the root of the first `size` leaves."""
        self._require_running()
        return self.replica.log_root(size)

    def member_changes(self) -> list[int]:
        """Return the log indexes of what changed who the members are, ascending."""
        self._require_running()
        return self.replica.member_changes()

    def access_tags(self, day: int) -> tuple[bytes, ...]:
        """Return the access tags of a UTC day in ascending order."""
        self._require_running()
        return self.replica.access_tags(day)

    def daily_leaf(self, day: int) -> int | None:
        """Return the log index of the leaf that closed a day."""
        self._require_running()
        return self.replica.daily_leaf(day)

    @property
    def missing(self) -> int:
        """How many of the log's first leaves are not here yet."""
        return self.replica.missing

    @property
    def began(self) -> int:
        """The height of the snapshot with which this copy began, 0 if with genesis."""
        return self.replica.began

    def older(self) -> Older:
        """Return what fetches the missing leaves; one at a time."""
        self._require_running()
        return Older(self.replica)

    async def watch(self) -> NoReturn:
        """Wait until the engine cannot go on, then raise why."""
        with self._bell.listening() as rung:
            while self._failure is None:
                await rung.wait()
                rung.clear()
        raise self._failure.with_traceback(self._failed_at)

    def _await(self, data: bytes) -> Waiter:
        """Return a new waiter, who gets an answer or the reason why there is none."""
        waiter = Waiter(data, asyncio.get_running_loop())
        self._waiting.add(waiter)
        self._require_running()  # asked again: whoever stops the engine tells those who wait by then
        return waiter

    def _stop(self, why: BaseException) -> None:
        """Stop for good; the first cause is the one that is told. Whoever waits is told now."""
        with self._stopping:
            if self._failure is None:
                self._failure, self._failed_at = why, why.__traceback__
        answer([(waiter, self._failure) for waiter in list(self._waiting)])
        self._bell.ring()

    def _require_running(self) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(self._failed_at)  # as it was: else each raise hangs its frames on to it, for ever
