"""Received bytes: what is refused before it is a resource, and what is spliced into what is served."""

import json

import pytest

from yilian.records import Malformed, TooLarge, spliced
from yilian.records.jsontext import identity_splices, read_bundle, read_resource


@pytest.mark.parametrize(
    ("data", "kind", "sentence"),
    [
        (b"", Malformed, "A FHIR resource is a JSON object."),
        (b"[]", Malformed, "A FHIR resource is a JSON object."),
        (b'"text"', Malformed, "A FHIR resource is a JSON object."),
        (b"{", Malformed, "The body is not JSON: it ends too early or a value is missing."),
        (b'{"a":1', Malformed, "The body is not JSON: it ends too early or a value is missing."),
        (b'{"a" 1}', Malformed, "A colon is expected after a member's name."),
        (b'{"a":1,}', Malformed, "A member's name is expected."),
        (b"{a:1}", Malformed, "A member's name is expected."),
        (b'{"a":01}', Malformed, "A comma or the object's end is expected."),
        (b'{"a":tru}', Malformed, "The body is not JSON: it ends too early or a value is missing."),
        (b'{"a":"\x01"}', Malformed, "The body is not JSON: at character 6."),
        (b'{"a":1} {"a":1}', Malformed, "Something follows the end of the JSON object."),
        (b'{"a":1,"a":2}', Malformed, "An object repeats a key: JSON with two meanings is not stored."),
        (b'{"a":{"b":1,"b":1}}', Malformed, "An object repeats a key: JSON with two meanings is not stored."),
        (b'{"a":NaN}', Malformed, "NaN is not a JSON number."),
        (b'{"a":1e99999999999999999999}', Malformed, "A number's exponent is out of reach."),
        (b'{"a":[-Infinity]}', Malformed, "-Infinity is not a JSON number."),
        (b'{"a":"\xff"}', Malformed, "The body is not UTF-8."),
        (b"\xef\xbb\xbf{}", Malformed, "A FHIR resource is a JSON object."),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", TooLarge, "The body nests deeper than 48 levels."),
        (b'{"a":' + b"9" * 65 + b"}", TooLarge, "A number has more than 64 characters."),
        (b'{"a":1.' + b"9" * 64 + b"}", TooLarge, "A number has more than 64 characters."),
        (b'{"a":"' + b"x" * 4_194_304 + b'"}', TooLarge, "The body is larger than 4194304 bytes."),
    ],
)
def test_what_is_not_json_with_one_meaning_is_refused(data, kind, sentence):
    with pytest.raises(Malformed if kind is Malformed else TooLarge) as no:
        read_resource(data)
    assert (type(no.value), str(no.value)) == (kind, sentence)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'{"entry":{}}', "Bundle.entry is not an array."),
        (b'{"entry":[1]}', "An entry is not an object."),
        (b'{"entry":[{},]}', "An entry is expected after a comma."),
        (b'{"entry":[{} {}]}', "A comma or the array's end is expected."),
        (b'{"entry":[{}', "The body is not JSON: it ends too early or a value is missing."),
        (b'{"entry":[{"resource":7}]}', "An entry's resource is not an object."),
    ],
)
def test_a_bundle_that_is_none_is_refused(data, sentence):
    with pytest.raises(Malformed) as no:
        read_bundle(data)
    assert str(no.value) == sentence


def test_each_entry_keeps_its_own_bytes():
    one, two = b'{ "resourceType" : "Patient",\n "id":"a" }', '{"resourceType":"Patient","name":[{"text":"王小明"}]}'.encode()
    bundle = read_bundle(b'{"resourceType":"Bundle","entry":[ {"resource": ' + one + b'} ,{"fullUrl":"x","resource":' + two + b"},{}]}")
    assert [None if d is None else d.encoded() for d in bundle.resources] == [one, two, None]


@pytest.mark.parametrize(
    ("received", "served"),
    [
        (
            '{"resourceType":"Patient","active":true}',
            '{"resourceType":"Patient","id":"x","meta":{"versionId":"3","lastUpdated":"T"},"active":true}',
        ),
        ('{"id":"x","resourceType":"Patient"}', '{"id":"x","resourceType":"Patient","meta":{"versionId":"3","lastUpdated":"T"}}'),
        (
            '{ "resourceType" : "Patient" , "id" : "old", "meta" : { } }',
            '{ "resourceType" : "Patient" , "id" : "x", "meta" : {"versionId":"3","lastUpdated":"T" } }',
        ),
        (
            '{"resourceType":"Patient","id":"x","meta":{"lastUpdated":"then","tag":[{"code":"é"}],"versionId":"9"}}',
            '{"resourceType":"Patient","id":"x","meta":{"lastUpdated":"T","tag":[{"code":"é"}],"versionId":"3"}}',
        ),
        (
            '{"resourceType":"Patient","name":[{"text":"王"}],"meta":{"tag":[{"code":"a"}]},"id":"é"}',
            '{"resourceType":"Patient","name":[{"text":"王"}],"meta":{"versionId":"3","lastUpdated":"T","tag":[{"code":"a"}]},"id":"x"}',
        ),
    ],
)
def test_only_id_and_meta_are_spliced_in(received, served):
    document = read_resource(received.encode())
    splices = document.in_bytes(identity_splices(document, "x", 3, "T"))
    assert spliced(received.encode(), splices).decode() == served
    assert json.loads(served)["id"] == "x"
