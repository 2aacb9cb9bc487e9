"""Break-glass, sentence by sentence: who may open, how often, for how long, and what is owed afterwards."""

from dataclasses import replace
from hashlib import sha256

import pytest

from tests.rooms import DAY_S, INDEX, NOW, TODAY, View, act, key, kinds, refusal
from yilian.base.codec import encode
from yilian.base.refusals import Reason
from yilian.contracts import access
from yilian.contracts.access import Bucket, Limits, Record, Session, record_writes
from yilian.contracts.access.state import Review

PK, NODE, DETAIL, CONTROL = key("pk"), key("node of hospital-1"), key("detail"), key("control")
TAG, FIRST_TAG = sha256(PK).digest()[:16], sha256(b"pk of the opening").digest()[:16]
CAP = 3
LIMITS = Limits(memo_size_bytes=0, emergency_cap=CAP)
OPENING = Record(3, None, None, TAG, True, DETAIL, b"")
PAGE = Record(3, None, FIRST_TAG, TAG, False, DETAIL, b"")
DUE_S = 72 * 3_600


def asking(now_s=NOW, *, members=("hospital-1",), index=INDEX):
    return act(PK, NODE, now_s=now_s, members=members, index=index)


def bucket(level, at_s, member=b"hospital-1"):
    return {b"a/b/" + member: encode([level, at_s])}


def owed(*reviews, member=b"hospital-1"):
    return {b"a/r/" + member: encode([list(one) for one in reviews])}


def session(until_s, member="hospital-1", tag=FIRST_TAG):
    return {b"a/s/" + tag: encode([member, until_s])}


def entered(index=INDEX, member="hospital-1"):
    return {b"a/e/" + index.to_bytes(8, "big"): encode([3, TAG, None, None, member, None, False])}


SPENT = {b"t/" + TODAY.to_bytes(4, "big") + TAG: encode(INDEX)}


# opening


def test_the_first_opening_takes_one_share_of_a_full_bucket_and_owes_a_review():
    assert record_writes(View(), OPENING, asking(), LIMITS, None) == {
        **SPENT,
        **entered(),
        **bucket((CAP - 1) * DAY_S, NOW),
        **owed([INDEX, NOW + DUE_S]),
        **session(NOW + 1_800, tag=TAG),
    }


@pytest.mark.parametrize("members", [(), ("hospital-1", "hospital-2")])
@pytest.mark.parametrize("message", [OPENING, PAGE])
def test_exactly_one_member_asks(message, members):
    answer = refusal(record_writes, View(session(NOW + 9)), message, asking(members=members), LIMITS, None)
    assert answer == (Reason.NOT_APPROVED_BY_A_MEMBER, {"members": len(members)})


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (replace(OPENING, grant=CONTROL), 2),
        (replace(OPENING, session=FIRST_TAG), 3),
        (replace(OPENING, tag=None), 4),
        (replace(PAGE, grant=CONTROL), 2),
        (replace(PAGE, session=None), 3),
        (replace(PAGE, tag=None), 4),
    ],
)
def test_opening_names_no_session_and_a_page_names_one(message, field):
    answer = refusal(record_writes, View(session(NOW + 9)), message, asking(), LIMITS, None)
    assert answer == (Reason.BAD_SHAPE, {"field": field})


@pytest.mark.parametrize(
    ("level", "since_s", "left"),
    [
        (DAY_S, 0, 0),
        (DAY_S - CAP, 1, 0),
        (0, DAY_S // CAP, 0),
        (5, DAY_S // CAP, 5),
        (2 * DAY_S, 10, DAY_S + 10 * CAP),
        (CAP * DAY_S, 10, (CAP - 1) * DAY_S),  # full stays full
        (0, DAY_S - 1, (CAP - 1) * DAY_S - CAP),
        (0, DAY_S, (CAP - 1) * DAY_S),
        (0, DAY_S + 1, (CAP - 1) * DAY_S),
        (0, 999 * DAY_S, (CAP - 1) * DAY_S),
    ],
)
def test_a_bucket_fills_by_the_cap_each_second_and_no_further_than_a_day_of_it(level, since_s, left):
    writes = record_writes(View(bucket(level, NOW - since_s)), OPENING, asking(), LIMITS, None)
    assert {key: value for key, value in writes.items() if key.startswith(b"a/b/")} == bucket(left, NOW)


@pytest.mark.parametrize(("level", "since_s"), [(DAY_S - 1, 0), (DAY_S - CAP - 1, 1), (0, DAY_S // CAP - 1), (0, 0)])
def test_an_opening_that_the_bucket_does_not_hold_is_refused(level, since_s):
    answer = refusal(record_writes, View(bucket(level, NOW - since_s)), OPENING, asking(), LIMITS, None)
    assert answer == (Reason.EMERGENCY_QUOTA, {"level": level + since_s * CAP})


def test_each_member_has_a_bucket_and_reviews_of_its_own():
    empty_elsewhere = View(bucket(0, NOW, b"hospital-2"), owed(*[[n, 0] for n in range(256)], member=b"hospital-2"))
    assert access.bucket(empty_elsewhere, "hospital-2") == Bucket(0, NOW)
    assert record_writes(empty_elsewhere, OPENING, asking(), LIMITS, None) == record_writes(View(), OPENING, asking(), LIMITS, None)


@pytest.mark.parametrize(
    ("overdue", "pending", "full"),
    [(0, 0, 3), (0, 5, 3), (1, 0, 2), (1, 9, 2), (2, 0, 1), (3, 0, 1), (200, 0, 1)],
)
def test_each_overdue_review_lowers_the_cap_by_one_and_never_below_one(overdue, pending, full):
    reviews = tuple([Review(n, NOW) for n in range(overdue)] + [Review(n, NOW + 1) for n in range(500, 500 + pending)])
    assert access.level_now(None, reviews, CAP, NOW) == full * DAY_S
    assert access.level_now(Bucket(full * DAY_S - full - 1, NOW - 1), reviews, CAP, NOW) == full * DAY_S - 1
    assert access.level_now(Bucket(CAP * DAY_S, NOW), reviews, CAP, NOW) == full * DAY_S


def test_a_review_is_overdue_from_the_second_it_is_due():
    assert access.level_now(None, (Review(5, NOW),), CAP, NOW - 1) == 3 * DAY_S
    assert access.level_now(None, (Review(5, NOW),), CAP, NOW) == 2 * DAY_S


def test_a_cap_of_one_is_one_a_day():
    once = Limits(0, 1)
    view = View(record_writes(View(), OPENING, asking(), once, None))
    view.take(dict.fromkeys(SPENT))
    assert refusal(record_writes, view, OPENING, asking(NOW + DAY_S - 1), once, None)[0] is Reason.EMERGENCY_QUOTA
    again = record_writes(view, OPENING, asking(NOW + DAY_S), once, None)
    assert again[b"a/b/hospital-1"] == encode([0, NOW + DAY_S])


def test_openings_queue_their_reviews_in_order():
    view = View(owed([3, 50], [9, 60]), bucket(CAP * DAY_S, NOW))
    writes = record_writes(view, OPENING, asking(index=12), LIMITS, None)
    assert writes[b"a/r/hospital-1"] == encode([[3, 50], [9, 60], [12, NOW + DUE_S]])


def test_a_member_that_owes_256_reviews_opens_nothing():
    full = [[n, NOW + 9] for n in range(256)]
    assert refusal(record_writes, View(owed(*full)), OPENING, asking(), LIMITS, None) == (Reason.REVIEWS_FULL, {"reviews": 256})
    assert len(access.reviews(View(record_writes(View(owed(*full[1:])), OPENING, asking(), LIMITS, None)), "hospital-1")) == 256


# later pages


@pytest.mark.parametrize("until_s", [NOW + 1, NOW + 1_800])
def test_a_later_page_costs_nothing_and_owes_nothing(until_s):
    view = View(session(until_s), bucket(0, NOW), owed(*[[n, 0] for n in range(256)]))
    assert record_writes(view, PAGE, asking(), LIMITS, None) == {**SPENT, **entered()}


@pytest.mark.parametrize(
    ("rows", "reason", "facts"),
    [
        ({}, Reason.NO_SUCH_SESSION, {}),
        (session(NOW + 9, tag=TAG), Reason.NO_SUCH_SESSION, {}),
        (session(NOW + 9, member="hospital-2"), Reason.NOT_THE_SESSION_MEMBER, {"member": "hospital-2"}),
        (session(NOW - 9, member="hospital-2"), Reason.NOT_THE_SESSION_MEMBER, {"member": "hospital-2"}),
        (session(NOW), Reason.EMERGENCY_SESSION_ENDED, {"until_s": NOW}),
        (session(NOW - 1), Reason.EMERGENCY_SESSION_ENDED, {"until_s": NOW - 1}),
    ],
)
def test_a_later_page_needs_the_same_members_living_session(rows, reason, facts):
    assert refusal(record_writes, View(rows), PAGE, asking(), LIMITS, None) == (reason, facts)


def test_a_session_is_read_as_it_was_written():
    assert access.session(View(session(NOW)), FIRST_TAG) == Session("hospital-1", NOW)
    assert access.session(View(session(NOW)), TAG) is None
    assert access.bucket(View(), "hospital-1") is None
    assert access.reviews(View(), "hospital-1") == ()


# reviews


REVIEWED = kinds(access)["access.review"]


@pytest.mark.parametrize("outcome", [1, 2, 3])
@pytest.mark.parametrize("now_s", [NOW, NOW + 999 * DAY_S])
def test_a_review_is_taken_off_the_list_also_when_it_is_late(outcome, now_s):
    view = View(entered(), owed([3, 50], [INDEX, 60], [INDEX + 1, 70]))
    assert REVIEWED.decide(view, access.Review(INDEX, outcome), asking(now_s)) == owed([3, 50], [INDEX + 1, 70])


def test_the_last_review_leaves_no_row():
    view = View(entered(), owed([INDEX, 60]))
    assert REVIEWED.decide(view, access.Review(INDEX, 1), asking()) == {b"a/r/hospital-1": None}


@pytest.mark.parametrize(
    ("index", "circumstances", "reason", "facts"),
    [
        (99, asking(), Reason.NO_SUCH_ENTRY, {"index": 99}),
        (8, asking(), Reason.NO_REVIEW_DUE, {}),  # a later page, or reviewed before
        (9, asking(), Reason.NO_REVIEW_DUE, {}),  # a patient's own reading
        (INDEX, act(PK), Reason.NOT_APPROVED_BY_A_MEMBER, {"members": 0}),
        (INDEX, asking(members=("hospital-2", "hospital-3")), Reason.NOT_APPROVED_BY_A_MEMBER, {"members": 2}),
        (INDEX, act(NODE, members=("hospital-1",)), Reason.NOT_APPROVED_BY_TAG_KEY, {}),
    ],
)
def test_nobody_else_reviews_and_nothing_twice(index, circumstances, reason, facts):
    own_reading = {b"a/e/" + (9).to_bytes(8, "big"): encode([2, TAG, None, None, None, None, False])}
    view = View(entered(), entered(8), own_reading, owed([INDEX, 60]))
    assert refusal(REVIEWED.decide, view, access.Review(index, 1), circumstances) == (reason, facts)


def test_several_members_may_approve_a_review_if_the_one_that_opened_is_among_them():
    view = View(entered(), owed([INDEX, 60]))
    assert REVIEWED.decide(view, access.Review(INDEX, 1), asking(members=("clinic-1", "hospital-1"))) == {b"a/r/hospital-1": None}
