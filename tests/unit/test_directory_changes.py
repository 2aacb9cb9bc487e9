"""What a proposal may change, sentence by sentence; and what genesis may begin with."""

from dataclasses import replace

import pytest

from tests.rooms import DAY_S, View, key, refusal
from yilian.base.codec import encode
from yilian.base.keys import kid_of
from yilian.base.refusals import Reason
from yilian.contracts import directory
from yilian.contracts.directory import (
    Admit,
    KeyOwner,
    KeyUse,
    Member,
    Remove,
    Rotate,
    SetParameter,
    SetPower,
    SetRules,
    Setting,
    Stage,
    Version,
    change_of,
    propose_change,
)
from yilian.contracts.directory.changes import PARAMETERS, Board, enact
from yilian.contracts.directory.rules import write_enacted

HEIGHT = 500
SEALING = bytes(1_216)
A = Member("a", ("clinic", "hospital"), "甲院", "http://a", key("a1"), SEALING, key("a3"), key("a4"), 2, Stage.ACTIVE, 0)
B = Member("b", ("hospital",), "乙院", "", key("b1"), SEALING, key("b3"), None, 0, Stage.ACTIVE, 0)
GONE = Member("gone", ("hospital",), "丙院", "", key("g1"), SEALING, key("g3"), None, 5, Stage.REMOVED, 0)
ASLEEP = Member("asleep", ("hospital",), "丁院", "", key("s1"), SEALING, key("s3"), None, 5, Stage.SUSPENDED, 0)
BOARD = Board({one.id: one for one in (A, B, GONE, ASLEEP)}, (Version(1, 0), Version(2, 900)))
NEW = Admit("n", ["pharmacy"], "新药房", "http://n", key("n1"), bytes([7]) * 1_216, key("n3"), key("n4"), 3)


def no(change, board=BOARD):
    return refusal(enact, board, change, HEIGHT)


# bytes of a change

SAID = [
    (NEW, 1, ["n", ["pharmacy"], "新药房", "http://n", key("n1"), bytes([7]) * 1_216, key("n3"), key("n4"), 3]),
    (
        replace(NEW, consensus_key=None, power=0, endpoint=""),
        1,
        ["n", ["pharmacy"], "新药房", "", key("n1"), bytes([7]) * 1_216, key("n3"), None, 0],
    ),
    (Remove("a"), 2, ["a"]),
    (Rotate("a", 1, key("x")), 3, ["a", 1, key("x")]),
    (Rotate("a", 2, bytes(1_216)), 3, ["a", 2, bytes(1_216)]),
    (SetPower("a", 2**40), 4, ["a", 2**40]),
    (SetParameter("memo_size", 5), 5, ["memo_size", 5]),
    (SetRules(2, 2**62), 6, [2, 2**62]),
]


@pytest.mark.parametrize(("change", "number", "fields"), SAID)
def test_a_change_is_its_number_and_its_fields_in_order(change, number, fields):
    assert propose_change(change) == directory.Propose(number, encode(fields))
    assert change_of(number, encode(fields)) == change
    for others in (fields[:-1], [*fields, 0], []):
        assert refusal(change_of, number, encode(others)) == (Reason.BAD_SHAPE, {"field": 2})


@pytest.mark.parametrize("number", [0, 7, 255])
def test_a_number_that_is_no_change_is_refused(number):
    assert refusal(change_of, number, encode(["a"])) == (Reason.BAD_SHAPE, {"field": 1})


@pytest.mark.parametrize("details", [b"", b"\xff", b"\x81\x61a\x00", b"\x9f\x61a\xff", encode("a"), encode({1: "a"}), encode(None)])
def test_bytes_that_are_no_list_of_fields_are_refused(details):
    assert refusal(change_of, 2, details) == (Reason.BAD_SHAPE, {"field": 2})


WRONG = [
    *[replace(NEW, id=wrong) for wrong in ("", "x" * 33, "医院", "a b", "a\n", b"n", 5)],
    *[
        replace(NEW, kinds=wrong)
        for wrong in ([], ["bank"], ["pharmacy", "clinic"], ["clinic", "clinic"], "pharmacy", [b"pharmacy"], [5], [["pharmacy"]], 5, None)
    ],
    *[replace(NEW, name=wrong) for wrong in ("", "x" * 65, b"n", None)],
    *[replace(NEW, endpoint=wrong) for wrong in ("x" * 201, "http://医院", "a\n", None)],
    *[replace(NEW, node_key=wrong) for wrong in (bytes(31), bytes(33), "n" * 32, None)],
    *[replace(NEW, sealing_key=wrong) for wrong in (bytes(1_215), bytes(1_217), bytes(32), None)],
    *[replace(NEW, receipt_key=wrong) for wrong in (bytes(31), bytes(33), None)],
    *[replace(NEW, consensus_key=wrong) for wrong in (bytes(31), bytes(33), b"", 0)],
    *[replace(NEW, power=wrong) for wrong in (-1, 2**40 + 1, True, "1", None)],
    *[Remove(wrong) for wrong in ("", "x" * 33, "医院", b"a", None)],
    *[Rotate(wrong, 1, key("x")) for wrong in ("", b"a")],
    *[Rotate("a", wrong, key("x")) for wrong in (0, 5, "1", True, None)],
    *[Rotate("a", use, wrong) for use in (1, 3, 4) for wrong in (bytes(1_216), bytes(31), "x", None)],
    *[Rotate("a", 2, wrong) for wrong in (key("x"), bytes(1_215), None)],
    *[SetPower("a", wrong) for wrong in (-1, 2**40 + 1, "1", True)],
    *[SetPower(wrong, 1) for wrong in ("", b"a")],
    *[SetParameter(wrong, 1) for wrong in ("", "x" * 65, "备忘", b"memo_size", None)],
    *[SetParameter("memo_size", wrong) for wrong in (-1, 2**62 + 1, True, "1")],
    *[SetRules(wrong, 5_000) for wrong in (-1, 2**62 + 1, "2", True)],
    *[SetRules(2, wrong) for wrong in (-1, 2**62 + 1, "2", True)],
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_a_field_of_another_shape_is_refused(change):
    said = propose_change(change)
    assert refusal(change_of, said.change, said.details) == (Reason.BAD_SHAPE, {"field": 2})


@pytest.mark.parametrize(
    "change",
    [
        replace(NEW, id="x" * 32),
        replace(NEW, id="!~"),
        replace(NEW, kinds=sorted(directory.MEMBER_KINDS)),
        replace(NEW, name="x" * 64),
        replace(NEW, endpoint="x" * 200),
        replace(NEW, power=2**40),
        SetPower("a", 0),
        SetParameter("x" * 64, 0),
        SetParameter("x", 2**62),
        SetRules(0, 0),
        SetRules(2**62, 0),
    ],
    ids=str,
)
def test_the_widest_and_narrowest_fields_are_taken(change):
    said = propose_change(change)
    assert change_of(said.change, said.details) == change


def test_the_kinds_of_members_are_these():
    listed = ["clinic", "data_buyer", "distributor", "exchange", "hospital", "insurer", "manufacturer", "pharmacy", "regulator"]
    assert sorted(directory.MEMBER_KINDS) == listed
    assert change_of(1, propose_change(replace(NEW, kinds=listed)).details).kinds == listed


# admit


def test_an_admitted_member_is_active_from_the_height_of_the_vote():
    admitted = Member(
        "n", ("pharmacy",), "新药房", "http://n", key("n1"), bytes([7]) * 1_216, key("n3"), key("n4"), 3, Stage.ACTIVE, HEIGHT
    )
    assert enact(BOARD, NEW, HEIGHT) == admitted
    keys = [(key("n1"), 1), (key("n3"), 3), (key("n4"), 4)]
    row = [["pharmacy"], "新药房", "http://n", key("n1"), bytes([7]) * 1_216, key("n3"), key("n4"), 3, 1, HEIGHT]
    writes = write_enacted(BOARD, admitted)
    assert writes == {b"d/k/" + kid_of(each): encode(["n", use]) for each, use in keys} | {b"d/m/n": encode(row)}
    assert directory.member(View(writes), "n") == admitted
    assert directory.key_owner(View(writes), kid_of(key("n3"))) == KeyOwner("n", KeyUse.RECEIPT)


@pytest.mark.parametrize("taken", ["a", "gone", "asleep"])
def test_an_id_is_never_given_twice(taken):
    assert no(replace(NEW, id=taken)) == (Reason.MEMBER_EXISTS, {"member": taken})


@pytest.mark.parametrize("field", ["node_key", "receipt_key", "consensus_key"])
@pytest.mark.parametrize("taken", ["a1", "a3", "a4", "b1", "b3", "s1", "s3"])
def test_a_signing_key_is_nobody_elses(field, taken):
    assert no(replace(NEW, **{field: key(taken)})) == (Reason.KEY_IN_USE, {"kid": kid_of(key(taken))})


@pytest.mark.parametrize(
    ("field", "own"), [("receipt_key", "n1"), ("consensus_key", "n1"), ("consensus_key", "n3"), ("node_key", "n3"), ("node_key", "n4")]
)
def test_a_signing_key_has_one_use(field, own):
    assert no(replace(NEW, **{field: key(own)})) == (Reason.KEY_IN_USE, {"kid": kid_of(key(own))})


def test_keys_of_a_removed_member_are_free_and_sealing_keys_are_not_compared():
    assert enact(BOARD, replace(NEW, node_key=key("g1"), receipt_key=key("g3"), sealing_key=SEALING), HEIGHT).node_key == key("g1")


# remove and power


def test_a_removed_member_keeps_its_row_and_loses_its_keys():
    removed = enact(Board({"a": A, "b": replace(B, power=1)}, ()), Remove("a"), HEIGHT)
    assert removed == replace(A, stage=Stage.REMOVED)
    writes = write_enacted(BOARD, removed)
    row = [["clinic", "hospital"], "甲院", "http://a", key("a1"), SEALING, key("a3"), key("a4"), 2, 3, 0]
    assert writes == {b"d/k/" + kid_of(key(each)): None for each in ("a1", "a3", "a4")} | {b"d/m/a": encode(row)}


@pytest.mark.parametrize("change", [Remove("x"), SetPower("x", 1), Rotate("x", 1, key("y"))])
def test_a_member_that_is_not_there_cannot_be_changed(change):
    assert no(change) == (Reason.NO_SUCH_MEMBER, {"member": "x"})
    assert no(replace(change, member="gone")) == (Reason.MEMBER_REMOVED, {"member": "gone"})


@pytest.mark.parametrize("change", [Remove("a"), SetPower("a", 0)])
def test_somebody_active_keeps_a_vote(change):
    assert no(change) == (Reason.NO_POWER_LEFT, {})  # `asleep` and `gone` have power and cannot vote
    both = Board({"a": A, "b": replace(B, power=1)}, ())
    assert enact(both, change, HEIGHT) == (replace(A, stage=Stage.REMOVED) if isinstance(change, Remove) else replace(A, power=0))


def test_power_is_set_also_of_the_suspended():
    assert enact(BOARD, SetPower("b", 9), HEIGHT) == replace(B, power=9)
    assert enact(BOARD, SetPower("a", 1), HEIGHT) == replace(A, power=1)
    assert enact(BOARD, SetPower("asleep", 0), HEIGHT) == replace(ASLEEP, power=0)


# rotate


@pytest.mark.parametrize(
    ("use", "field", "before"), [(1, "node_key", "a1"), (2, "sealing_key", None), (3, "receipt_key", "a3"), (4, "consensus_key", "a4")]
)
def test_a_key_is_replaced_and_its_kid_is_free(use, field, before):
    fresh = bytes([9]) * 1_216 if use == 2 else key("fresh")
    after = enact(BOARD, Rotate("a", use, fresh), HEIGHT)
    assert after == replace(A, **{field: fresh})
    writes = write_enacted(BOARD, after)
    kids = {name: value for name, value in writes.items() if name.startswith(b"d/k/")}
    expected = {b"d/k/" + kid_of(key(each)): encode(["a", number]) for each, number in (("a1", 1), ("a3", 3), ("a4", 4)) if each != before}
    if before is not None:
        expected |= {b"d/k/" + kid_of(key(before)): None, b"d/k/" + kid_of(fresh): encode(["a", use])}
    assert kids == expected


def test_a_member_without_a_validator_gets_its_key():
    assert enact(BOARD, Rotate("b", 4, key("fresh")), HEIGHT) == replace(B, consensus_key=key("fresh"))


@pytest.mark.parametrize("use", [1, 3, 4])
@pytest.mark.parametrize("taken", ["a1", "a3", "a4", "b1", "b3", "s1", "s3"])
def test_a_new_key_is_new(use, taken):
    assert no(Rotate("a", use, key(taken))) == (Reason.KEY_IN_USE, {"kid": kid_of(key(taken))})


def test_a_sealing_key_is_not_replaced_by_itself():
    assert no(Rotate("a", 2, SEALING)) == (Reason.KEY_IN_USE, {"kid": kid_of(SEALING)})


# parameters


def test_parameters_their_ranges_and_defaults_are_permanent():
    shown = {name: (allowed.least, allowed.most, allowed.default) for name, allowed in PARAMETERS.items()}
    assert shown == {"anchor_interval_s": (1, DAY_S, 60), "emergency_cap": (1, 1_000, 20), "memo_size": (0, 2_048, 0)}


@pytest.mark.parametrize("name", ["anchor_interval_s", "emergency_cap", "memo_size"])
def test_a_parameter_is_set_within_its_range_ends_included(name):
    allowed = PARAMETERS[name]
    for value in (allowed.least, allowed.most):
        assert enact(BOARD, SetParameter(name, value), HEIGHT) == Setting(name, value)
        assert write_enacted(BOARD, Setting(name, value)) == {b"d/p/" + name.encode(): encode(value)}
    for value in (allowed.least - 1, allowed.most + 1):
        facts = {"value": value, "least": allowed.least, "most": allowed.most}
        assert no(SetParameter(name, value)) == (Reason.PARAMETER_OUT_OF_RANGE, facts)
    assert no(SetParameter(name.upper(), allowed.default)) == (Reason.NO_SUCH_PARAMETER, {})


# rules versions


@pytest.mark.parametrize(
    ("version", "height", "answer"),
    [
        (3, HEIGHT + 1_000, None),
        (9, HEIGHT + 999_999, None),
        (3, HEIGHT + 999, (Reason.VERSION_TOO_SOON, {"earliest_height": HEIGHT + 1_000})),
        (2, HEIGHT + 1_000, (Reason.VERSION_NOT_NEWER, {"version": 2})),
        (1, HEIGHT + 1_000, (Reason.VERSION_NOT_NEWER, {"version": 2})),
    ],
)
def test_rules_are_set_a_thousand_blocks_ahead_and_only_forward(version, height, answer):
    if answer is None:
        after = (Version(1, 0), Version(2, 900), Version(version, height))
        assert enact(BOARD, SetRules(version, height), HEIGHT) == after
        assert write_enacted(BOARD, after) == {b"d/v": encode([[1, 0], [2, 900], [version, height]])}
    else:
        assert no(SetRules(version, height)) == answer


def test_a_later_version_never_begins_before_an_earlier_one():
    board = Board(BOARD.members, (Version(1, 0), Version(2, 5_000)))
    assert no(SetRules(3, 5_000), board) == (Reason.VERSION_TOO_SOON, {"earliest_height": 5_001})
    assert enact(board, SetRules(3, 5_001), HEIGHT)[-1] == Version(3, 5_001)


# genesis


def test_genesis_writes_members_keys_parameters_and_the_first_rules():
    writes = directory.genesis_writes([A, B], {"memo_size": 100}, 4)
    kids = [("a1", "a", 1), ("a3", "a", 3), ("a4", "a", 4), ("b1", "b", 1), ("b3", "b", 3)]
    assert writes == {
        b"d/m/a": encode([["clinic", "hospital"], "甲院", "http://a", key("a1"), SEALING, key("a3"), key("a4"), 2, 1, 0]),
        b"d/m/b": encode([["hospital"], "乙院", "", key("b1"), SEALING, key("b3"), None, 0, 1, 0]),
        **{b"d/k/" + kid_of(key(name)): encode([owner, use]) for name, owner, use in kids},
        b"d/p/anchor_interval_s": encode(60),
        b"d/p/emergency_cap": encode(20),
        b"d/p/memo_size": encode(100),
        b"d/v": encode([[4, 0]]),
    }


def test_a_founders_kinds_may_come_in_any_order():
    assert directory.genesis_writes([replace(A, kinds=("hospital", "clinic"))], {}, 1) == directory.genesis_writes([A], {}, 1)


@pytest.mark.parametrize(
    ("founders", "parameters", "says"),
    [
        ([replace(A, id="")], {}, "'' cannot be a member"),
        ([replace(A, kinds=("bank",))], {}, "'a' cannot be a member"),
        ([A, replace(B, node_key=key("a4"))], {}, "'b' has a key that stands twice"),
        ([A, replace(B, receipt_key=key("b1"))], {}, "'b' has a key that stands twice"),
        ([A, replace(B, id="a")], {}, "'a' cannot be a member"),
        ([B], {}, "nobody has a vote"),
        ([], {}, "nobody has a vote"),
        ([A], {"votes": 1}, "there is no parameter 'votes'"),
        ([A], {"emergency_cap": 0}, "emergency_cap is 0, not 1 to 1000"),
        ([A], {"emergency_cap": 1_001}, "emergency_cap is 1001, not 1 to 1000"),
    ],
)
def test_a_genesis_that_breaks_a_rule_is_no_network(founders, parameters, says):
    with pytest.raises(ValueError, match=f"genesis: {says}"):
        directory.genesis_writes(founders, parameters, 1)


@pytest.mark.parametrize("value", [1, 1_000])
def test_genesis_parameters_reach_their_ends(value):
    assert directory.parameter(View(directory.genesis_writes([A], {"emergency_cap": value}, 1)), "emergency_cap") == value
