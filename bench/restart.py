"""A validator with a million entries: how long it takes to be back, and what memory and disk it needs.

Method   One validator, its CometBFT and the sender share this machine's cores; fsync on. The network is really fed: every entry is a
         `consent.give` with two signatures (the kind whose rows stay in the state for good), signed by the sender, checked by CheckTx, and
         ordered by CometBFT, so that its block store and ours stand at one height. Restart is the time from starting the process to the
         answer to a new transaction: interpreter, store, CometBFT with its handshake, one block. Killed: SIGKILL to the validator in the
         middle of Commit, then to CometBFT, so that the last block is replayed. Memory is VmRSS of the process (VmHWM where it says
         peak), of a process that does nothing but validate: the sender is another. Disk is what the folder's files occupy.
Use      `make bench-restart` feeds 10^6 entries and takes about seven minutes; ARGS="--entries 100000" for a quick look; with
         `--home DIR` the fed validator is kept, and used again.
Peer     none here.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.figures import Figure, keep
from bench.load import DAY_S, KINDS, PARAMETERS, digest, key, member
from bench.network import free_ports
from bench.validator import MB, disk_mb
from yilian.base.keys import SigningKey
from yilian.base.seal import member_public
from yilian.base.transaction import Header, sign
from yilian.contracts import consent
from yilian.engines.cometbft import Rpc, Seat, Unreachable, read_ports, write_home
from yilian.engines.cometbft.items import pack
from yilian.engines.cometbft.settings import address
from yilian.engines.consortium import trusted
from yilian.engines.replica import Replica
from yilian.ledger import Founder, Genesis, parse_genesis
from yilian.ledger.nonces import RESTART_SKIP

CARRIERS = 8
EXP_S = 3_000
BATCH = 100
CALL = 1_000  # transactions in one call to the mempool
AHEAD = 12_000  # sent and not yet final: fewer than what the validator remembers the signatures of
MORE = 10_000  # after a restart
VALIDATOR = str(Path(__file__).with_name("validator.py"))
LOOK_S = 0.05
JOIN_EVERY = 20  # blocks between snapshots while somebody joins
PATIENCE_S = 120.0
WIDTH = 40  # of the progress bar


# -- the sender


@dataclass
class Sender:
    """Signs grants that no other run has given."""

    network: bytes
    nonces: dict[str, int]
    run: int = field(default_factory=time.time_ns)
    given: int = 0

    def give(self) -> bytes:
        """Return the next grant: the carrier's signature and the control key's."""
        at, self.given = self.given, self.given + 1
        carrier = member(at % CARRIERS)
        self.nonces[carrier] += 1
        control = SigningKey(digest("control", self.run, at))
        holder, requester, commitment = (digest(what, self.run, at) for what in ("holder", "requester", "commitment"))
        now_s = int(time.time())
        message = consent.Give(control.public_key, holder, requester, commitment, (now_s // DAY_S + 8) * DAY_S, 5)
        signer, kind = key(carrier, "node"), KINDS["consent.give"]
        header = Header(self.network, signer.kid, carrier, kind.name, now_s + EXP_S, self.nonces[carrier])
        return sign(signer, header, kind.number, kind.body(message), (control,))


class Running:
    """A validator's process, and the way to its CometBFT."""

    def __init__(self, folder: Path, *words: str) -> None:
        """Start it and wait until it has opened its ledger."""
        self.folder = folder
        self.started = time.monotonic()
        command = [sys.executable, VALIDATOR, "serve", str(folder), *words]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.rpc = Rpc(read_ports(folder).rpc)
        self.opened = self._hear()
        self.opened_s = time.monotonic() - self.started

    def ask(self, do: str, **what: object) -> dict[str, Any]:
        """Ask it something."""
        sink = cast("IO[str]", self.child.stdin)
        sink.write(json.dumps({"do": do, **what}) + "\n")
        sink.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        line = cast("IO[str]", self.child.stdout).readline()
        assert line, "the validator has died"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def sender(self) -> Sender:
        """Return a sender that goes on beyond where the last one ended."""
        network = parse_genesis((self.folder / "genesis.cbor").read_bytes()).network_id
        names = [member(number) for number in range(CARRIERS)]
        kids = {name: key(name, "node").kid.hex() for name in names}
        spent = self.ask("spent", kids=list(kids.values()))
        return Sender(network, {name: spent[kids[name]] + RESTART_SKIP for name in names})

    def answers(self, sender: Sender) -> float:
        """Return the seconds since the start at which a new transaction was final."""
        said = self.ask("submit", data=sender.give().hex())
        assert said["is_accepted"], said
        return time.monotonic() - self.started

    def hand_over(self, transactions: list[bytes]) -> None:
        """Hand transactions to the mempool."""
        items = [pack(transactions[at : at + BATCH]) for at in range(0, len(transactions), BATCH)]
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.rpc.broadcast(items)
            except Unreachable:
                assert time.monotonic() < until, "CometBFT does not answer"
                time.sleep(LOOK_S)
            else:
                return

    def feed(self, sender: Sender, count: int) -> None:
        """Bring `count` more entries into the log."""
        first = now = int(self.ask("stand")["entries"])
        sent, since = 0, time.monotonic()
        while now < first + count:
            if sent < count and first + sent - now < AHEAD:
                self.hand_over([sender.give() for _ in range(min(CALL, count - sent))])
                sent += min(CALL, count - sent)
            else:
                time.sleep(LOOK_S)
            found = int(self.ask("stand")["entries"])
            since = time.monotonic() if found > now else since
            assert time.monotonic() - since < PATIENCE_S, f"no block for {PATIENCE_S} s at {found:,} entries"
            now = found
            show(now, first + count)

    def end(self) -> float:
        """End it in order; return the seconds that took."""
        started = time.monotonic()
        self.rpc.close()
        cast("IO[str]", self.child.stdin).close()
        self.child.wait()
        return time.monotonic() - started

    def kill(self, sender: Sender) -> dict[str, Any]:
        """Have it killed in the middle of a Commit, kill its CometBFT too, and return the height that was durable and what was not."""
        stands = self.ask("die")
        self.hand_over([sender.give() for _ in range(4 * CALL)])
        last = self._hear()
        self.child.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(stands["comet"], signal.SIGKILL)
        self.rpc.close()
        return last


def show(done: int, of: int) -> None:
    """Draw the progress bar, where somebody looks."""
    if sys.stderr.isatty():
        filled = WIDTH * done // of
        print(f"\r[{'#' * filled}{'.' * (WIDTH - filled)}] {done:,} of {of:,} entries", end="\n" if done >= of else "", file=sys.stderr)


@contextlib.contextmanager
def home(kept: Path | None) -> Iterator[Path]:
    """Give a validator's folder on the checkout's disk, where fsync means something; it is removed again unless it is to be kept."""
    folder = kept or Path(tempfile.mkdtemp(prefix=".bench-", dir=Path(__file__).parent))
    try:
        if not (folder / "genesis.cbor").exists():
            found(folder)
        yield folder
    finally:
        if kept is None:
            shutil.rmtree(folder)


def found(folder: Path) -> None:
    """Write the home of a network's only validator; the other members carry, and one of them joins later."""
    seat = drawn(0)
    founders = []
    for number in range(CARRIERS):
        name = member(number)
        keys = (key(name, "node").public_key, member_public(digest(name, "sealing") * 3), key(name, "receipt").public_key)
        founders.append(Founder(name, ("hospital",), name, "", *keys, 0 if number else 1, key(name, "consensus").public_key))
    genesis = Genesis(int(time.time()), "", tuple(founders), PARAMETERS)
    folder.mkdir(parents=True, exist_ok=True)
    write_home(folder, genesis, seat, [])
    (folder / "genesis.cbor").write_bytes(genesis.encoded())


def drawn(number: int) -> Seat:
    """Return a member's seat on ports of this machine that are free now."""
    p2p_port, rpc_port = free_ports(2)
    return Seat(member(number), "127.0.0.1", p2p_port, rpc_port, key(member(number), "consensus").seed)


def peer_of(folder: Path) -> str:
    """Return the peer that a home's own files make it."""
    kept = json.loads((folder / "validator/config/node_key.json").read_text())["priv_key"]["value"]
    ports = read_ports(folder)
    return f"{address(base64.b64decode(kept)[32:]).hex()}@{ports.p2p_host}:{ports.p2p}"


def run(entries: int = 1_000_000, kept: Path | None = None) -> Iterator[Figure]:
    """Yield the figures at so many entries."""
    at = f"at_{entries:.0e}".replace("e+0", "e")
    with home(kept) as folder:
        yield from _fed(folder, entries, at)
        yield from _restarted(folder, at)
        yield from _killed(folder, at)
        yield from _restored(folder, at)
        yield from _joined(folder, at)


def _fed(folder: Path, entries: int, at: str) -> Iterator[Figure]:
    running = Running(folder)
    sender = running.sender()
    running.answers(sender)
    missing = entries - int(running.ask("stand")["entries"])
    started = time.monotonic()
    if missing > 0:
        running.feed(sender, missing)
        took_s, stands = time.monotonic() - started, running.ask("stand")
        yield Figure(f"network1.fed_per_s_{at}", missing / took_s, "transactions/s, two signatures each, the sender signs them")
        yield Figure(f"network1.fed_memory_mb_{at}", stands["memory_mb"], "MB, the process that took them all in", "<= 300")
        yield Figure(f"network1.fed_comet_memory_mb_{at}", stands["comet_mb"], "MB, the CometBFT that ordered them all")
    yield Figure(f"network1.end_s_{at}", running.end(), "s to end in order")


def _restarted(folder: Path, at: str) -> Iterator[Figure]:
    running = Running(folder)
    sender = running.sender()
    yield Figure(f"network1.opened_s_{at}", running.opened_s, "s until the ledger is open")
    yield Figure(f"network1.restart_s_{at}", running.answers(sender), "s until a new transaction is final", "<= 20")
    yield Figure(f"network1.restart_memory_mb_{at}", running.ask("stand")["memory_mb"], "MB right after")
    running.feed(sender, MORE)
    stands = running.ask("stand")
    yield Figure(f"network1.memory_mb_{at}", stands["memory_mb"], "MB after 10,000 more", "<= 300")
    yield Figure(f"network1.peak_memory_mb_{at}", stands["peak_mb"], "MB, the peak till then")
    yield Figure(f"network1.comet_memory_mb_{at}", stands["comet_mb"], "MB, CometBFT after 10,000 more")
    snapshot = running.ask("snapshot")
    yield Figure(f"network1.snapshot_s_{at}", snapshot["took_s"], "s to write a snapshot, no load")
    yield Figure(f"network1.snapshot_mb_{at}", snapshot["size_mb"], "MB, a snapshot")
    running.hand_over([sender.give() for _ in range(MORE)])
    busy = running.ask("snapshot")
    yield Figure(
        f"network1.snapshot_busy_s_{at}", busy["took_s"], f"s to write a snapshot, {busy['entries']:,} entries committed meanwhile"
    )
    yield Figure(
        f"network1.snapshot_memory_mb_{at}", max(snapshot["peak_mb"], busy["peak_mb"]), "MB, the peak while they are written", "<= 300"
    )
    yield Figure(f"network1.wal_mb_{at}", busy["wal_mb"], "MB, SQLite's write-ahead log after that")
    running.end()


def _killed(folder: Path, at: str) -> Iterator[Figure]:
    running = Running(folder)
    sender = running.sender()
    running.answers(sender)
    last = running.kill(sender)
    running = Running(folder)
    back_s = running.answers(sender)
    assert running.opened["height"] >= last["height"], (running.opened, last)
    stands = running.ask("stand")
    assert stands["entries"] >= last["entries"] + last["lost"] + 1, "the block that was being committed is there, and a new entry"
    yield Figure(f"network1.restart_s_after_kill_{at}", back_s, f"s, the last block of {last['lost']} replayed", "<= 20")
    running.end()
    yield Figure(f"network1.ledger_disk_mb_{at}", (folder / "ledger.sqlite").stat().st_size / MB, "MB, state, blocks and log")
    yield Figure(f"network1.comet_disk_mb_{at}", disk_mb(folder / "validator"), "MB, CometBFT's own files")
    extra_mb = disk_mb(folder / "bench-snapshots")
    yield Figure(f"network1.disk_mb_{at}", disk_mb(folder) - extra_mb, "MB, ledger and CometBFT, without snapshots")


def _restored(folder: Path, at: str) -> Iterator[Figure]:
    taken = folder / "bench-snapshots"
    height = int(next(path.name for path in taken.iterdir() if path.name.isdigit()))
    replica = Replica.open(folder, parse_genesis((folder / "genesis.cbor").read_bytes()))
    block = replica.block(height)
    replica.close()
    assert block is not None, "the snapshot's own block"
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path(__file__).parent) as fresh:
        command = [sys.executable, VALIDATOR, "restore", fresh, str(taken), block.app_hash.hex()]
        said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert said["height"] == height, said
    yield Figure(f"network1.restore_s_{at}", said["took_s"], "s to check and take in a snapshot")
    yield Figure(f"network1.restore_memory_mb_{at}", said["peak_mb"], "MB, the peak meanwhile", "<= 300")
    shutil.rmtree(taken)


def _joined(folder: Path, at: str) -> Iterator[Figure]:
    running = Running(folder, str(JOIN_EVERY))
    sender = running.sender()
    running.answers(sender)
    rpc = f"127.0.0.1:{read_ports(folder).rpc}"
    trust = trusted([rpc, rpc])
    while not list((folder / "snapshots").glob("*/manifest")):
        running.feed(sender, BATCH)
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path(__file__).parent) as fresh:
        home = Path(fresh)
        write_home(home, parse_genesis((folder / "genesis.cbor").read_bytes()), drawn(1), [peer_of(folder)], trust)
        shutil.copy(folder / "genesis.cbor", home)
        newcomer = Running(home)
        while (stands := newcomer.ask("stand"))["entries"] < running.ask("stand")["entries"]:
            assert time.monotonic() - newcomer.started < PATIENCE_S, stands
            time.sleep(LOOK_S)
        yield Figure(f"network1.join_s_{at}", time.monotonic() - newcomer.started, "s till a newcomer by state sync stands level")
        yield Figure(f"network1.join_memory_mb_{at}", stands["peak_mb"], "MB, the newcomer's peak", "<= 300")
        newcomer.end()
    running.end()
    shutil.rmtree(folder / "snapshots")


def main() -> int:
    """Run with the options of the command line."""
    words = argparse.ArgumentParser(description="restart and memory of a validator with many entries")
    words.add_argument("--entries", type=int, default=1_000_000, help="how many the ledger has (default: %(default)s)")
    words.add_argument("--home", type=Path, help="keep the fed validator in this folder, or use the one that is there")
    asked = words.parse_args()
    print(f"{(__doc__ or '').strip()}\n")
    figures = []
    for figure in run(asked.entries, asked.home):
        keep([figure])
        figures.append(figure)
    return 1 if any(each.is_met is False for each in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
