"""A few members of one network, each with a folder, a node and a port of its own, over one embedded engine; time is given."""

import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256

import httpx

from tests.ports import bound
from yilian.base.keys import SigningKey
from yilian.contracts import directory
from yilian.engines.embedded import EmbeddedEngine
from yilian.ledger import Genesis
from yilian.node import Settings, found, join, opened
from yilian.web import serve

STARTED_AT_S = 1_800_000_000 - 1_800_000_000 % 86_400 + 3_600  # 01:00 UTC of a day in January 2027
KINDS = {"clinic-1": "clinic", "hospital-1": "hospital", "regulator-1": "regulator"}
OPERATOR = "regulator-1"


def seed(*names):
    return sha256("/".join(str(name) for name in names).encode()).digest()


NOT_ASKED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; without one each client reads all authorities anew, 30 ms


def talking(**options):
    """Return a client for the members' servers, which speak plain HTTP on loopback."""
    return httpx.AsyncClient(trust_env=False, verify=NOT_ASKED, **options)


class Clock:
    """The network's time, Unix milliseconds; it goes on when a test says so."""

    def __init__(self):
        self.now_ms = STARTED_AT_S * 1_000 + 500

    def __call__(self):
        return self.now_ms

    def go(self, seconds):
        self.now_ms += seconds * 1_000


class Alliance:
    """The running members, and what a test does with them."""

    def __init__(self, folder, clock, genesis, engine):
        self.folder, self.clock, self.genesis, self.engine = folder, clock, genesis, engine
        self.nodes, self.urls, self._serving = {}, {}, []
        self.stack = AsyncExitStack()

    async def open(self, member):
        node = await self.stack.enter_async_context(opened(self.folder / member, self.engine, clock=self.clock))
        self.nodes[member] = node
        self._serving.append(await self.stack.enter_async_context(serve(node)))
        self.urls[member] = self._serving[-1].url
        return node

    def end(self):
        """Let all servers end at once: each looks every tenth of a second whether it should, and one after another these add up."""
        for each in self._serving:
            each._server.should_exit = True

    async def doctor(self, member, role="physician", name="doctor"):
        """Register a practitioner's key at a member and return the pair."""
        node, pair = self.nodes[member], SigningKey(seed(member, name))
        until_s = self.clock.now_ms // 1_000 + 300 * 86_400
        await self.act(member, "practitioner.register", directory.Register(pair.public_key, role, until_s))
        assert directory.credential_at(node.engine.read(), pair.public_key, self.clock.now_ms // 1_000 + 1) is not None
        return pair

    async def act(self, member, kind, message):
        from yilian.node.carriage import act_of

        node = self.nodes[member]
        protected = node.carriage.header(kind)
        committed = await node.carriage.submit(node.carriage.enveloped(protected, act_of(kind, message), ()))
        assert (committed.reason, committed.facts) == (0, {})
        return committed.index

    async def get(self, member, path):
        async with talking() as client:
            return await client.get(self.urls[member] + path)

    async def post(self, member, path, content):
        async with talking() as client:
            return await client.post(self.urls[member] + path, content=content)


@asynccontextmanager
async def alliance(folder, members=tuple(KINDS), opens=None, clock=None, **parameters):
    """Found a network of `members` in `folder` and run the nodes of `opens` (default: all)."""
    clock, ports, held = clock or Clock(), {}, []
    for member in members:
        held.append(bound())
        ports[member] = held[-1].getsockname()[1]
    for one in held:
        one.close()
    founders = tuple(
        found(
            folder / member,
            Settings(member, f"http://127.0.0.1:{ports[member]}", port=ports[member]),
            kinds=(KINDS[member],),
            name=f"name of {member}",
            power=1,
            seed=seed("member", member),
        )
        for member in members
    )
    genesis = Genesis(STARTED_AT_S, OPERATOR, founders, {"memo_size": 0} | parameters)
    for member in members:
        join(folder / member, genesis)
    async with standing(folder, genesis, clock, members if opens is None else opens) as running:
        yield running


@asynccontextmanager
async def standing(folder, genesis, clock, opens):
    """Run the nodes of `opens` of a network that was founded in `folder`; the others' addresses are known."""
    engine = EmbeddedEngine.open(folder / "ledger", genesis, now_ms=clock, processes=0)
    try:
        running = Alliance(folder, clock, genesis, engine)
        running.urls = {member.id: member.endpoint for member in genesis.members}
        async with running.stack:
            for member in opens:
                await running.open(member)
            yield running
            running.end()
    finally:
        await engine.close()


PATIENT = b'{"resourceType":"Patient","id":"p1","name":[{"text":"Test Person"}],"gender":"female","birthDate":"1960-01-01"}'
