"""Distance between processes of one machine: a relay before each port that hands every byte on later, both ways alike.

Method   A relay in a process of its own listens on loopback for each target; what arrives is handed on in its order after the delay. The
         round trip of a message and its answer is thus longer by twice the delay. TCP itself sees loopback on both sides: neither
         windows nor handshakes feel the distance, so a figure made with it is kinder than a real line by what those cost.
Why      The kernel's own way (tc netem in network namespaces) is left out of many kernels, that of the machine the figures are from too.
Usage    with delayed([26656, 26666], 10) as ports: ...      ports[n] is where the n-th target is reached, 10 ms away
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

LOOPBACK = "127.0.0.1"
HELD_BYTES_MAX = 64 * 1024 * 1024  # in one direction of one connection: 200 MB/s, the most that a validator sends, for a third of a second


class Pipe(asyncio.Protocol):
    """One direction: takes what arrives on its own connection and hands it to the other one later."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        """Begin with nothing held."""
        self._loop, self._delay_s = loop, delay_s
        self._held: deque[tuple[float, bytes | None]] = deque()  # None: the end
        self._size_bytes = 0
        self._is_waiting = False
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Know where bytes come from."""
        self.source = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hold what arrived."""
        self._hold(data)
        self._size_bytes += len(data)
        if self._size_bytes > HELD_BYTES_MAX and self.source is not None:
            self.source.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the other side end too, after what is still held."""
        del exc
        self._hold(None)

    def flow(self, sink: asyncio.Transport) -> None:
        """Hand on to `sink` from now on."""
        self.sink = sink
        self._hand_on()

    def _hold(self, data: bytes | None) -> None:
        self._held.append((self._loop.time() + self._delay_s, data))
        if not self._is_waiting:
            self._wait()

    def _wait(self) -> None:
        self._is_waiting = True
        self._loop.call_at(self._held[0][0], self._hand_on)

    def _hand_on(self) -> None:
        self._is_waiting = False
        now = self._loop.time()
        while self._held and self._held[0][0] <= now and self.sink is not None:
            _, data = self._held.popleft()
            if data is None:
                self.sink.close()
                return
            self._size_bytes -= len(data)
            self.sink.write(data)
        if self.source is not None and self._size_bytes <= HELD_BYTES_MAX and not self.source.is_closing():
            self.source.resume_reading()
        if self._held and self.sink is not None and not self._is_waiting:
            self._wait()


async def relay(target: int, delay_s: float) -> int:
    """Relay to a port of loopback until the loop ends; return the port to dial."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def connect(inward: Pipe, outward: Pipe) -> None:
        try:
            transport, _ = await loop.create_connection(lambda: outward, LOOPBACK, target)
        except OSError:
            cast("asyncio.Transport", inward.source).close()
            return
        inward.flow(transport)
        outward.flow(cast("asyncio.Transport", inward.source))

    def accept() -> Pipe:
        inward, outward = Pipe(loop, delay_s), Pipe(loop, delay_s)
        task = loop.create_task(connect(inward, outward))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return inward

    server = await loop.create_server(accept, LOOPBACK, 0)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def serve(targets: Sequence[int], delay_s: float) -> None:
    """Relay to every target, say the ports as one line of JSON, and go on until standard input ends."""
    ports = [await relay(target, delay_s) for target in targets]
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def delayed(targets: Sequence[int], delay_ms: int) -> Iterator[list[int]]:
    """Give, for each target port of loopback, a port from which it is `delay_ms` away each way, until the block is left."""
    command: list[Any] = [sys.executable, __file__, str(delay_ms), *map(str, targets)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        yield json.loads(child.stdout.readline())
        child.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve([int(port) for port in sys.argv[2:]], int(sys.argv[1]) / 1_000))
