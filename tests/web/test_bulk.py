"""Bulk export of a member's own records: asked for, waited for, fetched, forgotten; sealed on the disk and recorded like any reading."""

import asyncio
import json
import threading

import pytest

from tests.release_worlds import HOLDER, ward
from tests.waiting import WITHIN_S, until
from yilian.base.codec import encode
from yilian.node import No, exporting
from yilian.records import instant

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("release")]


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        for name in ("ann", "bo"):
            running.person(name)
        running.holder.store.update("Organization", "o1", b'{"resourceType":"Organization","id":"o1","name":"x"}')
        yield running


async def asked(here, path, method="GET", **headers):
    url = path if path.startswith("http") else here.running.urls[HOLDER] + path
    return await here.client.request(method, url, headers=await here.own(HOLDER) | headers)


def kick_off(here, path="/fhir/$export"):
    return asked(here, path, Prefer="respond-async")


async def done(here, started):
    """Wait for an export that was begun; return its manifest's answer."""
    assert started.status_code == 202, started.text
    place = started.headers["content-location"]
    answer = await asked(here, place)
    async with asyncio.timeout(WITHIN_S):
        while answer.status_code == 202:
            assert answer.headers["x-progress"].endswith(" resources")
            answer = await asked(here, place)  # each is a round over HTTP
    return answer


async def files(here, manifest):
    found = {}
    for one in manifest["output"]:
        answer = await asked(here, one["url"])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+ndjson")
        found[one["type"]] = [json.loads(line) for line in answer.text.splitlines()]
        assert len(found[one["type"]]) == one["count"]
    return found


def ids_of(found):
    return {name: sorted(one["id"] for one in resources) for name, resources in found.items()}


PLANTED = "Patient Zhang San"
OF_BOTH = {
    "AllergyIntolerance": ["ann-allergy", "bo-allergy"],
    "Condition": ["ann-condition", "bo-condition"],
    "Observation": ["ann-closed", "ann-new", "ann-old", "bo-closed", "bo-new", "bo-old"],
    "Patient": ["ann", "bo"],
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/fhir/$export", OF_BOTH | {"Organization": ["o1"]}),
        ("/fhir/Patient/$export", OF_BOTH),
        ("/fhir/$export?_type=Patient,Organization&_outputFormat=ndjson", {"Patient": ["ann", "bo"], "Organization": ["o1"]}),
        ("/fhir/Patient/$export?_type=Organization", {}),
        ("/fhir/$export?_since=2100-01-01T00:00:00Z", {}),
        ("/fhir/$export?_since=2000-01-01T00:00:00%2B08:00&_type=Patient", {"Patient": ["ann", "bo"]}),
    ],
)
async def test_everything_that_was_asked_for_and_nothing_else_is_in_the_files(here, monkeypatch, path, expected):
    monkeypatch.setattr(exporting, "PIECE_BYTES", 300)  # several pieces to a file
    answer = await done(here, await kick_off(here, path))
    manifest = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert (manifest["request"], manifest["requiresAccessToken"], manifest["error"]) == (here.running.urls[HOLDER] + path, True, [])
    assert manifest["transactionTime"] == instant(here.clock.now_ms)
    assert "expires" in answer.headers
    assert ids_of(await files(here, manifest)) == expected


async def test_an_export_lies_sealed_on_the_disk_and_is_gone_after_an_hour(here):
    answer = await done(here, await kick_off(here))
    sealed = list((here.holder.folder.path / "exports").rglob("*.sealed"))
    assert len(sealed) == 5
    assert not any(b"hypertension" in file.read_bytes() or b"no-ann" in file.read_bytes() for file in sealed)
    url = answer.json()["output"][0]["url"]
    here.clock.go(exporting.KEPT_S - 1)
    assert (await asked(here, url)).status_code == 200
    here.clock.go(1)
    gone = await asked(here, url)
    assert (gone.status_code, gone.json()["resourceType"]) == (404, "OperationOutcome")
    assert list((here.holder.folder.path / "exports").iterdir()) == []


async def test_the_files_go_after_an_hour_also_when_nobody_asks(here, monkeypatch):
    wishes = []
    housekeeping = here.holder.housekeeping
    monkeypatch.setattr(type(housekeeping), "wake_in", lambda self, wait_s: wishes.append(wait_s) if self is housekeeping else None)
    await done(here, await kick_off(here))
    assert wishes.count(exporting.KEPT_S) > 0  # asks to be woken when the hour is over
    place = here.holder.folder.path / "exports"
    here.clock.go(exporting.KEPT_S - 1)
    await exporting.forget(here.holder)
    assert (len(list(place.rglob("*.sealed"))), wishes[-1]) == (5, 1)
    here.clock.go(1)
    housekeeping.wake()
    await until(lambda: not list(place.iterdir()))


async def test_an_export_that_is_cancelled_ends_and_leaves_nothing(here, monkeypatch):
    store, goes_on, began = here.holder.store, threading.Event(), threading.Event()
    lines = store.export

    def slowly(scope):
        for line in lines(scope):
            began.set()
            assert goes_on.wait(WITHIN_S)
            yield line

    monkeypatch.setattr(type(store), "export", lambda self, scope: slowly(scope))
    started = await kick_off(here)
    place = started.headers["content-location"]
    await until(began.is_set)
    running = await asked(here, place)
    assert (running.status_code, running.headers["x-progress"], running.headers["retry-after"]) == (202, "0 resources", "2")
    assert (await asked(here, place, "DELETE")).status_code == 202
    goes_on.set()
    assert (await asked(here, place)).status_code == 404
    assert (await asked(here, place, "DELETE")).status_code == 404
    await until(lambda: not list((here.holder.folder.path / "exports").iterdir()))


async def test_a_disk_that_fails_is_said_by_the_status_and_leaves_no_file(here, monkeypatch):
    def full(self, job, name, place, piece):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting.Exports, "_append", full)
    answer = await done(here, await kick_off(here))
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (503, "no-store")
    assert list((here.holder.folder.path / "exports").iterdir()) == []


async def test_a_defect_of_ours_ends_an_export_and_the_status_says_under_which_case_the_log_has_it(here, monkeypatch, caplog):
    def broken(self, job, name, place, piece):
        raise ValueError(f"cannot read {PLANTED}")

    with monkeypatch.context() as patch:
        patch.setattr(exporting.Exports, "_append", broken)
        patch.setattr(exporting, "JOBS_MAX", 1)
        started = await kick_off(here)
        answer = await done(here, started)
        again = await asked(here, started.headers["content-location"])
    (told,) = [one.getMessage() for one in caplog.records if one.name == "yilian.node"]
    assert (answer.status_code, answer.headers["yilian-refusal"], again.content) == (500, "500 DEFECT", answer.content)
    case = told.split()[1]
    assert case in answer.json()["issue"][0]["diagnostics"]
    assert "ValueError" in told
    assert PLANTED not in told
    assert (await asked(here, started.headers["content-location"] + "/Patient.ndjson")).status_code == 404
    assert list((here.holder.folder.path / "exports").iterdir()) == []
    here.clock.go(exporting.KEPT_S)
    assert (await asked(here, started.headers["content-location"])).status_code == 404  # and its place is free again


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("_type=Nothing", "_type"),
        ("_outputFormat=text/csv", "_outputFormat"),
        ("_since=yesterday", "_since"),
        ("_typeFilter=x", "_typeFilter"),
    ],
)
async def test_what_an_export_does_not_understand_is_refused_and_named(here, query, parameter):
    answer = await kick_off(here, "/fhir/$export?" + query)
    (issue,) = answer.json()["issue"]
    assert (answer.status_code, issue["diagnostics"]) == (400, f"{int(No.NOT_UNDERSTOOD)} NOT_UNDERSTOOD(parameter={parameter})")


async def test_so_many_exports_are_kept_and_the_next_waits_for_one_to_end(here, monkeypatch):
    monkeypatch.setattr(exporting, "JOBS_MAX", 2)
    first, second = await kick_off(here), await kick_off(here)
    third = await kick_off(here)
    assert (third.status_code, third.headers["yilian-refusal"].split()[1]) == (429, "TOO_MANY_REQUESTS")
    await done(here, first)
    await done(here, second)
    await asked(here, first.headers["content-location"], "DELETE")
    assert (await done(here, await kick_off(here))).status_code == 200


async def test_asking_and_fetching_are_recorded_like_any_reading(here):
    manifest = (await done(here, await kick_off(here, "/fhir/$export?_type=Patient"))).json()
    await files(here, manifest)
    sealed = [row[0] for row in here.holder.journal.all("SELECT audit_sealed FROM own_readings ORDER BY number")]
    events = [json.loads(here.holder.keys.open(None, one, encode(["own", HOLDER]))) for one in sealed]
    assert [(one["action"], one["subtype"][0]["code"]) for one in events] == [("E", "export"), ("E", "export")]


@pytest.mark.parametrize("path", ["/fhir/$export", "/fhir/Patient/$export", "/fhir/$export-jobs/x", "/fhir/$export-jobs/x/Patient.ndjson"])
async def test_without_the_own_key_nothing_is_exported(here, path):
    for method in ("GET", "DELETE"):
        answer = await here.client.request(method, here.running.urls[HOLDER] + path, headers={"Prefer": "respond-async"})
        assert answer.status_code in (401, 405)
    assert not (here.holder.folder.path / "exports").exists()


async def test_without_the_wish_to_wait_the_answer_comes_at_once(here):
    answer = await asked(here, "/fhir/$export")
    assert (answer.status_code, answer.headers["content-type"], len(answer.text.splitlines())) == (200, "application/fhir+ndjson", 13)
