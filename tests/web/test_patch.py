"""JSON Patch on a member's own records: the digits stay, all of a patch or none of it, and nobody is overwritten."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.release_worlds import HOLDER, ward
from yilian.records import RecordFault
from yilian.records.patching import OPERATIONS_MAX, patched

RESULT = (
    b'{"resourceType":"Observation","id":"o","status":"final","code":{"text":"\xe8\xa1\x80\xe7\xb3\x96"},"subject":{"reference":"Patient/ann"},'
    b'"valueQuantity":{"value":5.10,"unit":"mmol/L"},"note":[{"text":"a"}]}'
)


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        running.person("ann")
        running.holder.store.update("Observation", "o", RESULT)
        yield running


async def patch(here, operations, *, path="/fhir/Observation/o", media_type="application/json-patch+json", **headers):
    body = operations if isinstance(operations, bytes) else json.dumps(operations).encode()
    url = here.running.urls[HOLDER] + path
    return await here.client.patch(url, content=body, headers=await here.own(HOLDER) | {"Content-Type": media_type} | headers)


def replacing(path, value):
    return [{"op": "replace", "path": path, "value": value}]


async def test_a_patch_makes_the_next_version_and_keeps_every_digit_and_letter(here):
    answer = await patch(here, [*replacing("/status", "amended"), {"op": "add", "path": "/note/-", "value": {"text": "b"}}])
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    stored = here.holder.store.read("Observation", "o")
    assert (stored.method, stored.version_id) == ("PATCH", 2)
    assert b'"value":5.10' in stored.body
    assert "血糖".encode() in stored.body
    said = json.loads(stored.body)
    assert (said["status"], [one["text"] for one in said["note"]]) == ("amended", ["a", "b"])
    assert b'"value":5.10' in here.holder.store.vread("Observation", "o", "1").body  # the version before stands


@pytest.mark.parametrize(
    ("operations", "status"),
    [
        ([*replacing("/status", "amended"), {"op": "test", "path": "/note/0/text", "value": "b"}], 422),
        (replacing("/no/such/place", 1), 422),
        (replacing("/note/7", {"text": "x"}), 422),
        (replacing("/id", "other"), 422),
        (replacing("/status", "no such status"), 422),
        ([{"op": "remove", "path": "/code"}], 422),
        ([{"op": "fly", "path": "/status"}], 400),
        ([{"op": "add", "path": "/status"}], 400),
        ({"op": "replace"}, 400),
        (["x"], 400),
        (b"{", 400),
        (b'[{"op":"remove","op":"add","path":"/note"}]', 400),
        (replacing("/status", "amended") * (OPERATIONS_MAX + 1), 413),
        ([{"op": "copy", "from": "/note", "path": "/note/-"}] * 40, 413),
    ],
)
async def test_a_patch_that_does_not_fit_changes_nothing(here, operations, status):
    answer = await patch(here, operations)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")
    assert here.holder.store.read("Observation", "o").version_id == 1


async def test_who_names_an_older_version_or_another_kind_of_patch_is_refused(here):
    assert (await patch(here, replacing("/status", "amended"), **{"If-Match": 'W/"1"'})).status_code == 200
    assert (await patch(here, replacing("/status", "final"), **{"If-Match": 'W/"1"'})).status_code == 412
    assert (await patch(here, replacing("/status", "final"), media_type="application/xml-patch+xml")).status_code == 415
    assert (await patch(here, replacing("/status", "final"), path="/fhir/Observation/none")).status_code == 404
    assert here.holder.store.read("Observation", "o").version_id == 2


async def test_who_writes_while_a_patch_is_made_is_not_overwritten(here, monkeypatch):
    store = here.holder.store

    def meanwhile(body, operations):
        store.update("Observation", "o", RESULT.replace(b"5.10", b"6.20"))
        return patched(body, operations)

    monkeypatch.setattr("yilian.records.sqlite.patched", meanwhile)
    assert (await patch(here, replacing("/status", "amended"))).status_code == 412
    assert b"6.20" in store.read("Observation", "o").body


def _nested(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["op", "path", "value", "from"]), inner, max_size=4)


JSONS = st.recursive(st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["copy", "move", "/note"]), _nested)


@given(st.binary(max_size=60) | JSONS.map(lambda tree: json.dumps([tree]).encode()) | st.just(b"[" * 5_000 + b"]" * 5_000))
def test_whatever_a_patch_is_it_is_applied_or_refused(data):
    try:
        json.loads(patched(RESULT, data))
    except RecordFault as fault:
        assert isinstance(fault, RecordFault) and fault.issues  # noqa: PT017, PT018 - an answer, never a defect
