"""A copy that began with a snapshot, and lacks what came before it, does not say of a transaction that it never was entered."""

import asyncio
import random
from types import SimpleNamespace

import pytest

from tests.consortium import NAMES, consortium_genesis, engine_on
from tests.ledgers import told
from tests.sim.story import Story
from yilian.base.refusals import Reason
from yilian.base.transaction import parse
from yilian.engines import BeginningMissing
from yilian.engines.cometbft.snapshots import Snapshots
from yilian.engines.replica import Replica
from yilian.engines.waiters import Waiter
from yilian.node import No, NodeRefused
from yilian.node.carriage import Carriage

HEIGHT = 3


def raised(error):
    raise error


@pytest.fixture(scope="module")
def genesis():
    return consortium_genesis()


@pytest.fixture
def whole(genesis, tmp_path):
    with told(tmp_path / "whole", genesis, HEIGHT) as replica:
        yield replica


@pytest.fixture
def begun(whole, genesis, tmp_path):
    """A copy of it that began with its snapshot."""
    given = Snapshots(tmp_path / "given", whole, raised, every=1)
    given.after(HEIGHT)
    given.close()
    (snapshot,) = given.listed()
    copy = Replica.open(tmp_path / "begun", genesis, is_durable=False)
    taking = Snapshots(tmp_path / "taken", copy, raised, made_at=lambda chain, _: chain.time_ms)
    taking.offered(snapshot, whole.chain.app_hash)
    for number in range(snapshot.chunks):
        taking.applied(number, given.chunk(HEIGHT, 1, number), "peer")
    assert copy.chain == whole.chain
    assert copy.missing
    yield copy
    taking.close()
    copy.close()


@pytest.fixture
def entered(whole):
    """A transaction that a block before the snapshot holds."""
    block = whole.block(2)
    return next(data for data, result in zip(block.transactions, block.results, strict=True) if result.index is not None)


def carriage_of(replica, submitted):
    def find(id_):
        return replica.find([id_]).get(id_)

    async def submit(data):
        submitted.append(data)
        raise BeginningMissing

    carriage = Carriage.__new__(Carriage)
    carriage._engine = SimpleNamespace(read=replica.read, find=find, submit=submit, missing=replica.missing)
    return carriage


def test_what_may_lie_before_the_snapshot_is_never_said_to_be_lost(whole, begun, entered):
    over_s, live_s, submitted = begun.chain.time_ms // 1_000, begun.chain.time_ms // 1_000 + 1, []
    known = asyncio.run(carriage_of(whole, submitted).outcome(entered, over_s))
    assert known.index is not None
    assert asyncio.run(carriage_of(whole, submitted).outcome(b"never sent", over_s)) is None
    for exp_s in (over_s, live_s):
        with pytest.raises(NodeRefused) as no:
            asyncio.run(carriage_of(begun, submitted).outcome(entered, exp_s))
        assert (no.value.no, no.value.facts) == (No.BEGINNING_MISSING, {})
    assert submitted == [entered]  # while its time was not over


def test_a_strangers_key_that_may_have_been_a_members_is_not_refused_while_the_beginning_is_missing(begun, whole, genesis):
    unknown = Story(genesis.network_id, NAMES, random.Random(9)).transaction(genesis.started_at_s)
    kid = parse(unknown).header.kid
    for replica, expected in ((whole, Reason.UNKNOWN_KEY), (begun, No.BEGINNING_MISSING)):
        carriage = carriage_of(replica, [])
        keys = {key: owner for key, owner in replica.keys().items() if key != kid}
        carriage._engine.read = lambda keys=keys, replica=replica: SimpleNamespace(
            chain=SimpleNamespace(keys=keys, time_ms=replica.chain.time_ms)
        )
        try:
            said = asyncio.run(carriage.order(unknown)).reason
        except NodeRefused as no:
            said = no.no
        assert said == expected


def said_by(replica, data, later_s, carried):
    """Return what a caller is told who submits some bytes, of which the next block holds `carried`."""

    async def submit():
        engine, waiter = engine_on(replica), Waiter(data, asyncio.get_running_loop())
        engine._places.acquire()
        engine._enter([waiter])
        if not waiter.future.done():
            engine._committed(replica.advance(replica.chain.time_ms + later_s * 1_000, carried))
        async with asyncio.timeout(10):  # a bound that turns a hang into a failure
            return await waiter.future

    return asyncio.run(submit())


@pytest.mark.parametrize(("later_s", "is_carried"), [(1, True), (100_000, False), (100_000, True)], ids=["replayed", "over", "expired"])
def test_bytes_that_were_entered_before_the_snapshot_are_not_answered_with_a_refusal(begun, whole, entered, later_s, is_carried):
    assert said_by(whole, entered, later_s, []).index is not None
    with pytest.raises(BeginningMissing) as unsure:
        said_by(begun, entered, later_s, [entered] * is_carried)
    assert "does not hold its first entries yet" in str(unsure.value)
    with pytest.raises(BeginningMissing):  # nor is the refusal that a block holds since then
        said_by(begun, entered, 1, [])


def test_what_is_entered_after_the_snapshot_is_answered_at_once(begun, genesis):
    now_s = begun.chain.time_ms // 1_000 + 1
    fresh = Story(genesis.network_id, NAMES, random.Random(1))
    fresh.nonces = dict.fromkeys(NAMES, 40_000)
    fresh.number = 99_999
    given, next_index = fresh.give(now_s), begun.chain.log.size
    said = said_by(begun, given, 1, [given])
    assert (said.index, said.height, said.reason) == (next_index, HEIGHT + 1, 0)
