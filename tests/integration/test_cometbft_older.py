"""A member that joined real validators by state sync fetches what came before from their nodes, and proves the whole log from genesis."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from tests.consortium import needs_cometbft, within
from tests.integration.test_cometbft_double_sign import registered
from yilian.engines import fsck_folder, progress_in
from yilian.engines.cometbft import CometBftEngine, Rpc, Trust, write_home
from yilian.ledger import verify
from yilian.node import older, receipts
from yilian.sim.region import LEDGER, Ordering, choose_ports, running
from yilian.sim.validators import validating

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]

JOINED = "clinic-2"  # a founder that starts late: four of five order without it
EARLY = 14  # blocks that the newcomer never decided when they were made


@asynccontextmanager
async def young(_, founded):
    """Start the validators, with a snapshot every 4 blocks; whoever has no seat uses a validator's copy."""
    engines = {}
    async with AsyncExitStack() as stack:
        peers = [seat.peer for seat in founded.seats.values()]
        for member, seat in founded.seats.items():
            if member == JOINED:
                continue
            folder = founded.folders[member] / LEDGER
            write_home(folder, founded.genesis, seat, peers)
            engines[member] = await asyncio.to_thread(CometBftEngine.open, folder, founded.genesis, snapshot_every=4)
            stack.push_async_callback(engines[member].close)
        yield {member: engines.get(member, engines["clinic-1"]) for member in founded.folders}


@asynccontextmanager
async def newcomer(folder, region):
    """Join by state sync: a seat of its own, two servers to ask, a block that is known to be the network's."""
    seats = region.founded.seats
    servers = tuple(f"127.0.0.1:{seats[member].rpc_port}" for member in ("clinic-1", "hospital-1"))
    block_hash = await asyncio.to_thread(Rpc(seats["hospital-1"].rpc_port).block_hash, 3)
    peers = [seat.peer for member, seat in seats.items() if member != JOINED]
    write_home(folder, region.genesis, seats[JOINED], peers, Trust(servers, 3, block_hash))
    engine = await asyncio.to_thread(CometBftEngine.open, folder, region.genesis)
    try:
        yield engine
    finally:
        await engine.close()


def over(node, engine):
    """Return a member's node over another copy of the ledger."""
    return replace(node, engine=engine, members=replace(node.members, engine=engine))


async def test_what_came_before_the_snapshot_is_fetched_from_the_members_and_the_whole_log_is_proven(tmp_path):
    async with running(tmp_path / "r", 3, choose_ports(None), Ordering(validating(5, 3).seats, young)) as region:
        region.engines.pop(JOINED)  # until it has a copy of its own, its node reads another's
        indexes = [(await within(registered(region, number))).index for number in range(EARLY)]
        folder = tmp_path / "joined"
        async with newcomer(folder, region) as engine:
            await within(engine.reached(region.engines["clinic-1"].read().chain.height))
            assert engine.missing > 0
            assert engine.entry(indexes[0]) is None
            lacks = progress_in(folder)
            assert (lacks.entries, lacks.entries_all, lacks.height_all) == (0, engine.missing, engine.began)
            node = over(region.nodes[JOINED], engine)
            await within(older.fetch(node))
            assert (engine.missing, progress_in(folder)) == (0, None)
            for index in indexes:
                assert engine.entry(index) == region.engines["clinic-1"].entry(index)
            made = await receipts.export(node, [indexes[0]])
            assert verify(made.encoded(), network=region.network).entries[-1].is_quorum
    assert fsck_folder(folder, region.genesis).missing == 0
