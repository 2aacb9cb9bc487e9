"""Each thing that can be wrong with a log, by its name, its facts and its sentence."""

import re
from dataclasses import replace

import pytest

from tests.wallet_worlds import HOLDER, OPERATOR, REQUESTER, ChartWorld, faults
from tests.worlds import receipt_key
from yilian.base.chartlogs import Standing
from yilian.base.digests import grant_tag
from yilian.base.times import DAY_S, day_of, month_of
from yilian.contracts import access
from yilian.ledger import parse_checkpoint, sign_answer
from yilian.wallet import Fault, SeenHead
from yilian.wallet.evidence import Evidence
from yilian.wallet.findings import _EN, _ZH


@pytest.fixture
def world():
    made = ChartWorld()
    made.enrol()
    made.grant = made.give()
    made.read_by_grant(made.grant)
    made.read_by_grant(made.grant)
    made.read_own()
    return made


def only(world, answers=None):
    """Return the one finding as (fault, facts)."""
    report = world.check(answers)
    assert len(report.findings) == 1, [found.en for found in report.findings]
    return report.findings[0].fault, dict(report.findings[0].facts)


def changed(world, **changes):
    (answer,) = world.answers()
    return (replace(answer, **changes),)


def series(control_key):
    return control_key.hex()[:8]


def test_every_fault_has_both_sentences_with_the_same_facts():
    names = [sorted(set(re.findall(r"{(\w+)}", text))) for text in (*_ZH.values(), *_EN.values())]
    assert list(_ZH) == list(_EN) == list(Fault)
    assert names[: len(Fault)] == names[len(Fault) :]


def test_a_number_left_out_in_the_middle_is_a_gap(world):
    (answer,) = world.answers()
    assert only(world, (replace(answer, entries=answer.entries[1:]),)) == (
        Fault.GAP,
        {"holder": HOLDER, "series": series(world.grant), "number": 0},
    )
    world.read_own()
    (answer,) = world.answers()
    own = [entry for entry in answer.entries if entry.index != world.shown[2][0]]
    assert only(world, (replace(answer, entries=tuple(own)),)) == (Fault.GAP, {"holder": HOLDER, "series": "2027-01", "number": 0})


def test_a_cut_tail_is_proven_by_the_ledger_itself(world):
    (answer,) = world.answers()
    report = world.check((replace(answer, entries=answer.entries[2:]),))
    assert [found.en for found in report.findings] == [  # what it showed is the absence of number 2
        f"{HOLDER} did not prove that the access log ({series(world.grant)}) has no number 0, on 1 days from day {day_of(world.now_s)}."
    ]
    shown = (world.state_answer(grant_tag(world.grant, 0), day_of(world.now_s)),)
    report = world.check((replace(answer, entries=answer.entries[2:], state_answers=answer.state_answers + shown),))
    assert [(found.fault, dict(found.facts)) for found in report.findings] == [
        (Fault.TAIL_CUT, {"holder": HOLDER, "series": series(world.grant), "number": 0})
    ]


def test_a_release_after_the_revocation_is_named_unlawful_and_one_before_is_not(world):
    revoked_index = world.revoke(world.grant)
    assert all(line.is_lawful for line in world.check().lines)
    world.state = world.wallet.note_index(world.state, world.grant, world.shown[1][0] - 1, is_revoke=True)
    facts = {"index": world.shown[1][0], "revoked_index": world.shown[1][0] - 1}
    fault = world.check()
    assert [(found.fault, dict(found.facts)) for found in fault.findings] == [(Fault.AFTER_REVOCATION, facts)]
    assert [line.is_lawful for line in fault.lines] == [True, False, True]
    assert revoked_index > world.shown[1][0]


def test_marks_are_shown_with_the_entries_they_mark(world):
    first, own = world.shown[0][0], world.shown[2][0]
    world.mark_unsent(first, world.entries[world.grant][0])
    world.mark_unsent(own, world.own_key(month_of(world.now_s), 0))
    report = world.check()
    assert faults(report) == []
    assert [(line.index, line.is_unsent) for line in report.lines] == [(first, True), (world.shown[1][0], False), (own, True)]


def test_an_entry_of_others_is_named(world):
    stranger = world.give()
    foreign = world.read_by_grant(stranger)
    world.state = replace(world.state, grants=tuple(grant for grant in world.state.grants if grant.control_key != stranger))
    assert only(world) == (Fault.NOT_MINE, {"holder": HOLDER, "index": foreign})


def test_exchanged_descriptions_are_found_on_both_entries(world):
    (answer,) = world.answers()
    one, two, three = answer.entries
    swapped = (replace(one, audit_event=two.audit_event), replace(two, audit_event=one.audit_event), three)
    report = world.check((replace(answer, entries=swapped),))
    assert [(found.fault, dict(found.facts)) for found in report.findings] == [
        (Fault.DETAIL_MISMATCH, {"index": one.index}),
        (Fault.DETAIL_MISMATCH, {"index": two.index}),
    ]


def test_a_split_view_hands_over_both_signatures(world):
    world.check()
    seen = world.state.checkpoint
    other = world.checkpoint(root=b"x" * 32).encoded()
    report = world.check(changed(world, checkpoints=(other,)))
    assert Fault.SPLIT_VIEW in [found.fault for found in report.findings]
    assert report.split_view == (seen, other)
    sizes = {
        (parse_checkpoint(data).size, parse_checkpoint(data).is_signed_by(receipt_key(OPERATOR).public_key)) for data in report.split_view
    }
    assert sizes == {(world.size, True)}


def test_a_log_that_does_not_extend_the_one_seen_before_is_refused(world):
    before_size = world.size
    world.check()
    world.read_own()
    facts = {"holder": HOLDER, "size": world.size, "old_size": before_size}
    for change in ({"consistency": (b"x" * 32,)}, {"consistency": ()}, {"old_size": 1}):
        report = world.check(changed(world, **change))
        assert (report.findings[0].fault, dict(report.findings[0].facts)) == (Fault.LOG_REWRITTEN, facts)


def test_the_holders_own_word_on_the_root_or_the_running_day_is_not_enough(world):
    alone = world.check(changed(world, checkpoints=(world.checkpoint(signer=HOLDER).encoded(),)))
    assert (alone.findings[0].fault, dict(alone.findings[0].facts)) == (Fault.NOT_VOUCHED, {"holder": HOLDER})
    (answer,) = world.answers()
    tags = world.tags_asked(answer.month, [world.grant])
    own_word = tuple(world.state_answer(tag, day_of(world.now_s), signer=HOLDER) for tag in tags)
    assert set(faults(world.check((replace(answer, state_answers=own_word),)))) == {"ABSENCE_NOT_SHOWN"}


def test_a_state_answer_counts_only_fresh_and_while_the_days_rows_are_kept(world):
    tag = b"t" * 16
    day = day_of(world.now_s)
    late_s = (day + 2) * DAY_S
    cases = [
        ({}, world.now_s, Standing.ABSENT),
        ({}, world.now_s + 300, Standing.ABSENT),
        ({}, world.now_s + 301, Standing.NOT_SHOWN),
        ({"time_s": late_s}, late_s, Standing.NOT_SHOWN),  # the row was dropped by then, whatever it held
        ({"time_s": late_s - 1}, late_s, Standing.ABSENT),
        ({"value": b"\x00"}, world.now_s, Standing.PRESENT),
    ]
    for changes, now_s, expected in cases:
        evidence = Evidence(world.members, HOLDER, now_s, None)
        evidence._state_answer(world.state_answer(tag, day, **changes))
        assert evidence.standing(day, tag) is expected
    evidence = Evidence(world.members, HOLDER, world.now_s, None)
    another_row = sign_answer(receipt_key(OPERATOR), world.network, (1, world.now_s), (b"c/" + day.to_bytes(4, "big") + tag, None))
    evidence._state_answer(another_row.encoded())
    elsewhere = sign_answer(receipt_key(OPERATOR), b"x" * 32, (1, world.now_s), (b"t/" + day.to_bytes(4, "big") + tag, None))
    evidence._state_answer(elsewhere.encoded())
    assert evidence.standing(day, tag) is Standing.NOT_SHOWN


def test_a_root_of_an_open_day_counts_only_fresh_vouched_and_for_its_day(world):
    world.shows_roots = True
    assert faults(world.check()) == []
    day, tag, now_s = day_of(world.now_s), b"t" * 16, world.now_s
    present = access.tags_of_day(world.rows, day)[0]
    late_s = (day + 2) * DAY_S
    good = world.open_day(day, [tag, present])
    cases = [
        (good, now_s, Standing.ABSENT, Standing.PRESENT),
        (good, now_s + 301, Standing.NOT_SHOWN, Standing.NOT_SHOWN),
        (replace(good, day=day + 1), now_s, Standing.NOT_SHOWN, Standing.NOT_SHOWN),
        (replace(good, day=2**40), now_s, Standing.NOT_SHOWN, Standing.NOT_SHOWN),
        (replace(good, size=0), now_s, Standing.NOT_SHOWN, Standing.NOT_SHOWN),
        (replace(good, answers=()), now_s, Standing.NOT_SHOWN, Standing.NOT_SHOWN),
        (world.open_day(day, [tag], signer=HOLDER), now_s, Standing.NOT_SHOWN, Standing.NOT_SHOWN),
        (world.open_day(day, [tag], time_s=late_s), late_s, Standing.NOT_SHOWN, Standing.NOT_SHOWN),
        (replace(good, answers=(world.state_answer(tag, day),)), now_s, Standing.NOT_SHOWN, Standing.NOT_SHOWN),
    ]
    for shown, at_s, absent, shown_present in cases:
        evidence = Evidence(world.members, HOLDER, at_s, None)
        evidence._open_day(shown)
        assert (evidence.standing(day, tag), evidence.standing(day, present)) == (absent, shown_present)
    evidence = Evidence(world.members, HOLDER, now_s, None)
    evidence._open_day(replace(good, answers=(b"x",)))
    assert [dict(found.facts)["what"] for found in evidence.findings] == ["state answer"]


def test_a_head_below_what_is_shown_or_was_signed_before_contradicts(world):
    world.read_own()
    (answer,) = world.answers()
    world.counts[answer.month] = 1
    lower = world.answers()[0].head
    world.counts[answer.month] = 2
    facts = {"holder": HOLDER, "month": "2027-01", "count": 1, "other": 2}
    assert only(world, (replace(answer, head=lower),)) == (Fault.HEAD_CONTRADICTED, facts)
    chart = replace(world.state.chart(HOLDER), heads=(SeenHead(answer.month, 9, world.chain.height),))
    world.state = world.state.with_chart(chart)
    assert only(world) == (Fault.HEAD_CONTRADICTED, facts | {"count": 2, "other": 9})


def test_a_head_that_claims_more_than_is_shown_has_gaps(world):
    (answer,) = world.answers()
    world.counts[answer.month] = 2**63
    claimed = world.answers()[0].head
    world.counts[answer.month] = 1
    report = world.check((replace(answer, head=claimed),))
    assert {"GAP", "ABSENCE_NOT_SHOWN"} >= set(faults(report)) >= {"GAP"}
    assert dict(report.findings[0].facts) == {"holder": HOLDER, "series": "2027-01", "number": 1}


def test_a_month_twice_a_month_too_many_and_another_holders_answer_are_not_read(world):
    (answer,) = world.answers()
    for answers in ((answer, answer), (replace(answer, month=10**9),), (replace(answer, holder=REQUESTER),)):
        fault, facts = only(world, answers)
        assert (fault, facts["holder"]) == (Fault.NOT_READABLE, HOLDER)
    report = world.check(())
    assert dict(report.findings[0].facts)["month"] == "2027-01"
    assert faults(report)[0] == "MONTH_NOT_SHOWN"


def test_unreadable_pieces_are_named_and_break_nothing(world):
    (answer,) = world.answers()
    entry = answer.entries[0]
    cases = [
        ({"checkpoints": (b"",)}, "checkpoint"),
        ({"entries": (replace(entry, statement=b"\xd2"), *answer.entries[1:])}, f"entry {entry.index}"),
        ({"state_answers": (*answer.state_answers, b"x")}, "state answer"),
    ]
    for change, what in cases:
        report = world.check((replace(answer, **change),))
        assert (report.findings[0].fault, dict(report.findings[0].facts)) == (Fault.NOT_READABLE, {"holder": HOLDER, "what": what})
    assert faults(world.check((replace(answer, checkpoints=()),)))[0] == "NOT_VOUCHED"
    world.pass_days(1)
    (answer,) = world.answers()
    day = answer.days[0]
    unread = world.check((replace(answer, days=(replace(day, leaf=b"x"), *answer.days[1:])),))
    assert dict(unread.findings[0].facts)["what"] == f"daily leaf {day.index}"
    moved = world.check((replace(answer, days=(replace(day, index=0), *answer.days[1:])),))
    assert (moved.findings[0].fault, dict(moved.findings[0].facts)["day"]) == (Fault.DAY_NOT_PROVEN, day_of(world.genesis.started_at_s))


def test_the_report_says_who_vouched(world):
    report = world.check()
    assert (report.vouched_by, report.is_clean, report.months) == ((OPERATOR,), True, (month_of(world.now_s),))
    assert world.state.checkpoint == report.checkpoint
    assert world.state.chart(HOLDER).heads == report.heads == (SeenHead(month_of(world.now_s), 1, world.chain.height),)


def test_a_revocation_that_the_carrier_kept_to_itself_hides_nothing(world):
    """The wallet believes its grant revoked, the ledger does not know, and the holder leaves out what it served days later."""
    world.state, _, _ = world.wallet.revoke(world.state, world.grant, world.now_s)
    world.state = world.wallet.note_index(world.state, world.grant, world.size + 10, is_revoke=True)  # the carrier's word
    world.pass_days(3)
    served_on = day_of(world.now_s)
    hidden = world.read_by_grant(world.grant)
    world.pass_days(1)
    tag, asked = grant_tag(world.grant, 2), world.tags_asked
    world.tags_asked = lambda month, control_keys: [*asked(month, ())[:8], tag]
    (answer,) = world.answers()
    days = [
        replace(day, places=tuple(each for each in day.places if each.tag != tag)) if day.index == world.days[served_on].index else day
        for day in answer.days
    ]
    entries = tuple(entry for entry in answer.entries if entry.index != hidden)
    assert only(world, (replace(answer, entries=entries, days=tuple(days)),)) == (
        Fault.ABSENCE_NOT_SHOWN,
        {"holder": HOLDER, "series": series(world.grant), "number": 2, "day": served_on, "days": 1},
    )
