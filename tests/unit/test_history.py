"""Who vouches at an index of the log: the votes counted there, and when they are enough."""

from dataclasses import replace

import pytest

from tests.worlds import STARTED_AT_S, World, founder, make_genesis, seed
from yilian.base.transaction import parse
from yilian.contracts import anchor, directory
from yilian.contracts.directory.state import write_member
from yilian.engines.cometbft.validators import validators as consensus
from yilian.ledger import History, is_quorum, validators

ACTIVE, SUSPENDED, REMOVED = directory.Stage


def decide(world, change, voters=("clinic-1", "hospital-1", "hospital-2")):
    """Let `voters` carry a change: the first proposes, the others vote."""
    index, (first, *others) = world.chain.log.size, voters
    assert world.act("directory.propose", directory.propose_change(change), first) == (0, {})
    for each in others:
        assert world.act("directory.vote", directory.Vote(index, yes=True), each) == (0, {})


def state_of(stages, powers=None, seatless=""):
    """Return a directory of members a, b, c ... at these stages, of one vote each unless `powers` says otherwise, with a seat each unless
    named in `seatless`.
    """
    names = "abcdefgh"[: len(stages)]
    rows = World(make_genesis([founder(name) for name in names], operator="")).rows
    for name, stage, power in zip(names, stages, powers or [1] * len(stages), strict=True):
        member = directory.member(rows, name)
        key = None if name in seatless else member.consensus_key
        rows.take(write_member(member, replace(member, stage=stage, power=power, consensus_key=key)))
    return rows


@pytest.mark.parametrize(
    ("stages", "powers", "votes"),
    [
        ([ACTIVE] * 4, None, {"a": 1, "b": 1, "c": 1, "d": 1}),
        ([ACTIVE, ACTIVE, ACTIVE, SUSPENDED], None, {"a": 1, "b": 1, "c": 1}),  # three of four are more than two thirds
        ([ACTIVE, ACTIVE, SUSPENDED], None, {"a": 1, "b": 1, "c": 1}),  # two of three are not: who was suspended still counts
        ([SUSPENDED, ACTIVE], [1, 3], {"b": 3}),
        ([SUSPENDED, ACTIVE], [3, 1], {"a": 3, "b": 1}),
        ([ACTIVE, ACTIVE, REMOVED], None, {"a": 1, "b": 1}),  # nobody comes back from removal
        ([ACTIVE, ACTIVE, ACTIVE], [2, 0, 1], {"a": 2, "c": 1}),
        ([SUSPENDED, SUSPENDED], [0, 5], {"b": 5}),
    ],
)
def test_votes_are_of_active_members_unless_too_few_are_left(stages, powers, votes):
    assert validators(state_of(stages, powers)) == votes


@pytest.mark.parametrize(
    ("stages", "powers", "seatless", "votes"),
    [
        ([ACTIVE] * 5, [1, 1, 1, 1, 9], "e", {"a": 1, "b": 1, "c": 1, "d": 1}),
        ([ACTIVE, ACTIVE, ACTIVE, ACTIVE, SUSPENDED], [1, 1, 1, 1, 9], "e", {"a": 1, "b": 1, "c": 1, "d": 1}),
        ([ACTIVE, ACTIVE, SUSPENDED, ACTIVE], [1, 1, 1, 9], "d", {"a": 1, "b": 1, "c": 1}),  # two of three that validate: not enough
        ([ACTIVE, ACTIVE], [1, 1], "ab", {}),
    ],
)
def test_who_has_no_consensus_key_validates_nothing_whatever_its_votes_in_the_directory(stages, powers, seatless, votes):
    state = state_of(stages, powers, seatless)
    assert validators(state) == votes
    keys = {one.id: one.consensus_key for one in directory.members(state)}
    assert consensus(state) == {keys[name]: power for name, power in votes.items()}  # as CometBFT counts it


def test_members_who_do_not_validate_make_no_receipt_a_quorum_and_keep_none_from_being_one():
    genesis = make_genesis([founder("a")], operator="")
    state = state_of([ACTIVE] * 8, [1] * 8, "efgh")
    assert is_quorum(state, genesis, ("c", "d", "e", "f", "g", "h")) is False  # six of eight votes, two of four validators
    assert is_quorum(state, genesis, ("a", "b", "c")) is True
    assert is_quorum(state_of([ACTIVE], None, "a"), genesis, ("a",)) is False  # nobody validates: nobody vouches


def test_a_member_without_a_consensus_key_can_get_votes_and_they_count_in_the_directory_alone():
    world = World(make_genesis(operator=""))
    small = founder("pharmacy-1", ("pharmacy",), power=0)
    keys = (small.node_key, small.sealing_key, small.receipt_key, None)
    decide(world, directory.Admit(small.id, list(small.kinds), small.name, "", *keys, 0))
    before = validators(world.rows)
    decide(world, directory.SetPower("pharmacy-1", 5))
    assert directory.member(world.rows, "pharmacy-1").power == 5
    assert validators(world.rows) == before == {"clinic-1": 1, "hospital-1": 1, "hospital-2": 1, "regulator-1": 1}
    index = world.chain.log.size
    assert world.act("directory.propose", directory.propose_change(directory.SetParameter("memo_size", 8)), "pharmacy-1") == (0, {})
    assert directory.proposal(world.rows, index).is_passed is False  # five of nine votes


@pytest.mark.parametrize(
    ("powers", "signers", "is_enough"),
    [
        ([1, 1, 1], ("a", "b"), False),  # exactly two thirds
        ([1, 1, 1], ("a", "b", "c"), True),
        ([1, 1, 1, 0], ("a", "b", "d"), False),  # a signer without a vote adds none
        ([5, 1, 1], ("a",), True),
        ([4, 1, 1], ("a",), False),
        ([1, 1, 1], (), False),
    ],
)
def test_validators_are_a_quorum_with_more_than_two_thirds_of_the_votes(powers, signers, is_enough):
    genesis = make_genesis([founder("a")], operator="")
    assert is_quorum(state_of([ACTIVE] * len(powers), powers), genesis, signers) is is_enough


@pytest.mark.parametrize(
    ("stages", "signers", "is_enough"),
    [
        ([ACTIVE] * 3, ("a", "b"), False),  # one of two others
        ([ACTIVE] * 3, ("a", "b", "c"), True),
        ([ACTIVE] * 4, ("a", "b", "c"), True),
        ([ACTIVE] * 4, ("b", "c", "d"), False),  # not without the operator
        ([ACTIVE, ACTIVE, ACTIVE, SUSPENDED], ("a", "b", "d"), False),
        ([ACTIVE, ACTIVE, SUSPENDED, REMOVED], ("a", "b"), True),
    ],
)
def test_an_embedded_quorum_is_the_operator_and_more_than_half_of_the_other_active_members(stages, signers, is_enough):
    genesis = make_genesis([founder("a")], operator="a")
    assert is_quorum(state_of(stages), genesis, signers) is is_enough


@pytest.mark.parametrize(
    ("kind", "message", "carrier", "may_change_signers"),
    [
        ("anchor.tick", anchor.Tick(bytes(32), bytes(32)), "clinic-1", False),
        ("practitioner.register", directory.Register(seed("p"), "doctor", STARTED_AT_S + 60), "clinic-1", False),
        ("directory.suspend", directory.Suspend("clinic-1", bytes(32)), "regulator-1", True),
    ],
)
def test_a_history_says_of_each_entry_whether_it_may_change_who_signs(kind, message, carrier, may_change_signers):
    world = World()
    entry = parse(world.transaction(kind, message, carrier))
    assert History(world.genesis).follow(entry, 0, 1, world.now_s) is may_change_signers
