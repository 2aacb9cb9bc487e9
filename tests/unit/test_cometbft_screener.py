"""Who needs the verdicts on many transactions now gets what `ledger.screen` says of each, wherever it was found out."""

import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.consortium import NAMES, consortium_genesis
from tests.sim.story import Story
from yilian.base.refusals import Reason, Refused
from yilian.engines.cometbft.items import Screening, pack
from yilian.engines.cometbft.screener import FEW_MAX, Screener
from yilian.engines.replica import Replica
from yilian.ledger import screen_all

MANY = 3 * FEW_MAX
PATIENCE_S = 60


@pytest.fixture(scope="module")
def genesis():
    return consortium_genesis()


@pytest.fixture(scope="module")
def keys(genesis, tmp_path_factory):
    copy = Replica.open(tmp_path_factory.mktemp("ledger"), genesis, is_durable=False)
    yield copy.keys()
    copy.close()


@pytest.fixture(scope="module")
def batch(genesis):
    """Good ones, forged ones, and what is none at all."""
    story, now_s = Story(genesis.network_id, NAMES, random.Random(1)), genesis.started_at_s
    good = [story.tick(now_s) for _ in range(MANY)]
    return [*good, *[story.forged(each) for each in good[:5]], b"no transaction"]


@pytest.fixture
def screener(genesis, keys):
    made = Screener(genesis.network_id, lambda: keys, 1)
    yield made
    made.close()


def same(said):
    """A refusal is no value: compare what it says."""
    return [(each.reason, each.facts) if isinstance(each, Refused) else each for each in said]


def until_a_process_is_ready(screener, batch):
    """Ask until the process that the first batch started takes part."""
    for _ in range(1_000):
        screener.screen_all(batch)
        if any(each.is_ready for each in screener._verifiers._processes):
            return
    raise AssertionError("no verifying process became ready")


def test_many_are_answered_as_each_alone_before_and_after_the_process_is_there(screener, genesis, keys, batch):
    alone = same(screen_all(genesis.network_id, keys, batch))
    assert {each[0] for each in alone if len(each) == 2} >= {Reason.BAD_SIGNATURE, Reason.BAD_BYTES}
    assert same(screener.screen_all(batch)) == alone
    until_a_process_is_ready(screener, batch)
    assert same(screener.screen_all(batch)) == alone


def test_a_few_start_no_process(screener, batch):
    assert len(screener.screen_all(batch[:FEW_MAX])) == FEW_MAX
    assert screener._verifiers._processes == []


def test_several_threads_get_each_their_own(screener, genesis, keys, batch):
    parts = [batch[n : n + 20] for n in range(0, 30, 10)]  # which overlap
    said = {}
    threads = [threading.Thread(target=lambda n=n, part=part: said.update({n: screener.screen_all(part)})) for n, part in enumerate(parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert [same(said[n]) for n in range(len(parts))] == [same(screen_all(genesis.network_id, keys, part)) for part in parts]


def test_a_process_that_is_killed_costs_no_verdict(screener, genesis, keys, batch):
    until_a_process_is_ready(screener, batch)
    for process in screener._verifiers._processes:
        process.child.kill()
    assert same(screener.screen_all(batch)) == same(screen_all(genesis.network_id, keys, batch))


def test_a_process_that_stands_still_holds_up_neither_who_asks_nor_the_end(genesis, keys, batch, monkeypatch):
    screener = Screener(genesis.network_id, lambda: keys, 1)
    monkeypatch.setattr("yilian.engines.cometbft.screener.PATIENCE_S", 0.1)
    monkeypatch.setattr("yilian.engines.verifiers.END_S_MAX", 0.1)
    until_a_process_is_ready(screener, batch)
    os.kill(screener._verifiers._processes[0].child.pid, signal.SIGSTOP)
    asked = ThreadPoolExecutor().submit(screener.screen_all, batch)
    assert same(asked.result(PATIENCE_S)) == same(screen_all(genesis.network_id, keys, batch))
    until_a_process_is_ready(screener, batch)  # another
    os.kill(screener._verifiers._processes[0].child.pid, signal.SIGSTOP)
    ThreadPoolExecutor().submit(screener.close).result(PATIENCE_S)


def test_a_defect_while_verifying_is_told_to_whoever_asks(genesis, batch):
    def broken():
        raise ZeroDivisionError

    screener = Screener(genesis.network_id, broken, 1)
    for _ in range(2):  # who was waiting, and who comes later
        with pytest.raises(ZeroDivisionError):
            screener.screen_all(batch)
    screener.close()


def test_a_key_that_went_is_unknown_from_the_next_question_on(genesis, keys, batch):
    screening = Screening(genesis.network_id, keys, 1)
    until_a_process_is_ready(screening._screener, batch)
    screening.admit(pack(batch[:MANY]))
    screening.move_on({})
    with pytest.raises(Refused) as no:
        screening.admit(pack(batch[1:MANY]))
    assert no.value.reason == Reason.UNKNOWN_KEY
    screening.close()
