"""A scope narrows whatever the store answers: matches, totals, includes, chains, history, $everything, $export alike."""

import json

import pytest

from tests.unit.records_world import BASE, found, observation, patient, put, quantity, store_at
from yilian.records import Gone, NotFound, Scope, parse_query, searching
from yilian.records.compartments import place


def at_s(day: str) -> int:
    from yilian.records.primitives import extent_ms

    span = extent_ms(day)
    assert span is not None
    return span[0] // 1000


def labelled(*codes):
    return {"meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": c} for c in codes]}}


WORLD = [
    {"resourceType": "Organization", "id": "h", "name": "Hospital"},
    {"resourceType": "Practitioner", "id": "d", "name": [{"family": "Doctor"}]},
    {"resourceType": "Practitioner", "id": "vip", "name": [{"family": "Hidden"}]} | labelled("V"),
    patient("a", name=[{"family": "A"}], managingOrganization={"reference": "Organization/h"}, gender="male"),
    patient("b", name=[{"family": "B"}], gender="female", link=[{"other": {"reference": "Patient/a"}, "type": "seealso"}]),
    observation("a2019", "a", effectiveDateTime="2019-12-31T23:59:59Z", performer=[{"reference": "Practitioner/d"}]),
    observation("a2020", "a", effectiveDateTime="2020-01-01T00:00:00Z", performer=[{"reference": "Practitioner/d"}]),
    observation("a2021", "a", effectiveDateTime="2021-06-01", performer=[{"reference": "Practitioner/vip"}], valueQuantity=quantity(1)),
    observation("a-month", "a", effectiveDateTime="2021-12"),
    observation("a-long", "a", effectivePeriod={"start": "2019-06-01", "end": "2021-01-01"}),
    observation("a-open", "a", effectivePeriod={"start": "2021-01-01"}),
    observation("a-undated", "a"),
    observation("a-secret", "a", effectiveDateTime="2021-06-01", **labelled("R")),
    observation("a-psy", "a", effectiveDateTime="2021-06-01", **labelled("N", "PSY")),
    observation("b2021", "b", effectiveDateTime="2021-06-01", code="777", derivedFrom=[{"reference": "Observation/a2021"}]),
    {
        "resourceType": "Group",
        "id": "both",
        "type": "person",
        "actual": True,
        "member": [{"entity": {"reference": "Patient/a"}}, {"entity": {"reference": "Patient/b"}}],
    },
    {
        "resourceType": "Condition",
        "id": "c",
        "subject": {"reference": "Patient/a"},
        "onsetDateTime": "2021-02-03",
        "code": {"coding": [{"system": "urn:c", "code": "hiv"}]},
    },
]
OF_A = Scope(patient_id="a")
OBSERVATIONS = Scope(patient_id="a", types=frozenset({"Observation"}))
WHOLE_A = {"a2019", "a2020", "a2021", "a-month", "a-long", "a-open", "a-undated", "a-secret", "a-psy"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with store_at(tmp_path_factory.mktemp("scope")) as opened:
        for tree in WORLD:
            put(opened, tree)
        yield opened


def answers(store, scope):
    """Return the ids of observations in scope by every way there is, each said to be the same."""
    searched = set(found(store, "Observation", "", scope))
    paged = set(found(store, "Observation", "_count=1&_sort=date", scope))
    total = store.search(parse_query("Observation", "_summary=count"), scope).total
    versions = {v.id for v in store.history("Observation", scope=scope).versions}
    exported = {json.loads(line)["id"] for kind, line in store.export(scope) if kind == "Observation"}
    every = {s.id for s in store.everything("a", scope) if s.type == "Observation"}
    read = set()
    for tree in WORLD:
        if tree["resourceType"] == "Observation":
            try:
                read.add(store.read("Observation", tree["id"], scope).id)
                store.vread("Observation", tree["id"], "1", scope)
            except NotFound:
                continue
    assert searched == paged == versions == exported == every == read
    assert total == len(searched) == store.history("Observation", scope=scope).total
    return searched


@pytest.mark.parametrize(
    ("scope", "ids"),
    [
        (OF_A, WHOLE_A),
        (OBSERVATIONS, WHOLE_A),
        (Scope(patient_id="a", types=frozenset({"Condition"})), set()),
        (Scope(patient_id="a", types=frozenset({"Nobody"})), set()),
        (Scope(patient_id="a", types=frozenset()), set()),
        (Scope(patient_id="a", from_s=at_s("2020-01-01")), {"a2020", "a2021", "a-month", "a-open", "a-secret", "a-psy"}),
        (Scope(patient_id="a", until_s=at_s("2020-01-01")), {"a2019"}),
        (Scope(patient_id="a", until_s=at_s("2020-01-01") - 1), set()),
        (Scope(patient_id="a", from_s=at_s("2020-01-01"), until_s=at_s("2021-12-31")), {"a2020", "a2021", "a-open", "a-secret", "a-psy"}),
        (Scope(patient_id="a", from_s=at_s("2019-06-01"), until_s=at_s("2021-01-02")), {"a2019", "a2020", "a-long", "a-open"}),
        (Scope(patient_id="a", labels_denied=frozenset({"R"})), WHOLE_A - {"a-secret"}),
        (Scope(patient_id="a", labels_denied=frozenset({"R", "PSY"})), WHOLE_A - {"a-secret", "a-psy"}),
        (Scope(patient_id="a", labels_allowed=frozenset({"N"})), WHOLE_A - {"a-secret", "a-psy"}),
        (Scope(patient_id="a", labels_allowed=frozenset({"N", "PSY"})), WHOLE_A - {"a-secret"}),
        (Scope(patient_id="a", labels_allowed=frozenset({"R"}), labels_denied=frozenset({"R"})), WHOLE_A - {"a-secret", "a-psy"}),
    ],
)
def test_every_way_of_asking_gives_the_same_and_no_more(store, scope, ids):
    assert answers(store, scope) == ids


def test_without_a_patient_the_other_bounds_hold_alone(store):
    scope = Scope(types=frozenset({"Observation"}), from_s=at_s("2021-01-01"), labels_denied=frozenset({"R", "PSY"}))
    assert set(found(store, "Observation", "", scope)) == {"a2021", "a-month", "a-open", "b2021"}
    assert {k for k, _line in store.export(scope)} == {"Observation"}


def test_what_concerns_two_patients_is_in_neither_ones_scope(store):
    assert found(store, "Group", "") == ["both"]
    assert found(store, "Group", "", OF_A) == []
    with pytest.raises(NotFound):
        store.read("Group", "both", OF_A)
    assert "both" in {s.id for s in store.everything("a")}
    assert "both" not in {s.id for s in store.everything("a", OF_A)}


def test_a_link_to_another_record_does_not_open_it(store):
    assert found(store, "Patient", "", Scope(patient_id="b")) == ["b"]
    assert found(store, "Patient", "", OF_A) == ["a"]


def test_what_is_about_nobody_is_reached_as_an_include_only(store):
    page = store.search(parse_query("Observation", "_id=a2020&_include=*"), OF_A)
    assert {i.id for i in page.includes} == {"a", "d"}
    assert found(store, "Practitioner", "", OF_A) == []
    with pytest.raises(NotFound):
        store.read("Practitioner", "d", OF_A)


@pytest.mark.parametrize(
    ("query", "scope", "included"),
    [
        ("_id=a2020&_include=*", OBSERVATIONS, set()),
        ("_id=a2020&_include=*", Scope(patient_id="a", types=frozenset({"Observation", "Practitioner"})), {"d"}),
        ("_id=a2021&_include=*", Scope(patient_id="a", labels_denied=frozenset({"V"})), {"a"}),
        ("_id=a2021&_revinclude=*", OF_A, set()),
        ("_id=a2021&_revinclude=*", Scope(), {"b2021"}),
        ("_id=a2021&_include=Observation:subject&_revinclude:iterate=*", OBSERVATIONS, set()),
        ("_id=a2021&_include=Observation:subject&_revinclude:iterate=Condition:subject", OF_A, {"a", "c"}),
        (
            "_id=a2021&_include=Observation:subject&_revinclude:iterate=Condition:subject",
            Scope(patient_id="a", types=frozenset({"Observation", "Patient"})),
            {"a"},
        ),
    ],
)
def test_includes_stay_inside_the_scope(store, query, scope, included):
    page = store.search(parse_query("Observation", query), scope)
    assert {i.id for i in page.includes} == included


@pytest.mark.parametrize(
    ("kind", "query", "scope"),
    [
        ("Patient", "_has:Condition:subject:code=hiv", Scope(patient_id="a", types=frozenset({"Patient"}))),
        ("Patient", "_has:Condition:subject:code=hiv", Scope(patient_id="a", until_s=at_s("2021-01-01"))),
        ("Patient", "_has:Observation:subject:_security=R", Scope(patient_id="a", labels_denied=frozenset({"R"}))),
        ("Observation", "patient.gender=male", OBSERVATIONS),
        ("Observation", "patient.gender:not=female", OBSERVATIONS),
        ("Observation", "patient.gender:missing=true", OBSERVATIONS),
        ("Observation", "performer:Practitioner.family=Hidden", Scope(patient_id="a", labels_denied=frozenset({"V"}))),
        ("Observation", "patient._has:Condition:subject:code=hiv", Scope(patient_id="a", types=frozenset({"Observation", "Patient"}))),
        ("Observation", "derived-from:Observation._security=R", OF_A),
        ("Observation", "subject=Patient/b", OF_A),
        ("Observation", "code=777", OF_A),
        ("Observation", "_id=b2021", OF_A),
        ("Patient", "link:Patient.gender=male", Scope(patient_id="b")),
    ],
)
def test_a_chain_tells_nothing_about_what_is_outside(store, kind, query, scope):
    page = store.search(parse_query(kind, query), scope)
    assert (page.matches, page.includes, page.total) == ((), (), 0)


def test_the_same_chains_find_it_where_the_scope_allows(store):
    assert found(store, "Patient", "_has:Condition:subject:code=hiv", OF_A) == ["a"]
    assert set(found(store, "Observation", "patient.gender=male", OF_A)) == WHOLE_A
    assert found(store, "Observation", "performer:Practitioner.family=Hidden", OF_A) == ["a2021"]


def test_a_query_once_narrowed_stays_narrow(store):
    query = parse_query("Observation", "").narrowed_to(Scope(patient_id="a", until_s=at_s("2021-01-01")))
    assert {m.id for m in store.search(query).matches} == {"a2019", "a2020"}
    assert {m.id for m in store.search(query, Scope(from_s=at_s("2020-01-01"))).matches} == {"a2020"}
    assert store.search(query, Scope(patient_id="b")).total == 0


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (Scope(), Scope(), Scope()),
        (Scope(types=frozenset("ab")), Scope(types=frozenset("bc")), Scope(types=frozenset("b"))),
        (Scope(from_s=5, until_s=9), Scope(from_s=3, until_s=8), Scope(from_s=5, until_s=8)),
        (Scope(from_s=5), Scope(until_s=0), Scope(from_s=5, until_s=0)),
        (Scope(labels_allowed=frozenset("NR")), Scope(labels_allowed=frozenset("N")), Scope(labels_allowed=frozenset("N"))),
        (Scope(labels_denied=frozenset("R")), Scope(labels_denied=frozenset("V")), Scope(labels_denied=frozenset("RV"))),
        (Scope(patient_id="a"), Scope(), Scope(patient_id="a")),
        (Scope(patient_id="a"), Scope(patient_id="b"), Scope(patient_id="a", types=frozenset())),
    ],
)
def test_two_scopes_meet_in_what_both_allow(one, other, both):
    assert one.meet(other) == both
    assert replace_patient(other.meet(one)) == replace_patient(both)


def replace_patient(scope):
    from dataclasses import replace

    return replace(scope, patient_id=None) if scope.types == frozenset() else scope


MILD = Scope(patient_id="a", labels_denied=frozenset({"R"}))


def test_an_older_version_is_judged_by_what_it_was(tmp_path):
    with store_at(tmp_path) as store:
        put(store, observation("o", "a", effectiveDateTime="2021-06-01", **labelled("R")))
        put(store, observation("o", "b", effectiveDateTime="2021-06-01"))
        put(store, observation("o", "a", effectiveDateTime="2021-06-01"))
        assert [v.version_id for v in store.history("Observation", "o", scope=MILD).versions] == [3]
        assert store.history("Observation", "o", scope=MILD).total == 1
        assert store.vread("Observation", "o", "3", MILD).version_id == 3
        for version in "12":
            with pytest.raises(NotFound):
                store.vread("Observation", "o", version, MILD)
        with pytest.raises(NotFound):
            store.history("Observation", "o", scope=Scope(patient_id="c"))


@pytest.mark.parametrize("now", [("a", labelled("R")), ("b", {})], ids=["restricted since", "was filed under the wrong patient"])
def test_an_older_version_is_judged_by_what_the_record_is_now_too(tmp_path, now):
    with store_at(tmp_path) as store:
        put(store, observation("o", "a", effectiveDateTime="2021-06-01"))
        assert store.vread("Observation", "o", "1", MILD).version_id == 1
        put(store, observation("o", now[0], effectiveDateTime="2021-06-01", **now[1]))
        for version in "12":
            with pytest.raises(NotFound):
                store.vread("Observation", "o", version, MILD)
        with pytest.raises(NotFound):
            store.history("Observation", "o", scope=MILD)
        for wider in ((), ("Observation",)):
            page = store.history(*wider, scope=MILD)
            assert (page.versions, page.total) == ((), 0)
        assert [v.version_id for v in store.history("Observation", "o").versions] == [2, 1]


def test_a_deletion_is_gone_inside_and_unknown_outside(tmp_path):
    with store_at(tmp_path) as store:
        put(store, observation("o", "a"))
        store.delete("Observation", "o")
        with pytest.raises(Gone):
            store.read("Observation", "o", OF_A)
        with pytest.raises(NotFound):
            store.read("Observation", "o", Scope(patient_id="b"))
        assert store.search(parse_query("Observation", ""), OF_A).total == 0


def test_everything_of_a_patient_who_is_not_there(store):
    for scope in (Scope(), Scope(patient_id="b")):
        with pytest.raises(NotFound):
            store.everything("nobody" if scope == Scope() else "a", scope)


def test_everything_brings_what_the_record_refers_to(store):
    assert {f"{s.type}/{s.id}" for s in store.everything("a", OF_A)} == {f"Observation/{o}" for o in WHOLE_A} | {
        "Patient/a",
        "Condition/c",
        "Organization/h",
        "Practitioner/d",
        "Practitioner/vip",
    }


def test_an_exported_line_is_one_line_of_the_served_resource(tmp_path):
    with store_at(tmp_path) as store:
        store.update("Patient", "a", b'{\n "resourceType":"Patient",\r\n\t"id":"a" ,"name":[{"text":"x\\ny"}]}')
        lines = list(store.export())
        assert [(k, json.loads(line)) for k, line in lines] == [("Patient", json.loads(store.read("Patient", "a").body))]
        assert b"\n" not in lines[0][1]


def test_labels_of_what_is_inside_count():
    inner = {"resourceType": "Observation", "meta": {"security": [{"code": "R"}]}}
    bundle = {"resourceType": "Bundle", "meta": {"security": [{"code": "N"}]}, "entry": [{"resource": inner}, {"fullUrl": "x"}]}
    assert place("Bundle", "x", bundle, BASE).labels == ("N", "R")
    assert place("Parameters", "x", {"resourceType": "Parameters", "parameter": [{"resource": inner}]}, BASE).labels == ("R",)
    assert place("List", "x", {"resourceType": "List", "contained": [inner]}, BASE).labels == ("R",)


def test_what_may_not_be_seen_takes_no_place_of_what_may(tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "INCLUDED_MAX", 3)
    with store_at(tmp_path) as store:
        put(store, patient("a"))
        for number in range(6):
            put(store, observation(f"o{number}", "a", effectiveDateTime="2021-06-01", **(labelled("R") if number < 4 else {})))
        page = store.search(parse_query("Patient", "_id=a&_revinclude=Observation:subject"), MILD)
        assert {one.id for one in page.includes} == {"o4", "o5"}
