"""A holder's node in a process of its own, to be killed: what `tests/integration/node_crash_points.py` forks.

It keeps its own copy of a ledger that is ordered elsewhere. Importing this file pays what a start costs once, for all forks.
"""

import asyncio
import importlib

from tests.release_worlds import HOLDER
from yilian.engines.remote import Backoff, RemoteEngine
from yilian.ledger import parse_genesis
from yilian.node import opened
from yilian.peers import FollowedNode
from yilian.records import definitions
from yilian.records.indexing import parameters
from yilian.web import serve

for name in ("certifi", "h11", "httpcore", "uvicorn.lifespan.off", "uvicorn.protocols.http.httptools_impl"):
    importlib.import_module(name)  # else loaded on the first use
for resource_type in definitions.types():
    parameters(resource_type)  # compiled on the first use


async def _hold(folder, genesis, operator, now_ms, height, said):
    async with FollowedNode(operator) as transport:
        engine = await RemoteEngine.open(folder / f"{HOLDER}-ledger", parse_genesis(genesis), transport, backoff=Backoff(0.01), processes=0)
        while engine.read().chain.height < height:
            await anext(aiter(engine.blocks(engine.read().chain.height)))
        async with opened(folder / HOLDER, engine, clock=lambda: now_ms.value) as node, serve(node):
            said.send("up")
            await engine.watch()


def hold(*arguments):
    """Run the node of (folder, genesis, the operator's URL, shared clock, height to have first, pipe) until killed; say when it answers."""
    asyncio.run(_hold(*arguments))
