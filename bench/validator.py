"""A validator in a process of its own that does nothing but validate: what `bench.restart` starts, kills and measures.

Usage    python bench/validator.py serve FOLDER [BLOCKS]        JSON objects, one a line, on standard input; answers in kind.
                                                               BLOCKS are between two snapshots
         python bench/validator.py restore FOLDER SNAPSHOTS APP_HASH
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from yilian.engines.cometbft import CometBftEngine
from yilian.engines.cometbft.snapshots import FORMAT, Offer, Snapshots
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.replica import Replica
from yilian.ledger import parse_genesis
from yilian.ledger.nonces import highest_spent

NEVER = 1 << 60  # blocks between snapshots: they are made when the benchmark asks
LARGE = 1_000  # transactions in a block
MB = 1_000_000


class Validator:
    """One validator that does what it is told on standard input, one JSON object a line, and answers in kind."""

    def __init__(self, folder: Path, every: int) -> None:
        """Open the engine."""
        self.folder = folder
        self.engine = CometBftEngine.open(folder, parse_genesis((folder / "genesis.cbor").read_bytes()), snapshot_every=every)

    async def stand(self) -> dict[str, Any]:
        """Say where the ledger stands, and what memory it takes."""
        chain = self.engine.read().chain
        comet = self.engine.process.id
        return {
            "height": chain.height,
            "entries": chain.log.size,
            "memory_mb": memory_mb("self", "VmRSS"),
            "peak_mb": memory_mb("self", "VmHWM"),
            "comet": comet,
            "comet_mb": memory_mb(comet, "VmRSS") if comet else 0.0,
        }

    async def spent(self, kids: list[str]) -> dict[str, int]:
        """Return the highest nonce of each carrier's key."""
        view = self.engine.read()
        return {kid: highest_spent(view, bytes.fromhex(kid)) for kid in kids}

    async def submit(self, data: str) -> dict[str, Any]:
        """Order one transaction and answer when it is final."""
        said = await self.engine.submit(bytes.fromhex(data))
        return {"is_accepted": said.is_accepted, "height": said.height, "reason": said.reason}

    async def snapshot(self) -> dict[str, Any]:
        """Write a snapshot beside the validator's own, and say how long that took and what memory it needed."""
        folder = self.folder / "bench-snapshots"
        shutil.rmtree(folder, ignore_errors=True)
        forget_peak()
        entries, started = self.engine.read().chain.log.size, time.monotonic()
        failed: list[BaseException] = []
        made = Snapshots(folder, self.engine.replica, failed.append, every=1)
        made.after(self.engine.read().chain.height)
        await asyncio.to_thread(made.close)
        assert not failed, failed
        return {
            "took_s": time.monotonic() - started,
            "entries": self.engine.read().chain.log.size - entries,
            "peak_mb": memory_mb("self", "VmHWM"),
            "wal_mb": (self.folder / "ledger.sqlite-wal").stat().st_size / MB,
            "size_mb": disk_mb(folder),
        }

    async def die(self) -> dict[str, Any]:
        """Be killed in the middle of the Commit of the next large block: CometBFT has it, the ledger does not. Say so before."""
        commit = self.engine.replica.commit

        def killed(decided: Any) -> Any:  # noqa: ANN401 - what the replica's own takes and gives
            if len(decided.transactions) >= LARGE:
                chain = self.engine.replica.chain
                print(json.dumps({"height": chain.height, "entries": chain.log.size, "lost": len(decided.transactions)}), flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            return commit(decided)

        self.engine.replica.commit = killed  # type: ignore[method-assign]
        return await self.stand()


async def serve(folder: Path, every: int) -> None:
    """Serve until the input ends."""
    one = Validator(folder, every)
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps(await one.stand()), flush=True)
    while line := await reader.readline():
        asked = json.loads(line)
        print(json.dumps(await getattr(one, asked.pop("do"))(**asked)), flush=True)
    await one.engine.close()


def restore(folder: Path, taken: Path, app_hash: bytes) -> dict[str, Any]:
    """Restore a snapshot into a fresh copy as state sync does, chunk by chunk; say how long it took and what memory it needed."""
    replica = Replica.open(folder, parse_genesis((taken.parent / "genesis.cbor").read_bytes()))
    failed: list[BaseException] = []
    ours, theirs = (
        Snapshots(folder / "none", replica, failed.append, made_at=lambda chain, _: chain.time_ms),
        Snapshots(taken, replica, failed.append),
    )
    offered = theirs.listed()[0]
    before_mb, started = memory_mb("self", "VmRSS"), time.monotonic()
    assert ours.offered(offered, app_hash).result == Offer.ACCEPT
    for number in range(offered.chunks):
        said = ours.applied(number, theirs.chunk(offered.height, FORMAT, number), "peer")
        assert said.result == abci.ResponseApplySnapshotChunk.ACCEPT, said
    took_s = time.monotonic() - started
    found = {"took_s": took_s, "height": replica.chain.height, "chunks": offered.chunks}
    replica.close()
    return {**found, "peak_mb": memory_mb("self", "VmHWM"), "before_mb": before_mb, "disk_mb": disk_mb(folder)}


def memory_mb(process: int | str, row: str) -> float:
    """Return a row of /proc/PID/status, which is in KiB (proc(5))."""
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(rows[row].split()[0]) * 1_024 / MB


def forget_peak() -> None:
    """Let VmHWM begin anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def disk_mb(folder: Path) -> float:
    """Return what the files below a folder occupy."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / MB


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(Path(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else NEVER))
    else:
        print(json.dumps(restore(Path(sys.argv[2]), Path(sys.argv[3]), bytes.fromhex(sys.argv[4]))))
