"""Four real validators on loopback: what they agree on."""

import asyncio
from functools import reduce

import pytest

from tests.consortium import NAMES, consensus_key, grant, has_verifier, hashes_agree, needs_cometbft, within
from tests.waiting import begun
from tests.worlds import key
from yilian.base.refusals import Reason
from yilian.contracts import directory
from yilian.engines import EngineClosed, TooManyWaiting
from yilian.engines.cometbft import engine as engine_room

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]


@pytest.mark.parametrize("verifying", [0, 1])
async def test_four_validators_agree_on_every_hash_and_verify_each_signature_once(consortium, verifying):
    consortium.start(verifying=verifying)
    given = [grant(consortium, n, NAMES[n % 4])[0] for n in range(160)]
    answers = await within(asyncio.gather(*[consortium.engines[NAMES[n % 4]].submit(data) for n, data in enumerate(given)]))
    assert sorted(each.index for each in answers) == list(range(160))
    await hashes_agree(consortium, max(each.height for each in answers))
    assert [engine.application.screening.verified for engine in consortium.engines.values()] == [160] * 4
    assert [engine._verifier.process is not None for engine in consortium.engines.values()] == [bool(verifying) and has_verifier()] * 4


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


async def test_no_more_wait_than_may_and_whoever_gave_up_counts(consortium, monkeypatch):
    monkeypatch.setattr(engine_room, "WAITING_MAX", 3)
    consortium.start("hospital-1")  # alone it orders nothing: what is submitted waits
    engine = consortium.engines["hospital-1"]
    waiting = [await begun(engine.submit(consortium.tick("hospital-1"))) for _ in range(3)]  # each has its place
    waiting[0].cancel()
    with pytest.raises(TooManyWaiting, match=r"^3 transactions wait"):
        await engine.submit(consortium.tick("hospital-1"))
    consortium.start(*NAMES[1:])
    said = await within(asyncio.gather(*waiting, return_exceptions=True))
    assert [type(each).__name__ for each in said] == ["CancelledError", "Committed", "Committed"]
    again = await within(asyncio.gather(*[engine.submit(consortium.tick("hospital-1")) for _ in range(3)]))
    assert all(each.height is not None for each in again)  # the places are free again, that of the one that gave up too


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

    async def three_blocks_later(height):
        for n in range(3):  # a block each, sooner than three heartbeats
            said = await within(engine.submit(grant(consortium, f"{height}/{n}", "hospital-1")[0]))
        assert said.height >= height + 3
        await hashes_agree(consortium, height + 3)

    height = await carried(directory.SetPower("regulator-1", 0))
    await three_blocks_later(height)
    assert set(await seated()) == {consensus_key(name).public_key for name in NAMES[:3]}
    height = await carried(directory.SetPower("regulator-1", 2))
    await three_blocks_later(height)
    assert (await seated())[consensus_key("regulator-1").public_key] == 2


async def test_a_closed_engine_takes_nothing_more(founded):
    alone = founded("hospital-1")
    alone.start()
    engine = alone.engines["hospital-1"]
    assert (await within(engine.submit(alone.tick("hospital-1")))).index == 0
    await alone.stop()
    with pytest.raises(EngineClosed):
        await engine.submit(alone.tick("hospital-1"))


@pytest.mark.parametrize("part", ["application.screening.said_of", "_rpc.broadcast"])
async def test_a_defect_at_the_door_or_in_the_sender_is_told_to_who_waits_and_the_engine_can_be_closed(founded, part):
    alone = founded("hospital-1")
    alone.start()
    engine = alone.engines["hospital-1"]
    *way, method = part.split(".")
    setattr(reduce(getattr, way, engine), method, lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        await within(engine.submit(alone.tick("hospital-1")))
    await within(alone.stop())
