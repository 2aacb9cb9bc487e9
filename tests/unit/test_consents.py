"""The artefact of a grant: what is not wholly understood is refused."""

import json
from dataclasses import replace

import fhirkit
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yilian.base.codec import Malformed
from yilian.base.consents import ConsentNotUnderstood, Terms, build, parse
from yilian.base.datetimes import datetime_text, seconds_of
from yilian.base.terms import PROTECTED, PURPOSES

GIVEN_S = 1_790_000_000
PLAIN = Terms(b"c" * 32, b"p" * 16, "clinic-1", "hospital-1", "TREAT", GIVEN_S, GIVEN_S + 86_400, 5)
FULL = replace(
    PLAIN,
    interval_s=43_200,
    resource_types=("Condition", "Observation"),
    data_from_s=GIVEN_S - 999_999,
    data_until_s=GIVEN_S,
    labels_allowed=("PSY", "R"),
    labels_denied=("HIV",),
    practitioner=b"d" * 32,
    role="physician",
    erase_at_s=GIVEN_S + 86_400 * 30,
)


def said(terms: Terms) -> dict:
    return json.loads(build(terms))


def refused(consent: object) -> str:
    with pytest.raises(ConsentNotUnderstood) as no:
        parse(consent if isinstance(consent, bytes) else json.dumps(consent).encode())
    return str(no.value)


VARIANTS = [
    PLAIN,
    FULL,
    replace(FULL, role=None),
    replace(FULL, practitioner=None),
    replace(PLAIN, data_from_s=5),
    replace(PLAIN, data_until_s=5),
    replace(PLAIN, labels_denied=("PSY",)),
    replace(PLAIN, labels_allowed=("V",)),
]


@pytest.mark.parametrize("terms", VARIANTS)
def test_what_is_built_is_valid_fhir_and_says_the_same_terms(terms):
    assert fhirkit.validate(build(terms).decode()) == []
    assert parse(build(terms)) == terms
    assert build(parse(build(terms))) == build(terms)


def test_the_end_of_a_fhir_period_is_inclusive_and_ours_is_not():
    period = said(PLAIN)["provision"]["period"]
    assert (seconds_of(period["start"]), seconds_of(period["end"])) == (GIVEN_S, GIVEN_S + 86_400 - 1)
    assert said(replace(PLAIN, data_until_s=86_400))["provision"]["dataPeriod"] == {"end": "1970-01-01T23:59:59Z"}


def test_the_profile_is_claimed_only_where_it_is_kept():
    profiles = [
        said(terms).get("meta") for terms in (PLAIN, replace(PLAIN, labels_denied=("PSY",)), FULL, replace(PLAIN, labels_allowed=("V",)))
    ]
    base = "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consent"
    assert profiles == [{"profile": [base + "Intermediate"]}, {"profile": [base + "Advanced"]}, None, None]


def test_white_space_and_the_order_of_members_are_free():
    assert parse(json.dumps(said(FULL), indent=3, sort_keys=True).encode()) == FULL


def each_place(value, path=()):
    yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inner:
        yield from each_place(item, (*path, step))


def altered(consent: dict, path: tuple, change) -> dict:
    fresh = json.loads(json.dumps(consent))
    here = fresh
    for step in path[:-1]:
        here = here[step]
    if path:
        here[path[-1]] = change(here[path[-1]])
        return fresh
    return change(fresh)


PLACES = [path for path, _ in each_place(said(FULL))]
OBJECTS = [path for path, value in each_place(said(FULL)) if isinstance(value, dict)]
LISTS = [path for path, value in each_place(said(FULL)) if isinstance(value, list)]


@pytest.mark.parametrize("path", OBJECTS, ids=str)
@pytest.mark.parametrize("name", ["extension", "modifierExtension", "provision", "action", "code", "data", "verification", "policyRule"])
def test_an_element_that_is_not_understood_is_refused_wherever_it_stands(path, name):
    consent = altered(said(FULL), path, lambda here: here if name in here else {**here, name: [{"url": "x"}]})
    if consent != said(FULL):
        assert "understood" in refused(consent)


@pytest.mark.parametrize("path", LISTS, ids=str)
def test_a_second_item_or_none_is_refused(path):
    for wrong in (lambda here: here + here[:1], lambda here: []):
        assert refused(altered(said(FULL), path, wrong))  # with a sentence


@pytest.mark.parametrize("path", PLACES[1:], ids=str)
@pytest.mark.parametrize("value", [None, True, 1, "x", [], {}, "deny", "entered-in-error"], ids=str)
def test_no_place_takes_another_value_unless_other_terms_say_exactly_that(path, value):
    consent = altered(said(FULL), path, lambda here: value)
    try:
        terms = parse(json.dumps(consent).encode())
    except ConsentNotUnderstood:
        return
    assert said(terms) == consent
    assert terms != FULL or consent == said(FULL)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\xff", "the bytes are not JSON in UTF-8"),
        (b"", "the bytes are not JSON in UTF-8"),
        (json.dumps({}).encode("utf-16"), "the bytes are not JSON in UTF-8"),
        (b'{"a":1,"a":1}', "the JSON says one thing twice"),
        (b'{"a":1.0}', "1.0 is not a whole number"),
        (b'{"a":NaN}', "NaN is not a whole number"),
        (b"[" * 16_000, "the bytes are not JSON in UTF-8"),
        (b" " * 16_385, "a Consent has at most 16384 bytes"),
        (b"[]", "the Consent lacks modifierExtension"),
        (b"{}", "the Consent lacks modifierExtension"),
    ],
)
def test_what_is_no_consent_is_refused_with_a_sentence(data, sentence):
    assert refused(data) == sentence


def test_a_deny_an_inactive_and_a_wider_consent_are_refused_by_name():
    for path, value, where in [
        (("provision", "type"), "deny", "Consent.provision.type"),
        (("status",), "inactive", "Consent.status"),
        (("scope", "coding", 0, "code"), "research", "Consent.scope.coding[0].code"),
        (("provision", "actor", 0, "role", "coding", 0, "code"), "CST", "Consent.provision.actor[0].role.coding[0].code"),
    ]:
        assert refused(altered(said(PLAIN), path, lambda _, value=value: value)) == (
            f"{where} is not understood, so nothing of this Consent is"
        )
    nested = altered(said(PLAIN), ("provision",), lambda here: {**here, "provision": [{"type": "permit"}]})
    assert refused(nested) == "the Consent lacks securityLabel"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"control_key": b"short"}, "a key in the terms has the wrong length"),
        ({"practitioner": b"short"}, "a key in the terms has the wrong length"),
        ({"holder": "医院"}, "a member's id is printable ASCII of 1 to 32 characters"),
        ({"role": "Dr"}, "a role is 1 to 32 small letters, digits and hyphens"),
        ({"purpose": "MARKT"}, "the purpose is none of " + ", ".join(PURPOSES)),
        ({"resource_types": ("observation",)}, "a resource type is not one of FHIR's names"),
        ({"resource_types": ("Observation", "Condition")}, "names are listed once each, in ascending order"),
        ({"labels_allowed": ("N",)}, "a security label is none of " + ", ".join(PROTECTED)),
        ({"until_s": GIVEN_S}, "the grant ends before it is given"),
        ({"data_from_s": 7, "data_until_s": 7}, "the period of the data ends before it begins"),
        ({"erase_at_s": 10**15}, "an instant lies outside the years 1 to 9999"),
        ({"uses_max": 0}, "uses and interval are positive numbers below 2147483648"),
        ({"uses_max": True}, "uses and interval are positive numbers below 2147483648"),
        ({"interval_s": 2**31}, "uses and interval are positive numbers below 2147483648"),
    ],
)
def test_terms_that_nobody_can_mean_are_refused(change, sentence):
    with pytest.raises(ConsentNotUnderstood) as no:
        replace(PLAIN, **change)
    assert str(no.value) == sentence


def test_a_label_opens_only_where_it_is_named_and_not_denied():
    assert PLAIN.opens_labels(())
    assert PLAIN.opens_labels(("N",))
    assert not PLAIN.opens_labels(("R",))
    assert FULL.opens_labels(("R", "PSY", "M"))
    assert not FULL.opens_labels(("R", "HIV"))
    assert not replace(PLAIN, labels_allowed=("HIV",), labels_denied=("HIV",)).opens_labels(("HIV",))
    assert not FULL.opens_labels(("SOMETHING-NEW",))


def test_types_and_the_period_of_the_data_narrow():
    assert PLAIN.opens_type("Patient")
    assert (FULL.opens_type("Observation"), FULL.opens_type("Patient")) == (True, False)
    first_s, end_s = FULL.data_from_s, FULL.data_until_s
    assert FULL.opens_instant(first_s, end_s)
    assert not FULL.opens_instant(first_s - 1, end_s)
    assert not FULL.opens_instant(first_s, end_s + 1)
    assert PLAIN.opens_instant(-5, 10**12)


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_an_instant_has_one_text(instant_s):
    assert seconds_of(datetime_text(instant_s)) == instant_s


@pytest.mark.parametrize(
    "text", ["2026-02-29T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00+08:00", "2026-01-01T00:00:00.0Z", "2026-01-01T24:00:00Z", 5, None]
)
def test_another_text_of_an_instant_is_malformed(text):
    with pytest.raises(Malformed):
        seconds_of(text)


@given(st.binary(max_size=80))
def test_any_bytes_get_an_answer(data):
    with pytest.raises(ConsentNotUnderstood):
        parse(data)
