"""What stops a member of a consortium says a sentence, and the sentence is right."""

import shutil
import socket
from dataclasses import replace

import pytest

from tests.consortium import grant, needs_cometbft, within
from yilian.engines.cometbft import BinaryMissing, Diverged, PortInUse, RestoredAlone, WrongGenesis, WrongVersion, write_home

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]


async def test_a_port_in_use_is_named(consortium):
    seat = consortium.seats["hospital-1"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", seat.rpc_port))
        other.listen()
        with pytest.raises(PortInUse, match=f"127.0.0.1:{seat.rpc_port} is in use"):
            consortium.start("hospital-1")


async def test_a_wrong_or_missing_cometbft_is_named(consortium, tmp_path, monkeypatch):
    program = tmp_path / "other"
    program.write_text("#!/bin/sh\necho 0.37.0\n")
    program.chmod(0o700)
    monkeypatch.setenv("YILIAN_COMETBFT", str(program))
    with pytest.raises(WrongVersion, match=r"CometBFT 0\.37\.0 was found.*make cometbft"):
        consortium.start("hospital-1")
    monkeypatch.setenv("YILIAN_COMETBFT", str(tmp_path / "nowhere"))
    with pytest.raises(BinaryMissing, match="run `make cometbft`"):
        consortium.start("hospital-1")


async def test_a_cometbft_with_another_genesis_stops_the_node_with_a_sentence(consortium):
    other = replace(consortium.genesis, started_at_s=consortium.genesis.started_at_s - 60)
    write_home(consortium.folders["hospital-1"], other, consortium.seats["hospital-1"], [])
    consortium.start("hospital-1")
    with pytest.raises(WrongGenesis, match=r"copy the founders' genesis\.json to this node"):
        await within(consortium.engines["hospital-1"].watch())


async def test_a_ledger_ahead_of_its_block_store_stops_with_a_sentence(founded, tmp_path):
    alone = founded("hospital-1")
    alone.start()
    await within(alone.engines["hospital-1"].submit(alone.tick("hospital-1")))
    await alone.stop()
    data = tmp_path / "hospital-1/validator/data"
    for folder in (*data.glob("*.db"), data / "cs.wal"):
        shutil.rmtree(folder)
    alone.start()
    with pytest.raises(RestoredAlone, match="CometBFT has no blocks and the ledger here has"):
        await within(alone.engines["hospital-1"].watch())
    await alone.stop()


async def test_a_ledger_that_differs_from_the_networks_stops_with_a_sentence_and_the_others_go_on(consortium):
    consortium.start()
    engine, other = consortium.engines["clinic-1"], consortium.engines["hospital-1"]
    first = await within(other.submit(grant(consortium, "first", "hospital-1")[0]))
    honest = engine.application.finalize_block

    def damaged(asked):
        answer = honest(asked)
        answer.app_hash = bytes(32) if asked.height > first.height else answer.app_hash
        return answer

    engine._server._methods["finalize_block"] = damaged
    assert (await within(other.submit(grant(consortium, "second", "hospital-1")[0]))).is_accepted
    with pytest.raises(Diverged, match=r"gives another app hash .*Expected 0{64}, got \w+.*yilian network repair"):
        await within(engine.watch())
    assert (await within(other.submit(grant(consortium, "third", "hospital-1")[0]))).is_accepted
