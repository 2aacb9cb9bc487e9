"""A consortium on loopback, for tests: founders who validate, free ports, a folder each."""

import asyncio
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ports import free_ports
from tests.waiting import Lines, bound
from tests.worlds import KINDS, PARAMETERS, founder, key, node_key, seed
from yilian.base.transaction import Header, sign
from yilian.contracts import anchor, consent
from yilian.engines import encode_block
from yilian.engines.cometbft import BinaryMissing, CometBftEngine, NotOrdering, Seat, write_home
from yilian.engines.cometbft.engine import WAITING_MAX
from yilian.engines.cometbft.items import Screening
from yilian.engines.cometbft.process import binary
from yilian.engines.cometbft.rpc import Rpc
from yilian.engines.cometbft.verifier import VERIFIER, Verifier
from yilian.engines.cometbft.waiting import Waiting
from yilian.engines.replica import Replica
from yilian.ledger import Genesis

NAMES = ("hospital-1", "hospital-2", "clinic-1", "regulator-1")
WAIT_S = 60  # a bound that turns a hang into a failure; nothing is measured with it
ANSWER_S = 120  # the same for a process of its own, which starts first, and says after some 15 s that the network makes no blocks
KINDS_OF = {"hospital-1": ("hospital",), "hospital-2": ("hospital",), "clinic-1": ("clinic",), "regulator-1": ("regulator",)}


def consensus_key(member):
    return key(member, "consensus")


def seats(names=NAMES, hosts=()):
    """Return a seat for each; with `hosts`, each on a machine of its own."""
    ports = free_ports(2 * len(names))
    where = [*hosts, *["127.0.0.1"] * (len(names) - len(hosts))]
    return [Seat(name, where[n], ports[2 * n], ports[2 * n + 1], consensus_key(name).seed) for n, name in enumerate(names)]


def seated(member):
    """Return a founder with a seat; it validates if it has power."""
    return replace(member, consensus_key=consensus_key(member.id).public_key)


def has_cometbft():
    try:
        return binary().is_file()
    except BinaryMissing:
        return False


def verifier_program():
    """Return where the program that checks signatures is, if it was built."""
    return Path(__file__).parent.parent / ".tools/bin" / VERIFIER


def has_verifier():
    return verifier_program().is_file()


needs_cometbft = pytest.mark.skipif(not has_cometbft(), reason="no CometBFT here: run `make cometbft`")


def consortium_genesis(names=NAMES, observers=(), started_at_s=None):
    """Return a genesis that starts now, unless another time is given: CometBFT's clock is the machine's."""
    members = [seated(founder(name, KINDS_OF.get(name, ("hospital",)))) for name in names]
    members += [seated(founder(name, KINDS_OF.get(name, ("hospital",)), power=0)) for name in observers]
    return Genesis(int(time.time()) if started_at_s is None else started_at_s, "", tuple(members), PARAMETERS)


def engine_on(replica):
    """The engine's sender and its answers, without a CometBFT under it."""
    engine = CometBftEngine.__new__(CometBftEngine)
    engine.replica, engine._guard, engine._pending, engine._due = replica, threading.Lock(), {}, {}
    engine._kept = []
    engine._is_due, engine._closing = threading.Condition(engine._guard), threading.Event()
    engine._places, engine._inbox = threading.BoundedSemaphore(WAITING_MAX), queue.SimpleQueue()
    engine._advanced, engine._bell, engine._last_block_at = threading.Event(), SimpleNamespace(ring=lambda: None), 0.0
    engine.application = SimpleNamespace(screening=Screening(replica.genesis.network_id, replica.keys()), waiting=Waiting(1 << 20, len))
    engine._verifier = Verifier(verifier_program(), 0)
    return engine


class Consortium:
    """Members' folders under one; each member's engine in this process once it is started."""

    def __init__(self, folder, names=NAMES, observers=(), genesis=None, hosts=()):
        self.names = names
        self.genesis = genesis or consortium_genesis(names, observers)
        self.seats = {seat.member: seat for seat in seats((*names, *observers), hosts)}
        self.folders = {name: folder / name for name in (*names, *observers)}
        self.engines = {}
        self.nonces = {}
        for name in names:
            others = [self.seats[each].peer for each in names if each != name]
            write_home(self.folders[name], self.genesis, self.seats[name], others)

    def start(self, *names, verifying=0, **options):
        for name in names or self.names:
            self.engines[name] = CometBftEngine.open(self.folders[name], self.genesis, verifying=verifying, **options)

    def rpc(self, name):
        return Rpc(self.seats[name].rpc_port)

    async def stop(self, *names):
        await asyncio.gather(*[self.engines.pop(name).close() for name in names or list(self.engines)])

    def transaction(self, carrier, kind_name, message, approvers=(), **changes):
        kind = KINDS[kind_name]
        self.nonces[carrier] = self.nonces.get(carrier, 0) + 1
        signer = changes.pop("signer", node_key(carrier))
        said = {"network": self.genesis.network_id, "kid": node_key(carrier).kid, "issuer": carrier, "subject": kind_name}
        said |= {"exp_s": int(time.time()) + 600, "nonce": self.nonces[carrier]}
        return sign(signer, Header(**{**said, **changes}), kind.number, kind.body(message), approvers)

    def tick(self, carrier, **changes):
        """Return an anchor tick, the smallest thing that a member says; a second one in the same minute is refused."""
        return self.transaction(carrier, "anchor.tick", anchor.Tick(bytes(32), bytes(32)), **changes)

    async def all_at(self, height):
        """Wait until every running engine has the block at `height`, and return it from each."""
        return [await _block(engine, height) for engine in self.engines.values()]


async def _block(engine, height):
    async for block in engine.blocks(height - 1):
        return block
    raise AssertionError("blocks() ends only with the engine")


async def within(awaited, wait_s=WAIT_S):
    """Return what is awaited. The nodes' logs are shown with any failure (tests/integration/conftest.py)."""
    async with bound(lambda: f"still waiting for {getattr(awaited, '__qualname__', awaited)}", wait_s):
        return await awaited


async def persistently(engine, data, wait_s=WAIT_S):
    """Submit the same bytes until the network orders again."""
    refused = []
    async with bound(lambda: f"{len(refused)} times {refused[-1:]}", wait_s):
        while True:
            try:
                return await engine.submit(data)
            except NotOrdering as error:
                refused.append(error)


def grant(consortium, name, carrier, days=8):
    """Return a grant's `give` and `revoke`: two entries that anybody may carry."""
    control = key(name, "control")
    until_s = (consortium.genesis.started_at_s // 86_400 + days) * 86_400
    keys = [key(name, each).public_key for each in ("control", "holder", "requester")]
    give = consortium.transaction(carrier, "consent.give", consent.Give(*keys, seed(name), until_s, 5), approvers=[control])
    revoke = consortium.transaction(carrier, "consent.revoke", consent.Revoke(control.public_key), approvers=[control])
    return give, revoke


async def hashes_agree(consortium, height):
    blocks = await within(consortium.all_at(height))
    assert blocks == [blocks[0]] * len(blocks)


def accepted(answer):
    """Return (index, height) of a child's answer, which must be an acceptance."""
    _, index, height, reason = answer
    assert reason == "0", answer
    return int(index), int(height)


@contextmanager
def copies(consortium):
    """Give each member's copy of the ledger, all processes ended; the blocks that all of them have are the same."""
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(Replica.open(folder, consortium.genesis))) for folder in consortium.folders.values()]
        for height in range(1, min(copy.chain.height for copy in opened) + 1):
            assert len({encode_block(copy.block(height)) for copy in opened}) == 1
        yield opened


def nothing_is_lost(consortium, acknowledged):
    """Hold every copy against what was acknowledged: id in hex -> (index, height). Who was ended a block early lacks that block only."""
    with copies(consortium) as opened:
        for copy in opened:
            expected = {id_: place for id_, place in acknowledged.items() if place[1] <= copy.chain.height}
            found = {id_: copy.find([bytes.fromhex(id_)])[bytes.fromhex(id_)] for id_ in expected}
            assert {id_: (each.index, each.height) for id_, each in found.items()} == expected
        assert max(copy.chain.height for copy in opened) >= max(height for _, height in acknowledged.values())


class Child:
    """A member's engine in a process of its own (`tests.validator`), which can be killed, cut off, or given a clock that is wrong."""

    def __init__(self, folder, prefix=(), **environment):
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.validator", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, **environment},
        )
        self._lines = Lines(self.process)

    def ready(self):
        """Wait until it serves."""
        assert self._lines.next(ANSWER_S) == "up\n"
        return self

    def submit(self, data):
        self.process.stdin.write(data.hex() + "\n")
        self.process.stdin.flush()

    def answer(self):
        """Return (id, index, height, reason) as text; ("-", "-", "-", "NotOrdering") while the network makes no blocks."""
        line = self._lines.next(ANSWER_S)
        assert line, f"the node of {self.process.args[-1]} ended with {self.process.wait(WAIT_S)}"
        id_, index, height, reason = line.split()
        return id_, index, height, reason

    def said(self, data):
        """Return the answer to one transaction."""
        self.submit(data)
        return self.answer()

    def first_after(self, ms):
        """Wait for the first block whose time is `ms` or later; return (height, time in ms)."""
        self.process.stdin.write(f"after {ms}\n")
        self.process.stdin.flush()
        _, height, time_ms, _ = self.answer()
        return int(height), int(time_ms)

    def kill(self):
        """kill -9 the node; its CometBFT sees the application go and ends itself."""
        self.process.kill()
        self.process.wait(WAIT_S)
        self.process.stdin.close()
        self.process.stdout.close()

    def end(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()
            try:
                self.process.wait(WAIT_S)
            finally:
                self.process.kill()  # if it did not end by itself
                self.process.stdout.close()


def end_all(children):
    """End every child, whatever becomes of one of them."""
    with ExitStack() as stack:
        for child in children:
            stack.callback(child.end)
