"""The same ledger under a hostile but legal CometBFT, and proof that its auditors are awake."""

import asyncio
import os
import subprocess
import sys

import pytest

from tests.sim.hostile import Found, Hostile
from tests.worlds import node_key
from yilian.base.refusals import Reason
from yilian.engines import EngineStopped
from yilian.engines.cometbft.ahead import Ahead
from yilian.engines.cometbft.application import CODE_KEPT, Application, Mempool
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.embedded import EmbeddedEngine

HEIGHTS = 25


@pytest.mark.parametrize("seed_number", range(4))
def test_four_replicas_never_differ_whatever_a_legal_cometbft_does(tmp_path, seed_number):
    hostile = Hostile(tmp_path, seed_number)
    hostile.run(HEIGHTS)
    assert {node.replica.chain.height for node in hostile.nodes} == {HEIGHTS}
    assert len({node.replica.chain.app_hash for node in hostile.nodes}) == 1
    assert hostile.nodes[0].replica.chain.log.size > HEIGHTS // 2


def test_what_was_worked_out_ahead_is_used_and_what_lost_is_not(tmp_path, monkeypatch):
    taken, take = [], Ahead.take

    def noted(self, proposal):
        last, found = self._last, take(self, proposal)
        seen = None if last is None else last[0]
        taken.append((seen is None, seen == proposal, found is not None))
        return found

    monkeypatch.setattr(Ahead, "take", noted)
    Hostile(tmp_path, 2).run(HEIGHTS)
    # nothing was proposed here (it lagged, or is asked again); the block that was proposed last; another block
    assert set(taken) == {(True, False, False), (False, True, True), (False, False, False)}


def test_keys_do_change_while_transactions_are_in_flight(tmp_path):
    hostile = Hostile(tmp_path, 1)
    while not (turned := [name for name, each in hostile.story.keys.items() if each != node_key(name)]) and len(hostile.chain) < 200:
        hostile.run(len(hostile.chain) + 5)
    assert turned


@pytest.mark.slow
@pytest.mark.parametrize("seed_number", range(100, 130))
def test_four_replicas_never_differ_on_longer_stories(tmp_path, seed_number):
    hostile = Hostile(tmp_path, seed_number)
    hostile.run(60)
    assert len({node.replica.chain.app_hash for node in hostile.nodes}) == 1


@pytest.mark.slow
def test_a_twin_in_another_process_says_the_same_to_the_byte(tmp_path):
    program = "import sys, pathlib; from tests.sim.hostile import Hostile; print(Hostile(pathlib.Path(sys.argv[1]), 7).run(40))"
    said = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / hash_seed)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "4242")
    ]
    assert len(said[0]) == 65
    assert said[0] == said[1]


class PersistsTooEarly(Application):
    """Makes a block durable in FinalizeBlock."""

    def finalize_block(self, asked):
        answer = super().finalize_block(asked)
        self._replica.commit(self._pending.decided)
        return answer

    def commit(self, asked):
        items, self._pending = self._pending.items, None
        self.screening.move_on(self._replica.keys(), items)
        self.waiting.drop(items)
        self._tell_what_is_unheard()
        return abci.ResponseCommit()


class ForgetsThatKeysChange(Application):
    """Believes what it found under an old key table."""

    def __init__(self, replica, *others):
        super().__init__(replica, *others)
        move_on, keys = self.screening.move_on, replica.keys()
        self.screening.move_on = lambda _, *done: move_on(keys, *done)


class TrustsItsMempool(Application):
    """Votes for whatever is well-formed without looking at signatures."""

    def process_proposal(self, asked):
        return abci.ResponseProcessProposal(status=abci.ResponseProcessProposal.ACCEPT)


class DropsWhatItHasNotSeen(Application):
    """Decides a block only from what CheckTx told it."""

    def finalize_block(self, asked):
        seen = [item for item in asked.txs if item in self.screening.facts]
        return super().finalize_block(
            abci.RequestFinalizeBlock(txs=seen, height=asked.height, time=asked.time, proposer_address=asked.proposer_address)
        )


class ReadsTheClock(Application):
    """Takes its own count for the block's time."""

    count = 0

    def finalize_block(self, asked):
        ReadsTheClock.count += 1
        asked.time.seconds += ReadsTheClock.count % 2 * 86_400
        return super().finalize_block(asked)


class TakesWhateverWasWorkedOut(Application):
    """Executes the last proposal that it saw, whichever was decided."""

    def finalize_block(self, asked):
        seen = None if self._ahead._last is None else self._ahead._last[0]
        if seen is not None and seen.header.height == asked.height:
            asked.time.FromMilliseconds(seen.header.time_ms)
            del asked.txs[:]
            asked.txs.extend(seen.items)
        return super().finalize_block(asked)


class KeepsAll(Application):
    """Gives CometBFT nothing that came from a member, however long nothing was proposed."""

    def check_tx(self, asked):
        answer = super().check_tx(asked)
        is_ours = asked.tx in self.waiting._ours
        return answer if answer.code or is_ours else abci.ResponseCheckTx(code=CODE_KEPT)


class TellsNobody(Application):
    """Lets what it kept lie where a block has left it."""

    def commit(self, asked):
        self._mempool = Mempool()
        return super().commit(asked)


class ProposesWhatIsOfferedAlone(Application):
    """Forgets in its turn what it kept from CometBFT."""

    def prepare_proposal(self, asked):
        self.waiting.drop([each for each in self.waiting.items() if each not in asked.txs])
        return super().prepare_proposal(asked)


@pytest.mark.parametrize(
    ("bug", "says"),
    [
        (KeepsAll, "CometBFT's mempool is empty"),
        (TellsNobody, "nobody would hear of it"),
        (ProposesWhatIsOfferedAlone, "not proposed though there is room"),
        (PersistsTooEarly, "Info says another app hash|ends at height|ahead of the block store|app hash at height"),
        (ForgetsThatKeysChange, "the witness says otherwise"),
        (TrustsItsMempool, "ProcessProposal says True, the witness says otherwise"),
        (DropsWhatItHasNotSeen, "at height|too large or invented|nobody would hear of it"),  # it proposes again what it dropped
        (ReadsTheClock, "app hash at height"),
        (TakesWhateverWasWorkedOut, "at height"),
    ],
)
def test_a_planted_bug_is_found(tmp_path, bug, says):
    def search():
        for seed_number in range(40):
            Hostile(tmp_path / str(seed_number), seed_number, bug).run(HEIGHTS)

    with pytest.raises((Found, EngineStopped), match=says):
        search()


KEY_IS_GONE = {Reason.UNKNOWN_KEY, Reason.MEMBER_SUSPENDED}  # said of one transaction before, and in, the block that took its key


@pytest.mark.parametrize("seed_number", range(5))
async def test_any_story_gives_the_same_results_on_the_embedded_engine(tmp_path, seed_number):
    hostile = Hostile(tmp_path / "consortium", seed_number)
    hostile.run(15)
    ordered = hostile.nodes[0].replica
    time_ms = [0]
    engine = EmbeddedEngine.open(tmp_path / "embedded", hostile.genesis, now_ms=lambda: time_ms[0], processes=0)
    compared = 0
    for height in range(1, 16):
        block = ordered.block(height)
        time_ms[0] = block.time_ms
        answers = await asyncio.gather(*[engine.submit(data) for data in block.transactions])
        for result, answer in zip(block.results, answers, strict=True):
            first = ordered.find([result.id])[result.id]  # a repeat is refused in a block, and here gets the first one's answer
            assert (answer.id, answer.index) == (first.id, first.index)
            assert answer.reason == first.reason or {answer.reason, first.reason} == KEY_IS_GONE
            assert answer.reason != first.reason or answer.facts == first.facts
            compared += 1
    assert compared > 50
    mine, theirs = engine.read(), ordered.read()
    assert (mine.chain.log.root(), list(mine.scan(b""))) == (theirs.chain.log.root(), list(theirs.scan(b"")))
    await engine.close()
