"""The embedded engine with the real rules: throughput, lone latency, proofs, and what a transaction costs as the ledger grows.

Method   One process with the engine, its verifying processes and the sender, all on the same cores; the load is signed before the clock
         starts; fsync on, in a folder of the checkout. Throughput is the best of three windows of 8,000 transactions with 1,500 in
         flight. CPU is that of all processes. Lone latency: one transaction at a time on an idle engine, 200 times. Growth: the ledger is
         filled with grants to the size (signatures left out of the filling only), then grants are sent as above, three windows of 2,000;
         wall and CPU per transaction of the best. A replica's own cost: CPU of this thread in one process, single mix, blocks of 500, the
         least of 12 blocks, each stage alone and then all of them as a member that has not seen the transactions before does them.
Peer     plain SQLite: the same bytes, one row each in a table without rules, WAL and synchronous=FULL, 500 rows to a commit.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeVar

from bench.figures import Figure
from bench.load import CARRIERS, TICK_S, VERSIONS, Clock, Load, genesis
from yilian.base.transaction import parse, transaction_id
from yilian.engines.collector import collect_seldom
from yilian.engines.embedded import EmbeddedEngine
from yilian.engines.replica import Replica
from yilian.ledger import BlockHeader, Screened, screen_all

IN_FLIGHT = 1_500
WINDOW = 8_000
WINDOWS = 3
LONE = 200
PROOFS = 20_000
SIZES = (10_000, 100_000, 1_000_000)
SAMPLE = 2_000
FILL_BLOCK = 5_000
BLOCK, BLOCKS = 500, 12

T = TypeVar("T")


def run() -> Iterator[Figure]:
    """Yield the figures."""
    plain = _plain_sqlite()
    yield Figure("sqlite.plain_rows_per_s", plain, "rows/s")
    peer = f"plain SQLite insert {plain:,.0f} rows/s"
    for mix, name, target in (("single", "embedded.transactions_per_s", 8_000), ("real", "embedded.real_mix_per_s", 7_000)):
        rate, cpu_us = asyncio.run(_throughput(mix))
        yield Figure(name, rate, "transactions/s", f">= {target}", peer)
        yield Figure(f"embedded.{mix}_cpu_us", cpu_us, "us CPU/transaction, all processes")
    yield from _replica()
    p50, p99 = asyncio.run(_lone())
    yield Figure("embedded.lone_ms_p50", p50, "ms", "<= 8")
    yield Figure("embedded.lone_ms_p99", p99, "ms")
    yield from asyncio.run(_growth())


@contextmanager
def _folder() -> Iterator[Path]:
    # in the checkout and not in the system's folder for temporary files, which may be memory: fsync must mean something
    place = Path(__file__).parent.parent / ".cache" / "bench"
    place.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=place))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _plain_sqlite() -> float:
    """Return rows per second of the same bytes in a table of their own."""
    load = Load(Clock())
    rows = [(transaction_id(data), data) for data, _ in load.unsigned_gives(20_000)]
    with _folder() as folder:
        connection = sqlite3.connect(folder / "plain.sqlite", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE entries(id BLOB PRIMARY KEY, data BLOB) WITHOUT ROWID")
        started = time.perf_counter()
        for first in range(0, len(rows), 500):
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO entries VALUES(?, ?)", rows[first : first + 500])
            connection.execute("COMMIT")
        took_s = time.perf_counter() - started
        connection.close()
    return len(rows) / took_s


async def _prepared(folder: Path, clock: Clock, *, ticks: int, grants: int) -> tuple[EmbeddedEngine, Load]:
    """Return an engine whose ledger has what the load builds on: ticks to correct and grants to use."""
    load = Load(clock)
    engine = EmbeddedEngine.open(folder, genesis(), now_ms=clock)
    for number in range(ticks):
        clock.ms += TICK_S * 1_000
        answers = await asyncio.gather(*[engine.submit(load.tick(carrier, number)) for carrier in range(CARRIERS)])
        for carrier, answer in enumerate(answers):
            assert answer.index is not None, answer
            load.ticked(answer.index, carrier, number)
    given = await asyncio.gather(*[engine.submit(load.give()) for _ in range(grants)])
    assert all(answer.is_accepted for answer in given), "every grant is given"
    return engine, load


async def _send(engine: EmbeddedEngine, load: Sequence[bytes]) -> tuple[float, float]:
    """Send all, 1,500 in flight; return (wall, CPU of all processes) in seconds per transaction."""
    rest = iter(load)

    async def sender() -> None:
        for data in rest:
            answer = await engine.submit(data)
            assert answer.is_accepted, answer

    cpu, started = _cpu_s(), time.perf_counter()
    await asyncio.gather(*[sender() for _ in range(IN_FLIGHT)])
    return (time.perf_counter() - started) / len(load), (_cpu_s() - cpu) / len(load)


async def _throughput(mix: str) -> tuple[float, float]:
    """Return (transactions per second, CPU microseconds per transaction) of the best window."""
    clock = Clock()
    total = WINDOW * WINDOWS + IN_FLIGHT
    with _folder() as folder:
        ticks = -(-total // (VERSIONS * CARRIERS))
        engine, load = await _prepared(folder, clock, ticks=ticks, grants=IN_FLIGHT)
        make = load.single if mix == "single" else load.real
        await _send(engine, make(IN_FLIGHT))  # brings the verifying processes up
        found = []
        for _ in range(WINDOWS):
            found.append(await _send(engine, make(WINDOW)))
            clock.ms += 1_000
        await engine.close()
    wall, cpu = min(found)
    return 1 / wall, cpu * 1e6


def _replica() -> list[Figure]:
    """Return what one replica's CPU spends on one transaction, by stage, in microseconds."""
    collect_seldom()  # as every engine does
    clock = Clock()
    load = Load(clock)
    stages: dict[str, list[float]] = {}

    def timed(stage: str, run: Callable[[], T]) -> T:
        started = time.thread_time()
        found = run()
        stages.setdefault(stage, []).append((time.thread_time() - started) / BLOCK * 1e6)
        return found

    with _folder() as folder:
        replica = Replica.open(folder, genesis())
        for number in range(-(-2 * BLOCK * BLOCKS // (VERSIONS * CARRIERS))):
            clock.ms += TICK_S * 1_000
            for carrier, result in enumerate(replica.advance(clock.ms, [load.tick(each, number) for each in range(CARRIERS)]).results):
                assert result.index is not None, result
                load.ticked(result.index, carrier, number)
        for is_known in (True, False):
            for _ in range(BLOCKS):
                clock.ms += 100
                block, header = load.single(BLOCK), BlockHeader(replica.chain.height + 1, clock.ms, replica.genesis.operator)
                known = {}
                if is_known:
                    timed("read", lambda block=block: [parse(data) for data in block])
                    facts = timed("screen", lambda block=block: screen_all(load.network, replica.keys(), block))
                    known = {data: said for data, said in zip(block, facts, strict=True) if isinstance(said, Screened)}
                names = ("decide", "commit") if is_known else ("decide_unknown", "commit_unknown")
                decided = timed(names[0], lambda header=header, block=block, known=known: replica.decide(header, block, known))
                timed(names[1], lambda decided=decided: replica.commit(decided))
        assert replica.chain.log.size >= 2 * BLOCK * BLOCKS, "every correction is accepted"
        replica.close()
    least = {stage: min(costs) for stage, costs in stages.items()}
    own = min(sum(both) for both in zip(stages["decide_unknown"], stages["commit_unknown"], strict=True))
    unit = "us CPU/transaction, one replica"
    return [
        Figure("replica.read_us", least["read"], unit),
        Figure("replica.verify_us", least["screen"] - least["read"], unit),
        Figure("replica.decide_us", least["decide"], unit),
        Figure("replica.commit_us", least["commit"], unit),
        Figure("replica.own_cpu_us", own, unit, "<= 120"),
    ]


async def _lone() -> tuple[float, float]:
    """Return (p50, p99) in milliseconds from submit to answer, nothing else going on."""
    clock = Clock()
    with _folder() as folder:
        engine, load = await _prepared(folder, clock, ticks=1, grants=0)
        took = []
        for data in load.single(LONE):
            started = time.perf_counter()
            await engine.submit(data)
            took.append((time.perf_counter() - started) * 1e3)
        await engine.close()
    took.sort()
    return took[LONE // 2], took[LONE * 99 // 100]


async def _growth() -> list[Figure]:
    """Return cost per transaction at each size, the ratio of the last to the first, and the rate of receipt proofs at the largest."""
    clock = Clock()
    figures: list[Figure] = []
    costs: dict[int, tuple[float, float]] = {}
    with _folder() as folder:
        engine, load = await _prepared(folder, clock, ticks=0, grants=IN_FLIGHT)
        for size in SIZES:
            _fill(engine, load, clock, size - SAMPLE * WINDOWS)
            await asyncio.to_thread(engine.replica.checkpoint)
            await _send(engine, [load.give() for _ in range(IN_FLIGHT)])  # the verifying processes are up, caches are warm
            costs[size] = min([await _send(engine, [load.give() for _ in range(SAMPLE)]) for _ in range(WINDOWS)])
            wall, cpu = costs[size]
            name = f"ledger.cost_us_at_1e{len(str(size)) - 1}"
            figures.append(Figure(name, wall * 1e6, "us/transaction", peer=f"CPU {cpu * 1e6:.0f} us"))
        growth = costs[SIZES[-1]][0] / costs[SIZES[0]][0]
        figures.append(Figure("ledger.cost_growth_1e4_to_1e6", growth, "ratio of wall", "<= 1.3"))
        cpu_growth = costs[SIZES[-1]][1] / costs[SIZES[0]][1]
        figures.append(Figure("ledger.cpu_growth_1e4_to_1e6", cpu_growth, "ratio of CPU", "<= 1.3"))
        figures.append(Figure("ledger.proofs_per_s", _proofs(engine), "receipt proofs/s", ">= 20000"))
        figures.append(Figure("ledger.memory_mb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB, engine and sender"))
        figures.append(Figure("ledger.disk_bytes_per_entry", _size_bytes(folder) / SIZES[-1], "bytes"))
        await engine.close()
    return figures


def _fill(engine: EmbeddedEngine, load: Load, clock: Clock, size: int) -> None:
    """Bring the log to `size` entries; the engine is idle, so its writer's place may be taken."""
    replica = engine.replica
    while (missing := size - replica.chain.log.size) > 0:
        made = load.unsigned_gives(min(missing, FILL_BLOCK))
        clock.ms += 1_000
        replica.advance(clock.ms, [data for data, _ in made], dict(made))
    if sys.stderr.isatty():
        print(f"filled to {size:,}", file=sys.stderr)


def _proofs(engine: EmbeddedEngine) -> float:
    """Return inclusion proofs per second of random entries against the latest log."""
    size = engine.read().chain.log.size
    draw = Random(1)
    wanted = [draw.randrange(size) for _ in range(PROOFS)]
    started = time.perf_counter()
    for index in wanted:
        engine.inclusion(index, size)
    return PROOFS / (time.perf_counter() - started)


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _cpu_s() -> float:
    """Return the CPU seconds of this process and its living children (Linux: proc(5), fields utime and stime)."""
    children = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    ticks = 0
    for pid in children:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")
