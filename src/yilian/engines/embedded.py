"""The ledger in one process: one writer, groups of transactions without timers, durable before anybody is told.

Life of a transaction   `submit` -> `verifiers` (form, carrier, signatures; a refusal here is answered at once, without a block) -> the
         writer's queue -> a group, which closes when the commit before it returns, or at 500 -> looked up among what is final already (the
         same bytes get the same answer) -> `Replica.decide` -> `Replica.commit` (one SQLite transaction, one fsync) -> visible -> answered.
         While a group is being committed, the next is being verified.
Source   design 02 "Engines"; ADR-0050.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from yilian.base.refusals import Refused
from yilian.base.transaction import transaction_id
from yilian.engines.faults import EngineClosed, TooManyWaiting
from yilian.engines.packing import Verdict
from yilian.engines.protocol import Committed
from yilian.engines.replica import Replica, answer_of
from yilian.engines.served import Served
from yilian.engines.verifiers import Verifiers, processes_for
from yilian.engines.waiters import Answer, Waiter, answer
from yilian.ledger import Genesis, Screened

GROUP_MAX = 500  # design 02
WAITING_MAX = 4_096  # transactions of any callers: eight groups, and at their largest (65 KiB) 270 MB

Judged = Sequence[tuple[Waiter, Verdict]]


def clock_ms() -> int:
    """Return the time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


class EmbeddedEngine(Served):
    """The operator's engine: it orders, by itself, what is submitted to it."""

    def __init__(self, replica: Replica, *, now_ms: Callable[[], int] = clock_ms, processes: int | None = None) -> None:
        """Begin to order on top of `replica`; `processes` verify signatures, by default as many as there are cores to spare."""
        super().__init__(replica)
        self._now_ms = now_ms
        self._places = threading.BoundedSemaphore(WAITING_MAX)
        self._inbox: queue.SimpleQueue[Judged | None] = queue.SimpleQueue()
        wanted = processes_for(len(os.sched_getaffinity(0))) if processes is None else processes
        self._verifiers: Verifiers[Waiter] = Verifiers(self.genesis.network_id, replica.keys, self._judged, self._stop, wanted)
        self._writer = threading.Thread(target=self._write, name="yilian-writer", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, folder: Path, genesis: Genesis, *, now_ms: Callable[[], int] = clock_ms, processes: int | None = None) -> Self:
        """Open or begin the ledger in `folder`.

        Raises   StoreLocked, StoreCorrupt, DiskFull, DiskFailed, WrongNetwork
        """
        return cls(Replica.open(folder, genesis), now_ms=now_ms, processes=processes)

    async def submit(self, transaction: bytes) -> Committed:
        """Return what became of the transaction, once that is final and durable.

        Raises   TooManyWaiting, and then it was not taken
        """
        waiter = self._await(transaction)
        try:
            if not self._places.acquire(blocking=False):
                raise TooManyWaiting(WAITING_MAX)
            self._verifiers.put(waiter)
            return await waiter.future
        finally:
            self._waiting.discard(waiter)

    async def close(self) -> None:
        """Order and answer what was submitted before, then let go of threads, processes and files."""
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        self._verifiers.close()
        self._inbox.put(None)
        self._writer.join()
        self._stop(EngineClosed())
        self.replica.close()

    def _judged(self, judged: Judged) -> None:
        """Pass on what may be ordered; answer the rest. Called by the verifiers' threads."""
        refused = [(waiter, said) for waiter, said in judged if isinstance(said, Refused)]
        if refused:
            self._places.release(len(refused))
            answer([self._at_the_door(waiter, said) for waiter, said in refused])
        if len(refused) < len(judged):
            self._inbox.put([(waiter, said) for waiter, said in judged if not isinstance(said, Refused)] if refused else judged)

    def _at_the_door(self, waiter: Waiter, said: Refused) -> Answer:
        id_ = transaction_id(waiter.data)
        known = self.replica.find([id_]).get(id_)  # final before its carrier's key went: the same answer again
        return waiter, known or Committed(id_, None, None, self.replica.chain.time_ms, int(said.reason), said.facts)

    # -- the writer's thread

    def _write(self) -> None:
        try:
            left: list[tuple[Waiter, Verdict]] = []
            is_open = True
            while is_open or left:
                is_open = self._gather(left) and is_open
                self._order(left[:GROUP_MAX])
                del left[:GROUP_MAX]
        except BaseException as error:  # noqa: BLE001 - told to all who wait and to whoever watches; the engine takes no more
            self._stop(error)

    def _gather(self, group: list[tuple[Waiter, Verdict]]) -> bool:
        """Add to `group` all that is there, or else the next that comes; say whether more may come."""
        while len(group) < GROUP_MAX:
            try:
                judged = self._inbox.get(block=not group)
            except queue.Empty:
                return True
            if judged is None:
                return False
            group.extend(judged)
        return True

    def _order(self, group: Sequence[tuple[Waiter, Verdict]]) -> None:
        """Order one group as one block and answer it."""
        known: dict[bytes, Screened] = {}
        ids: list[bytes] = []
        for waiter, said in group:
            assert not isinstance(said, Refused), "refusals are answered at the door"
            if waiter.data not in known:
                known[waiter.data] = said
                ids.append(said.transaction.id)
        final = self.replica.find(ids, is_writer=True)
        fresh = [data for data, said in known.items() if said.transaction.id not in final]
        if fresh:
            block = self.replica.advance(self._now_ms(), fresh, known)
            final.update((result.id, answer_of(block, result)) for result in block.results)
            self._bell.ring()
        if group:  # none when the engine is closed
            self._places.release(len(group))  # a caller that gave up keeps its place till here: what it left is work all the same
        answer([(waiter, final[known[waiter.data].transaction.id]) for waiter, _ in group])
