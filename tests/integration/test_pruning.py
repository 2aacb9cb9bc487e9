"""One real validator whose CometBFT forgets old blocks: it goes on, starts again, and the ledger still has every entry."""

import asyncio
import shutil

import pytest

from tests.consortium import grant, needs_cometbft, within
from yilian.engines.cometbft import OutOfStep
from yilian.engines.cometbft.snapshots import Retention

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]

NAME = "hospital-1"


def started(consortium):
    consortium.start(snapshot_every=2)
    engine = consortium.engines[NAME]
    engine._snapshots._retention = Retention(0, 0)  # or this test takes two weeks
    return engine


async def first_block(consortium):
    """Return the height of the first block that CometBFT still has."""
    rpc = consortium.rpc(NAME)
    return await asyncio.get_running_loop().run_in_executor(None, lambda: int(rpc._ask("status")["sync_info"]["earliest_block_height"]))


async def forgotten(consortium, engine):
    """Give grants until CometBFT has forgotten its first blocks; return what was given."""
    for given in range(1, 60):
        assert (await within(engine.submit(grant(consortium, f"g{given}", NAME)[0]))).is_accepted
        if await first_block(consortium) >= 3:
            return given
    raise AssertionError("59 blocks, and the first ones are still there")


async def test_blocks_before_the_older_snapshot_are_forgotten_and_every_entry_stays(founded):
    consortium = founded(NAME)
    engine = started(consortium)
    given = await forgotten(consortium, engine)
    older = min(each.height for each in engine._snapshots.listed())
    assert 3 <= await first_block(consortium) <= older
    assert engine.block(1) is not None
    assert [engine.entry(index).index for index in range(given)] == list(range(given))
    await within(consortium.stop())
    engine = started(consortium)
    assert (await within(engine.submit(grant(consortium, "again", NAME)[0]))).index == given
    await within(consortium.stop())


async def test_a_ledger_lost_after_its_first_blocks_were_forgotten_is_said_with_what_to_do(founded):
    consortium = founded(NAME)
    await forgotten(consortium, started(consortium))
    await within(consortium.stop())
    for path in [*consortium.folders[NAME].glob("ledger.sqlite*")]:
        path.unlink()
    shutil.rmtree(consortium.folders[NAME] / "snapshots")
    engine = started(consortium)
    with pytest.raises(OutOfStep, match=r"ends at height 0 and CometBFT's blocks go on at \d+: .* join again by state sync"):
        await within(engine.watch())
    await within(consortium.stop())
