"""Batch and transaction: order, rewriting, conditions, and all or nothing."""

import json

import pytest

from tests.unit.records_world import BASE, as_bytes, found, observation, patient, put, store_at
from yilian.records import BadQuery, Conflict, Gone, Invalid, Malformed, NotAllowed, NotFound, PreconditionFailed, response_bundle

PATIENT, VISIT = "urn:uuid:11111111-1111-4111-8111-111111111111", "urn:uuid:22222222-2222-4222-8222-222222222222"
DOCTOR = {"resourceType": "Practitioner", "id": "d", "identifier": [{"system": "urn:npi", "value": "9|9"}]}


def entry(method, url, tree=None, full_url=None, **conditions):
    return (
        ({"fullUrl": full_url} if full_url else {})
        | ({"resource": tree} if tree else {})
        | {"request": {"method": method, "url": url} | conditions}
    )


def bundle(*entries, kind="transaction"):
    return as_bytes({"resourceType": "Bundle", "type": kind, "entry": list(entries)})


@pytest.fixture
def store(tmp_path):
    with store_at(tmp_path) as opened:
        yield opened


def test_references_between_entries_become_references_to_what_is_stored(store):
    visit = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, "subject": {"reference": PATIENT}}
    seen = observation("ignored", "x") | {
        "subject": {"reference": PATIENT, "display": PATIENT},
        "encounter": {"reference": VISIT},
        "identifier": [{"system": "urn:ietf:rfc3986", "value": PATIENT}],
        "derivedFrom": [{"reference": "Observation/elsewhere"}],
    }
    outcome = store.process(
        bundle(
            entry("POST", "Observation", seen),
            entry("POST", "Encounter", visit, VISIT),
            entry("POST", "Patient", {"resourceType": "Patient"}, PATIENT),
        )
    )
    assert [(e.status, e.stored.type, e.stored.id) for e in outcome.entries] == [
        (201, "Observation", "n1"),
        (201, "Encounter", "n2"),
        (201, "Patient", "n3"),
    ]
    served = json.loads(store.read("Observation", "n1").body)
    assert served["subject"] == {"reference": "Patient/n3", "display": PATIENT}
    assert (served["encounter"], served["identifier"][0]["value"], served["id"]) == ({"reference": "Encounter/n2"}, PATIENT, "n1")
    assert found(store, "Observation", "subject=Patient/n3&encounter=n2") == ["n1"]
    assert json.loads(store.proof("Observation", "n1", "1").received) == seen


def test_a_reference_written_with_escapes_is_rewritten_too(store):
    url, text = r"http:\/\/x.example\/Patient\/7", r"\"reference\": \"http://x.example/Patient/7\""
    person = '{"resource":{"resourceType":"Patient"},"fullUrl":"http://x.example/Patient/7","request":{"method":"POST","url":"Patient"}}'
    basic = f'{{"resourceType":"Basic","code":{{"text":"{text}"}},"subject":{{"reference":"{url}"}}}}'
    entries = person + ',{"resource":' + basic + ',"request":{"method":"POST","url":"Basic"}}'
    body = ('{"resourceType":"Bundle","type":"transaction","entry":[' + entries + "]}").encode()
    store.process(body)
    served = json.loads(store.read("Basic", "n2").body)
    assert (served["subject"]["reference"], served["code"]["text"]) == ("Patient/n1", '"reference": "http://x.example/Patient/7"')


def test_links_of_other_types_are_rewritten_and_text_is_not(store):
    basic = {
        "resourceType": "Basic",
        "code": {"text": f'"url": "{PATIENT}", \\"reference": "{PATIENT}"'},
        "extension": [{"url": "http://x.example/a", "valueUri": PATIENT}, {"url": "http://x.example/b", "valueString": PATIENT}],
    }
    media = {"resourceType": "Media", "status": "completed", "content": {"url": PATIENT, "title": f'valueUri": "{PATIENT}'}}
    store.process(
        bundle(entry("POST", "Patient", {"resourceType": "Patient"}, PATIENT), entry("POST", "Basic", basic), entry("POST", "Media", media))
    )
    served = json.loads(store.read("Basic", "n2").body)
    assert (served["code"], served["extension"]) == (
        basic["code"],
        [{"url": "http://x.example/a", "valueUri": "Patient/n1"}, {"url": "http://x.example/b", "valueString": PATIENT}],
    )
    assert json.loads(store.read("Media", "n3").body)["content"] == {"url": "Patient/n1", "title": f'valueUri": "{PATIENT}'}


def test_a_conditional_reference_finds_the_one_match(store):
    put(store, DOCTOR)
    seen = observation("o", "x") | {"performer": [{"reference": "Practitioner?identifier=urn:npi|9\\|9"}]}
    store.process(bundle(entry("POST", "Observation", seen)))
    assert found(store, "Observation", "performer=Practitioner/d") == ["n1"]


def test_a_conditional_reference_that_matches_none_or_several_stops_the_transaction(store):
    for number, ids in enumerate(([], ["d1", "d2"])):
        for one in ids:
            put(store, DOCTOR | {"id": one})
        before = store.history().total
        seen = observation("o", "x") | {"performer": [{"reference": "Practitioner?identifier=9\\|9"}]}
        with pytest.raises(PreconditionFailed) as no:
            store.process(bundle(entry("POST", "Patient", {"resourceType": "Patient"}), entry("POST", "Observation", seen)))
        assert (
            str(no.value)
            == ("A conditional reference matches nothing.", "A condition that must match one resource matches several.")[number]
        )
        assert store.history().total == before


def test_a_dangling_reference_stops_the_transaction(store):
    with pytest.raises(Invalid) as no:
        store.process(
            bundle(
                entry("POST", "Patient", {"resourceType": "Patient"}),
                entry("POST", "Observation", observation("o", "x") | {"subject": {"reference": VISIT}}),
            )
        )
    assert [(i.code, i.expression, i.diagnostics) for i in no.value.issues] == [
        ("not-found", "Bundle.entry[1].resource", "A reference to an entry that the bundle does not hold.")
    ]
    assert store.history().total == 0


def test_conditional_create_makes_one_and_refers_to_it(store):
    def visit():
        return store.process(
            bundle(
                entry(
                    "POST", "Practitioner", {k: v for k, v in DOCTOR.items() if k != "id"}, PATIENT, ifNoneExist="identifier=urn:npi|9\\|9"
                ),
                entry("POST", "Observation", observation("o", "x") | {"performer": [{"reference": PATIENT}]}),
            )
        )

    first, second = visit(), visit()
    assert [e.status for e in first.entries] == [201, 201]
    assert [e.status for e in second.entries] == [200, 201]
    assert second.entries[0].stored == first.entries[0].stored
    assert len(found(store, "Observation", "performer=Practitioner/n1")) == 2
    assert store.create("Practitioner", as_bytes(DOCTOR), if_none_exist="identifier=urn:npi|9\\|9") == first.entries[0].stored


def test_entries_are_carried_out_in_the_order_of_the_specification(store):
    put(store, patient("old"))
    outcome = store.process(
        bundle(
            entry("GET", "Patient?_sort=_id"),
            entry("GET", "Patient/kept"),
            entry("PUT", "Patient/kept", patient("kept")),
            entry("POST", "Patient", {"resourceType": "Patient"}),
            entry("DELETE", "Patient/old"),
        )
    )
    assert [e.status for e in outcome.entries] == [200, 200, 201, 201, 204]
    assert [m.id for m in outcome.entries[0].page.matches] == ["kept", "n1"]
    assert outcome.entries[1].stored.id == "kept"


@pytest.mark.parametrize(
    ("bad", "answer"),
    [
        (entry("PUT", "Patient/a", patient("a"), ifMatch='W/"9"'), Conflict),
        (entry("DELETE", "Patient/nobody"), NotFound),
        (entry("DELETE", "Patient?identifier=nobody"), NotFound),
        (entry("GET", "Patient/nobody"), NotFound),
        (entry("GET", "Patient/gone"), Gone),
        (entry("GET", "Patient/a/_history/9"), NotFound),
        (entry("GET", "Patient?surname=x"), BadQuery),
        (entry("POST", "Patient", patient("a", gender="x")), Invalid),
        (entry("POST", "Patient", DOCTOR), Invalid),
        (entry("POST", "Patient/b", patient("b")), Invalid),
        (entry("POST", "Nobody", patient("b")), Invalid),
        (entry("PUT", "Patient/a b", patient("b")), Invalid),
        (entry("POST", "Patient"), Invalid),
        (entry("DELETE", "Patient/a", patient("a")), Invalid),
        (entry("PATCH", "Patient/a", patient("a")), NotAllowed),
        (entry("POST", "Patient", patient("a"), "urn:uuid:same"), Invalid),
        (entry("PUT", "Patient/first", patient("first")), Invalid),
        (entry("POST", "Patient", patient("a"), ifNoneExist=7), Invalid),
        ({"resource": patient("a")}, Invalid),
        ({"resource": patient("a"), "request": {"method": "POST"}}, Invalid),
        ({"resource": patient("a"), "fullUrl": 7, "request": {"method": "POST", "url": "Patient"}}, Invalid),
        ("text", Malformed),
    ],
)
def test_one_refused_entry_stops_the_whole_transaction(store, bad, answer):
    put(store, patient("a"))
    put(store, patient("gone"))
    store.delete("Patient", "gone")
    before = store.history().total
    with pytest.raises(answer) as no:
        store.process(bundle(entry("PUT", "Patient/first", patient("first"), "urn:uuid:same"), bad))
    assert type(no.value) is answer
    assert store.history().total == before


def test_in_a_batch_each_entry_stands_alone(store):
    outcome = store.process(
        bundle(
            entry("PUT", "Patient/a", patient("a")),
            entry("PUT", "Patient/b", patient("b", gender="x")),
            entry("GET", "Patient/nobody"),
            entry("GET", "Patient?_id=a"),
            entry("DELETE", "Patient/a"),
            kind="batch",
        )
    )
    assert [e.status for e in outcome.entries] == [201, 422, 404, 200, 204]
    answer = json.loads(response_bundle(outcome, BASE))
    assert answer["type"] == "batch-response"
    assert answer["entry"][0]["response"]["location"] == f"{BASE}/Patient/a/_history/1"
    assert answer["entry"][1]["response"]["outcome"]["issue"][0]["expression"] == ["Bundle.entry[1].resource: Patient.gender"]
    assert answer["entry"][3]["resource"]["total"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Bundle", "type": "collection", "entry": []},
        {"resourceType": "Bundle"},
        {"resourceType": "Patient", "type": "transaction"},
        {"resourceType": "Bundle", "type": ["transaction"]},
    ],
)
def test_what_is_neither_batch_nor_transaction_is_refused(store, body):
    with pytest.raises(Invalid) as no:
        store.process(as_bytes(body))
    assert [(i.expression, i.diagnostics) for i in no.value.issues] == [
        ("Bundle.type", "A Bundle of type batch or transaction is expected.")
    ]


def test_an_empty_transaction_answers_an_empty_bundle(store):
    outcome = store.process(as_bytes({"resourceType": "Bundle", "type": "transaction"}))
    assert json.loads(response_bundle(outcome, BASE)) == {"resourceType": "Bundle", "type": "transaction-response", "entry": []}
