"""Before an order: our own results, released ones and other members' answers; what is counted, declared, and refused. And screening."""

import json
from urllib.parse import urlencode

import pytest

from tests.release_worlds import HOLDER, REQUESTER, a_request_id, ward
from yilian.base.codec import encode
from yilian.base.shapes import pack
from yilian.base.times import DAY_S
from yilian.contracts import referral
from yilian.node import NodeRefused, examinations
from yilian.node.examinations import Elsewhere, Fetched, OrderAsk
from yilian.node.recognition import Recognise, Result, Retest, RetestAllowed, Unknown
from yilian.node.refusals import No
from yilian.records import instant

HBA1C, GLUCOSE = "4548-4", "2345-7"


def observation(loinc, at_s, name="o1", patient="lan", **more):
    tree = {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": loinc}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": instant(at_s * 1_000),
        "valueQuantity": {"value": 6.0, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    }
    return json.dumps(tree | more).encode()


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        running.lan = running.person("lan")
        yield running


def asked(loinc=HBA1C, **changes):
    fields = {
        "order_id": a_request_id(),
        "patient_id": "lan",
        "loinc": loinc,
        "exception": None,
        "is_used": False,
        "fetched": (),
        "elsewhere": (),
        "practitioner": b"",
    }
    return OrderAsk(**(fields | changes))


def keep(here, loinc=HBA1C, days_ago=10):
    at_s = here.now_s - days_ago * DAY_S
    here.holder.store.update("Observation", "o1", observation(loinc, at_s))
    return at_s


async def test_our_own_valid_result_is_a_warning_with_where_and_until_when(here):
    at_s = keep(here)
    verdict = await examinations.before_order(asked(), here.holder)
    assert verdict == Recognise((Result(HBA1C, at_s, "final", HOLDER),), at_s + 60 * DAY_S)


async def test_a_released_result_and_an_answer_of_another_member_count_as_well(here):
    at_s = here.now_s - DAY_S
    bundle = json.dumps({"resourceType": "Bundle", "entry": [{"resource": json.loads(observation(HBA1C, at_s))}]}).encode()
    verdict = await examinations.before_order(asked(fetched=(Fetched(REQUESTER, bundle),)), here.holder)
    assert verdict == Recognise((Result(HBA1C, at_s, "final", REQUESTER),), at_s + 60 * DAY_S)
    until_s = here.now_s + 5 * DAY_S
    verdict = await examinations.before_order(asked(elsewhere=(Elsewhere(REQUESTER, HBA1C, until_s),)), here.holder)
    assert (verdict.until_s, [one.member for one in verdict.results]) == (until_s, [REQUESTER])


async def test_an_expired_result_allows_the_examination_and_an_unknown_code_says_so(here):
    keep(here, days_ago=60)
    assert await examinations.before_order(asked(), here.holder) == RetestAllowed(Retest.EXPIRED)
    assert await examinations.before_order(asked("0000-0"), here.holder) == Unknown("0000-0")


async def test_a_valid_result_is_not_passed_over_without_a_reason(here):
    at_s = keep(here)
    with pytest.raises(NodeRefused) as no:
        await examinations.place_order(asked(), here.holder)
    assert (no.value.no, no.value.facts) == (No.RESULT_VALID, {"until_s": at_s + 60 * DAY_S})
    with pytest.raises(NodeRefused) as no:
        await examinations.place_order(asked(exception="because"), here.holder)
    assert (no.value.no, no.value.facts) == (No.EXCEPTION_NOT_KNOWN, {})
    assert examinations.counters(here.holder) == {"avoided": 0, "repeated": {}, "declared_in_network": 0}


async def test_avoided_and_repeated_examinations_are_counted_once_each(here):
    keep(here)
    used, repeated = asked(is_used=True), asked(exception="changed-condition")
    for order in (used, used, repeated, repeated, asked(GLUCOSE)):
        await examinations.place_order(order, here.holder)
    assert examinations.counters(here.holder) == {"avoided": 1, "repeated": {"changed-condition": 1}, "declared_in_network": 0}
    assert examinations.counters(here.holder, until_s=here.now_s)["avoided"] == 0  # the end is exclusive


async def test_avoided_examinations_are_declared_on_the_ledger_once(here):
    keep(here)
    for _ in range(3):
        await examinations.place_order(asked(is_used=True), here.holder)
    await examinations.declare_daily(here.holder)  # not before the day is over
    assert referral.reuse(here.engine.read(), HOLDER).avoided == 0
    assert await examinations.declare(here.holder) == 3
    assert await examinations.declare(here.holder) == 0
    assert referral.reuse(here.engine.read(), HOLDER).avoided == 3
    await examinations.place_order(asked(is_used=True), here.holder)
    here.clock.go(DAY_S)
    await examinations.declare_daily(here.holder)
    assert examinations.counters(here.requester)["declared_in_network"] == 4


async def test_a_declaration_whose_answer_was_lost_is_not_declared_again(here, monkeypatch):
    keep(here)
    await examinations.place_order(asked(is_used=True), here.holder)

    async def lost(*_):
        raise NodeRefused(No.SHUTTING_DOWN)

    original = examinations._settle
    monkeypatch.setattr(examinations, "_settle", lost)
    with pytest.raises(NodeRefused):
        await examinations.declare(here.holder)
    (transaction,) = here.holder.journal.one("SELECT tx FROM declarations")
    await here.holder.carriage.submit(transaction)
    monkeypatch.setattr(examinations, "_settle", original)
    assert await examinations.declare(here.holder) == 0
    assert referral.reuse(here.engine.read(), HOLDER).avoided == 1


def target(loinc, at_s, patient="lan"):
    return f"/fhir/Observation/$valid-result?{urlencode({'patient': patient, 'code': loinc, 'at': at_s})}"


async def test_another_member_is_told_yes_and_until_when_and_never_the_value_and_the_patient_sees_it(here):
    at_s = keep(here)
    await here.enrol(here.lan)
    control_key = await here.give(here.lan)
    entries = here.entries()
    received = await here.read(target(HBA1C, here.now_s), control_key, patient=here.lan)
    assert json.loads(received.body) == {
        "resourceType": "Parameters",
        "parameter": [{"name": "valid", "valueBoolean": True}, {"name": "until", "valueInstant": instant((at_s + 60 * DAY_S) * 1_000)}],
    }
    assert (received.entry_index, b"valueQuantity" in received.body) == (entries, False)
    received = await here.read(target(GLUCOSE, here.now_s), control_key)
    assert json.loads(received.body)["parameter"] == [{"name": "valid", "valueBoolean": False}]


async def test_what_the_grant_does_not_open_counts_as_not_there(here):
    keep(here)
    await here.enrol(here.lan)
    control_key = await here.give(here.lan, data_from_s=here.now_s - DAY_S)
    received = await here.read(target(HBA1C, here.now_s), control_key, patient=here.lan)
    assert json.loads(received.body)["parameter"] == [{"name": "valid", "valueBoolean": False}]


@pytest.mark.parametrize(
    "query", ["", "patient=lan", "patient=lan&code=4548-4&at=soon", "patient=lan&code=4548-4&at=1&at=2", "_summary=count"]
)
async def test_any_other_question_is_not_readable(here, query):
    keep(here)
    await here.enrol(here.lan)
    control_key = await here.give(here.lan)
    received = await here.read(f"/fhir/Observation/$valid-result?{query}", control_key, patient=here.lan)
    assert (received.status, received.refusal.split()[-1].split("(")[0]) == (400, "NOT_READABLE")


async def test_the_doctors_software_asks_and_orders_over_http(here):
    keep(here)
    url, headers = here.running.urls[HOLDER], await here.own(HOLDER)
    assert (await here.client.post(url + "/orders/check", content=pack(asked()))).status_code == 401
    answer = await here.client.post(url + "/orders/check", content=pack(asked()), headers=headers)
    assert (answer.json()["verdict"], answer.json()["results"][0]["member"]) == ("recognise", HOLDER)
    answer = await here.client.post(url + "/orders", content=pack(asked()), headers=headers)
    assert (answer.status_code, answer.json()["name"]) == (409, "RESULT_VALID")
    answer = await here.client.post(url + "/orders", content=pack(asked(is_used=True)), headers=headers)
    assert answer.status_code == 200
    assert (await here.client.get(url + "/statistics/examinations", headers=headers)).json()["avoided"] == 1


# screening


def chart(here):
    """Give the patient what the scores need: woman, 61, smoker, pressure, lipids."""

    def quantity(value, unit):
        return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}

    store, at_s = here.holder.store, here.now_s - DAY_S
    store.update("Patient", "lan", b'{"resourceType":"Patient","id":"lan","gender":"female","birthDate":"1966-01-01"}')
    for name, code, value in (
        ("sbp", "8480-6", quantity(150, "mm[Hg]")),
        ("tc", "2093-3", quantity(240, "mg/dL")),
        ("hdl", "2085-9", quantity(40, "mg/dL")),
    ):
        store.update("Observation", name, observation(code, at_s, name, valueQuantity=value))
    smoking = json.loads(observation("72166-2", at_s, "smoking"))
    del smoking["valueQuantity"]
    smoking["valueCodeableConcept"] = {"coding": [{"system": "http://snomed.info/sct", "code": "449868002"}]}
    store.update("Observation", "smoking", json.dumps(smoking).encode())


async def test_the_clinic_screens_and_keeps_what_it_computed(here):
    chart(here)
    url, headers = here.running.urls[HOLDER], await here.own(HOLDER)
    answer = await here.client.post(url + "/screening/lan", content=encode([2, 2, None]), headers=headers)
    assert (answer.status_code, answer.json()["suggests_referral"]) == (200, True)
    shown = {one["score"]: one for one in answer.json()["scores"]}
    assert set(shown) == {"score2-asia-pacific", "score2", "framingham-2008"}
    for one in shown.values():
        kept = json.loads(here.holder.store.read(*one["kept"].split("/")).body)
        assert (kept["method"]["coding"][0]["code"], kept["subject"]["reference"]) == (one["score"], "Patient/lan")


async def test_a_chart_that_lacks_a_value_gives_no_score_and_says_why(here):
    url, headers = here.running.urls[HOLDER], await here.own(HOLDER)
    answer = await here.client.post(url + "/screening/lan", content=encode([2, 2, None]), headers=headers)
    assert answer.json()["suggests_referral"] is False
    assert {one["why_not"] for one in answer.json()["scores"]} == {"MISSING"}
    assert (await here.client.post(url + "/screening/lan", content=encode([9, 2, None]), headers=headers)).json()[
        "name"
    ] == "NOT_UNDERSTOOD"
