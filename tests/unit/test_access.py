"""Access, sentence by sentence: what each basis asks for, which tags are used up, and what may be said of an entry afterwards."""

from dataclasses import replace
from hashlib import sha256

import pytest

import contract_tables
from tests.rooms import DAY_S, INDEX, NOW, TODAY, View, act, key, kinds, refusal
from yilian.base.codec import encode
from yilian.base.refusals import Reason
from yilian.contracts import access
from yilian.contracts.access import Basis, Entry, GrantFacts, Limits, Record, record_writes

CONTROL, HOLDER, REQUESTER, DETAIL = key("control"), key("holder"), key("requester"), key("detail")
PK, OTHER_PK, NODE = key("pk"), key("another pk"), key("node of hospital-1")
TAG, OTHER_TAG = sha256(PK).digest()[:16], sha256(OTHER_PK).digest()[:16]
LIMITS = Limits(memo_size_bytes=0, emergency_cap=3)
FACTS = GrantFacts(CONTROL, HOLDER, REQUESTER, 6)
GRANT_TAG = sha256(encode(["tag", CONTROL, 6])).digest()[:16]

BY_GRANT = Record(1, CONTROL, None, None, True, DETAIL, b"")
BY_PATIENT = Record(2, None, None, TAG, False, DETAIL, b"")
OPENING = Record(3, None, None, TAG, True, DETAIL, b"")
PAGE = Record(3, None, OTHER_TAG, TAG, False, DETAIL, b"")
BOTH_SIDES = act(HOLDER, REQUESTER)
BY_PK = act(PK)
IN_EMERGENCY = act(PK, NODE, members=("hospital-1",))
ANY_BASIS = [(BY_GRANT, BOTH_SIDES, FACTS), (BY_PATIENT, BY_PK, None), (OPENING, IN_EMERGENCY, None)]


def spent(tag, day=TODAY, index=INDEX):
    return {b"t/" + day.to_bytes(4, "big") + tag: encode(index)}


def entered(*row, index=INDEX):
    return {b"a/e/" + index.to_bytes(8, "big"): encode(list(row))}


def why(message, circumstances=BOTH_SIDES, facts=None, *, view=None, limits=LIMITS):
    return refusal(record_writes, view or View(), message, circumstances, limits, facts)


# every basis


@pytest.mark.parametrize("basis", [0, 4, 5, 6, 2**63])
def test_legal_sealed_and_unheard_of_bases_are_not_taken(basis):
    assert why(replace(BY_GRANT, basis=basis), facts=FACTS) == (Reason.BAD_SHAPE, {"field": 1})


@pytest.mark.parametrize(("message", "circumstances", "facts"), ANY_BASIS)
def test_an_approval_that_could_have_waited_longer_than_two_minutes_is_refused(message, circumstances, facts):
    late = circumstances._replace(exp_s=NOW + 121)
    assert why(message, late, facts) == (Reason.ISSUED_TOO_LONG, {"exp_s": NOW + 121})
    assert record_writes(View(), message, circumstances._replace(exp_s=NOW + 120), LIMITS, facts)


@pytest.mark.parametrize(("message", "circumstances", "facts"), ANY_BASIS)
def test_a_memo_has_exactly_the_size_of_the_network(message, circumstances, facts):
    sealed = Limits(memo_size_bytes=100, emergency_cap=3)
    for memo in (b"", bytes(99), bytes(101)):
        answer = why(replace(message, memo=memo), circumstances, facts, limits=sealed)
        assert answer == (Reason.MEMO_SIZE_WRONG, {"memo_size_bytes": 100})
    assert why(replace(message, memo=b"x"), circumstances, facts) == (Reason.MEMO_SIZE_WRONG, {"memo_size_bytes": 0})
    without = record_writes(View(), message, circumstances, LIMITS, facts)
    assert record_writes(View(), replace(message, memo=bytes(100)), circumstances, sealed, facts) == without


# basis grant


def test_by_grant_the_ledger_computes_the_tag_and_keeps_two_of_the_keys():
    writes = record_writes(View(), BY_GRANT, BOTH_SIDES, LIMITS, FACTS)
    assert writes == spent(GRANT_TAG) | entered(1, GRANT_TAG, CONTROL, HOLDER, None, None, False)
    assert list(writes) == [*spent(GRANT_TAG), *entered(0)]


def test_the_first_entry_of_a_grant_is_number_zero():
    writes = record_writes(View(), BY_GRANT, BOTH_SIDES, LIMITS, replace(FACTS, entries=0))
    assert next(iter(writes)) == b"t/" + TODAY.to_bytes(4, "big") + sha256(encode(["tag", CONTROL, 0])).digest()[:16]


@pytest.mark.parametrize("opens", [True, False])
def test_whether_an_entry_opens_is_for_the_grant_to_judge(opens):
    assert record_writes(View(), replace(BY_GRANT, opens=opens), BOTH_SIDES, LIMITS, FACTS)


@pytest.mark.parametrize(
    ("changes", "facts", "field"),
    [
        ({"grant": None}, FACTS, 2),
        ({"grant": HOLDER}, FACTS, 2),
        ({}, None, 2),
        ({"session": OTHER_TAG}, FACTS, 3),
        ({"tag": TAG}, FACTS, 4),
    ],
)
def test_by_grant_a_message_names_the_grant_and_nothing_else(changes, facts, field):
    assert why(replace(BY_GRANT, **changes), BOTH_SIDES, facts) == (Reason.BAD_SHAPE, {"field": field})


@pytest.mark.parametrize(
    ("approvers", "reason"),
    [
        ((), Reason.NOT_APPROVED_BY_HOLDER_KEY),
        ((REQUESTER, CONTROL), Reason.NOT_APPROVED_BY_HOLDER_KEY),
        ((HOLDER, CONTROL), Reason.NOT_APPROVED_BY_REQUESTER_KEY),
    ],
)
def test_nobody_uses_a_grant_without_the_other_side(approvers, reason):
    assert why(BY_GRANT, act(*approvers), FACTS) == (reason, {})


def test_no_row_of_a_tag_is_ever_written_over():
    assert why(BY_GRANT, BOTH_SIDES, FACTS, view=View(spent(GRANT_TAG))) == (Reason.TAG_USED, {})
    assert record_writes(View(spent(OTHER_TAG)), BY_GRANT, BOTH_SIDES, LIMITS, FACTS)


# basis patient


def test_a_patients_own_reading_is_approved_by_the_key_of_its_tag_alone():
    assert record_writes(View(), BY_PATIENT, BY_PK, LIMITS, None) == spent(TAG) | entered(2, TAG, None, None, None, None, False)
    assert record_writes(View(), BY_PATIENT, act(OTHER_PK, PK), LIMITS, None)


@pytest.mark.parametrize(
    ("changes", "field"), [({"grant": CONTROL}, 2), ({"session": OTHER_TAG}, 3), ({"tag": None}, 4), ({"opens": True}, 5)]
)
def test_a_patients_own_reading_brings_a_tag_and_nothing_else(changes, field):
    assert why(replace(BY_PATIENT, **changes), BY_PK) == (Reason.BAD_SHAPE, {"field": field})


@pytest.mark.parametrize(
    ("message", "circumstances"),
    [(BY_PATIENT, act(OTHER_PK)), (BY_PATIENT, act()), (OPENING, IN_EMERGENCY._replace(approved_by=frozenset([NODE])))],
)
def test_a_tag_belongs_to_who_has_its_key(message, circumstances):
    assert why(message, circumstances) == (Reason.NOT_APPROVED_BY_TAG_KEY, {})


@pytest.mark.parametrize(("message", "circumstances"), [(BY_PATIENT, BY_PK), (OPENING, IN_EMERGENCY)])
def test_a_tag_is_unique_in_its_day_and_the_day_before(message, circumstances):
    for day in (TODAY, TODAY - 1):
        assert why(message, circumstances, view=View(spent(TAG, day, 5))) == (Reason.TAG_USED, {})
    for view in (View(spent(TAG, TODAY - 2, 5)), View(spent(TAG, TODAY + 1, 5)), View(spent(OTHER_TAG, TODAY, 5))):
        assert record_writes(view, message, circumstances, LIMITS, None)


def test_the_first_day_of_all_has_no_day_before():
    assert record_writes(View(), BY_PATIENT, act(PK, now_s=5), LIMITS, None) == spent(TAG, 0) | entered(
        2, TAG, None, None, None, None, False
    )
    assert why(BY_PATIENT, act(PK, now_s=5), view=View(spent(TAG, 0))) == (Reason.TAG_USED, {})
    assert why(BY_PATIENT, act(PK, now_s=DAY_S), view=View(spent(TAG, 0))) == (Reason.TAG_USED, {})


# tags


def test_skipping_uses_a_tag_up_and_enters_no_access():
    skip = kinds(access)["access.skip"]
    assert skip.decide(View(), access.Skip(TAG), BY_PK) == spent(TAG)
    assert refusal(skip.decide, View(), access.Skip(TAG), act(OTHER_PK)) == (Reason.NOT_APPROVED_BY_TAG_KEY, {})
    for day in (TODAY, TODAY - 1):
        assert refusal(skip.decide, View(spent(TAG, day)), access.Skip(TAG), BY_PK) == (Reason.TAG_USED, {})


def test_the_tags_of_a_day_come_in_ascending_order():
    tags = sorted([TAG, OTHER_TAG, GRANT_TAG])
    view = View(*(spent(tag) for tag in reversed(tags)), spent(bytes(16), TODAY - 1), spent(bytes(16), TODAY + 1))
    assert access.tags_of_day(view, TODAY) == tags
    assert access.tags_of_day(view, TODAY + 1) == [bytes(16)]
    assert access.tags_of_day(view, TODAY + 2) == []
    assert access.is_tag_used(view, TODAY, TAG)
    assert not access.is_tag_used(view, TODAY - 1, TAG)


# what may be said of an entry


GRANT_ENTRY = Entry(Basis.GRANT, GRANT_TAG, CONTROL, HOLDER, None, None, is_disputed=False)
OWN_ENTRY = Entry(Basis.PATIENT, TAG, None, None, None, None, is_disputed=False)
EMERGENCY_ENTRY = Entry(Basis.EMERGENCY, TAG, None, None, "hospital-1", None, is_disputed=False)
ROWS = {
    5: entered(1, GRANT_TAG, CONTROL, HOLDER, None, None, False, index=5),
    6: entered(2, TAG, None, None, None, None, False, index=6),
    7: entered(3, TAG, None, None, "hospital-1", None, False, index=7),
}
ENTERED = View(*ROWS.values())


def test_entries_are_read_as_they_were_written():
    assert [access.entry(ENTERED, index) for index in (4, 5, 6, 7)] == [None, GRANT_ENTRY, OWN_ENTRY, EMERGENCY_ENTRY]
    marked = View(entered(1, GRANT_TAG, CONTROL, HOLDER, None, 3, True))
    assert access.entry(marked, INDEX) == replace(GRANT_ENTRY, unsent=3, is_disputed=True)


@pytest.mark.parametrize(("index", "approver"), [(5, HOLDER), (6, PK), (7, PK)])
@pytest.mark.parametrize("reason", [1, 2, 3])
def test_who_would_have_sent_marks_an_entry_unsent_once(index, approver, reason):
    unsent = kinds(access)["access.unsent"]
    before = access.entry(ENTERED, index)
    writes = unsent.decide(ENTERED, access.Unsent(index, reason), act(approver))
    assert list(writes) == list(ROWS[index])
    assert access.entry(View(writes), index) == replace(before, unsent=reason)
    assert refusal(unsent.decide, View(writes), access.Unsent(index, 2), act(approver)) == (Reason.ALREADY_UNSENT, {})


@pytest.mark.parametrize(
    ("index", "approvers", "reason", "facts"),
    [
        (8, (HOLDER, PK), Reason.NO_SUCH_ENTRY, {"index": 8}),
        (5, (REQUESTER, CONTROL), Reason.NOT_APPROVED_BY_HOLDER_KEY, {}),
        (6, (HOLDER, OTHER_PK), Reason.NOT_APPROVED_BY_TAG_KEY, {}),
        (7, (NODE,), Reason.NOT_APPROVED_BY_TAG_KEY, {}),
    ],
)
def test_nobody_else_marks_an_entry_unsent(index, approvers, reason, facts):
    unsent = kinds(access)["access.unsent"]
    assert refusal(unsent.decide, ENTERED, access.Unsent(index, 1), act(*approvers)) == (reason, facts)


@pytest.mark.parametrize(("index", "approver"), [(5, CONTROL), (6, PK), (7, PK)])
def test_the_patient_disputes_an_entry_once(index, approver):
    dispute = kinds(access)["access.dispute"]
    before = access.entry(ENTERED, index)
    writes = dispute.decide(ENTERED, access.Dispute(index, DETAIL), act(approver))
    assert list(writes) == list(ROWS[index])
    assert access.entry(View(writes), index) == replace(before, is_disputed=True)
    assert refusal(dispute.decide, View(writes), access.Dispute(index, DETAIL), act(approver)) == (Reason.ALREADY_DISPUTED, {})


@pytest.mark.parametrize(
    ("index", "approvers", "reason", "facts"),
    [
        (8, (CONTROL, PK), Reason.NO_SUCH_ENTRY, {"index": 8}),
        (5, (HOLDER, REQUESTER), Reason.NOT_THE_GRANTS_CONTROL_KEY, {}),
        (6, (CONTROL, OTHER_PK), Reason.NOT_APPROVED_BY_TAG_KEY, {}),
        (7, (NODE,), Reason.NOT_APPROVED_BY_TAG_KEY, {}),
    ],
)
def test_nobody_else_disputes_an_entry(index, approvers, reason, facts):
    dispute = kinds(access)["access.dispute"]
    assert refusal(dispute.decide, ENTERED, access.Dispute(index, DETAIL), act(*approvers)) == (reason, facts)


def test_an_entry_may_be_unsent_and_disputed():
    view = View(ROWS[5])
    view.take(kinds(access)["access.unsent"].decide(view, access.Unsent(5, 2), act(HOLDER)))
    view.take(kinds(access)["access.dispute"].decide(view, access.Dispute(5, DETAIL), act(CONTROL)))
    assert access.entry(view, 5) == replace(GRANT_ENTRY, unsent=2, is_disputed=True)


# shapes


def test_numbers_fields_and_words_are_permanent():
    shown = [(kind.number, kind.name, kind.asks_members, kind.decide is None) for kind in access.KINDS]
    assert shown == [
        (30, "access.record", True, True),
        (31, "access.skip", False, False),
        (32, "access.unsent", False, False),
        (33, "access.dispute", False, False),
        (34, "access.review", True, False),
    ]
    assert [kind.approved_by for kind in access.KINDS] == [
        "grant: holder_key and requester_key; patient: the tag's key; emergency: the tag's key and the requesting member's node key",
        "the tag's key",
        "grant: holder_key; else the tag's key",
        "grant: control_key; else the tag's key",
        "the tag's key and the requesting member's node key",
    ]
    record = access.KINDS[0]
    assert record.body(BY_GRANT) == {1: 1, 2: CONTROL, 5: True, 6: DETAIL, 7: b""}
    assert record.body(PAGE) == {1: 3, 3: OTHER_TAG, 4: TAG, 5: False, 6: DETAIL, 7: b""}
    assert record.read(record.body(PAGE)) == PAGE
    assert [(basis.name, basis.value) for basis in Basis] == [("GRANT", 1), ("PATIENT", 2), ("EMERGENCY", 3), ("LEGAL", 4), ("SEALED", 5)]
    assert [(one.name, one.value) for one in access.UnsentReason] == [("REVOKED", 1), ("TOO_LATE", 2), ("INTERRUPTED", 3)]
    assert [(one.name, one.value) for one in access.Outcome] == [("JUSTIFIED", 1), ("TOO_WIDE", 2), ("UNJUSTIFIED", 3)]
    assert [each.prefix for each in access.STATE] == [b"t/", b"a/e/", b"a/b/", b"a/s/", b"a/r/"]


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("access.record", {1: 1, 2: CONTROL, 6: DETAIL, 7: b""}, 5),
        ("access.record", {1: 1, 2: CONTROL, 5: True, 7: b""}, 6),
        ("access.record", {1: 1, 2: CONTROL, 5: True, 6: DETAIL}, 7),
        ("access.record", {1: 1, 2: CONTROL, 5: True, 6: DETAIL, 7: bytes(2_049)}, 7),
        ("access.record", {1: 1, 2: CONTROL, 5: True, 6: DETAIL, 7: b"", 8: 0}, 0),
        ("access.unsent", {1: 5, 2: 0}, 2),
        ("access.unsent", {1: 5, 2: 4}, 2),
        ("access.unsent", {1: 5, 2: True}, 2),
        ("access.unsent", {1: -1, 2: 1}, 1),
        ("access.review", {1: 5, 2: 0}, 2),
        ("access.review", {1: 5, 2: 4}, 2),
        ("access.review", {1: 5, 2: True}, 2),
    ],
)
def test_a_body_of_another_shape_is_refused(name, body, field):
    assert refusal(kinds(access)[name].read, body) == (Reason.BAD_SHAPE, {"field": field})


def test_the_page_of_the_contract_says_what_the_code_says(root):
    page = (root / "src/yilian/contracts/access/README.md").read_text()
    assert contract_tables.with_tables(page, contract_tables.tables_of(root / "src/yilian/contracts/access")) == page
    assert access.PREFIX == b"a/"
