"""Referral, sentence by sentence: who may take which step from which stage, and who counts avoided examinations."""

import pytest

import contract_tables
from tests.rooms import NOW, View, act, key, kinds, refusal
from yilian.base.codec import encode
from yilian.base.refusals import Reason
from yilian.contracts import referral
from yilian.contracts.referral import Accept, Cancel, Complete, Declare, Down, Referral, Reject, Request, Reuse, Stage, Start

FROM, TO, COMMITMENT, STRANGER = key("from"), key("to"), key("commitment"), key("stranger")
KINDS = kinds(referral)
THEN = NOW - 5_000
ROW_KEY = b"r/f/" + FROM
STEPS = [
    ("referral.accept", Accept, Stage.REQUESTED, Stage.ACCEPTED),
    ("referral.reject", Reject, Stage.REQUESTED, Stage.REJECTED),
    ("referral.start", Start, Stage.ACCEPTED, Stage.IN_PROGRESS),
    ("referral.complete", Complete, Stage.IN_PROGRESS, Stage.COMPLETED),
    ("referral.down", Down, Stage.COMPLETED, Stage.DOWN),
]


def row(stage, at_s=THEN):
    return {ROW_KEY: encode([TO, COMMITMENT, int(stage), at_s])}


# request


def test_a_referral_is_requested_by_its_sending_key():
    writes = KINDS["referral.request"].decide(View(), Request(FROM, TO, COMMITMENT), act(FROM))
    assert writes == row(Stage.REQUESTED, NOW)
    assert referral.read(View(writes), FROM) == Referral(FROM, TO, COMMITMENT, Stage.REQUESTED, NOW)
    assert referral.read(View(writes), TO) is None


@pytest.mark.parametrize(
    ("message", "approvers", "rows", "reason"),
    [
        (Request(FROM, TO, COMMITMENT), (), {}, Reason.NOT_APPROVED_BY_FROM_KEY),
        (Request(FROM, TO, COMMITMENT), (TO, STRANGER), row(Stage.DOWN), Reason.NOT_APPROVED_BY_FROM_KEY),
        (Request(FROM, FROM, COMMITMENT), (FROM,), row(Stage.DOWN), Reason.REFERRAL_KEYS_NOT_DISTINCT),
        (Request(FROM, TO, COMMITMENT), (FROM,), row(Stage.REQUESTED), Reason.REFERRAL_EXISTS),
        (Request(FROM, TO, COMMITMENT), (FROM,), row(Stage.CANCELLED), Reason.REFERRAL_EXISTS),
    ],
)
def test_nobody_else_requests_and_no_key_twice(message, approvers, rows, reason):
    assert refusal(KINDS["referral.request"].decide, View(rows), message, act(*approvers)) == (reason, {})


# steps


@pytest.mark.parametrize(("name", "message", "before", "after"), STEPS)
def test_the_receiving_side_takes_each_step_from_its_stage_alone(name, message, before, after):
    for stage in Stage:
        view = View(row(stage))
        if stage is before:
            assert KINDS[name].decide(view, message(FROM), act(TO)) == row(after, NOW)
        else:
            answer = refusal(KINDS[name].decide, view, message(FROM), act(TO))
            assert answer == (Reason.NOT_AT_THIS_STAGE, {"stage": int(stage)})


@pytest.mark.parametrize(("name", "message", "before", "after"), STEPS)
def test_nobody_else_takes_a_step(name, message, before, after):
    for approvers in ((), (FROM,), (STRANGER,)):
        assert refusal(KINDS[name].decide, View(row(before)), message(FROM), act(*approvers)) == (Reason.NOT_APPROVED_BY_TO_KEY, {})
    assert refusal(KINDS[name].decide, View(row(after)), message(TO), act(TO)) == (Reason.NO_SUCH_REFERRAL, {})


# cancel


@pytest.mark.parametrize("approver", [FROM, TO])
@pytest.mark.parametrize("stage", list(Stage))
def test_either_side_cancels_before_it_is_completed(approver, stage):
    decide = KINDS["referral.cancel"].decide
    if stage in (Stage.REQUESTED, Stage.ACCEPTED, Stage.IN_PROGRESS):
        assert decide(View(row(stage)), Cancel(FROM), act(approver)) == row(Stage.CANCELLED, NOW)
    else:
        answer = refusal(decide, View(row(stage)), Cancel(FROM), act(approver))
        assert answer == (Reason.NOT_AT_THIS_STAGE, {"stage": int(stage)})


def test_nobody_else_cancels_a_referral():
    decide = KINDS["referral.cancel"].decide
    for approvers in ((), (STRANGER, COMMITMENT)):
        assert refusal(decide, View(row(Stage.REQUESTED)), Cancel(FROM), act(*approvers)) == (Reason.NEITHER_PARTY_APPROVED, {})
    assert refusal(decide, View(row(Stage.REQUESTED)), Cancel(TO), act(TO)) == (Reason.NO_SUCH_REFERRAL, {})


# avoided examinations


def test_declared_examinations_add_up_per_member():
    declare = KINDS["reuse.declare"].decide
    view = View()
    assert referral.reuse(view, "clinic-1") == Reuse(0)
    for count, total in ((3, 3), (10_000, 10_003), (1, 10_004)):
        writes = declare(view, Declare(count), act(members=("clinic-1",)))
        assert writes == {b"r/u/clinic-1": encode(total)}
        view.take(writes)
    assert declare(view, Declare(7), act(members=("hospital-1",), carrier="clinic-1")) == {b"r/u/hospital-1": encode(7)}
    assert referral.reuse(view, "clinic-1") == Reuse(10_004)


@pytest.mark.parametrize("members", [(), ("clinic-1", "hospital-1")])
def test_exactly_one_member_declares(members):
    answer = refusal(KINDS["reuse.declare"].decide, View(), Declare(3), act(members=members))
    assert answer == (Reason.REUSE_NOT_APPROVED_BY_A_MEMBER, {"members": len(members)})


@pytest.mark.parametrize("count", [0, 10_001, -1, True, b"3"])
def test_a_count_is_one_to_ten_thousand(count):
    assert refusal(KINDS["reuse.declare"].read, {1: count}) == (Reason.BAD_SHAPE, {"field": 1})
    assert [KINDS["reuse.declare"].read({1: n}) for n in (1, 10_000)] == [Declare(1), Declare(10_000)]


def test_numbers_fields_and_stages_are_permanent():
    shown = [(kind.number, kind.name, kind.message, kind.approved_by, kind.asks_members) for kind in referral.KINDS]
    assert shown == [
        (50, "referral.request", Request, "from_key", False),
        (51, "referral.accept", Accept, "to_key", False),
        (52, "referral.reject", Reject, "to_key", False),
        (53, "referral.start", Start, "to_key", False),
        (54, "referral.complete", Complete, "to_key", False),
        (55, "referral.down", Down, "to_key", False),
        (56, "referral.cancel", Cancel, "from_key or to_key", False),
        (57, "reuse.declare", Declare, "one member's node key", True),
    ]
    assert KINDS["referral.request"].body(Request(FROM, TO, COMMITMENT)) == {1: FROM, 2: TO, 3: COMMITMENT}
    assert all(KINDS[name].body(message(FROM)) == {1: FROM} for name, message, _, _ in [*STEPS, ("referral.cancel", Cancel, 0, 0)])
    names = ["REQUESTED", "ACCEPTED", "REJECTED", "IN_PROGRESS", "COMPLETED", "DOWN", "CANCELLED"]
    assert [(stage.name, stage.value) for stage in Stage] == [(name, number) for number, name in enumerate(names, 1)]
    assert [each.prefix for each in referral.STATE] == [b"r/f/", b"r/u/"]


def test_the_page_of_the_contract_says_what_the_code_says(root):
    page = (root / "src/yilian/contracts/referral/README.md").read_text()
    assert contract_tables.with_tables(page, contract_tables.tables_of(root / "src/yilian/contracts/referral")) == page
    assert referral.PREFIX == b"r/"
