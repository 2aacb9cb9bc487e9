"""Signatures checked by a process beside this one, many at once: CometBFT's own Ed25519, under libsodium's rules (`verifier/main.go`).

A signature's verdict is the network's, so as little as may be rests on that process: it is tried on the edge cases at each start, and each
no is asked of libsodium here: honest traffic has none. Nobody waits for it without a bound: one that has died, stands still or says
what it should not is ended and its claims are checked here, and one that keeps failing rests for an hour. Where it was never built, all is
checked here.
Source   ADR-0158; design 02 "One signature semantics per network".
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from yilian.base.edge_cases import EDGE_CASES
from yilian.base.keys import Signed, are_signed, is_signed
from yilian.engines.cometbft.faults import VerifierDiffers

VERIFIER = "yilian-verifier"  # beside CometBFT: `make cometbft` builds both
FEW_MAX = 8  # claims: half a millisecond of a core, about what it costs to go to another process and back
CLAIMS_MAX = 4_096  # of one question: 0.2 s of a slow core
QUESTION_SIZE_BYTES_MAX = 4 * 1024 * 1024  # of their messages: approvals of a large transaction each carry all of it
PATIENCE_S = 2.0  # for the answer to one question, and for one's turn to ask: ten times what the longest takes
TRIALS = 10  # from its eighth time on a key is checked in another way than before (`usesMin` in main.go)
STARTS_MAX = 4  # the first, and three after a failure; as many again an hour after the last start
REGAIN_S = 3_600.0
PIPE_SIZE_BYTES = 1 << 20  # what a process without privileges may ask for (pipe(7), pipe-max-size): a batch goes in one write
NUMBER_SIZE = 4
GO = {"GOGC": "400", "GOMEMLIMIT": "64MiB"}  # its heap is a few megabytes; a flood of keys may not take more


class Verifier:
    """`are_signed` for any thread; one question is asked at a time."""

    def __init__(self, program: Path, workers: int) -> None:
        """Start `program` with so many goroutines, if it is there and they are any.

        Raises   VerifierDiffers
        """
        self._command = [str(program), str(workers)]
        self._guard = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._number = 0  # of the last question
        self._is_wanted = workers > 0 and program.is_file()
        self._starts_left = STARTS_MAX
        self._started_at = 0.0  # monotonic
        self._remark = f"there is no {program}" if workers and not self._is_wanted else ""
        with self._guard:
            self._start()

    @property
    def process(self) -> int | None:
        """The id of the running process."""
        child = self._child
        return None if child is None else child.pid

    def remark(self) -> str:
        """Return why signatures are checked here although another process should do it; empty while nothing is wrong.

        Whoever asks from time to time sees to it that a process that has ended is not left behind.
        """
        with self._guard:
            if self._child is not None and self._child.poll() is not None:
                self._end()
            return self._remark and f"{self._remark}: signatures are checked by the node itself, more slowly. `make cometbft` builds it"

    def are_signed(self, claims: Sequence[Signed]) -> list[bool]:
        """Say of each claim what `is_signed` says."""
        if len(claims) <= FEW_MAX:
            return are_signed(claims)
        said: list[bool] = []
        for part in _questions(claims):
            answer = self._asked(part)
            said.extend(are_signed(part) if answer is None else [yes or is_signed(*one) for yes, one in zip(answer, part, strict=True)])
        return said

    def close(self) -> None:
        """End the process; nobody asks any more."""
        with self._guard:
            self._is_wanted = False
            self._end()

    def _asked(self, claims: Sequence[Signed]) -> list[bool] | None:
        """Return the process's answer; None if there is none to be had."""
        if not self._guard.acquire(timeout=PATIENCE_S):
            return None
        try:
            if self._child is None:
                self._start()
            return self._answer(claims)
        finally:
            self._guard.release()

    def _start(self) -> None:
        """Start the process, if it may be, and try it.

        Raises   VerifierDiffers
        """
        if time.monotonic() - self._started_at > REGAIN_S:
            self._starts_left = STARTS_MAX
        if not self._is_wanted or self._starts_left == 0:
            return
        self._starts_left, self._started_at = self._starts_left - 1, time.monotonic()
        environment = GO | os.environ | {"GOMAXPROCS": self._command[1]}
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        try:
            # Its own session: a Ctrl-C at the terminal reaches our node alone, which then ends it in order.
            child = subprocess.Popen(  # noqa: S603 - our own
                self._command, stdin=pipe, stdout=pipe, stderr=none, bufsize=0, env=environment, start_new_session=True
            )
        except OSError as error:  # no program, or the machine has no room for one now
            self._remark = f"{self._command[0]} cannot be started ({error.strerror})"
            return
        self._child = child
        for end in (_sink(child), _source(child)):
            os.set_blocking(end, False)
        with contextlib.suppress(OSError):  # more than this machine allows: then in several writes
            fcntl.fcntl(_sink(child), fcntl.F_SETPIPE_SZ, PIPE_SIZE_BYTES)
        edge = [Signed(*(bytes.fromhex(part) for part in case[:3])) for case in EDGE_CASES]
        said = self._answer(edge * TRIALS)
        self._remark = "" if said is not None else f"{self._command[0]} does not answer"
        if said is not None and said != [case[3] for case in EDGE_CASES] * TRIALS:
            self._is_wanted = False
            self._end()
            raise VerifierDiffers(Path(self._command[0]))

    def _answer(self, claims: Sequence[Signed]) -> list[bool] | None:
        """Ask the running process; None, and it is ended, if it fails."""
        child = self._child
        if child is None:
            return None
        self._number = (self._number + 1) % 2 ** (8 * NUMBER_SIZE)
        number = self._number.to_bytes(NUMBER_SIZE, "big")
        parts = [part for key, message, signature in claims for part in (key, signature, len(message).to_bytes(4, "big"), message)]
        body = number + b"".join(parts)
        said = b""
        try:
            said = _exchanged(child, len(body).to_bytes(4, "big") + body, NUMBER_SIZE + len(claims))
        finally:
            verdicts = said[NUMBER_SIZE:]
            # Whatever came in between, also an exception: an answer that was not read to its end would be taken for the next one.
            is_answered = said[:NUMBER_SIZE] == number and len(verdicts) == len(claims) and set(verdicts) <= {0, 1}
            if not is_answered:
                self._end()
        return [byte == 1 for byte in verdicts] if is_answered else None

    def _end(self) -> None:
        child, self._child = self._child, None
        if self._starts_left == 0 and not self._remark:
            self._remark = f"{self._command[0]} failed {STARTS_MAX} times"
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                cast("IO[bytes]", pipe).close()


def _questions(claims: Sequence[Signed]) -> Iterator[Sequence[Signed]]:
    """Yield the claims in their order, no more at once than a question may have; one that is larger by itself goes alone."""
    start = size_bytes = 0
    for at, claim in enumerate(claims):
        if at > start and (at - start == CLAIMS_MAX or size_bytes + len(claim.message) > QUESTION_SIZE_BYTES_MAX):
            yield claims[start:at]
            start, size_bytes = at, 0
        size_bytes += len(claim.message)
    yield claims[start:]


def _sink(child: subprocess.Popen[bytes]) -> int:
    return cast("IO[bytes]", child.stdin).fileno()


def _source(child: subprocess.Popen[bytes]) -> int:
    return cast("IO[bytes]", child.stdout).fileno()


def _exchanged(child: subprocess.Popen[bytes], frame: bytes, size: int) -> bytes:
    """Send a question and return the answer of `size` bytes; what there is of it, where the process has ended or time is up."""
    left, said, until = memoryview(frame), b"", time.monotonic() + PATIENCE_S
    ready = select.poll()
    ready.register(_source(child), select.POLLIN)
    ready.register(_sink(child), select.POLLOUT)
    while len(said) < size:
        found = dict(ready.poll(max(0.0, until - time.monotonic()) * 1_000))
        if not found:
            return said  # time is up
        try:
            if _sink(child) in found and left:
                left = left[os.write(_sink(child), left) :]
                if not left:
                    ready.unregister(_sink(child))
            if _source(child) in found:
                piece = os.read(_source(child), size - len(said) + 1)  # one more than it may say
                if not piece:
                    return said
                said += piece
        except OSError:  # it ended just now
            return said
    return said
