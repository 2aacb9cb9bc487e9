"""What a proposal would do is worked out while its votes travel: used for that very block, and for no other."""

import random
import threading

import pytest

from tests.consortium import NAMES, consensus_key, consortium_genesis
from tests.sim.story import Story
from yilian.engines.cometbft.ahead import Ahead, Proposal, Worked
from yilian.engines.cometbft.application import Application
from yilian.engines.cometbft.settings import address
from yilian.engines.cometbft.snapshots import Snapshots
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.replica import Replica
from yilian.ledger import BlockHeader

PATIENCE_S = 30  # after which a wait is a failure
ONE, OTHER = (Proposal(BlockHeader(1, time_ms, "clinic-1"), (b"item",)) for time_ms in (1, 2))


@pytest.fixture
def told():
    """What was worked on, in order; `may_go` lets each begin."""

    class Told:
        def __init__(self):
            self.proposals, self.may_go = [], threading.Event()

        def work(self, proposal):
            assert self.may_go.wait(PATIENCE_S)
            self.proposals.append(proposal)
            return Worked(proposal.header.time_ms, [1])

    told = Told()
    yield told
    told.may_go.set()


@pytest.fixture
def ahead(told):
    made = Ahead(told.work)
    yield made
    told.may_go.set()
    made.close()


def test_a_proposal_is_worked_on_once_and_its_result_given_once(ahead, told):
    ahead.begin(ONE)
    ahead.begin(Proposal(*ONE))  # proposed again in a later round
    told.may_go.set()
    assert (ahead.take(ONE), ahead.take(ONE)) == (Worked(1, [1]), None)
    assert told.proposals == [ONE]


def test_whoever_takes_waits_for_what_is_being_worked_out(ahead, told):
    ahead.begin(ONE)
    threading.Timer(0.01, told.may_go.set).start()
    assert ahead.take(ONE) == Worked(1, [1])


def test_another_block_is_given_nothing_and_does_not_wait(ahead, told):
    ahead.begin(ONE)
    assert ahead.take(OTHER) is None  # while the work on ONE may not go on
    assert ahead.take(ONE) is None  # forgotten


def test_the_last_proposal_counts(ahead, told):
    ahead.begin(ONE)
    ahead.begin(OTHER)
    told.may_go.set()
    assert ahead.take(OTHER) == Worked(2, [1])


def test_a_defect_while_working_ahead_gives_nothing_and_the_next_proposal_is_worked_on():
    answers = iter([ZeroDivisionError(), Worked(2, [1])])

    def work(_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ahead = Ahead(work)
    ahead.begin(ONE)
    assert ahead.take(ONE) is None
    ahead.begin(OTHER)
    assert ahead.take(OTHER) == Worked(2, [1])
    ahead.close()


class Sly(bytes):
    """Bytes during whose comparison something else happens, as in another thread."""

    meanwhile = staticmethod(lambda: None)
    __hash__ = bytes.__hash__

    def __eq__(self, other):
        self.meanwhile()
        return bytes(self) == bytes(other)


def test_a_proposal_that_another_thread_begins_meanwhile_does_not_answer_for_the_one_that_was_decided(ahead, told):
    """An old CometBFT's last question is still being answered while the new one replays a block."""
    told.may_go.set()
    ahead.begin(ONE)
    item = Sly(*ONE.items)
    item.meanwhile = lambda: ahead.begin(OTHER)
    assert ahead.take(Proposal(ONE.header, (item,))) in (Worked(1, [1]), None)


def test_a_proposal_that_is_forgotten_before_its_turn_is_worked_out_by_who_takes_it(ahead, told):
    ahead.begin(OTHER)  # which may not go on: ONE waits for its turn
    ahead.begin(ONE)
    item = Sly(*ONE.items)
    item.meanwhile = ahead.forget
    assert ahead.take(Proposal(ONE.header, (item,))) is None


# -- behind ABCI


class Counted(Replica):
    """Notes the headers that it decides, and in which thread."""

    def decide(self, header, transactions, known=None):
        self.__dict__.setdefault("headers", []).append((header, threading.current_thread() is threading.main_thread()))
        return super().decide(header, transactions, known)


@pytest.fixture(scope="module")
def genesis():
    return consortium_genesis()


@pytest.fixture
def replica(genesis, tmp_path):
    copy = Counted.open(tmp_path / "ledger", genesis, is_durable=False)
    yield copy
    copy.close()


@pytest.fixture
def application(replica, tmp_path):
    made = Application(replica, Snapshots(tmp_path / "snapshots", replica, print), lambda _: None)
    yield made
    made.close()


def asked(kind, genesis, height, items, who="clinic-1"):
    request = kind(txs=items, height=height, proposer_address=address(consensus_key(who).public_key), hash=b"h")
    request.time.seconds = genesis.started_at_s + height
    return request


def items_of(genesis):
    story = Story(genesis.network_id, NAMES, random.Random(1))
    return [story.tick(genesis.started_at_s) for _ in range(3)]


def test_a_block_that_was_proposed_here_is_decided_once_and_says_the_same(application, replica, genesis, tmp_path):
    items = items_of(genesis)
    application.process_proposal(asked(abci.RequestProcessProposal, genesis, 1, items))
    answer = application.finalize_block(asked(abci.RequestFinalizeBlock, genesis, 1, items))
    assert [is_main for _, is_main in replica.headers] == [False]
    with_none = Application(
        Replica.open(tmp_path / "twin", genesis, is_durable=False), Snapshots(tmp_path / "none", replica, print), lambda _: None
    )
    assert answer == with_none.finalize_block(asked(abci.RequestFinalizeBlock, genesis, 1, items))
    assert len(answer.tx_results) == 3
    with_none._replica.close()


def test_a_block_of_another_proposer_is_decided_anew(application, replica, genesis):
    items = items_of(genesis)
    application.process_proposal(asked(abci.RequestProcessProposal, genesis, 1, items))
    application.finalize_block(asked(abci.RequestFinalizeBlock, genesis, 1, items, who="hospital-2"))
    application.commit(abci.RequestCommit())
    assert [(header.proposer, is_main) for header, is_main in replica.headers][-1] == ("hospital-2", True)
    assert replica.block(1).proposer == "hospital-2"


def test_nothing_is_worked_out_between_a_block_s_rows_on_the_disk_and_in_memory(application, replica, genesis):
    items = items_of(genesis)
    application.finalize_block(asked(abci.RequestFinalizeBlock, genesis, 1, items))
    seen, replace, enter = [], replica._cache.replace, replica._store.commit
    replica._store.commit = lambda *change: (seen.append(("disk", replica._growing.locked())), enter(*change))
    replica._cache.replace = lambda writes: (seen.append(("memory", replica._growing.locked())), replace(writes))
    application.commit(abci.RequestCommit())
    assert seen == [("disk", True), ("memory", True)]  # else who works ahead keeps a row that it read before, over the block's own


def test_what_follows_no_final_block_is_not_worked_on(application, replica, genesis):
    application.process_proposal(asked(abci.RequestProcessProposal, genesis, 2, items_of(genesis)))
    application.close()
    assert "headers" not in vars(replica)


def test_what_is_rejected_is_not_worked_on(application, replica, genesis):
    status = application.process_proposal(asked(abci.RequestProcessProposal, genesis, 1, [b"no transaction"])).status
    application.close()
    assert (status, "headers" in vars(replica)) == (abci.ResponseProcessProposal.REJECT, False)


def test_a_copy_is_closed_only_when_nothing_is_being_worked_out(application, replica, genesis):
    begun, may_go, decide = threading.Event(), threading.Event(), replica.decide
    closer = threading.Thread(target=replica.close)

    def slow(header, transactions, known):
        with replica._growing:
            begun.set()
            assert may_go.wait(PATIENCE_S)
        return decide(header, transactions, known)

    replica.decide = slow
    application.process_proposal(asked(abci.RequestProcessProposal, genesis, 1, items_of(genesis)))
    assert begun.wait(PATIENCE_S)
    closer.start()
    assert replica.read().get(b"nothing") is None  # the files are open while the lock is held
    may_go.set()
    closer.join(PATIENCE_S)
    assert not closer.is_alive()
