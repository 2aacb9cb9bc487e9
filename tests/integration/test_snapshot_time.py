"""Real validators, one of which offers true rows with a false time: a newcomer sees it from headers that the others signed."""

import shutil
from dataclasses import replace

import pytest

from tests.consortium import NAMES, needs_cometbft
from tests.integration.test_cometbft_joining import grown, joined
from yilian.engines.consortium import refused_snapshot
from yilian.ledger import parse_manifest

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]


async def test_a_snapshot_of_a_false_time_is_refused_and_that_of_the_others_taken(founded):
    consortium = founded(observers=("pharmacy-1",))
    await grown(consortium, 12)
    listed = consortium.engines["hospital-2"].application._snapshots.listed()
    for snapshot in listed:
        manifest = parse_manifest(snapshot.metadata)
        path = consortium.folders["hospital-2"] / "snapshots" / str(snapshot.height) / "manifest"
        path.write_bytes(replace(manifest, time_ms=manifest.time_ms + 86_400_000).encoded())
    for name in set(NAMES) - {"hospital-2"}:  # nobody else has its newest, so the newcomer tries that first
        shutil.rmtree(consortium.folders[name] / "snapshots" / str(listed[0].height))
    newcomer = await joined(consortium)
    assert newcomer.application._snapshots.rejected > 0
    began = newcomer.replica.began
    assert newcomer.replica.block(began).time_ms == consortium.engines["hospital-1"].block(began).time_ms
    assert refused_snapshot(consortium.folders["pharmacy-1"]) == ""
    await consortium.stop()
