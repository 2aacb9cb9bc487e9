"""From the door to the mempool: what is pending reaches each CometBFT that begins, and what is answered reaches none."""

import asyncio
import random
import time
from types import SimpleNamespace

import pytest

from tests.consortium import NAMES, consortium_genesis, engine_on
from tests.sim.story import Story
from yilian.engines.cometbft.engine import CALL_TRANSACTIONS_MAX, HALTED_S
from yilian.engines.cometbft.rpc import Taken
from yilian.engines.replica import Replica
from yilian.engines.waiters import Waiter

LATER_S = 100_000  # when every `exp` is past


@pytest.fixture
def replica(tmp_path):
    copy = Replica.open(tmp_path / "ledger", consortium_genesis(), is_durable=False)
    yield copy
    copy.close()


@pytest.fixture
def ticks(replica):
    story = Story(replica.genesis.network_id, NAMES, random.Random(1))
    return [story.tick(replica.genesis.started_at_s) for _ in range(CALL_TRANSACTIONS_MAX + 4)]


@pytest.fixture
async def engine(replica):
    made = engine_on(replica)
    made.sent = []
    made._hand_over = made.sent.append
    return made


def enter(engine, transactions):
    for _ in transactions:
        assert engine._places.acquire(blocking=False)
    waiters = [Waiter(data, asyncio.get_running_loop()) for data in transactions]
    for n in range(0, len(waiters), CALL_TRANSACTIONS_MAX):
        engine._enter(waiters[n : n + CALL_TRANSACTIONS_MAX])


async def test_a_call_holds_no_more_than_is_said_and_each_goes_once_in_its_order(engine, ticks):
    enter(engine, ticks)
    assert engine._send_next()
    assert engine._send_next()
    assert engine.sent == [ticks[:CALL_TRANSACTIONS_MAX], ticks[CALL_TRANSACTIONS_MAX:]]
    assert not engine._due


async def test_all_that_is_pending_goes_to_a_cometbft_that_begins_anew_and_nothing_that_was_answered(engine, replica, ticks):
    enter(engine, ticks[:3])
    engine._send_next()
    engine._committed(replica.advance(replica.chain.time_ms, ticks[:1]))
    enter(engine, ticks[3:4])
    engine._begun()
    engine._send_next()
    assert engine.sent == [ticks[:3], ticks[1:4]]


async def test_what_is_handed_over_is_known_as_our_own_before_cometbft_asks_about_it(engine, replica, ticks):
    asked = []

    def broadcast(items):
        asked.extend([(item, engine.application.waiting.take(item, 1, 0), engine.application.waiting.take(item, 1, 0)) for item in items])
        return [Taken.IN] * len(items)

    engine._rpc = SimpleNamespace(broadcast=broadcast)
    engine.application.waiting.take(b"the first of this height", 1, 0)
    engine._call([b"one", b"two"])
    assert asked == [(b"one", True, True), (b"two", True, True)]


async def test_what_was_kept_is_handed_over_to_a_cometbft_that_begins_anew_and_when_the_application_says_so(engine):
    engine._call = engine.sent.append
    for item in (b"given", b"kept"):
        engine.application.waiting.take(item, 1, 0)
    engine._begun()
    engine._hand_over_kept(b"another")
    engine._send_next()
    engine._send_next()
    assert [each for each in engine.sent if each] == [[b"given", b"another"]]


async def test_what_is_answered_while_the_mempool_has_no_room_is_neither_kept_nor_sent(engine, replica, ticks):
    enter(engine, ticks[:4])
    engine._committed(replica.advance(replica.chain.time_ms, ticks[:1]))
    assert list(engine._due.values()) == ticks[1:4]
    engine._committed(replica.advance(replica.chain.time_ms + LATER_S * 1_000, []))
    assert (engine._due, engine._pending) == ({}, {})
    engine._shut()
    assert not engine._send_next()
    assert engine.sent == [[]]


async def test_what_is_final_already_is_answered_and_not_sent(engine, replica, ticks):
    replica.advance(replica.chain.time_ms, ticks[:1])
    enter(engine, ticks[:2])
    engine._send_next()
    assert engine.sent == [ticks[1:2]]


async def test_a_defect_of_the_watch_for_halts_is_told_and_not_lost_with_its_thread(engine):
    told = []
    engine._closing = SimpleNamespace(wait=lambda _: False)  # its second is over
    engine._last_block_at, engine.process = time.monotonic() - HALTED_S, SimpleNamespace(failure=lambda: 1 // 0)
    engine._fail = told.append
    engine._guarded(engine._notice_halt)
    assert [type(error) for error in told] == [ZeroDivisionError]
