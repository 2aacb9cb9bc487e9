"""Validation: each rule by a resource that breaks it and no other, the issues compared whole."""

import pytest

from tests.unit.records_world import as_bytes, observation, patient
from yilian.records import Invalid, Malformed, validate
from yilian.records.jsontext import read_resource
from yilian.records.validate import check, issues_of

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


def narrative(inside):
    return {"text": {"status": "generated", "div": DIV.format(inside)}}


UNIT = {"system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
ENDED = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "resolved"}]}
WRONG = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "entered-in-error"}]}
CONDITION = {"resourceType": "Condition", "subject": {"reference": "Patient/a"}}
BROKEN = [
    (patient("a", gender="x"), "Patient.gender", "code-invalid", "a code outside the required value set"),
    (patient("a b"), "Patient.id", "value", "not a valid id"),
    (patient("a" * 65), "Patient.id", "value", "not a valid id"),
    (patient("a", birthDate="2021-02-29"), "Patient.birthDate", "value", "not a valid date, or a day that no calendar has"),
    (patient("a", birthDate="0000-01-01"), "Patient.birthDate", "value", "not a valid date, or a day that no calendar has"),
    (patient("a", birthDate="2021-1-1"), "Patient.birthDate", "value", "not a valid date, or a day that no calendar has"),
    (patient("a", birthDate="2021-01-01T00:00:00Z"), "Patient.birthDate", "value", "not a valid date"),
    (
        observation("a", "b", effectiveDateTime="2021-01-01T10:00:00"),
        "Observation.effective",
        "value",
        "not a valid dateTime, or a day that no calendar has",
    ),
    (observation("a", "b", issued="2021-01-01"), "Observation.issued", "value", "not a valid instant"),
    (patient("a", active="true"), "Patient.active", "value", "expected true or false"),
    (patient("a", active=None), "Patient.active", "value", "expected true or false"),
    (patient("a", multipleBirthInteger=1.5), "Patient.multipleBirth", "value", "not an integer in the range of its type"),
    (patient("a", multipleBirthInteger=2**31), "Patient.multipleBirth", "value", "not an integer in the range of its type"),
    (patient("a", multipleBirthInteger=True), "Patient.multipleBirth", "value", "not an integer in the range of its type"),
    (patient("a", name=[]), "Patient.name", "structure", "an empty array is not allowed; leave the element out"),
    (patient("a", name=[{}]), "Patient.name[0]", "structure", "an empty object is not allowed; leave the element out"),
    (patient("a", name={"text": "x"}), "Patient.name", "structure", "expected an array"),
    (patient("a", name=["x"]), "Patient.name[0]", "structure", "expected an object"),
    (patient("a", name=[None]), "Patient.name[0]", "structure", "expected an object"),
    (patient("a", name=[{"text": ""}]), "Patient.name[0].text", "value", "an empty string is not allowed; leave the element out"),
    (patient("a", name=[{"text": " \n"}]), "Patient.name[0].text", "value", "an empty string is not allowed; leave the element out"),
    (patient("a", name=[{"text": "a\x07"}]), "Patient.name[0].text", "value", "a control character or half a surrogate pair is not text"),
    (patient("a", surname="x"), "Patient", "structure", "an element that R4 does not define here"),
    (
        patient("a", maritalStatus={"resourceType": "x", "text": "s"}),
        "Patient.maritalStatus",
        "structure",
        "an element that R4 does not define here",
    ),
    (patient("a", _name=[{"id": "x"}]), "Patient", "structure", "an element that R4 does not define here"),
    (
        patient("a", deceasedBoolean=True, deceasedDateTime="2020"),
        "Patient.deceased",
        "structure",
        "only one type of a choice may be given",
    ),
    ({"resourceType": "Observation", "status": "final"}, "Observation.code", "required", "a required element is missing"),
    (
        patient("a", contact=[{"gender": "male"}]),
        "Patient.contact[0]",
        "invariant",
        "pat-1: a contact needs a name, telecom, address or organization",
    ),
    (patient("a", telecom=[{"value": "1"}]), "Patient.telecom[0]", "invariant", "cpt-2: a contact point's value needs its system"),
    (patient("a", photo=[{"data": "QQ=="}]), "Patient.photo[0]", "invariant", "att-1: attached data needs its content type"),
    (patient("a", photo=[{"data": "Q", "contentType": "image/png"}]), "Patient.photo[0].data", "value", "not valid base64"),
    (
        patient("a", extension=[{"url": "u"}]),
        "Patient.extension[0]",
        "invariant",
        "ext-1: an extension has either a value or extensions, not both and not neither",
    ),
    (patient("a", generalPractitioner=[{"reference": "#p"}]), "Patient", "invariant", "ref-1: a fragment points to no contained resource"),
    (patient("a", contained=[{"resourceType": "Nobody"}]), "Patient.contained[0]", "structure", "not a resource of a type that R4 defines"),
    (
        patient(
            "a",
            contained=[
                {
                    "resourceType": "Basic",
                    "id": "b",
                    "code": {"text": "x"},
                    "contained": [{"resourceType": "Basic", "id": "c", "code": {"text": "y"}}],
                }
            ],
        ),
        "Patient.contained[0]",
        "invariant",
        "dom-2: a contained resource contains another",
    ),
    (
        patient("a", contained=[{"resourceType": "Organization", "id": "b", "name": "x", "meta": {"security": [{"code": "R"}]}}]),
        "Patient.contained[0]",
        "invariant",
        "dom-4, dom-5: a contained resource has a version, a time or a label of its own",
    ),
    (
        patient("a", **narrative("<script>1</script>")),
        "Patient.text",
        "invariant",
        "The narrative has an element outside the allow-list of txt-1.",
    ),
    (
        patient("a", **narrative('<p onclick="x">1</p>')),
        "Patient.text",
        "invariant",
        "The narrative has an attribute outside the allow-list of txt-1.",
    ),
    (
        patient("a", **narrative('<a href="javascript:x">1</a>')),
        "Patient.text",
        "invariant",
        "The narrative links to a scheme that is not allowed.",
    ),
    (
        patient("a", **narrative('<a href=" java&#10;script:x">1</a>')),
        "Patient.text",
        "invariant",
        "The narrative links to a scheme that is not allowed.",
    ),
    (
        patient("a", **narrative('<p style="background:url(x)">1</p>')),
        "Patient.text",
        "invariant",
        "The narrative's style fetches or runs something.",
    ),
    (patient("a", **narrative("<p>")), "Patient.text", "invariant", "The narrative is not well-formed XHTML."),
    (patient("a", **narrative(" ")), "Patient.text", "invariant", "The narrative says nothing (txt-2)."),
    (
        patient("a", **narrative("<?php x?>")),
        "Patient.text",
        "invariant",
        "The narrative has a document type, an entity or a processing instruction.",
    ),
    (
        patient("a", text={"status": "generated", "div": "<div>x</div>"}),
        "Patient.text",
        "invariant",
        "The narrative is not a div in the XHTML namespace.",
    ),
    (
        patient("a", text={"status": "generated", "div": '<!DOCTYPE d [<!ENTITY e "x">]>' + DIV.format("&e;")}),
        "Patient.text",
        "invariant",
        "The narrative has a document type, an entity or a processing instruction.",
    ),
    (
        observation("a", "b", valueString="x", dataAbsentReason={"text": "y"}),
        "Observation",
        "invariant",
        "obs-6: a reason for absence stands beside a value",
    ),
    (
        observation("a", "b", valueString="x", component=[{"code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}}]),
        "Observation",
        "invariant",
        "obs-7: a component repeats the code of an observation that has a value itself",
    ),
    (
        observation("a", "b", referenceRange=[{"type": {"text": "x"}}]),
        "Observation.referenceRange[0]",
        "invariant",
        "obs-3: a reference range needs a low, a high or a text",
    ),
    (
        observation("a", "b", valueQuantity={"value": 1, "code": "g"}),
        "Observation.value",
        "invariant",
        "qty-3: a unit's code needs its system",
    ),
    (
        observation("a", "b", valueRatio={"numerator": {"value": 1}}),
        "Observation.value",
        "invariant",
        "rat-1: a ratio has both parts or neither",
    ),
    (
        observation("a", "b", valueRange={"low": {"value": 2} | UNIT, "high": {"value": 1} | UNIT}),
        "Observation.value",
        "invariant",
        "rng-2: a range's low is above its high",
    ),
    (
        observation("a", "b", effectivePeriod={"start": "2021", "end": "2020"}),
        "Observation.effective",
        "invariant",
        "per-1: a period ends before it starts",
    ),
    (
        observation("a", "b", effectiveTiming={"repeat": {"duration": 1}}),
        "Observation.effective.repeat",
        "invariant",
        "tim-1 to tim-8: a repeat lacks a unit or base, or is negative",
    ),
    (
        CONDITION | {"abatementString": "x"},
        "Condition",
        "invariant",
        "con-4: a condition that abated is resolved, in remission or inactive",
    ),
    (
        CONDITION | {"verificationStatus": WRONG, "clinicalStatus": ENDED},
        "Condition",
        "invariant",
        "con-5: a condition entered in error has no clinical status",
    ),
    ({"resourceType": "Organization", "active": True}, "Organization", "invariant", "org-1: an organization needs a name or an identifier"),
]


@pytest.mark.parametrize(("tree", "expression", "code", "diagnostics"), BROKEN)
def test_each_rule_is_said_once_and_where_it_is_broken(tree, expression, code, diagnostics):
    issues = issues_of(read_resource(as_bytes(tree)))
    assert [(i.severity, i.expression, i.code, i.diagnostics) for i in issues] == [("error", expression, code, diagnostics)]


@pytest.mark.parametrize(("tree", "expression", "code", "diagnostics"), BROKEN)
def test_our_own_checks_stand_without_fhirkit(tree, expression, code, diagnostics, monkeypatch):
    monkeypatch.setattr(validate, "_fhirkit", None)
    issues = issues_of(read_resource(as_bytes(tree)))
    assert [(i.expression, i.code, i.diagnostics) for i in issues] == [(expression, code, diagnostics)]


@pytest.mark.parametrize(
    "tree",
    [
        patient("a"),
        patient("a", birthDate="2024-02-29", deceasedDateTime="2024"),
        patient("a", _birthDate={"extension": [{"url": "http://x.example/why", "valueCode": "unknown"}]}),
        patient("a", name=[{"given": ["A", None], "_given": [None, {"extension": [{"url": "http://x.example/u", "valueCode": "x"}]}]}]),
        patient(
            "a",
            **narrative(
                '<p class="x">1 &nbsp;&lt; 2 <a href="https://x.example/?a=b:c">y</a><a href="#z">z</a><img src="p.png" alt="p"/></p>'
            ),
        ),
        patient("a", contained=[{"resourceType": "Organization", "id": "o", "name": "x"}], managingOrganization={"reference": "#o"}),
        observation("a", "b", effectiveDateTime="2024-05-01T10:00:00.123456+08:00", valueQuantity={"value": 1} | UNIT),
        CONDITION | {"abatementDateTime": "2020-01", "clinicalStatus": ENDED},
        {"resourceType": "Observation", "_status": {"extension": [{"url": "http://x.example/u", "valueCode": "x"}]}, "code": {"text": "x"}},
    ],
)
def test_what_r4_allows_is_allowed(tree):
    assert issues_of(read_resource(as_bytes(tree))) == []


@pytest.mark.parametrize(
    ("body", "issue"),
    [
        (b'{"resourceType":"Nobody"}', ("", "structure", "resourceType is missing or not a type that R4 defines")),
        (b'{"id":"a"}', ("", "structure", "resourceType is missing or not a type that R4 defines")),
        (b'{"resourceType":["Patient"]}', ("", "structure", "resourceType is missing or not a type that R4 defines")),
        (b'{"resourceType":"Practitioner"}', ("Practitioner", "invalid", "resourceType is not Patient, the type that was addressed")),
    ],
)
def test_the_type_is_the_one_that_was_addressed(body, issue):
    with pytest.raises(Invalid) as no:
        check(read_resource(body), "Patient")
    assert [(i.expression, i.code, i.diagnostics) for i in no.value.issues] == [issue]


def test_no_answer_repeats_a_value_of_the_resource():
    tree = patient(
        "a", gender="secretgender", birthDate="1911-99-99", name=[{"text": "秘密", "use": "secretuse", "secretkey": 1}], secretkey="x"
    )
    with pytest.raises(Invalid) as no:
        check(read_resource(as_bytes(tree)))
    assert len(no.value.issues) == 5
    assert not any(word in no.value.outcome().decode() for word in ("secret", "1911", "秘密"))


def test_half_a_surrogate_pair_is_refused():
    issues = issues_of(read_resource(b'{"resourceType":"Patient","name":[{"text":"\\ud800"}]}'))
    assert [i.diagnostics for i in issues] == ["a control character or half a surrogate pair is not text"]


def test_an_exponent_that_would_take_a_lifetime_is_refused():
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1e999999999}}'
    assert [(i.expression, i.diagnostics) for i in issues_of(read_resource(body))] == [
        ("Observation.value.value", "a number's exponent is out of range")
    ]


def test_the_second_reader_is_asked_and_quotes_nothing(monkeypatch):
    class Stern:
        class ParseError(ValueError):
            pass

        @staticmethod
        def validate(_text):
            class Problem:
                severity, path, message = "error", "Patient.secret key", '"secret" is wrong'

            return [Problem]

    monkeypatch.setattr(validate, "_fhirkit", Stern)
    issues = issues_of(read_resource(as_bytes(patient("a"))))
    assert [(i.expression, i.diagnostics) for i in issues] == [("", "a value is wrong")]


def test_what_the_second_reader_cannot_read_is_refused(monkeypatch):
    class Stern:
        class ParseError(ValueError):
            pass

        @staticmethod
        def validate(_text):
            raise Stern.ParseError

    monkeypatch.setattr(validate, "_fhirkit", Stern)
    with pytest.raises(Malformed) as no:
        issues_of(read_resource(as_bytes(patient("a"))))
    assert str(no.value) == "The body is not JSON that a second reader accepts."
