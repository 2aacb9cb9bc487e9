"""Every way of ordering transactions, opened the same way, for the one suite that all of them must pass.

An engine joins by an entry in `ENGINES`: a function of (folder, genesis) that is an async context manager of an open `Engine`.
"""

import contextlib
import time
from dataclasses import replace

import pytest

from tests.consortium import Consortium, needs_cometbft, seated
from tests.worlds import MEMBERS, PARAMETERS, key
from yilian.contracts import consent
from yilian.engines import encode_block, encode_committed
from yilian.engines.embedded import EmbeddedEngine
from yilian.engines.remote import Backoff, RemoteEngine
from yilian.ledger import Genesis


def genesis(operator="clinic-1"):
    """Return a network that began an hour ago: some engines take the time from the machine, none may be told it."""
    now_s = int(time.time())
    today_s = now_s - now_s % 86_400  # a network of yesterday would close that day first, with a leaf of its own
    return Genesis(max(now_s - 3_600, today_s), operator, MEMBERS, PARAMETERS)


def grant(view, name):
    """Return the grant `name` as a state has it, or None."""
    return consent.read(view, key(name, "control").public_key)


class Loopback:
    """The way to an engine in the same process, with a switch to cut it and a chance to alter what passes."""

    def __init__(self, engine, alter=lambda data: data):
        self.engine = engine
        self.alter = alter
        self.is_cut = False
        self.calls = 0

    def _check(self):
        self.calls += 1
        if self.is_cut:
            raise ConnectionRefusedError("cut")

    async def genesis(self):
        self._check()
        return self.engine.genesis.encoded()

    async def blocks(self, since_height):
        self._check()
        async for block in self.engine.blocks(since_height):
            self._check()
            yield self.alter(encode_block(block))

    async def submit(self, transaction):
        self._check()
        return encode_committed(await self.engine.submit(transaction))


@contextlib.asynccontextmanager
async def embedded(folder, of, processes=0, **options):
    engine = EmbeddedEngine.open(folder, of, processes=processes, **options)
    try:
        yield engine
    finally:
        await engine.close()


@contextlib.asynccontextmanager
async def embedded_with_a_process(folder, of):
    async with embedded(folder, of, processes=1) as engine:
        yield engine


@contextlib.asynccontextmanager
async def remote(folder, of):
    async with embedded(folder / "operator", of) as operator:
        engine = await RemoteEngine.open(folder / "follower", of, Loopback(operator), backoff=Backoff(0.001, 0.001), processes=0)
        try:
            yield engine
        finally:
            await engine.close()


@contextlib.asynccontextmanager
async def four_validators(folder, of):
    names = [member.id for member in of.members]
    consortium = Consortium(folder, names, genesis=replace(of, operator="", members=tuple(seated(member) for member in of.members)))
    consortium.start()
    try:
        yield consortium.engines[names[0]]
    finally:
        await consortium.stop()


ENGINES = {
    "embedded": embedded,
    "embedded with a verifying process": embedded_with_a_process,
    "remote": remote,
    "four validators": four_validators,
}
MARKS = {"four validators": [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]}


def every_engine():
    """Return the parameters of a test or fixture that runs over all of them."""
    return [pytest.param(opened, id=name, marks=MARKS.get(name, ())) for name, opened in ENGINES.items()]
