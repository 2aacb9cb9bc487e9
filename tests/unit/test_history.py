"""Who vouches at an index of the log: the votes counted there, and when they are enough."""

from dataclasses import replace

import pytest

from tests.worlds import STARTED_AT_S, World, founder, make_genesis, seed
from yilian.base.transaction import parse
from yilian.contracts import anchor, directory
from yilian.contracts.directory.state import write_member
from yilian.ledger import History, is_quorum, validators

ACTIVE, SUSPENDED, REMOVED = directory.Stage


def state_of(stages, powers=None):
    """Return a directory of members a, b, c ... at these stages, of one vote each unless `powers` says otherwise."""
    names = "abcdefg"[: len(stages)]
    rows = World(make_genesis([founder(name) for name in names], operator="")).rows
    for name, stage, power in zip(names, stages, powers or [1] * len(stages), strict=True):
        member = directory.member(rows, name)
        rows.take(write_member(member, replace(member, stage=stage, power=power)))
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
