"""Time on real validators: heartbeats, clocks that are wrong, a day's end."""

import pytest

from tests.consortium import needs_cometbft, within
from yilian.base.refusals import Reason

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]


async def test_an_idle_network_makes_heartbeats_only_and_an_ended_transaction_is_refused(consortium):
    consortium.start()
    engine = consortium.engines["hospital-1"]
    said = await within(engine.submit(consortium.tick("hospital-1")))
    blocks = await within(consortium.all_at(said.height + 3))
    blocks = [engine.block(said.height + n) for n in (1, 2, 3)]
    assert {block.app_hash for block in blocks} == {engine.block(said.height).app_hash}
    # in 0.38 a block's time is when the one before it was voted: the heartbeat keeps it within a few seconds of the clock
    assert blocks[2].time_ms - blocks[1].time_ms >= 4_000
    exp_s = blocks[2].time_ms // 1_000
    late = await within(engine.submit(consortium.tick("hospital-1", exp_s=exp_s)))
    assert (late.index, late.reason, late.facts) == (None, Reason.EXPIRED, {"exp_s": exp_s})
