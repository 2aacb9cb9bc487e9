"""A consortium on loopback, for tests: founders who validate, free ports, a folder each."""

import asyncio
import socket
import time
from dataclasses import replace

import pytest

from tests.worlds import KINDS, PARAMETERS, founder, key, node_key
from yilian.base.transaction import Header, sign
from yilian.contracts import anchor
from yilian.engines.cometbft import BinaryMissing, CometBftEngine, Seat, write_home
from yilian.engines.cometbft.process import binary
from yilian.engines.cometbft.rpc import Rpc
from yilian.ledger import Genesis

NAMES = ("hospital-1", "hospital-2", "clinic-1", "regulator-1")
KINDS_OF = {"hospital-1": ("hospital",), "hospital-2": ("hospital",), "clinic-1": ("clinic",), "regulator-1": ("regulator",)}


def free_ports(count):
    """Return ports that nothing listens on now."""
    probes = [socket.socket() for _ in range(count)]
    for each in probes:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in probes]
    for each in probes:
        each.close()
    return ports


def consensus_key(member):
    return key(member, "consensus")


def seats(names=NAMES):
    ports = free_ports(2 * len(names))
    return [Seat(name, "127.0.0.1", ports[2 * n], ports[2 * n + 1], consensus_key(name).seed) for n, name in enumerate(names)]


def seated(member):
    """Return a founder with a seat; it validates if it has power."""
    return replace(member, consensus_key=consensus_key(member.id).public_key)


def has_cometbft():
    try:
        return binary().is_file()
    except BinaryMissing:
        return False


needs_cometbft = pytest.mark.skipif(not has_cometbft(), reason="no CometBFT here: run `make cometbft`")


def consortium_genesis(names=NAMES, observers=()):
    """Return a genesis that starts now: CometBFT's clock is the machine's."""
    members = [seated(founder(name, KINDS_OF.get(name, ("hospital",)))) for name in names]
    members += [seated(founder(name, KINDS_OF.get(name, ("hospital",)), power=0)) for name in observers]
    return Genesis(int(time.time()), "", tuple(members), PARAMETERS)


class Consortium:
    """Members' folders under one; each member's engine in this process once it is started."""

    def __init__(self, folder, names=NAMES, observers=(), genesis=None):
        self.names = names
        self.genesis = genesis or consortium_genesis(names, observers)
        self.seats = {seat.member: seat for seat in seats((*names, *observers))}
        self.folders = {name: folder / name for name in (*names, *observers)}
        self.engines = {}
        self.nonces = {}
        for name in names:
            others = [self.seats[each].peer for each in names if each != name]
            write_home(self.folders[name], self.genesis, self.seats[name], others)

    def start(self, *names, **options):
        for name in names or self.names:
            self.engines[name] = CometBftEngine.open(self.folders[name], self.genesis, **options)

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
