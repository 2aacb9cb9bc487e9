"""The ledger ordered by validators who do not trust one another: CometBFT decides the order, this node's replica what it means.

Life of a transaction   `submit` -> the door: screened here, looked up among what is final already (the same bytes get the same
         answer) -> the sender: a batch -> CometBFT's mempool -> a block -> FinalizeBlock, Commit -> answered from our own commit, never
         from an RPC. While one call is being answered, the next gathers: no timers. What is pending when CometBFT dies is sent again to
         the next one.
Threads  two for each ABCI connection (`server`), one that keeps CometBFT alive (`process`), one that works ahead (`ahead`), the door, the
         sender, and a watch that notices a halt.
Source   design 02 "Engines", "Batch"; ADR-0090.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import transaction_id
from yilian.engines.cometbft.application import Application, Configured, Mempool, Timing
from yilian.engines.cometbft.headers import servers_said
from yilian.engines.cometbft.items import BATCH_SIZE_BYTES_MAX, BATCH_TRANSACTIONS_MAX, pack
from yilian.engines.cometbft.process import Process, binary
from yilian.engines.cometbft.redial import Redial
from yilian.engines.cometbft.rpc import Rpc, Taken, Unreachable
from yilian.engines.cometbft.server import Server
from yilian.engines.cometbft.settings import SOCKET, read_ports, seat_key
from yilian.engines.cometbft.snapshots import EVERY, FOLDER, Snapshots
from yilian.engines.cometbft.verifier import VERIFIER, Verifier
from yilian.engines.faults import BeginningMissing, EngineClosed, NotOrdering, TooManyWaiting
from yilian.engines.protocol import Block, Committed
from yilian.engines.replica import Replica, answer_of
from yilian.engines.served import Served
from yilian.engines.unsure import sure
from yilian.engines.verifiers import processes_for
from yilian.engines.waiters import Answer, Waiter, answer
from yilian.ledger import Genesis

CALL_TRANSACTIONS_MAX = 256  # in one call to the mempool, and of one batch: while it is being answered the next is verified
WAITING_MAX = 4_096  # transactions of any callers: two seconds of a busy network, and at their largest (65 KiB) 270 MB (ADR-0113)
HALTED_S = 15  # three heartbeats without a block: the network makes none
PATIENCE_S = 5.0  # design 02: with no answer in 5 s one approves again with another carrier; a network that has just come back gets as long
RETRY_S = 0.1  # between two looks at a CometBFT that is starting
ITEM_OVERHEAD_BYTES = 8  # of CBOR in a batch: the array's head, and for each transaction at most five bytes


@dataclass(slots=True)
class _Pending:
    """A transaction on its way, and who waits for it."""

    data: bytes
    exp_s: int
    since: float  # monotonic
    waiters: list[Waiter]
    is_beginning_missing: bool  # when it was looked up: then it may be final all the same (ADR-0122)


class CometBftEngine(Served):
    """One member's part in the consortium."""

    def __init__(
        self, folder: Path, replica: Replica, *, is_batching: bool = True, snapshot_every: int = EVERY, verifying: int | None = None
    ) -> None:
        """Serve ABCI in `folder`, and keep CometBFT running on `FOLDER/validator`. `verifying` goroutines beside this process check
        signatures: as many as the cores allow, if nothing is said; 0: they are checked here.

        Raises   BinaryMissing, WrongVersion, SeatIncomplete, PortInUse, NotAHome, VerifierDiffers
        """
        super().__init__(replica)
        ports = read_ports(folder)
        self._is_batching = is_batching
        self._places = threading.BoundedSemaphore(WAITING_MAX)
        self._inbox: queue.SimpleQueue[Waiter | None] = queue.SimpleQueue()  # to the door
        self._guard = threading.Lock()
        self._pending: dict[bytes, _Pending] = {}
        self._due: dict[bytes, bytes] = {}  # of what is pending: what the sender has not handed to the CometBFT that runs
        self._kept: list[bytes] = []  # items to hand over that came from others
        self._is_due = threading.Condition(self._guard)
        self._closing = threading.Event()
        self._ending = threading.Lock()
        self._is_closed = False
        self._advanced = threading.Event()
        self._last_block_at = time.monotonic()
        self._redial = Redial()
        self._ports = ports
        self._rpc = Rpc(ports.rpc)
        self._snapshots = Snapshots(folder / FOLDER, replica, self._fail, snapshot_every, made_at=servers_said(ports.servers))
        workers = max(1, processes_for(len(os.sched_getaffinity(0)))) if verifying is None else verifying
        self._verifier = Verifier(binary().with_name(VERIFIER), workers)
        verify = self._verifier.are_signed
        mempool, configured = Mempool(self._renew, self._hand_over_kept), Configured(ports.named, seat_key(folder))
        self.application = Application(replica, self._snapshots, self._committed, mempool, configured, Timing(_now_ms), verify)
        with ExitStack() as begun:
            begun.callback(self._let_go)
            self._server = Server(folder / SOCKET, self.application.methods(), self._fail)
            begun.callback(self._server.close)
            self.process = Process(folder, ports, self._begun, self._fail)
            begun.pop_all()
        loops = {"yilian-door": self._enter_next, "yilian-sender": self._send_next, "yilian-halts": self._notice_halt}
        self._threads = [threading.Thread(target=self._guarded, args=(loop,), name=name, daemon=True) for name, loop in loops.items()]
        self.process.start()
        for thread in self._threads:
            thread.start()

    @classmethod
    def open(
        cls, folder: Path, genesis: Genesis, *, is_batching: bool = True, snapshot_every: int = EVERY, verifying: int | None = None
    ) -> Self:
        """Open or begin the member's copy in `folder` and join the network.

        Raises   StoreLocked, StoreCorrupt, DiskFull, DiskFailed, WrongNetwork, BinaryMissing, WrongVersion, SeatIncomplete, PortInUse,
                 NotAHome, VerifierDiffers
        """
        replica = Replica.open(folder, genesis)
        try:
            return cls(folder, replica, is_batching=is_batching, snapshot_every=snapshot_every, verifying=verifying)
        except BaseException:
            replica.close()
            raise

    def not_ready(self) -> str:
        """Return why nothing can become final here now: this copy has no block yet, or the network makes none."""
        return why_not_ready(self.read().chain.height, int(time.monotonic() - self._last_block_at))

    def remark(self) -> str:
        """Return why signatures are checked more slowly than they could be; empty if they are not."""
        return self._verifier.remark()

    async def submit(self, transaction: bytes) -> Committed:
        """Return what became of the transaction, once that is final and durable here.

        Raises   NotOrdering, while the network makes no blocks; TooManyWaiting, and then it was not taken; BeginningMissing, where it may
                 be final in a block before the snapshot with which this copy began
        """
        waiter = self._await(transaction)
        try:
            if not self._places.acquire(blocking=False):
                raise TooManyWaiting(WAITING_MAX)
            self._inbox.put(waiter)
            return await waiter.future
        finally:
            self._waiting.discard(waiter)

    async def close(self) -> None:
        """End CometBFT, which finishes its block, then let go of threads and files."""
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        with self._ending:
            if not self._is_closed:
                self._is_closed = True
                self._end()

    def _end(self) -> None:
        self._shut()
        self.process.end()
        self._server.close()
        self._snapshots.close()
        for thread in self._threads:
            thread.join()
        self._let_go()
        self._stop(EngineClosed())
        self._rpc.close()
        self.replica.close()

    def _let_go(self) -> None:
        self.application.close()
        self._verifier.close()

    # -- told by the other threads

    def _fail(self, error: BaseException) -> None:
        """Stop for good: nothing goes on after a defect or a broken disk."""
        self._stop(error)
        self._shut()
        self.process.let_go()

    def _shut(self) -> None:
        """Let door, sender and watch come to their ends."""
        self._closing.set()
        self._inbox.put(None)
        with self._is_due:
            self._is_due.notify_all()

    def _renew(self) -> None:
        self.process.renew()

    def _hand_over_kept(self, item: bytes) -> None:
        with self._is_due:
            self._kept.append(item)
            self._is_due.notify_all()

    def _begun(self) -> None:
        """Hear that CometBFT began anew, with an empty mempool: all that is pending is to be sent again."""
        self.application.waiting.begin_anew()
        if (kept := self.application.waiting.unheard()) is not None:
            self._hand_over_kept(kept)
        with self._is_due:
            self._due = {id_: one.data for id_, one in self._pending.items()}
            self._is_due.notify_all()

    def _committed(self, block: Block) -> None:
        """Answer who waited for this block, and who can no longer be in any: block time is past its transaction's `exp`."""
        self._last_block_at = time.monotonic()
        now_s = block.time_ms // 1_000
        answers: list[Answer] = []
        with self._guard:
            for result in block.results:
                one = self._taken_off(result.id)
                if one is not None:
                    said = sure(answer_of(block, result), is_beginning_missing=one.is_beginning_missing)
                    answers.extend((waiter, said) for waiter in one.waiters)
            for id_, one in [(id_, one) for id_, one in self._pending.items() if one.exp_s <= now_s]:
                self._taken_off(id_)
                expired = Committed(id_, None, None, block.time_ms, int(Reason.EXPIRED), {"exp_s": one.exp_s})
                late = sure(expired, is_beginning_missing=one.is_beginning_missing)
                answers.extend((waiter, late) for waiter in one.waiters)
        self._answer(answers)
        self._advanced.set()
        self._bell.ring()

    def _taken_off(self, id_: bytes) -> _Pending | None:
        """Return what is on its way under an id and is so no longer: nor is it sent any more. Whoever asks holds the lock."""
        self._due.pop(id_, None)
        return self._pending.pop(id_, None)

    def _answer(self, answers: Sequence[Answer]) -> None:
        """Answer, and free the places. A caller that gave up kept its place till here: what it left was work all the same."""
        if answers:
            self._places.release(len(answers))
            answer(answers)

    # -- the door's thread

    def _guarded(self, step: Callable[[], bool]) -> None:
        try:
            while step():
                pass
        except BaseException as error:  # noqa: BLE001 - told to all who wait and to whoever watches
            self._fail(error)

    def _enter_next(self) -> bool:
        """Gather what has arrived, and let in what is to be sent; say whether more may come."""
        group: list[Waiter] = []
        is_open = self._gather(group)
        self._enter(group)
        return is_open

    def _gather(self, group: list[Waiter]) -> bool:
        """Add to `group` what is there, or else wait a moment for the next; say whether more may come."""
        while len(group) < CALL_TRANSACTIONS_MAX:
            try:
                waiter = self._inbox.get_nowait() if group else self._inbox.get(timeout=1.0)
            except queue.Empty:
                return True
            if waiter is None:
                return False
            group.append(waiter)
        return True

    def _enter(self, group: Sequence[Waiter]) -> None:
        """Let the sender have what holds, is not on its way and is not final. The rest is answered or waits with its twin."""
        fresh: dict[bytes, bytes] = {}
        answers: list[Answer] = []
        is_missing = self.replica.missing > 0  # before the copy is searched
        for waiter, known in zip(group, self.application.screening.said_of([each.data for each in group]), strict=True):
            if isinstance(known, Refused):
                answers.append((waiter, self._at_the_door(waiter.data, known)))
                continue
            id_ = known.transaction.id
            with self._guard:
                one = self._pending.get(id_)
                if one is None:
                    self._pending[id_] = _Pending(waiter.data, known.transaction.header.exp_s, time.monotonic(), [waiter], is_missing)
                    fresh[id_] = waiter.data
                else:
                    one.waiters.append(waiter)
        for id_, said in self.replica.find(list(fresh)).items():
            del fresh[id_]
            with self._guard:
                one = self._taken_off(id_)
            answer_ = sure(said, is_beginning_missing=is_missing)
            answers.extend((waiter, answer_) for waiter in (one.waiters if one is not None else ()))
        self._answer(answers)
        with self._is_due:
            self._due |= {id_: data for id_, data in fresh.items() if id_ in self._pending}
            self._is_due.notify_all()

    def _at_the_door(self, data: bytes, no: Refused) -> Committed | BeginningMissing:
        id_, is_missing = transaction_id(data), self.replica.missing > 0
        known = self.replica.find([id_]).get(id_)  # final before its carrier's key went: the same answer again
        said = known or Committed(id_, None, None, self.replica.chain.time_ms, int(no.reason), no.facts)
        return sure(said, is_beginning_missing=is_missing)

    # -- the sender's thread

    def _send_next(self) -> bool:
        """Hand over what is due, or else wait a moment for it; say whether more may come."""
        with self._is_due:
            self._is_due.wait_for(lambda: self._due or self._kept or self._closing.is_set(), 1.0)
            kept, self._kept = self._kept, []
            transactions = [self._due.pop(id_) for id_ in list(islice(self._due, CALL_TRANSACTIONS_MAX))]
        self._call(kept)
        self._hand_over(transactions)
        return not self._closing.is_set()

    def _hand_over(self, transactions: Sequence[bytes]) -> None:
        self._call([pack(each) for each in (_batches(transactions) if self._is_batching else [[data] for data in transactions])])

    def _call(self, items: list[bytes]) -> None:
        """Hand items to the mempool until it has taken each; give up only when we close. What it refuses meets its `exp` or a block."""
        while items and not self._closing.is_set():
            self._advanced.clear()
            try:
                self.application.waiting.are_ours(items)
                taken = self._rpc.broadcast(items)
            except Unreachable:
                self._closing.wait(RETRY_S)
                continue
            items = [item for item, said in zip(items, taken, strict=True) if said is Taken.FULL]
            if items:
                self._advanced.wait(1.0)  # a block makes room

    # -- the watch

    def _peers(self) -> int | None:
        """Return how many peers CometBFT has; None while it starts."""
        client = Rpc(self._ports.rpc)  # the sender's own is used by one thread
        try:
            return client.standing().peers
        except Unreachable:
            return None
        finally:
            client.close()

    def _notice_halt(self) -> bool:
        """Look, after a second, whether the network makes blocks; say whether to look again."""
        if self._closing.wait(1.0):
            return False
        self._verifier.remark()  # a process of it that has ended is let go of, also while there is nothing to check
        now = time.monotonic()
        since_s = int(now - self._last_block_at)
        if since_s < HALTED_S:
            self._redial.end()
            return True
        failure = self.process.failure()
        if failure is not None:
            self._fail(failure)
            return False
        if self._ports.named and self._redial.may_be_due(now) and self._redial.is_due(now, self._peers()):
            self._renew()
        with self._guard:
            late = [id_ for id_, one in self._pending.items() if now - one.since >= PATIENCE_S]
            waiters = [waiter for id_ in late for one in [self._taken_off(id_)] if one is not None for waiter in one.waiters]
        self._answer([(waiter, NotOrdering(since_s)) for waiter in waiters])
        return True


def why_not_ready(height: int, since_s: int) -> str:
    """Return why a member's copy at `height`, to which no block came for `since_s`, takes part in nothing; empty if it does."""
    if height == 0:
        return "this copy has no block yet: `yilian network status` says what it waits for"
    return f"no block for {since_s} s: a third of the votes or more cannot be reached" if since_s >= HALTED_S else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _batches(transactions: Sequence[bytes]) -> list[list[bytes]]:
    """Return the transactions in batches that are within both limits."""
    batches: list[list[bytes]] = []
    size_bytes = 0
    for data in transactions:
        cost_bytes = len(data) + ITEM_OVERHEAD_BYTES
        if not batches or len(batches[-1]) >= BATCH_TRANSACTIONS_MAX or size_bytes + cost_bytes > BATCH_SIZE_BYTES_MAX:
            batches.append([])
            size_bytes = ITEM_OVERHEAD_BYTES
        batches[-1].append(data)
        size_bytes += cost_bytes
    return batches
