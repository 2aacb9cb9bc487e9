"""A full node that cannot order: it follows another node's blocks, decides each of them itself, and keeps log and state of its own.

Life of a block   the transport yields it as bytes -> `decode_block` -> the next height, or the engine stops -> `Replica.decide`, every
         signature checked here, ahead of its turn -> its app hash is the one that came with it, or the engine stops -> `Replica.commit`
         -> visible.
Life of a transaction   `submit` -> known already? the same answer -> to the operator -> the operator's answer names a height -> this copy
         has decided that height too -> this copy's own answer. What the operator refuses at its door is in no block: passed on.
Source   design 02 "Engines".
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from yilian.base.codec import Malformed
from yilian.base.digests import sha256
from yilian.base.transaction import transaction_id
from yilian.engines.faults import AnswerNotKept, AppHashMismatch, BlockOutOfOrder, BlockUnreadable, EngineClosed, WrongNetwork
from yilian.engines.packing import Verdict
from yilian.engines.protocol import Committed
from yilian.engines.replica import Replica
from yilian.engines.served import Served
from yilian.engines.verifiers import Verifiers, processes_for
from yilian.engines.wire import RawBlock, decode_block, decode_committed
from yilian.ledger import Genesis, Screened

PATIENCE_S = 5.0  # design 02: with no answer in 5 s one approves again with another carrier
BLOCKS_AHEAD = 8  # received and being verified while one is decided


class Unreachable(ConnectionError):
    """The node that is followed does not answer for now; asked again later."""


class Transport(Protocol):
    """The way to the node that is followed. Every method raises Unreachable (or another OSError) when it cannot be reached."""

    async def genesis(self) -> bytes:
        """Return the network's genesis."""

    def blocks(self, since_height: int) -> AsyncIterator[bytes]:
        """Yield the blocks above `since_height`, each as `encode_block` wrote it, and new ones as they come."""

    async def submit(self, transaction: bytes) -> bytes:
        """Return the answer, as `encode_committed` wrote it."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before asking an unreachable node again: doubled each time."""

    first_s: float = 0.05
    most_s: float = 5.0

    def after(self, failures: int) -> float:
        """Return the wait after so many failures in a row."""
        return min(self.most_s, self.first_s * (1 << min(failures - 1, 16)))


class _Incoming:
    """A block that has come and not been decided, and what is known of its transactions by now."""

    def __init__(self, raw: RawBlock) -> None:
        self.raw = raw
        self.known: dict[bytes, Screened] = {}
        self._missing = len(raw.transactions)
        self._counting = threading.Lock()
        self.is_screened = threading.Event()
        if not self._missing:
            self.is_screened.set()

    def judged(self, data: bytes, said: Verdict) -> None:
        """Note a verdict. A refusal is not kept: the block's own turn decides with the keys of its own height."""
        with self._counting:
            if isinstance(said, Screened):
                self.known[data] = said
            self._missing -= 1
            if not self._missing:
                self.is_screened.set()


@dataclass(frozen=True, slots=True)
class _Piece:
    """One transaction of an incoming block."""

    data: bytes
    of: _Incoming


class RemoteEngine(Served):
    """A member's own copy, kept up by following another node."""

    def __init__(
        self,
        replica: Replica,
        transport: Transport,
        *,
        backoff: Backoff = Backoff(),
        processes: int | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Begin to follow; called in a running event loop. `patience_s`: how long `submit` asks an unreachable operator."""
        super().__init__(replica)
        self._transport = transport
        self._backoff = backoff
        self._patience_s = patience_s
        wanted = processes_for(len(os.sched_getaffinity(0))) if processes is None else processes
        self._verifiers: Verifiers[_Piece] = Verifiers(self.genesis.network_id, replica.keys, _note, self._stop, wanted)
        self._writer = ThreadPoolExecutor(1, "yilian-writer")
        self._received = replica.chain.height
        self._incoming: asyncio.Queue[_Incoming] = asyncio.Queue(BLOCKS_AHEAD)
        self._tasks = [asyncio.create_task(self._guarded(run)) for run in (self._follow, self._decide)]

    @classmethod
    async def open(
        cls,
        folder: Path,
        genesis: Genesis,
        transport: Transport,
        *,
        backoff: Backoff = Backoff(),
        processes: int | None = None,
    ) -> Self:
        """Open or begin the copy in `folder`, and begin to follow. The other node need not be reachable yet.

        Raises   StoreLocked, StoreCorrupt, DiskFull, DiskFailed, WrongNetwork
        """
        replica = await asyncio.to_thread(Replica.open, folder, genesis)
        return cls(replica, transport, backoff=backoff, processes=processes)

    async def submit(self, transaction: bytes) -> Committed:
        """Return what became of the transaction, once this copy has it too.

        Raises   Unreachable (or the transport's OSError), if the operator cannot be reached: the same bytes may be submitted again
        """
        self._require_running()
        id_ = transaction_id(transaction)
        answer = self.find(id_) or await self._ask(transaction)
        if answer.height is None:
            return answer
        await self.reached(answer.height)
        found = self.find(id_)
        if found is None:
            self._stop(AnswerNotKept(id_, answer.height))
            self._require_running()
            raise AnswerNotKept(id_, answer.height)
        return found

    async def close(self) -> None:
        """Stop following, finish the block in hand, let go of threads, processes and files."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._verifiers.close()
        self._writer.shutdown()
        self._stop(EngineClosed())
        self.replica.close()

    async def _ask(self, transaction: bytes) -> Committed:
        clock = asyncio.get_running_loop().time
        until = clock() + self._patience_s
        failures = 0
        while True:
            try:
                return decode_committed(await self._transport.submit(transaction))
            except OSError:
                failures += 1
                wait_s = self._backoff.after(failures)
                if clock() + wait_s > until:
                    raise
                await asyncio.sleep(wait_s)

    async def _guarded(self, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - told to all who wait and to whoever watches; nothing more is followed
            self._stop(error)
            for task in self._tasks:
                task.cancel()

    async def _follow(self) -> None:
        """Receive blocks for ever; a node that cannot be reached is asked again, later each time."""
        failures = 0
        while True:
            try:
                self._require_same_network(await self._transport.genesis())
                async for data in self._transport.blocks(self._received):
                    failures = 0
                    await self._receive(data)
            except OSError:
                pass  # said by the wait: nothing is lost, the stream goes on from the block after the last
            failures += 1
            await asyncio.sleep(self._backoff.after(failures))

    def _require_same_network(self, genesis: bytes) -> None:
        found = sha256(genesis)
        if found != self.genesis.network_id:
            raise WrongNetwork(self.replica.path, self.genesis.network_id, found)

    async def _receive(self, data: bytes) -> None:
        try:
            raw = decode_block(data)
        except Malformed as error:
            raise BlockUnreadable(self._received + 1) from error
        if raw.header.height != self._received + 1:
            raise BlockOutOfOrder(self._received + 1, raw.header.height)
        self._received += 1
        incoming = _Incoming(raw)
        for each in raw.transactions:
            self._verifiers.put(_Piece(each, incoming))
        await self._incoming.put(incoming)

    async def _decide(self) -> None:
        """Decide what was received, one block after the other, in the writer's thread."""
        loop = asyncio.get_running_loop()
        while True:
            incoming = await self._incoming.get()
            await asyncio.shield(loop.run_in_executor(self._writer, self._take, incoming))

    def _take(self, incoming: _Incoming) -> None:
        while not incoming.is_screened.wait(1.0):
            self._require_running()  # the verifiers may be what has failed
        raw = incoming.raw
        header = self.replica.header_again(raw.header, raw.system_leaves)
        decided = self.replica.decide(header, raw.transactions, incoming.known)
        if decided.applied.app_hash != raw.app_hash:
            raise AppHashMismatch(raw.header.height, raw.app_hash, decided.applied.app_hash)
        self.replica.commit(decided)
        self._bell.ring()


def _note(judged: Sequence[tuple[_Piece, Verdict]]) -> None:
    for piece, said in judged:
        piece.of.judged(piece.data, said)
