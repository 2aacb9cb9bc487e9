"""What four real validators survive: members that lie, stop, freeze or are killed."""

import asyncio
import os
import signal

import pytest

from tests.consortium import NAMES, Child, Consortium, end_all, grant, hashes_agree, needs_cometbft, persistently, within
from tests.worlds import key
from yilian.base.codec import encode
from yilian.engines.cometbft import CometBftEngine, NotOrdering
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]


class ProposesForgeries(CometBftEngine):
    """A Byzantine proposer: every proposal of its own carries a forgery."""

    @classmethod
    def corrupt(cls, engine, forgery):
        application = engine.application
        honest = application.prepare_proposal
        engine._server._methods["prepare_proposal"] = lambda asked: abci.ResponsePrepareProposal(txs=[*honest(asked).txs, forgery])
        engine._server._methods["process_proposal"] = lambda asked: abci.ResponseProcessProposal(status=abci.ResponseProcessProposal.ACCEPT)


async def test_a_proposer_that_forges_is_outvoted_and_the_network_goes_on(consortium):
    consortium.start()
    forgery = consortium.tick("hospital-2", signer=key("stranger"))
    ProposesForgeries.corrupt(consortium.engines["hospital-2"], encode([forgery]))
    proposers = set()
    for n in range(12):
        said = await within(consortium.engines["hospital-1"].submit(grant(consortium, n, "hospital-1")[0]))
        assert said.is_accepted
        proposers.add(consortium.engines["hospital-1"].block(said.height).proposer)
    for height in range(1, consortium.engines["hospital-1"].read().chain.height + 1):
        block = consortium.engines["hospital-1"].block(height)
        assert forgery not in block.transactions
        assert block.proposer != "hospital-2" or block.transactions == ()
    assert len(proposers) == 3


async def test_two_of_four_down_halts_with_a_sentence_and_resumes_without_loss(consortium):
    consortium.start()
    give, revoke = grant(consortium, "g", "clinic-1")
    await within(consortium.engines["clinic-1"].submit(give))
    await consortium.stop("hospital-2", "regulator-1")
    with pytest.raises(NotOrdering, match=r"no block for 1\d s"):
        await within(consortium.engines["clinic-1"].submit(revoke))
    consortium.start("hospital-2", "regulator-1")
    said = await persistently(consortium.engines["clinic-1"], revoke)
    assert (said.index, said.reason) == (1, 0)
    await hashes_agree(consortium, said.height)


async def test_a_half_that_is_frozen_stops_the_network_and_thawed_it_agrees_again(consortium):
    consortium.start()
    give, revoke = grant(consortium, "g", "clinic-1")
    await within(consortium.engines["clinic-1"].submit(give))
    frozen = [consortium.engines[name].process.id for name in ("hospital-1", "hospital-2")]
    for process in frozen:
        os.kill(process, signal.SIGSTOP)
    with pytest.raises(NotOrdering):
        await within(consortium.engines["clinic-1"].submit(revoke))
    for process in frozen:
        os.kill(process, signal.SIGCONT)
    said = await persistently(consortium.engines["clinic-1"], revoke)
    assert (said.index, said.reason) == (1, 0)
    await hashes_agree(consortium, said.height)


async def test_cometbft_alone_killed_is_started_again_and_what_was_pending_is_answered(consortium):
    consortium.start()
    engine = consortium.engines["hospital-1"]
    await within(engine.submit(consortium.tick("hospital-1")))
    before = engine.process.id
    waiting = [asyncio.ensure_future(engine.submit(grant(consortium, n, "hospital-1")[0])) for n in range(50)]
    await within(asyncio.wait([asyncio.ensure_future(engine.submit(grant(consortium, 50, "hospital-1")[0]))]))
    waiting += [asyncio.ensure_future(engine.submit(grant(consortium, n, "hospital-1")[0])) for n in range(51, 90)]
    os.kill(before, signal.SIGKILL)
    answers = await within(asyncio.gather(*waiting))
    assert len({each.index for each in answers}) == 89
    assert engine.process.id != before
    await hashes_agree(consortium, max(each.height for each in answers))


@pytest.fixture
def killable(tmp_path):
    consortium = Consortium(tmp_path)
    for folder in consortium.folders.values():
        (folder / "genesis.cbor").write_bytes(consortium.genesis.encoded())
    processes = {name: Child(folder) for name, folder in consortium.folders.items()}
    try:
        for process in processes.values():
            process.ready()
        yield consortium, processes
    finally:
        end_all(processes.values())


async def test_each_node_in_turn_killed_under_load_and_nothing_acknowledged_is_lost(killable):
    consortium, processes = killable
    acknowledged, number = {}, 0

    def said(name, count):
        for _ in range(count):
            id_, index, height, reason = processes[name].answer()
            assert reason == "0"
            acknowledged[id_] = (index, height)

    for victim in NAMES:
        others = [name for name in NAMES if name != victim]
        for name in NAMES:
            for _ in range(15):
                number += 1
                processes[name].submit(grant(consortium, number, name)[0])
        said(victim, 3)  # some of its load is answered, the rest is in flight
        processes[victim].kill()
        for name in others:
            said(name, 15)
        # three of four go on without it
        number += 1
        processes[others[0]].submit(grant(consortium, number, others[0])[0])
        said(others[0], 1)
        processes[victim] = Child(consortium.folders[victim]).ready()
    end_all(processes.values())
    consortium.start()
    height = max(int(height) for _, height in acknowledged.values())
    await hashes_agree(consortium, height)
    for engine in consortium.engines.values():
        for id_, (index, at_height) in acknowledged.items():
            found = engine.find(bytes.fromhex(id_))
            assert (str(found.index), str(found.height)) == (index, at_height)
    await consortium.stop()
