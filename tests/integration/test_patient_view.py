"""What a patient is shown by a holder is checked by the patient's own wallet: nothing missing, nothing altered, nobody else's."""

from dataclasses import replace

import pytest

from tests.release_worlds import HOLDER, SYSTEM, a_request_id
from yilian.base.chartlogs import LogAnswer, OwnCare, sign_head
from yilian.base.digests import sha256
from yilian.base.handovers import LogRequest
from yilian.base.shapes import pack, unpack
from yilian.base.times import DAY_S, month_of
from yilian.contracts import anchor
from yilian.ledger import verify_record
from yilian.node import anchoring
from yilian.node.refusals import No


async def asked(here, patient, request=None, month=None):
    request = request or patient.wallet.ask_log(patient.state, HOLDER, month or month_of(here.now_s), here.now_s, b"z" * 32)
    return await here.running.post(HOLDER, "/patient/log", pack(request))


async def answers(here, patient):
    months = patient.wallet.months_due(patient.state, HOLDER, here.now_s)
    shown = [await asked(here, patient, month=month) for month in months]
    assert [answer.status_code for answer in shown] == [200] * len(shown), shown[0].text
    return tuple(unpack(LogAnswer, answer.content) for answer in shown)


async def checked(here, patient, shown=None):
    """Let the wallet check what the holder shows; return (faults, lines)."""
    shown = await answers(here, patient) if shown is None else shown
    patient.state, report = patient.wallet.check(patient.state, HOLDER, shown, here.now_s)
    return [(found.fault.value, dict(found.facts)) for found in report.findings], report.lines


async def read_own(here, patient, target=None):
    request = patient.wallet.read_own(patient.state, HOLDER, target or f"/fhir/Patient/{patient.id}", here.now_s, a_request_id())
    return await here.running.post(HOLDER, "/patient/read", pack(request))


async def read_by_grant(here, patient, control_key, times=1):
    for n in range(times):
        received = await here.read(f"/fhir/Observation?patient={patient.id}", control_key, patient=patient if n == 0 else None)
        assert received.status == 200, received


async def test_a_log_with_grants_own_readings_and_an_unused_grant_is_whole(here, lan):
    used, _unused = await here.give(lan), await here.give(lan)
    await read_by_grant(here, lan, used, 3)
    assert (await read_own(here, lan)).status_code == 200
    found, lines = await checked(here, lan)
    assert found == []
    assert [(line.basis.name, line.number) for line in lines] == [("GRANT", 0), ("GRANT", 1), ("GRANT", 2), ("PATIENT", 0)]
    assert all(line.audit_event is not None and line.is_lawful for line in lines)


async def in_emergency(here, patient):
    handle = f"/fhir/Patient/$emergency?identifier={SYSTEM}%7C{patient.number}"
    received = await here.ask(here.signed(handle, None, purpose="ETREAT", reason="unconscious, no papers"))
    assert received.status == 200
    return received.entry_index


async def older_than_its_enrolment(here):
    """Return a patient who was read in an emergency, and the entry's index; he enrols two months later."""
    patient = here.person("old")
    index = await in_emergency(here, patient)
    here.clock.go(62 * DAY_S)
    await anchoring.tick(here.holder)
    await here.enrol(patient)
    return patient, index


async def test_an_emergency_of_a_month_before_the_enrolment_is_in_the_log_and_asked_for_once(here):
    patient, index = await older_than_its_enrolment(here)
    months = [month_of(here.now_s) + n for n in (-2, -1, 0)]
    assert list(patient.wallet.months_due(patient.state, HOLDER, here.now_s)) == months
    found, lines = await checked(here, patient)
    assert (found, [(line.index, line.month, line.basis.name) for line in lines]) == ([], [(index, months[0], "EMERGENCY")])
    assert list(patient.wallet.months_due(patient.state, HOLDER, here.now_s)) == months[-1:]  # the months before were found whole
    found, lines = await checked(here, patient)
    assert (found, lines) == ([], ())
    assert [seen.month for seen in patient.state.chart(HOLDER).heads] == months


async def test_a_holder_that_hides_an_emergency_of_before_the_enrolment_is_found_out(here, monkeypatch):
    patient, _ = await older_than_its_enrolment(here)
    shown = await answers(here, patient)
    assert [len(one.entries) for one in shown] == [1, 0, 0]
    secret, pair = here.holder.keys.month_key(here.holder.charts.of_patient("old").id, shown[0].month), here.holder.keys.node_key
    key = patient.wallet.relationship_key(patient.state, HOLDER)
    head = sign_head(pair, here.network, key, (shown[0].month, sha256(secret)), 0, shown[0].head.height)
    hidden = replace(shown[0], entries=(), head=head)
    before = list(patient.wallet.months_due(patient.state, HOLDER, here.now_s))
    found, lines = await checked(here, patient, (hidden, *shown[1:]))
    assert ([(name, facts["number"]) for name, facts in found], lines) == ([("ABSENCE_NOT_SHOWN", 0)], ())  # it cannot show that
    found, _ = await checked(here, patient, shown[1:])
    assert [name for name, _ in found] == ["MONTH_NOT_SHOWN"]
    assert list(patient.wallet.months_due(patient.state, HOLDER, here.now_s)) == before  # what was not found whole is asked for again


async def test_a_log_is_whole_over_days_that_have_closed_and_the_next_one(here, lan):
    control_key = await here.give(lan)
    await read_by_grant(here, lan, control_key)
    here.clock.go(3 * DAY_S)
    assert await anchoring.tick(here.holder) is not None  # a block of a later day closes the days before it
    found, lines = await checked(here, lan)
    assert (found, len(lines)) == ([], 1)
    await read_by_grant(here, lan, control_key, 0)
    found, _ = await checked(here, lan)
    assert found == []


async def test_an_entry_left_out_is_a_gap_and_a_cut_tail_is_seen(here, lan):
    control_key = await here.give(lan)
    await read_by_grant(here, lan, control_key, 2)
    (shown,) = await answers(here, lan)
    found, _ = await checked(here, lan, (replace(shown, entries=shown.entries[1:]),))
    assert "GAP" in [fault for fault, _ in found]
    found, _ = await checked(here, lan, (replace(shown, entries=shown.entries[:1]),))
    assert [fault for fault, _ in found] != []


async def test_an_altered_description_is_not_the_one_that_was_entered(here, lan):
    await read_own(here, lan)
    (shown,) = await answers(here, lan)
    changed = replace(shown.entries[0], audit_event=shown.entries[0].audit_event.replace(b"PATRQT", b"TREAT "))
    found, _ = await checked(here, lan, (replace(shown, entries=(changed,)),))
    assert [fault for fault, _ in found] == ["DETAIL_MISMATCH"]


async def test_a_root_that_the_operator_did_not_sign_proves_no_absence(here, lan):
    (shown,) = await answers(here, lan)
    (day,) = shown.open_days
    forged = replace(day, answers=(day.answers[0][:-1] + bytes([day.answers[0][-1] ^ 1]),))
    found, _ = await checked(here, lan, (replace(shown, open_days=(forged,)),))
    assert {fault for fault, _ in found} == {"ABSENCE_NOT_SHOWN"}


async def test_a_tag_on_an_open_day_is_seen_even_if_the_holder_says_that_there_is_none(here, lan):
    (before,) = await answers(here, lan)
    await read_own(here, lan)
    (after,) = await answers(here, lan)
    hidden = replace(before, checkpoints=after.checkpoints, open_days=(replace(after.open_days[0], places=before.open_days[0].places),))
    found, _ = await checked(here, lan, (hidden,))
    assert found != []


async def test_a_skipped_number_is_shown_and_is_no_gap(here, lan):
    chart = here.holder.charts.of_patient(lan.id)
    month = month_of(here.now_s)
    number = here.holder.releases.next_number(chart.id, month)
    await here.holder.journal.execute("INSERT INTO skips VALUES (?, ?, ?, NULL)", (chart.id, month, number))
    from yilian.node.aftermath import skip_tags

    await skip_tags(here.holder)
    assert (await read_own(here, lan)).status_code == 200
    found, lines = await checked(here, lan)
    assert (found, [(line.basis and line.basis.name, line.number) for line in lines]) == ([], [(None, 0), ("PATIENT", 1)])


@pytest.mark.parametrize(
    ("change", "no"),
    [
        ({"signature": b"s" * 64}, No.NOT_SIGNED_BY_PATIENT),
        ({"holder": "clinic-1"}, No.NOT_SIGNED_BY_PATIENT),
        ({"nonce": b"n"}, No.NOT_SIGNED_BY_PATIENT),
        ({"control_keys": (b"short",)}, No.NOT_UNDERSTOOD),
    ],
)
async def test_nobody_else_is_shown_a_log(here, lan, change, no):
    request = lan.wallet.ask_log(lan.state, HOLDER, month_of(here.now_s), here.now_s, b"z" * 32)
    answer = await asked(here, lan, replace(request, **change))
    assert (answer.json()["name"], answer.headers["content-type"]) == (no.name, "application/problem+json")


async def test_a_request_that_has_ended_or_is_of_a_stranger_is_refused(here, lan):
    stranger = here.person("mei")
    with pytest.raises(Exception, match="NOT_ENROLLED"):
        stranger.wallet.ask_log(stranger.state, HOLDER, month_of(here.now_s), here.now_s, b"z" * 32)
    request = lan.wallet.ask_log(lan.state, HOLDER, month_of(here.now_s), here.now_s, b"z" * 32)
    here.clock.go(request.until_s - here.now_s)  # the first second outside
    answer = await asked(here, lan, request)
    assert (answer.status_code, answer.json()["name"], answer.json()["facts"]) == (403, "STATEMENT_ENDED", {"until_s": request.until_s})
    assert isinstance(request, LogRequest)


async def test_the_patient_is_told_of_each_release_once_and_in_plain_sentences(here, lan):
    control_key = await here.give(lan)
    await read_by_grant(here, lan, control_key)
    at_s = here.now_s
    request = lan.wallet.read_own(lan.state, HOLDER, "/patient/notices?after=0", here.now_s, a_request_id())
    answer = await here.running.post(HOLDER, "/patient/notices", pack(request))
    (told,) = [one for one in answer.json()["notices"] if one["kind"] == "access"]
    assert told["zh"] == "name of clinic-1凭您的授权，为诊疗查阅了您的检查检验结果。"
    assert told["en"] == "name of clinic-1 read your results for treatment, with your grant."
    assert 0 <= told["at_s"] - at_s <= 60
    request = lan.wallet.read_own(lan.state, HOLDER, f"/patient/notices?after={told['number']}", here.now_s, a_request_id())
    answer = await here.running.post(HOLDER, "/patient/notices", pack(request))
    assert [one for one in answer.json()["notices"] if one["kind"] == "access"] == []


async def test_a_statement_for_one_page_opens_no_other(here, lan):
    request = lan.wallet.read_own(lan.state, HOLDER, "/patient/notices", here.now_s, a_request_id())
    answer = await here.running.post(HOLDER, "/patient/own-care", pack(request))
    assert (answer.status_code, answer.json()["name"]) == (400, "NOT_UNDERSTOOD")


async def test_the_own_staffs_readings_are_grouped_by_day_and_stand_under_a_tick(here, lan):
    headers = await here.own(HOLDER)
    for _ in range(3):
        answer = await here.client.get(f"{here.running.urls[HOLDER]}/fhir/Patient/{lan.id}", headers=headers)
        assert answer.status_code == 200
    here.clock.go(60)
    index = await anchoring.tick(here.holder)
    request = lan.wallet.read_own(lan.state, HOLDER, "/patient/own-care", here.now_s, a_request_id())
    shown = unpack(OwnCare, (await here.running.post(HOLDER, "/patient/own-care", pack(request))).content)
    assert [one.tick_index for one in shown.readings] == [index] * 3
    tick = anchor.tick(here.engine.read(), index)
    chart_key = lan.state.chart(HOLDER).chart_key
    assert all(one.stands(chart_key, here.network, tick.own_care_root) for one in shown.readings)
    assert not replace(shown.readings[0], number=99).stands(chart_key, here.network, tick.own_care_root)
    request = lan.wallet.read_own(lan.state, HOLDER, "/patient/notices", here.now_s, a_request_id())
    told = (await here.running.post(HOLDER, "/patient/notices", pack(request))).json()["notices"]
    (group,) = [one for one in told if one["kind"] == "own-care"]
    assert group["en"] == "Staff of name of hospital-1 read or wrote your record 3 times that day, for your care there."


async def test_the_members_own_software_exports_a_records_proof_and_nobody_else(here, lan):
    path = f"{here.running.urls[HOLDER]}/records/Patient/{lan.id}/1/proof"
    assert (await here.client.get(path)).status_code == 401
    here.clock.go(60)
    assert await anchoring.tick(here.holder) is not None
    answer = await here.client.get(path, headers=await here.own(HOLDER))
    assert verify_record(answer.content, network=here.network).proof.resource_id == lan.id
    path = f"{here.running.urls[HOLDER]}/records/Patient/{lan.id}/1/amended-by/1"
    answer = await here.client.post(path, headers=await here.own(HOLDER))
    assert (answer.status_code, answer.json()["name"]) == (403, "BAD_SHAPE")
