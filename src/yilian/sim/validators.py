"""Some of the region's members as validators on loopback: each orders with the others and keeps its own copy of the ledger.

A member that does not validate has no votes, and its node reads and submits through a validator's copy: in this process it trusts that one.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from yilian.engines import Engine
from yilian.engines.consortium import Seat, open_engine, settle
from yilian.sim.founding import Founded, draw
from yilian.sim.members import MEMBERS
from yilian.sim.region import LEDGER, LOOPBACK, Ordering, free_ports

# In the order in which they are asked to validate: the story's three, then the regulator, then the rest.
SEATED: Final = ("clinic-1", "hospital-1", "hospital-2", "regulator-1", "clinic-2", "pharmacy-1", "maker-1", "exchange-1")
PORTS_EACH: Final = 2  # for its peers, and for its own node


def validating(count: int, seed: int, first_port: int | None = None) -> Ordering:
    """Return the ordering by the first `count` of SEATED; two ports each, from `first_port` upwards, or such as are free now.

    Raises   OSError, if the machine has no port
    """
    number = count * PORTS_EACH
    ports = free_ports(number) if first_port is None else list(range(first_port, first_port + number))
    seats = {member: _seat(member, seed, ports[2 * n], ports[2 * n + 1]) for n, member in enumerate(SEATED[:count])}
    return Ordering(seats, _opened)


def _seat(member: str, seed: int, p2p_port: int, rpc_port: int) -> Seat:
    return Seat(member, LOOPBACK, p2p_port, rpc_port, draw(seed, "consensus", member))


@asynccontextmanager
async def _opened(_: Path, founded: Founded) -> AsyncIterator[Mapping[str, Engine]]:
    """Start every validator, each on its member's own folder; all have ended when the block is left.

    Raises   EngineStopped
    """
    peers = [seat.peer for seat in founded.seats.values()]
    engines: dict[str, Engine] = {}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_closed, engines)
        for member, seat in founded.seats.items():
            folder = founded.folders[member] / LEDGER
            await asyncio.to_thread(settle, folder, founded.genesis, seat, peers)
            engines[member] = await asyncio.to_thread(open_engine, folder, founded.genesis)
        seated = list(engines)
        others = [one.id for one in MEMBERS if one.id not in engines]
        yield engines | {member: engines[seated[number % len(seated)]] for number, member in enumerate(others)}


async def _closed(engines: Mapping[str, Engine]) -> None:
    """End all validators side by side: each takes a moment to finish its block."""
    await asyncio.gather(*(engine.close() for engine in engines.values()))
