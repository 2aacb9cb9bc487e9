"""Consent, sentence by sentence: who may give, what may be given, who may revoke, and when an entry may use a grant."""

from dataclasses import replace

import pytest

import contract_tables
from tests.rooms import DAY_S, NOW, TODAY, View, act, key, kinds, refusal
from yilian.base.codec import encode
from yilian.base.refusals import Reason, Refused
from yilian.contracts import consent
from yilian.contracts.consent import Grant, State

CONTROL, HOLDER, REQUESTER, COMMITMENT = key("control"), key("holder"), key("requester"), key("commitment")
END = (TODAY + 8) * DAY_S
GIVE = consent.Give(CONTROL, HOLDER, REQUESTER, COMMITMENT, END, 5, None)
GIVEN = Grant(CONTROL, HOLDER, REQUESTER, COMMITMENT, END, 5, 0, None, 0, 0, 0, State.GIVEN)
HALF_DAY_S = 43_200
STANDING = replace(GIVEN, interval_s=HALF_DAY_S, expires_at_s=(TODAY + 90) * DAY_S, uses_max=24)


# give


def test_a_grant_is_given_by_its_own_key_and_begins_unused():
    assert consent.give(None, GIVE, act(CONTROL)) == GIVEN
    assert consent.give(None, GIVE, act(CONTROL, HOLDER, key("stranger"))) == GIVEN


@pytest.mark.parametrize("approvers", [(), (HOLDER, REQUESTER), (key("stranger"),)])
def test_nobody_but_the_control_key_gives(approvers):
    assert refusal(consent.give, None, GIVE, act(*approvers)) == (Reason.NOT_APPROVED_BY_CONTROL_KEY, {})


@pytest.mark.parametrize(
    "message",
    [replace(GIVE, holder_key=CONTROL), replace(GIVE, requester_key=CONTROL), replace(GIVE, holder_key=REQUESTER)],
)
def test_one_key_is_not_two_parties(message):
    assert refusal(consent.give, None, message, act(CONTROL)) == (Reason.KEYS_NOT_DISTINCT, {})


@pytest.mark.parametrize("existing", [GIVEN, replace(GIVEN, state=State.REVOKED)])
def test_a_control_key_serves_one_grant_for_ever(existing):
    assert refusal(consent.give, existing, GIVE, act(CONTROL)) == (Reason.GRANT_EXISTS, {})


def test_the_common_ends_are_these_and_no_others():
    assert consent.DAYS_AHEAD_ALLOWED == (1, 2, 7, 8, 30, 31, 90, 91, 365, 366)
    for days in range(-2, 400):
        message = replace(GIVE, expires_at_s=(TODAY + days) * DAY_S)
        if days in (1, 2, 7, 8, 30, 31, 90, 91, 365, 366):
            assert consent.give(None, message, act(CONTROL)).expires_at_s == (TODAY + days) * DAY_S
        else:
            reason = (Reason.GRANT_END_NOT_ALLOWED, {"expires_at_s": (TODAY + days) * DAY_S})
            assert refusal(consent.give, None, message, act(CONTROL)) == reason


@pytest.mark.parametrize("off_s", [-1, 1, HALF_DAY_S])
def test_a_grant_ends_at_midnight_and_not_a_second_off(off_s):
    message = replace(GIVE, expires_at_s=END + off_s)
    assert refusal(consent.give, None, message, act(CONTROL)) == (Reason.GRANT_END_NOT_ALLOWED, {"expires_at_s": END + off_s})


@pytest.mark.parametrize(
    ("now_s", "is_given"),
    [
        (TODAY * DAY_S - 1, False),  # the day before: nine days ahead
        (TODAY * DAY_S, True),
        ((TODAY + 1) * DAY_S - 1, True),
        ((TODAY + 1) * DAY_S, True),  # signed before midnight, applied after: seven days ahead
        ((TODAY + 2) * DAY_S - 1, True),
        ((TODAY + 2) * DAY_S, False),
    ],
)
def test_an_end_is_counted_in_days_of_the_block(now_s, is_given):
    if is_given:
        assert consent.give(None, GIVE, act(CONTROL, now_s=now_s)) == GIVEN
    else:
        assert refusal(consent.give, None, GIVE, act(CONTROL, now_s=now_s)) == (Reason.GRANT_END_NOT_ALLOWED, {"expires_at_s": END})


def test_uses_are_one_five_or_twenty_four():
    for uses_max in range(30):
        message = replace(GIVE, uses_max=uses_max)
        if uses_max in (1, 5, 24):
            assert consent.give(None, message, act(CONTROL)) == replace(GIVEN, uses_max=uses_max)
        else:
            assert refusal(consent.give, None, message, act(CONTROL)) == (Reason.USES_NOT_ALLOWED, {"uses_max": uses_max})


@pytest.mark.parametrize("halves", [1, 2, 14, 61, 62])
def test_a_standing_grant_leaves_whole_half_days_between_openings(halves):
    message = replace(GIVE, interval_s=halves * HALF_DAY_S)
    assert consent.give(None, message, act(CONTROL)) == replace(GIVEN, interval_s=halves * HALF_DAY_S)


@pytest.mark.parametrize("interval_s", [0, 1, HALF_DAY_S - 1, HALF_DAY_S + 1, 62 * HALF_DAY_S + 1, 63 * HALF_DAY_S])
def test_an_interval_is_half_a_day_to_a_month_in_half_days(interval_s):
    message = replace(GIVE, interval_s=interval_s)
    assert refusal(consent.give, None, message, act(CONTROL)) == (Reason.INTERVAL_NOT_ALLOWED, {"interval_s": interval_s})


def test_the_first_thing_that_is_wrong_is_the_one_that_is_said():
    """One message with every fault; as each is mended the next is named."""
    wrong = consent.Give(CONTROL, HOLDER, HOLDER, COMMITMENT, END + 1, 7, 1)
    asked = [
        refusal(consent.give, GIVEN, wrong, act()),
        refusal(consent.give, GIVEN, wrong, act(CONTROL)),
        refusal(consent.give, GIVEN, replace(wrong, requester_key=REQUESTER), act(CONTROL)),
        refusal(consent.give, None, replace(wrong, requester_key=REQUESTER), act(CONTROL)),
        refusal(consent.give, None, replace(wrong, requester_key=REQUESTER, expires_at_s=END), act(CONTROL)),
        refusal(consent.give, None, replace(wrong, requester_key=REQUESTER, expires_at_s=END, uses_max=1), act(CONTROL)),
    ]
    assert [reason for reason, _ in asked] == [
        Reason.NOT_APPROVED_BY_CONTROL_KEY,
        Reason.KEYS_NOT_DISTINCT,
        Reason.GRANT_EXISTS,
        Reason.GRANT_END_NOT_ALLOWED,
        Reason.USES_NOT_ALLOWED,
        Reason.INTERVAL_NOT_ALLOWED,
    ]


# revoke


@pytest.mark.parametrize("grant", [GIVEN, replace(STANDING, uses=3, entries=9, session_from_s=NOW - 9, session_until_s=NOW + 9)])
def test_revoking_changes_the_state_and_nothing_else(grant):
    assert consent.revoke(grant, consent.Revoke(CONTROL), act(CONTROL)) == replace(grant, state=State.REVOKED)


def test_an_ended_grant_may_still_be_revoked():
    assert consent.revoke(GIVEN, consent.Revoke(CONTROL), act(CONTROL, now_s=END + 1)).state is State.REVOKED


@pytest.mark.parametrize(
    ("grant", "approvers", "reason"),
    [
        (GIVEN, (), Reason.NOT_APPROVED_BY_CONTROL_KEY),
        (GIVEN, (HOLDER, REQUESTER), Reason.NOT_APPROVED_BY_CONTROL_KEY),
        (None, (HOLDER,), Reason.NOT_APPROVED_BY_CONTROL_KEY),
        (None, (CONTROL,), Reason.NO_SUCH_GRANT),
        (replace(GIVEN, state=State.REVOKED), (CONTROL,), Reason.ALREADY_REVOKED),
    ],
)
def test_nobody_else_nothing_else_and_not_twice(grant, approvers, reason):
    assert refusal(consent.revoke, grant, consent.Revoke(CONTROL), act(*approvers)) == (reason, {})


# use


@pytest.mark.parametrize("grant", [GIVEN, replace(GIVEN, uses=4, entries=40, session_from_s=NOW - 9_000, session_until_s=NOW - 7_200)])
def test_an_entry_outside_a_session_opens_one_of_half_an_hour(grant):
    used = consent.use(grant, True, NOW)
    opened = {"uses": grant.uses + 1, "entries": grant.entries + 1, "session_from_s": NOW, "session_until_s": NOW + 1_800}
    assert used == replace(grant, **opened)


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("now_s", [NOW, NOW + 1, NOW + 1_799])
def test_inside_a_session_an_entry_only_counts_whatever_it_says(opens, now_s):
    grant = replace(GIVEN, uses=5, entries=12, session_from_s=NOW, session_until_s=NOW + 1_800)  # no use is left; none is needed
    assert consent.use(grant, opens, now_s) == replace(grant, entries=13)


@pytest.mark.parametrize("now_s", [NOW + 1_800, NOW + 1_801, END - 1])
def test_after_a_session_an_entry_must_open_the_next(now_s):
    grant = replace(GIVEN, uses=1, entries=1, session_from_s=NOW, session_until_s=NOW + 1_800)
    assert refusal(consent.use, grant, False, now_s) == (Reason.SESSION_ENDED, {"session_until_s": NOW + 1_800})
    assert consent.use(grant, True, now_s).uses == 2


def test_the_first_entry_must_open():
    assert refusal(consent.use, GIVEN, False, NOW) == (Reason.SESSION_ENDED, {"session_until_s": 0})


@pytest.mark.parametrize(("uses_max", "uses"), [(1, 1), (5, 5), (24, 24), (5, 6)])
def test_no_session_beyond_the_uses(uses_max, uses):
    grant = replace(GIVEN, uses_max=uses_max, uses=uses)
    assert refusal(consent.use, grant, True, NOW) == (Reason.USES_EXHAUSTED, {"uses_max": uses_max})
    assert consent.use(replace(grant, uses=uses_max - 1), True, NOW).uses == uses_max


@pytest.mark.parametrize("now_s", [END, END + 1, END + 9_999_999])
@pytest.mark.parametrize("grant", [GIVEN, replace(GIVEN, uses=1, session_from_s=END - 5, session_until_s=END + 1_000)])
def test_nothing_at_the_end_or_after_not_even_in_a_session(grant, now_s):
    assert refusal(consent.use, grant, True, now_s) == (Reason.GRANT_ENDED, {"expires_at_s": END})


def test_a_session_never_outlives_its_grant():
    assert consent.use(GIVEN, True, END - 1_801).session_until_s == END - 1
    assert consent.use(GIVEN, True, END - 1_800).session_until_s == END
    assert consent.use(GIVEN, True, END - 1_799).session_until_s == END
    assert consent.use(GIVEN, True, END - 1).session_until_s == END


@pytest.mark.parametrize("now_s", [NOW, END, END + 5])
def test_a_revoked_grant_opens_nothing_and_says_so_first(now_s):
    live = replace(GIVEN, uses=5, session_from_s=NOW, session_until_s=NOW + 1_800)
    assert refusal(consent.use, replace(live, state=State.REVOKED), False, now_s) == (Reason.GRANT_REVOKED, {})


def test_a_standing_grant_opens_at_once_the_first_time():
    assert consent.use(STANDING, True, NOW).uses == 1
    assert consent.use(STANDING, True, 5).session_from_s == 5  # no opening to count from, however small the clock


@pytest.mark.parametrize(("after_s", "is_open"), [(1_800, False), (HALF_DAY_S - 1, False), (HALF_DAY_S, True), (HALF_DAY_S + 1, True)])
def test_a_standing_grant_counts_its_interval_from_the_last_opening(after_s, is_open):
    grant = replace(STANDING, uses=1, entries=3, session_from_s=NOW, session_until_s=NOW + 1_800)
    if is_open:
        opened = {"uses": 2, "entries": 4, "session_from_s": NOW + after_s, "session_until_s": NOW + after_s + 1_800}
        assert consent.use(grant, True, NOW + after_s) == replace(grant, **opened)
    else:
        assert refusal(consent.use, grant, True, NOW + after_s) == (Reason.INTERVAL_NOT_OVER, {"opens_from_s": NOW + HALF_DAY_S})


def test_of_uses_and_interval_the_uses_are_said_first():
    grant = replace(STANDING, uses=24, session_from_s=NOW - 1_800, session_until_s=NOW)
    assert refusal(consent.use, grant, True, NOW) == (Reason.USES_EXHAUSTED, {"uses_max": 24})


# rows


ROW = encode([HOLDER, REQUESTER, COMMITMENT, END, 5, 0, None, 0, 0, 0, 1])


def test_a_grant_is_one_row_under_its_control_key():
    assert consent.write(GIVEN) == {b"c/" + CONTROL: ROW}
    assert consent.read(View({b"c/" + CONTROL: ROW}), CONTROL) == GIVEN
    assert consent.read(View({b"c/" + CONTROL: ROW}), HOLDER) is None


def test_every_field_of_a_row_comes_back_in_its_place():
    grant = Grant(CONTROL, HOLDER, REQUESTER, COMMITMENT, 11, 12, 13, 14, 15, 16, 17, State.REVOKED)
    assert consent.write(grant) == {b"c/" + CONTROL: encode([HOLDER, REQUESTER, COMMITMENT, 11, 12, 13, 14, 15, 16, 17, 2])}
    assert consent.read(View(consent.write(grant)), CONTROL) == grant


def test_the_kinds_write_one_row_and_read_the_row_they_write():
    give, revoke = kinds(consent)["consent.give"], kinds(consent)["consent.revoke"]
    view = View()
    writes = give.decide(view, GIVE, act(CONTROL))
    assert writes == {b"c/" + CONTROL: ROW}
    view.take(writes)
    assert refusal(give.decide, view, GIVE, act(CONTROL)) == (Reason.GRANT_EXISTS, {})
    assert revoke.decide(view, consent.Revoke(CONTROL), act(CONTROL)) == consent.write(replace(GIVEN, state=State.REVOKED))
    assert refusal(revoke.decide, view, consent.Revoke(HOLDER), act(HOLDER)) == (Reason.NO_SUCH_GRANT, {})


def test_numbers_fields_and_states_are_permanent():
    shown = [(kind.number, kind.name, kind.approved_by, kind.asks_members) for kind in consent.KINDS]
    assert shown == [(20, "consent.give", "control_key", False), (21, "consent.revoke", "control_key", False)]
    give = consent.KINDS[0]
    assert give.body(GIVE) == {1: CONTROL, 2: HOLDER, 3: REQUESTER, 4: COMMITMENT, 5: END, 6: 5}
    assert give.body(replace(GIVE, interval_s=HALF_DAY_S))[7] == HALF_DAY_S
    assert give.read(give.body(GIVE)) == GIVE
    assert consent.KINDS[1].body(consent.Revoke(CONTROL)) == {1: CONTROL}
    assert [(state.name, state.value) for state in State] == [("GIVEN", 1), ("REVOKED", 2)]
    assert [(each.prefix, each.row) for each in consent.STATE] == [(b"c/", Grant)]


@pytest.mark.parametrize("field", [1, 2, 3, 4, 5, 6])
def test_a_grant_with_a_field_missing_or_of_another_shape_is_refused(field):
    give = consent.KINDS[0]
    body = give.body(GIVE)
    for value in (b"short", -1, "text", None):
        with pytest.raises(Refused) as no:
            give.read(body | {field: value})
        assert (no.value.reason, no.value.facts) == (Reason.BAD_SHAPE, {"field": field})


def test_the_page_of_the_contract_says_what_the_code_says(root):
    page = (root / "src/yilian/contracts/consent/README.md").read_text()
    assert contract_tables.with_tables(page, contract_tables.tables_of(root / "src/yilian/contracts/consent")) == page
    assert consent.PREFIX == b"c/"
