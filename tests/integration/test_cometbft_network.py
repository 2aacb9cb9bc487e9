"""Four real validators on loopback: what they agree on, and what they survive."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.consortium import NAMES, Consortium, consensus_key, needs_cometbft
from tests.worlds import key, seed
from yilian.base.codec import decode, encode
from yilian.base.digests import sha256
from yilian.base.refusals import Reason
from yilian.contracts import consent, directory
from yilian.engines import EngineClosed
from yilian.engines.cometbft import (
    BinaryMissing,
    CometBftEngine,
    NotOrdering,
    PortInUse,
    RestoredAlone,
    Trust,
    WrongGenesis,
    WrongVersion,
    write_home,
)
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.ledger import parse_manifest

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]
WAIT_S = 60  # a bound that turns a hang into a failure; nothing is measured with it


async def persistently(engine, data):
    """Submit the same bytes until the network orders again."""
    while True:
        try:
            return await engine.submit(data)
        except NotOrdering:
            continue


def within(coroutine):
    return asyncio.wait_for(coroutine, WAIT_S)


@pytest.fixture
async def consortium(tmp_path):
    made = Consortium(tmp_path)
    yield made
    await made.stop()


def grant(consortium, name, carrier):
    """Return a grant's `give` and `revoke`: two entries that anybody may carry."""
    control = key(name, "control")
    until_s = (consortium.genesis.started_at_s // 86_400 + 8) * 86_400
    keys = [key(name, each).public_key for each in ("control", "holder", "requester")]
    give = consortium.transaction(carrier, "consent.give", consent.Give(*keys, seed(name), until_s, 5), approvers=[control])
    revoke = consortium.transaction(carrier, "consent.revoke", consent.Revoke(control.public_key), approvers=[control])
    return give, revoke


async def hashes_agree(consortium, height):
    blocks = await within(consortium.all_at(height))
    assert blocks == [blocks[0]] * len(blocks)


async def test_four_validators_agree_on_every_hash_and_verify_each_signature_once(consortium):
    consortium.start()
    given = [grant(consortium, n, NAMES[n % 4])[0] for n in range(40)]
    answers = await within(asyncio.gather(*[consortium.engines[NAMES[n % 4]].submit(data) for n, data in enumerate(given)]))
    assert sorted(each.index for each in answers) == list(range(40))
    await hashes_agree(consortium, max(each.height for each in answers))
    assert [engine.application.screening.verified for engine in consortium.engines.values()] == [40] * 4


async def test_the_same_bytes_get_the_same_answer_from_every_member(consortium):
    consortium.start()
    give, revoke = grant(consortium, "g", "clinic-1")
    first = await within(consortium.engines["clinic-1"].submit(give))
    again = await within(asyncio.gather(*[engine.submit(give) for engine in consortium.engines.values()]))
    assert again == [first] * 4
    assert (await within(consortium.engines["hospital-1"].submit(revoke))).is_accepted
    assert (await within(consortium.engines["hospital-2"].submit(grant(consortium, "g", "clinic-1")[0]))).reason == Reason.GRANT_EXISTS


async def test_what_cannot_hold_is_refused_at_the_door_without_a_block(consortium):
    consortium.start()
    engine = consortium.engines["hospital-1"]
    await within(engine.submit(consortium.tick("hospital-1")))
    forged = consortium.tick("hospital-1", signer=key("stranger"))
    said = await within(engine.submit(forged))
    assert (said.index, said.height, said.reason) == (None, None, Reason.BAD_SIGNATURE)


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
    said = await within(persistently(consortium.engines["clinic-1"], revoke))
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
    said = await within(persistently(consortium.engines["clinic-1"], revoke))
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


async def test_a_vote_unseats_a_validator_and_seats_it_again(consortium):
    consortium.start()
    engine = consortium.engines["hospital-1"]

    async def carried(change):
        proposal = await within(engine.submit(consortium.transaction("hospital-1", "directory.propose", directory.propose_change(change))))
        for voter in ("hospital-2", "clinic-1"):
            said = await within(engine.submit(consortium.transaction(voter, "directory.vote", directory.Vote(proposal.index, yes=True))))
        return said.height

    async def seated():
        return await asyncio.get_running_loop().run_in_executor(None, consortium.rpc("hospital-1").validators)

    height = await carried(directory.SetPower("regulator-1", 0))
    await within(consortium.all_at(height + 3))
    assert set(await seated()) == {consensus_key(name).public_key for name in NAMES[:3]}
    height = await carried(directory.SetPower("regulator-1", 2))
    await within(consortium.all_at(height + 3))
    assert (await seated())[consensus_key("regulator-1").public_key] == 2
    await hashes_agree(consortium, height + 3)


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


# -- processes that are killed


class Killable:
    """A member's engine in a process of its own."""

    def __init__(self, folder):
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.validator", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self.child.stdout.readline() == "up\n"

    def submit(self, data):
        self.child.stdin.write(data.hex() + "\n")
        self.child.stdin.flush()

    def answer(self):
        id_, index, height, reason = self.child.stdout.readline().split()
        return id_, index, height, reason

    def kill(self):
        """kill -9 the node; its CometBFT sees the application go and ends itself."""
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()

    def end(self):
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()


@pytest.fixture
def killable(tmp_path):
    consortium = Consortium(tmp_path)
    for folder in consortium.folders.values():
        (folder / "genesis.cbor").write_bytes(consortium.genesis.encoded())
    processes = {name: Killable(folder) for name, folder in consortium.folders.items()}
    yield consortium, processes
    for process in processes.values():
        process.end()


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
        processes[victim] = Killable(consortium.folders[victim])
    for process in processes.values():
        process.end()
    consortium.start()
    height = max(int(height) for _, height in acknowledged.values())
    await hashes_agree(consortium, height)
    for engine in consortium.engines.values():
        for id_, (index, at_height) in acknowledged.items():
            found = engine.find(bytes.fromhex(id_))
            assert (str(found.index), str(found.height)) == (index, at_height)
    await consortium.stop()


# -- a fifth member


async def grown(consortium, height, **options):
    """Start the founders, let them speak, and return once all are above `height` with a snapshot each."""
    consortium.start(*NAMES, snapshot_every=5, **options)
    number = 0
    while consortium.engines["hospital-1"].read().chain.height <= height:
        number += 1
        await within(consortium.engines["hospital-1"].submit(grant(consortium, number, "hospital-1")[0]))


async def trust(consortium):
    """Return two servers to ask, and a block that the newcomer knows to be the network's."""
    ports = [consortium.seats[name].rpc_port for name in NAMES[:2]]
    block_hash = await asyncio.get_running_loop().run_in_executor(None, consortium.rpc("hospital-1").block_hash, 3)
    return Trust(tuple(f"127.0.0.1:{port}" for port in ports), 3, block_hash)


async def joined(consortium):
    newcomer = consortium.folders["pharmacy-1"]
    peers = [consortium.seats[name].peer for name in NAMES]
    write_home(newcomer, consortium.genesis, consortium.seats["pharmacy-1"], peers, await trust(consortium))
    consortium.start("pharmacy-1")
    said = await within(consortium.engines["hospital-1"].submit(grant(consortium, "last", "hospital-1")[0]))
    await hashes_agree(consortium, said.height + 1)
    return consortium.engines["pharmacy-1"]


async def test_a_fifth_member_joins_by_state_sync_and_orders_with_the_others(tmp_path):
    consortium = Consortium(tmp_path, observers=("pharmacy-1",))
    await grown(consortium, 12)
    newcomer = await joined(consortium)
    assert newcomer.entry(0) is None  # it began with a snapshot, not with the first block
    said = await within(newcomer.submit(grant(consortium, "its own", "pharmacy-1")[0]))
    assert said.is_accepted
    entry = newcomer.entry(said.index)
    await hashes_agree(consortium, said.height)  # the other member's own copy may be a block behind
    size = newcomer.read().chain.log.size
    assert newcomer.inclusion(entry.index, size) == consortium.engines["hospital-1"].inclusion(entry.index, size)
    await consortium.stop("pharmacy-1")
    consortium.start("pharmacy-1")
    again = await within(consortium.engines["pharmacy-1"].submit(consortium.tick("pharmacy-1")))
    await hashes_agree(consortium, again.height)
    await consortium.stop()


async def test_a_peer_that_offers_a_forged_snapshot_is_seen_through(tmp_path):
    consortium = Consortium(tmp_path, observers=("pharmacy-1",))
    await grown(consortium, 12)
    forger = consortium.engines["hospital-2"]
    listed = forger.application._snapshots.listed()
    for snapshot in listed:  # every snapshot that it offers has one more row than the state, and digests that fit
        folder = consortium.folders["hospital-2"] / "snapshots" / str(snapshot.height)
        chunk = encode([*decode((folder / "0").read_bytes()), [b"zz", b"forged"]])
        (folder / "0").write_bytes(chunk)
        (folder / "manifest").write_bytes(replace(parse_manifest(snapshot.metadata), chunks=(sha256(chunk),)).encoded())
    assert forger.application._snapshots.listed() != listed
    for name in ("hospital-1", "clinic-1", "regulator-1"):  # nobody else has its newest, so the newcomer tries that first
        shutil.rmtree(consortium.folders[name] / "snapshots" / str(listed[0].height))
    newcomer = await joined(consortium)
    assert newcomer.application._snapshots.rejected > 0
    assert newcomer.read().get(b"zz") is None
    await consortium.stop()


# -- a sentence each


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
    with pytest.raises(WrongGenesis, match="copy the founders' genesis to this node"):
        await within(consortium.engines["hospital-1"].watch())


async def test_a_ledger_ahead_of_its_block_store_stops_with_a_sentence(tmp_path):
    alone = Consortium(tmp_path, ("hospital-1",))
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


async def test_a_closed_engine_takes_nothing_more(tmp_path):
    alone = Consortium(tmp_path, ("hospital-1",))
    alone.start()
    engine = alone.engines["hospital-1"]
    assert (await within(engine.submit(alone.tick("hospital-1")))).index == 0
    await alone.stop()
    with pytest.raises(EngineClosed):
        await engine.submit(alone.tick("hospital-1"))
