"""A region in one process: every member's node on a loopback port of its own, over one ledger. Nodes talk over HTTP only.

Orders   one operator with an embedded ledger, by default; or validators (`validators.validating`).
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yilian.engines import Engine
from yilian.engines.embedded import EmbeddedEngine
from yilian.ledger import Genesis
from yilian.node import Node, clock_ms, opened
from yilian.sim.founding import Founded, found_region
from yilian.sim.members import MEMBERS
from yilian.web import serve

if TYPE_CHECKING:
    from yilian.engines.consortium import Seat

LOOPBACK: Final = "127.0.0.1"
LEDGER: Final = "ledger"
PORTS: Final = range(12_000, 32_000)  # below those that the system gives to outgoing connections, so that none takes one meanwhile

# From a founded region to the engine of each member, by id; one engine may serve them all.
EngineFactory = Callable[[Path, Founded], AbstractAsyncContextManager[Mapping[str, Engine]]]


@dataclass(frozen=True, slots=True)
class Ordering:
    """Who orders a region's transactions: the seats of its validators, which genesis must name (none: one operator), and their engines."""

    seats: Mapping[str, "Seat"]
    open: EngineFactory


@dataclass(frozen=True, slots=True)
class Region:
    """A region that serves."""

    home: Path
    founded: Founded
    engines: Mapping[str, Engine]
    nodes: Mapping[str, Node]
    urls: Mapping[str, str]

    @property
    def genesis(self) -> Genesis:
        """The network's first word."""
        return self.founded.genesis

    @property
    def network(self) -> bytes:
        """The network's id."""
        return self.genesis.network_id


@asynccontextmanager
async def embedded(home: Path, founded: Founded) -> AsyncIterator[Mapping[str, Engine]]:
    """Give every member the one embedded engine. It verifies in its own thread: a region's load needs no second process."""
    engine = await asyncio.to_thread(EmbeddedEngine.open, home / LEDGER, founded.genesis, processes=0)
    try:
        yield {one.id: engine for one in MEMBERS}
    finally:
        await engine.close()


OPERATED: Final = Ordering({}, embedded)


def choose_ports(base: int | None) -> dict[str, int]:
    """Return a port for each member: from `base` upwards, or such as are free now.

    Raises   OSError, if the machine has none
    """
    ports = free_ports(len(MEMBERS)) if base is None else range(base, base + len(MEMBERS))
    return {one.id: port for one, port in zip(MEMBERS, ports, strict=True)}


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that nobody listens on now.

    Raises   OSError, if the machine has none
    """
    found: list[int] = []
    for port in secrets.SystemRandom().sample(PORTS, len(PORTS)):
        if len(found) == count:
            return found
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        found.append(port)
    raise OSError(f"no {count} free ports between {PORTS.start} and {PORTS.stop}")


@asynccontextmanager
async def running(home: Path, seed: int, ports: Mapping[str, int], ordering: Ordering = OPERATED) -> AsyncIterator[Region]:
    """Found a region in an empty `home` and serve it until the block is left.

    Raises   VaultExists, FileExistsError (the home is not empty); CannotListen; EngineStopped
    """
    founded = await asyncio.to_thread(found_region, home, seed, clock_ms() // 1_000, ports, ordering.seats)
    async with AsyncExitStack() as stack:
        engines = await stack.enter_async_context(ordering.open(home, founded))
        nodes: dict[str, Node] = {}
        urls: dict[str, str] = {}
        for one in MEMBERS:
            nodes[one.id] = await stack.enter_async_context(opened(founded.folders[one.id], engines[one.id]))
            urls[one.id] = (await stack.enter_async_context(serve(nodes[one.id]))).url
        yield Region(home, founded, engines, nodes, urls)
