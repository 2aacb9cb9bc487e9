"""The member's own API: nothing goes unrecorded; and what the web says of what it will not do."""

import json

import pytest

from tests.release_worlds import HOLDER, ward

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("release")]


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        running.ann = running.person("ann")
        yield running


async def fhir(here, method, path, body=None, **headers):
    url = here.running.urls[HOLDER] + path
    return await here.client.request(method, url, content=body, headers=await here.own(HOLDER) | headers)


def series(here):
    rows = here.holder.journal.all("SELECT chart, audit_sealed FROM own_readings ORDER BY number")
    from yilian.base.codec import encode

    return [
        json.loads(here.holder.keys.open(here.holder.charts.of_id(chart).patient_id if chart else None, sealed, encode(["own", HOLDER])))
        for chart, sealed in rows
    ]


async def test_every_interaction_of_the_own_staff_is_recorded_a_delete_too(here):
    await here.enrol(here.ann)
    body = json.dumps({"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/ann"}, "code": {"text": "x"}}).encode()
    asked = [
        ("PUT", "/fhir/Condition/c1", body, 201),
        ("GET", "/fhir/Condition/c1", None, 200),
        ("GET", "/fhir/Condition?patient=ann", None, 200),
        ("DELETE", "/fhir/Condition/c1", None, 204),
        ("GET", "/fhir/Condition/c1", None, 410),
        ("GET", "/fhir/Patient/ann/$everything", None, 200),
    ]
    for method, path, content, status in asked:
        answer = await fhir(here, method, path, content)
        assert (method, path, answer.status_code) == (method, path, status)
    said = [(event["action"], event["subtype"][0]["code"]) for event in series(here)]
    assert said == [
        ("U", "update"),
        ("R", "read"),
        ("E", "search-type"),
        ("D", "delete"),
        ("R", "read"),
        ("E", "everything"),
    ]


async def test_a_failed_write_leaves_no_record_and_says_why(here):
    answer = await fhir(here, "POST", "/fhir/Observation", b'{"resourceType":"Observation"}')
    assert answer.status_code == 422
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert series(here) == []


@pytest.mark.parametrize("path", ["/fhir/Nothing", "/fhir/Patient/a/b/c", "/fhir/Patient?no=such", "/fhir/%2e%2e/x"])
async def test_what_is_no_fhir_is_an_operation_outcome(here, path):
    answer = await fhir(here, "GET", path)
    assert (400 <= answer.status_code < 500, answer.json()["resourceType"]) == (True, "OperationOutcome")
    assert answer.headers["content-type"] == "application/fhir+json"


async def test_without_the_own_key_the_own_records_are_closed(here):
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "DPoP x"}):
        answer = await here.client.get(here.running.urls[HOLDER] + "/fhir/Patient/ann", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["resourceType"] == "OperationOutcome"


async def test_a_defect_shows_no_inside(here, monkeypatch):
    from yilian.web import following

    answer = await here.client.get(here.running.urls[HOLDER] + "/network/state/zz")
    assert (answer.status_code, answer.json()["name"]) == (400, "NOT_UNDERSTOOD")
    assert "Traceback" not in answer.text
    assert following.KEY_LENGTH_MAX == 64
