"""The same ledger ordered by CometBFT validators on this machine's loopback: throughput, latency, CPU, and what a killed validator costs.

Method   Each validator is a process of its own with its CometBFT, as `yilian node run` has them, without HTTP; all of them, and the load,
         share this machine's cores. Each member signs its load before the clock starts and keeps a fixed number in flight, a closed loop,
         so latency is that number over throughput. Of all members together it is 760 in the single mix, 600 in the real one, 900
         unbatched, 300 under the kill, 1,800 where one validator is alone. (With 900 in the single mix some miss a block, and p95 is two
         of them.) A window is 24,000 transactions, some thirty blocks: of a dozen one late block would be the p95. Latency is from
         `submit` to the answer, which is final and durable at that member. fsync is on. CPU is that of all processes; beside it stands
         what one verification took just before and after, for these machines change their speed. No window is repeated. Lone: one
         transaction at a time, network otherwise idle, at the first member.
Mixes    single: `anchor.correct` (one signature). real: 70 % one, 25 % two (`consent.give`), 5 % four (`access.record` by grant).
Delay    `bench.delay` relays each connection between two validators and hands every byte on 10 or 50 ms later, each way; another process's
         worth of CPU on the same cores.
Kill     under load, one validator and its CometBFT get SIGKILL; the stall is the longest time without a block at another member.
Peer     Hyperledger Fabric 3.1.5 as design 02 cites it for the same kind of machine, not measured here: 810-890/s Raft, 370-400/s BFT.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.carriage import CARRIED, VERSIONS, Load, carried
from bench.delay import delayed
from bench.figures import Figure, keep
from bench.load import PARAMETERS, digest, key, member
from yilian.base.keys import is_signed
from yilian.base.seal import member_public
from yilian.engines.cometbft import CometBftEngine, Seat, write_home
from yilian.ledger import Founder, Genesis, parse_genesis

FABRIC = "Hyperledger Fabric 3.1.5 on such a machine: 370-400/s BFT, 810-890/s Raft (cited)"
LONE = 30
WINDOW = 24_000  # transactions of all members together
APART_WINDOW = 6_000
KILL_WINDOW = 8_000
VERIFICATIONS = 4_000
IN_FLIGHT = {"single": 760, "real": 600}  # of all members together: four shares that two cores check within one block
UNBATCHED_IN_FLIGHT, KILL_IN_FLIGHT, ALONE_IN_FLIGHT = 900, 300, 1_800


# -- one member, in a process of its own


class Member:
    """A validator that does what it is told on standard input, one JSON object a line, and answers in kind."""

    def __init__(self, folder: Path, number: int, *, is_batching: bool) -> None:
        """Open the engine."""
        genesis = parse_genesis((folder / "genesis.cbor").read_bytes())
        self.engine = CometBftEngine.open(folder, genesis, is_batching=is_batching)
        self.load = Load(genesis.network_id, number)
        self.ready: list[bytes] = []

    async def prepare(self, mix: str, count: int) -> dict[str, Any]:
        """Sign a load; what it builds on is committed first."""
        if self.load.corrections is None:
            said = await asyncio.gather(*[self.engine.submit(data) for data in self.load.ticks()])
            self.load.ticked([each.index for each in said if each.index is not None])
        if mix == "real":
            given = await asyncio.gather(*[self.engine.submit(self.load.give()) for _ in range(count // 20 + 1)])
            assert all(each.is_accepted for each in given), given[0]
        self.ready = self.load.of(mix, count)
        return {"prepared": len(self.ready)}

    async def send(self, in_flight: int) -> dict[str, Any]:
        """Send the prepared load and say how that went."""
        rest = iter(self.ready)
        latencies_ms: list[float] = []
        blocks: list[float] = []
        refused: dict[int, int] = {}
        follower = asyncio.create_task(self._follow(blocks))

        async def sender() -> None:
            for data in rest:
                started = time.monotonic()
                said = await self.engine.submit(data)
                latencies_ms.append((time.monotonic() - started) * 1_000)
                if not said.is_accepted:
                    refused[said.reason] = refused.get(said.reason, 0) + 1

        started = time.monotonic()
        await asyncio.gather(*[sender() for _ in range(in_flight)])
        ended = time.monotonic()
        follower.cancel()
        return {"started": started, "ended": ended, "latencies_ms": latencies_ms, "refused": refused, "blocks": blocks}

    async def _follow(self, blocks: list[float]) -> None:
        async for _ in self.engine.blocks(self.engine.read().chain.height):
            blocks.append(time.monotonic())  # noqa: PERF401 - ended by being cancelled: a comprehension would have nothing then

    async def usage(self) -> dict[str, Any]:
        """Return the CPU seconds of this process, of its CometBFT and of what checks signatures, and the memory of this process."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "cpu_s": used.ru_utime + used.ru_stime + sum(map(_cpu_s, _children())),
            "comet_s": _cpu_s(self.engine.process.id),
            "memory_mb": used.ru_maxrss / 1_024,
            "comet": self.engine.process.id,
        }


def _children() -> list[str]:
    return " ".join([path.read_text() for path in Path("/proc/self/task").glob("*/children")]).split()


def _cpu_s(process: int | str | None) -> float:
    ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


async def serve(folder: Path, number: int, *, is_batching: bool) -> None:
    """Serve until the input ends."""
    one = Member(folder, number, is_batching=is_batching)
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        asked = json.loads(line)
        print(json.dumps(await getattr(one, asked.pop("do"))(**asked)), flush=True)
    await one.engine.close()


# -- the network


class Network:
    """Validators in processes."""

    def __init__(self, folder: Path, count: int, *, is_batching: bool = True, delay_ms: int = 0) -> None:
        """Found it and start every member, `delay_ms` away from each other."""
        self.relays = contextlib.ExitStack()
        ports = free_ports(2 * count)
        seats = [Seat(member(n), "127.0.0.1", ports[2 * n], ports[2 * n + 1], key(member(n), "consensus").seed) for n in range(count)]
        others = [_founder(name, None) for number in range(count) for name in carried(number)[1:]]
        genesis = Genesis(int(time.time()), "", (*[_founder(seat.member, seat) for seat in seats], *others), PARAMETERS)
        reached = [seat.p2p_port for seat in seats]
        if delay_ms:
            reached = self.relays.enter_context(delayed(reached, delay_ms))
        peers = {seat.member: replace(seat, p2p_port=port).peer for seat, port in zip(seats, reached, strict=True)}
        self.children = []
        for number, seat in enumerate(seats):
            home = folder / seat.member
            write_home(home, genesis, seat, [peer for name, peer in peers.items() if name != seat.member])
            (home / "genesis.cbor").write_bytes(genesis.encoded())
            mode = "batched" if is_batching else "single"
            command = [sys.executable, __file__, "--member", str(home), str(number), mode]
            self.children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    def tell(self, number: int, do: str, **what: object) -> None:
        """Ask one member to do something."""
        sink = cast("IO[str]", self.children[number].stdin)
        sink.write(json.dumps({"do": do, **what}) + "\n")
        sink.flush()

    def hear(self, number: int) -> dict[str, Any]:
        """Return one member's answer."""
        answer: dict[str, Any] = json.loads(cast("IO[str]", self.children[number].stdout).readline())
        return answer

    def all(self, do: str, members: Sequence[int] = (), **what: object) -> list[dict[str, Any]]:
        """Ask members, all unless some are named, at once and return their answers."""
        asked = members or range(len(self.children))
        for number in asked:
            self.tell(number, do, **what)
        return [self.hear(number) for number in asked]

    def close(self) -> None:
        """End every member."""
        for child in self.children:
            with contextlib.suppress(BrokenPipeError):
                cast("IO[str]", child.stdin).close()
        for child in self.children:
            child.wait()
        self.relays.close()


@contextlib.contextmanager
def network(count: int, *, is_batching: bool = True, delay_ms: int = 0) -> Iterator[Network]:
    """Give a running network whose files are on the checkout's disk: fsync must mean something."""
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=Path(__file__).parent))
    try:
        made = Network(folder, count, is_batching=is_batching, delay_ms=delay_ms)
        try:
            yield made
        finally:
            made.close()
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Window:
    """What one window of load gave."""

    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: float
    verification_us: float
    interval_ms: float
    memory_mb: float

    @property
    def peer(self) -> str:
        """What the CPU is to be held against."""
        return f"one Ed25519 verification took {self.verification_us:.0f} us: {self.cpu_ms * 1_000 / self.verification_us:.1f} of them"


def window(of: Network, mix: str, count: int, in_flight: int) -> Window:
    """Send a load from every member and return what that gave; a refusal is a defect of the benchmark."""
    members = len(of.children)
    of.all("prepare", mix=mix, count=count // members)
    before, slow_us = sum(each["cpu_s"] for each in of.all("usage")), verification_us()
    said = of.all("send", in_flight=in_flight // members)
    usage = of.all("usage")
    assert not any(each["refused"] for each in said), [each["refused"] for each in said]
    latencies = sorted(ms for each in said for ms in each["latencies_ms"])
    took_s = max(each["ended"] for each in said) - min(each["started"] for each in said)
    blocks = said[0]["blocks"]
    return Window(
        len(latencies) / took_s,
        latencies[len(latencies) // 2],
        latencies[len(latencies) * 95 // 100],
        latencies[len(latencies) * 99 // 100],
        (sum(each["cpu_s"] for each in usage) - before) * 1_000 / len(latencies),
        (slow_us + verification_us()) / 2,
        (blocks[-1] - blocks[0]) * 1_000 / max(1, len(blocks) - 1),
        max(each["memory_mb"] for each in usage),
    )


def verification_us() -> float:
    """Return what one verification of a signature takes now, with nothing beside it."""
    signer, message = key("verification"), bytes(500)
    signature = signer.sign(message)
    started = time.monotonic()
    assert all(is_signed(signer.public_key, message, signature) for _ in range(VERIFICATIONS))
    return (time.monotonic() - started) / VERIFICATIONS * 1_000_000


def lone(of: Network) -> float:
    """Return the median latency of one transaction at a time, ms."""
    of.all("prepare", mix="single", count=LONE)
    of.tell(0, "send", in_flight=1)
    latencies = sorted(of.hear(0)["latencies_ms"])
    return float(latencies[len(latencies) // 2])


def stall(of: Network) -> float:
    """Kill the last member under load; return the longest time without a block at the first, s. Everything sent must be answered."""
    left = list(range(len(of.children) - 1))
    of.all("prepare", left, mix="single", count=KILL_WINDOW // len(left))
    victim = of.all("usage", [len(left)])[0]["comet"]
    for number in left:
        of.tell(number, "send", in_flight=KILL_IN_FLIGHT // len(left))
    time.sleep(1.5)
    killed_at = time.monotonic()
    of.children[-1].kill()
    os.kill(victim, signal.SIGKILL)
    said = [of.hear(number) for number in left]
    assert sum(len(each["latencies_ms"]) for each in said) == KILL_WINDOW // len(left) * len(left)
    assert not any(each["refused"] for each in said), [each["refused"] for each in said]
    times = [killed_at, *(at for at in said[0]["blocks"] if at > killed_at)]
    return max(after - before for before, after in pairwise(times))


def run() -> Iterator[Figure]:
    """Yield the figures."""
    with network(4) as four:
        yield Figure("network4.lone_ms_p50", lone(four), "ms", "<= 400")
        single = window(four, "single", WINDOW, IN_FLIGHT["single"])
        yield Figure("network4.transactions_per_s", single.per_s, "transactions/s", ">= 2200", FABRIC)
        yield Figure("network4.p50_ms", single.p50_ms, "ms, single mix, batched")
        yield Figure("network4.p95_ms", single.p95_ms, "ms, single mix, batched", "<= 500")
        yield Figure("network4.p99_ms", single.p99_ms, "ms, single mix, batched")
        yield Figure("network4.cpu_ms_per_transaction", single.cpu_ms, "ms, all processes, single mix", "<= 0.75", single.peer)
        yield Figure("network4.block_interval_ms", single.interval_ms, "ms under load")
        yield Figure("network4.memory_mb", single.memory_mb, "MB, the largest application", "<= 300")
        real = window(four, "real", WINDOW, IN_FLIGHT["real"])
        yield Figure("network4.real_mix_per_s", real.per_s, "transactions/s", ">= 1600", FABRIC)
        yield Figure("network4.real_mix_p95_ms", real.p95_ms, "ms", "<= 500")
        yield Figure("network4.real_mix_cpu_ms", real.cpu_ms, "ms, all processes", "<= 1.0", real.peer)
        yield Figure("network4.stall_s_after_kill", stall(four), "s", "<= 2")
    with network(4, is_batching=False) as four:
        unbatched = window(four, "single", APART_WINDOW, UNBATCHED_IN_FLIGHT)
        yield Figure("network4.unbatched_per_s", unbatched.per_s, "transactions/s", ">= 1200", FABRIC)
        yield Figure("network4.unbatched_p95_ms", unbatched.p95_ms, "ms")
    with network(1) as one:
        alone = window(one, "single", VERSIONS * CARRIED, ALONE_IN_FLIGHT)
        yield Figure("network1.transactions_per_s", alone.per_s, "transactions/s", ">= 6000")
        yield Figure("network1.p95_ms", alone.p95_ms, "ms")
        yield Figure("network1.cpu_ms_per_transaction", alone.cpu_ms, "ms, all processes, single mix", peer=alone.peer)
    yield from run_apart()


def run_apart() -> Iterator[Figure]:
    """Yield the figures of validators that are some way from each other."""
    for delay_ms in (10, 50):
        with network(4, delay_ms=delay_ms) as four:
            name, far = f"network4.delay{delay_ms}", f"{delay_ms} ms each way between validators"
            yield Figure(f"{name}.lone_ms_p50", lone(four), f"ms, {far}")
            single = window(four, "single", APART_WINDOW, IN_FLIGHT["single"])
            yield Figure(f"{name}.transactions_per_s", single.per_s, f"transactions/s, single mix, batched, {far}")
            yield Figure(f"{name}.p95_ms", single.p95_ms, f"ms, single mix, batched, {far}")


def _founder(name: str, seat: Seat | None) -> Founder:
    keys = (key(name, "node").public_key, member_public(digest(name, "sealing") * 3), key(name, "receipt").public_key)
    return Founder(name, ("hospital",), name, "", *keys, 0 if seat is None else 1, None if seat is None else seat.consensus_key)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in probes:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in probes]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--member"]:
        asyncio.run(serve(Path(sys.argv[2]), int(sys.argv[3]), is_batching=sys.argv[4] == "batched"))
    else:
        print(f"{(__doc__ or '').strip()}\n")
        figures = []
        for figure in run():
            keep([figure])
            figures.append(figure)
        sys.exit(1 if any(each.is_met is False for each in figures) else 0)
