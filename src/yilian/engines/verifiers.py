"""Signatures are checked here, before a transaction's turn: in other processes under load, in this one when it is alone.

A lone transaction is checked at once: the way to another process and back would cost more than its signature. A burst is sent in batches;
a batch closes when a process has room for it, so there is no timer. While a process is still starting, or after it died, the batch is
checked here. Processes are started by the first burst: a quiet node has none (ADR-0053).
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import BinaryIO, Generic, Protocol, TypeVar, cast

from yilian.engines.packing import Verdict, read_frame, unpack, write_frame
from yilian.ledger import KeyTable, screen_all

BATCH_MAX = 128  # transactions: about 10 ms of one core
INLINE_MAX = 4  # as many signatures take about as long as the way to a process and back
AHEAD_MAX = 2  # batches with one process: the next one lies ready when it answers
PROCESSES_MAX = 3  # one writer keeps about three verifying processes busy
END_S_MAX = 5.0  # for a process to end once nothing more can come; it takes milliseconds
STARTS_MAX = 3  # a process that keeps dying is not started for ever; the node goes on without it


def processes_for(cores: int) -> int:
    """Return how many verifying processes serve a machine: the writer needs a core of its own."""
    return max(0, min(PROCESSES_MAX, cores - 1))


class Waiting(Protocol):
    """Something that holds a transaction's bytes and waits for the verdict on them."""

    @property
    def data(self) -> bytes:
        """The transaction's bytes."""


ItemT = TypeVar("ItemT", bound=Waiting)


class _Process(Generic[ItemT]):
    """One verifying process, and the batches that it has and has not answered."""

    def __init__(self) -> None:
        # The command is our own interpreter with our own module; no text from elsewhere is in it.
        self.child = subprocess.Popen([sys.executable, "-m", "yilian.engines.verify_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.is_ready = False
        self.batches: deque[list[ItemT]] = deque()
        self.keys: KeyTable | None = None

    @property
    def sink(self) -> BinaryIO:
        return cast("BinaryIO", self.child.stdin)

    @property
    def source(self) -> BinaryIO:
        return cast("BinaryIO", self.child.stdout)


class Verifiers(Generic[ItemT]):
    """Takes transactions one by one from any thread and delivers them with their verdicts in batches."""

    def __init__(
        self,
        network: bytes,
        keys: Callable[[], KeyTable],
        deliver: Callable[[Sequence[tuple[ItemT, Verdict]]], None],
        fail: Callable[[BaseException], None],
        processes: int,
    ) -> None:
        """Begin; `keys` returns the latest table, `fail` is told of a defect, `processes` may be 0."""
        self._network = network
        self._keys = keys
        self._deliver = deliver
        self._fail = fail
        self._starts_left = STARTS_MAX * processes
        self._processes_max = processes
        self._arrivals: queue.SimpleQueue[ItemT | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._processes: list[_Process[ItemT]] = []
        self._threads = [threading.Thread(target=self._guarded, args=(self._dispatch,), name="yilian-verify", daemon=True)]
        self._threads[0].start()

    def put(self, item: ItemT) -> None:
        """Take one transaction."""
        self._arrivals.put(item)

    def close(self) -> None:
        """Judge what was taken, then end threads and processes."""
        self._arrivals.put(None)
        self._threads[0].join()
        with self._changed:
            processes = list(self._processes)
        for each in processes:
            with contextlib.suppress(BrokenPipeError):  # it died just now: its receiver judges here what it had
                each.sink.close()
        for thread in self._threads[1:]:
            thread.join(END_S_MAX)
        for each in processes:
            each.child.kill()  # which stands still: nothing else is still there
        for thread in self._threads[1:]:
            thread.join()

    def _guarded(self, run: Callable[..., None], *args: object) -> None:
        try:
            run(*args)
        except BaseException as error:  # noqa: BLE001 - handed on: the engine stops with it
            self._fail(error)

    def _dispatch(self) -> None:
        is_open = True
        while is_open:
            batch: list[ItemT] = []
            is_open = self._collect(batch, is_blocking=True)
            if not batch:
                continue
            process = self._with_room() if len(batch) > INLINE_MAX else None
            if process is None:
                self._judge_here(batch)
                continue
            is_open = is_open and self._collect(batch, is_blocking=False)
            self._send(process, batch)

    def _collect(self, batch: list[ItemT], *, is_blocking: bool) -> bool:
        """Add what has arrived to `batch`; say whether more may come."""
        while len(batch) < BATCH_MAX:
            try:
                item = self._arrivals.get(block=is_blocking and not batch)
            except queue.Empty:
                return True
            if item is None:
                return False
            batch.append(item)
        return True

    def _with_room(self) -> _Process[ItemT] | None:
        """Return a process that can take a batch, waiting for one if any is up; None if there is none."""
        with self._changed:
            while len(self._processes) < self._processes_max and self._starts_left > 0:
                self._starts_left -= 1
                try:
                    self._start()
                except OSError:
                    break  # the machine has no room for one now; as for one that died, all is judged here
            while any(each.is_ready for each in self._processes):
                free = [each for each in self._processes if each.is_ready and len(each.batches) < AHEAD_MAX]
                if free:
                    return min(free, key=lambda each: len(each.batches))
                self._changed.wait()
            return None

    def _start(self) -> None:
        process: _Process[ItemT] = _Process()
        self._processes.append(process)
        thread = threading.Thread(target=self._guarded, args=(self._receive, process), name="yilian-verified", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _send(self, process: _Process[ItemT], batch: list[ItemT]) -> None:
        keys = self._keys()
        newer = dict(keys) if keys is not process.keys else None
        with self._changed:
            is_up = process in self._processes
            if is_up:
                process.batches.append(batch)
        if not is_up:
            self._judge_here(batch)
            return
        process.keys = keys
        try:
            write_frame(process.sink, (self._network, newer, [item.data for item in batch]))
        except BrokenPipeError:
            process.child.kill()  # its receiver sees the end, and judges here what it had

    def _receive(self, process: _Process[ItemT]) -> None:
        try:
            read_frame(process.source)
            with self._changed:
                process.is_ready = True
                self._changed.notify_all()
            while True:
                verdicts = [unpack(parts) for parts in read_frame(process.source)]
                with self._changed:
                    batch = process.batches.popleft()
                    self._changed.notify_all()
                self._deliver(list(zip(batch, verdicts, strict=True)))
        except EOFError:
            for batch in self._left_by(process):
                self._judge_here(batch)
        except BaseException:
            process.child.kill()  # nobody reads its answers any more: neither it nor the dispatcher may wait for that
            self._left_by(process)
            raise

    def _left_by(self, process: _Process[ItemT]) -> list[list[ItemT]]:
        """Let go of a process that has ended; return the batches that it had and did not answer."""
        with self._changed:
            self._processes.remove(process)
            left = list(process.batches)
            self._changed.notify_all()
        process.child.wait()
        process.source.close()
        return left

    def _judge_here(self, batch: list[ItemT]) -> None:
        said = screen_all(self._network, self._keys(), [item.data for item in batch])
        self._deliver(list(zip(batch, said, strict=True)))
