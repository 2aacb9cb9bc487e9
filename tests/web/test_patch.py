"""JSON Patch on a member's own records: the digits stay, all of a patch or none of it, and nobody is overwritten."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.release_worlds import HOLDER, ward
from yilian.records import RecordFault, patching
from yilian.records.faults import Invalid, Malformed, TooLarge
from yilian.records.jsontext import DEPTH_MAX
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


def nested(levels):
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("levels", [DEPTH_MAX, 300, 600, 50_000])
async def test_what_nests_too_deep_is_refused_before_it_is_copied(here, levels):
    answer = await patch(here, b'[{"op":"add","path":"/x","value":%s},{"op":"add","path":"/y","value":1}]' % nested(levels))
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")


def test_no_row_of_operations_nests_deeper_than_may_be():
    deepest = b'{"a":%s}' % nested(DEPTH_MAX - 1)
    assert patched(b'{"a":1}', b'[{"op":"replace","path":"/a","value":%s}]' % nested(DEPTH_MAX - 1)) == deepest
    assert patched(deepest, b'[{"op":"move","from":"/a/0","path":"/b"},{"op":"copy","from":"/b","path":"/a/-"}]')
    for inner in ("add", "copy", "move"):
        into = {"op": inner, "path": "/a" + "/0" * (DEPTH_MAX - 1), "from": "/b", "value": [[]]}
        with pytest.raises(Malformed, match=f"^The resource would nest deeper than {DEPTH_MAX} levels"):
            patched(deepest[:-1] + b',"b":[[]]}', json.dumps([into]).encode())


NUMBERS = [b"0.0000001", b"1.0e2", b"-0", b"-0.0", b"1E-7", b"5.10", b"1E+400", b"12345678901234567890123456789012345678"]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_that_nobody_touched_or_that_were_put_in_are_written_as_they_came(number):
    body = b'{"a":%s,"b":[%s]}' % (number, number)
    assert patched(body, b"[]") == body
    copying = b'[{"op":"test","path":"/a","value":%s},{"op":"copy","from":"/a","path":"/c"},{"op":"add","path":"/d","value":%s}]'
    assert patched(body, copying % (number, number)) == body[:-1] + b',"c":%s,"d":%s}' % (number, number)


def test_a_test_compares_numbers_by_value_and_nothing_else_with_them():
    def tested(value):
        return patched(b'{"a":1.0e2,"b":1}', b'[{"op":"test","path":"/a","value":%s}]' % value)

    assert tested(b"100") == tested(b"100.000") == tested(b"1E2")
    for other in (b"100.1", b'"1.0e2"', b'"100"', b"true", b"null", b"[]"):
        with pytest.raises(Invalid, match=r"^Operation 0 is a test"):
            tested(other)
    with pytest.raises(Invalid, match=r"^Operation 0 is a test"):
        patched(b'{"b":1}', b'[{"op":"test","path":"/b","value":true}]')


def test_a_number_that_is_too_long_or_out_of_reach_is_refused():
    for number in (b"1" * 65, b"0." + b"0" * 63):
        with pytest.raises(TooLarge, match=r"^A number has more than 64 characters"):
            patched(b'{"a":1}', b'[{"op":"test","path":"/a","value":%s}]' % number)
    with pytest.raises(Invalid, match=r"^Operation 0"):
        patched(b'{"a":1}', b'[{"op":"test","path":"/a","value":1e99999999999999999999}]')


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (b'[{"op":"remove","op":"add","path":"/a"}]', "An object repeats a key: JSON with two meanings is not stored."),
        (b'[{"op":"add","path":"/a","value":{"b":[{"c":1,"c":1}]}}]', "An object repeats a key: JSON with two meanings is not stored."),
        (b'[{"op":"add","path":"/a","value":NaN}]', "NaN is not a JSON number."),
        (b'[{"op":"add","path":"/a","value":-Infinity}]', "-Infinity is not a JSON number."),
        (b"[", "The patch is not JSON that has one meaning."),
    ],
)
def test_a_patch_is_read_as_strictly_as_a_resource(given, sentence):
    with pytest.raises(Malformed) as no:
        patched(b'{"a":1}', given)
    assert (type(no.value), str(no.value)) == (Malformed, sentence)


def test_the_resource_is_copied_as_a_whole_for_no_operation(monkeypatch):
    copied, deepcopy = [], copy.deepcopy
    monkeypatch.setattr(copy, "deepcopy", lambda value, *memo: (copied.append(value), deepcopy(value, *memo))[1])
    patched(RESULT, json.dumps(replacing("/status", "amended") * OPERATIONS_MAX).encode())
    assert copied == ["amended"] * OPERATIONS_MAX


def test_what_a_patch_moves_and_copies_is_bounded_all_in_all(monkeypatch):
    monkeypatch.setattr(patching, "RESOURCE_BYTES_MAX", 8_000)
    body = b'{"a":"%s","b":[%s]}' % (b"x" * 2_400, b",".join([b"1"] * 2_400))

    def carrying(op, times, *names):
        return patched(body, json.dumps([{"op": op, "from": name, "path": name} for name in names for _ in range(times)]).encode())

    assert carrying("copy", 3, "/a") == carrying("copy", 1, "/b") == carrying("move", 3, "/b") == carrying("move", 100, "/a") == body
    for op, times, names in (("copy", 4, ["/a"]), ("copy", 2, ["/a", "/b"]), ("move", 4, ["/b"])):
        with pytest.raises(TooLarge, match=r"^A patch copies and moves more than 8000 bytes"):
            carrying(op, times, *names)


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
