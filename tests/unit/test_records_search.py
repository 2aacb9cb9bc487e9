"""Search by the compiled R4 parameters: one small hospital, one table of queries with their answers."""

import json

import pytest

from tests.unit.records_world import BASE, as_bytes, found, observation, patient, put, quantity, store_at
from yilian.records import BadQuery, definitions, indexing, parse_query, search_parameters, searchset
from yilian.records.expressions import compile_inner, compile_parts
from yilian.records.indexing import parameters

LAB = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}
BLOOD_PRESSURE = [
    {"code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}, "valueQuantity": quantity(150)},
    {"code": {"coding": [{"system": "http://loinc.org", "code": "8462-4"}]}, "valueQuantity": quantity(95)},
]
WORLD = [
    {"resourceType": "Organization", "id": "h1", "name": "Städtisches Klinikum"},
    {"resourceType": "Organization", "id": "h2", "name": "Clinic", "partOf": {"reference": "Organization/h1"}},
    {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Bär", "given": ["Ann"]}]},
    patient(
        "p1",
        name=[{"family": "Wang", "given": ["Xiaoming"], "text": "王小明"}],
        gender="male",
        birthDate="1950-05-17",
        identifier=[
            {
                "system": "urn:id",
                "value": "A|1",
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
            }
        ],
        telecom=[{"system": "phone", "value": "555"}, {"system": "email", "value": "w@x.example"}],
        managingOrganization={"reference": f"{BASE}/Organization/h2"},
        meta={"tag": [{"system": "urn:tag", "code": "t1"}], "profile": ["http://x.example/fhir/StructureDefinition/p"]},
    ),
    patient("p2", name=[{"family": "WANGER", "given": ["Zoé"]}], gender="female", birthDate="1980", deceasedDateTime="2020-01-01"),
    patient("p3", birthDate="1980-03", deceasedBoolean=False, identifier=[{"value": "nosystem"}]),
    observation(
        "o1", "p1", valueQuantity=quantity(150), effectiveDateTime="2024-01-10T08:30:00+08:00", performer=[{"reference": "Practitioner/d1"}]
    ),
    observation("o2", "p1", valueQuantity=quantity(120), effectiveDateTime="2024-02"),
    observation("o3", "p2", valueQuantity=quantity(5.4, "mmol/L"), effectiveDateTime="2023-12-31", code="2093-3", category=[LAB]),
    observation("o4", "p2", component=BLOOD_PRESSURE, effectivePeriod={"start": "2024-01-01", "end": "2024-03-01"}, code="85354-9"),
    observation("o5", "p1", code="1", effectivePeriod={"start": "2024-03-01"}, derivedFrom=[{"reference": "Observation/o1"}]),
    observation("o6", "p3", code="1", valueString="Hello wOrld") | {"subject": {"identifier": {"system": "urn:id", "value": "A|1"}}},
    observation("o7", "p3", code="1", valueCodeableConcept={"coding": [{"system": "urn:c", "code": "yes"}]}, status="amended"),
    {
        "resourceType": "RiskAssessment",
        "id": "r1",
        "status": "final",
        "subject": {"reference": "Patient/p1/_history/1"},
        "prediction": [{"probabilityDecimal": 0.105}],
    },
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with store_at(tmp_path_factory.mktemp("search")) as opened:
        for tree in WORLD:
            put(opened, tree)
        yield opened


@pytest.mark.parametrize(
    ("kind", "query", "ids"),
    [
        # token
        ("Patient", "gender=male", "p1"),
        ("Patient", "gender=http://hl7.org/fhir/administrative-gender|male", "p1"),
        ("Patient", "gender=male,female", "p1 p2"),
        ("Patient", "gender:not=male", "p2 p3"),
        ("Patient", "gender:missing=true", "p3"),
        ("Patient", "gender:missing=false", "p1 p2"),
        ("Patient", "identifier=urn:id|A\\|1", "p1"),
        ("Patient", "identifier=A\\|1", "p1"),
        ("Patient", "identifier=urn:id|", "p1"),
        ("Patient", "identifier=|nosystem", "p3"),
        ("Patient", "identifier=|A\\|1", ""),
        ("Patient", "identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|A\\|1", "p1"),
        ("Patient", "identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|XX|A\\|1", ""),
        ("Patient", "phone=555", "p1"),
        ("Patient", "email=555", ""),
        ("Patient", "telecom=w@x.example", "p1"),
        ("Patient", "deceased=true", "p2"),
        ("Patient", "deceased=false", "p1 p3"),
        ("Patient", "_tag=urn:tag|t1", "p1"),
        ("Patient", "_id=p1,p3,nobody", "p1 p3"),
        ("Observation", "code=8480-6", "o1 o2"),
        ("Observation", "code=http://loinc.org|8480-6", "o1 o2"),
        ("Observation", "code=http://other.org|8480-6", ""),
        ("Observation", "combo-code=8480-6", "o1 o2 o4"),
        ("Observation", "code=8480-6&category=laboratory", ""),
        ("Observation", "category=laboratory", "o3"),
        # string
        ("Patient", "name=wang", "p1 p2"),
        ("Patient", "family=WANG", "p1 p2"),
        ("Patient", "family:exact=Wang", "p1"),
        ("Patient", "family:exact=wang", ""),
        ("Patient", "name:contains=anger", "p2"),
        ("Patient", "given=zoe", "p2"),
        ("Patient", "name=王小", "p1"),
        ("Organization", "name=stadt", "h1"),
        ("Organization", "name=%", ""),
        ("Organization", "name=_linic", ""),
        ("Observation", "value-string=hello world", "o6"),
        # date
        ("Patient", "birthdate=1950-05-17", "p1"),
        ("Patient", "birthdate=1980", "p2 p3"),
        ("Patient", "birthdate=1980-03", "p3"),
        ("Patient", "birthdate=ne1980", "p1"),
        ("Patient", "birthdate=lt1980", "p1"),
        ("Patient", "birthdate=gt1950-05-16&birthdate=lt1950-05-18", "p1"),
        ("Patient", "birthdate=sa1950", "p2 p3"),
        ("Patient", "birthdate=eb1980", "p1"),
        ("Patient", "birthdate=le1950-05-17", "p1"),
        ("Patient", "birthdate=ge1980-04", "p2"),
        ("Observation", "date=2024-01-10T00:30Z", "o1"),
        ("Observation", "date=2024-01-10T08:30:00+08:00", "o1"),
        ("Observation", "date=2024-01-10T08:31%2B08:00", ""),
        ("Observation", "date=ge2024-02-01", "o2 o4 o5"),
        ("Observation", "date=lt2024", "o3"),
        ("Observation", "date=2024", "o1 o2 o4"),
        ("Observation", "date=sa2024-02", "o5"),
        ("Observation", "date:missing=true", "o6 o7"),
        # quantity, number
        ("Observation", "value-quantity=150", "o1"),
        ("Observation", "value-quantity=gt119", "o1 o2"),
        ("Observation", "value-quantity=gt150", ""),
        ("Observation", "value-quantity=ge150", "o1"),
        ("Observation", "value-quantity=5.4|http://unitsofmeasure.org|mmol/L", "o3"),
        ("Observation", "value-quantity=5.4||mmol/L", "o3"),
        ("Observation", "value-quantity=5.4||mg", ""),
        ("Observation", "value-quantity=5", "o3"),
        ("Observation", "value-quantity=5.40", "o3"),
        ("Observation", "value-quantity=ap5", "o3"),
        ("Observation", "value-quantity=ap160", "o1"),
        ("Observation", "value-quantity=ne150", "o2 o3"),
        ("Observation", "combo-value-quantity=lt100", "o3 o4"),
        ("RiskAssessment", "probability=gt0.1", "r1"),
        ("RiskAssessment", "probability=0.1", "r1"),
        ("RiskAssessment", "probability=0.10", ""),
        ("RiskAssessment", "probability=0.105", "r1"),
        # composite
        ("Observation", "code-value-quantity=8480-6$gt130", "o1"),
        ("Observation", "code-value-quantity=http://loinc.org|8480-6$lt130", "o2"),
        ("Observation", "combo-code-value-quantity=8480-6$150||mm[Hg]", "o1 o4"),
        ("Observation", "component-code-value-quantity=8462-4$gt90", "o4"),
        ("Observation", "component-code-value-quantity=8462-4$gt100", ""),
        ("Observation", "code-value-concept=1$urn:c|yes", "o7"),
        ("Observation", "code-value-string=1$hello world", "o6"),
        # reference, uri
        ("Observation", "subject=Patient/p1", "o1 o2 o5"),
        ("Observation", "subject=p1", "o1 o2 o5"),
        ("Observation", "patient=p1", "o1 o2 o5"),
        ("Observation", "subject:Patient=p1", "o1 o2 o5"),
        ("Observation", "subject:Group=p1", ""),
        ("Observation", f"subject={BASE}/Patient/p1", "o1 o2 o5"),
        ("Observation", "subject=https://other.example/fhir/Patient/p1", ""),
        ("Observation", "subject:identifier=urn:id|A\\|1", "o6"),
        ("RiskAssessment", "subject=Patient/p1", "r1"),
        ("Patient", "organization=h2", "p1"),
        ("Patient", "_profile=http://x.example/fhir/StructureDefinition/p", "p1"),
        ("Patient", "_profile:below=http://x.example/fhir", "p1"),
        ("Patient", "_profile=http://x.example/fhir", ""),
        # chains
        ("Observation", "subject:Patient.name=wang", "o1 o2 o3 o4 o5"),
        ("Observation", "patient.gender=female&code=2093-3", "o3"),
        ("Observation", "patient.organization.partof.name=stad", "o1 o2 o5"),
        ("Observation", "performer:Practitioner.family=bar", "o1"),
        ("Observation", "derived-from:Observation.patient.gender=male", "o5"),
        ("Patient", "_has:Observation:patient:code=2093-3", "p2"),
        ("Patient", "_has:Observation:patient:code=8480-6,2093-3&gender=male", "p1"),
        ("Organization", "_has:Patient:organization:_has:Observation:patient:code=8480-6", "h2"),
        # together
        ("Observation", "patient=p1&code=8480-6&date=ge2024-02", "o2"),
        ("Observation", "", "o1 o2 o3 o4 o5 o6 o7"),
        ("Observation", "_lastUpdated=ge2023-11-14&_id=o1", "o1"),
        ("Observation", "_lastUpdated=lt2023", ""),
    ],
)
def test_the_parameters_find_what_the_specification_says(store, kind, query, ids):
    assert sorted(found(store, kind, query)) == ids.split()
    assert store.search(parse_query(kind, query)).total == len(ids.split())


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("_sort=date&date:missing=false", "o3 o4 o1 o2 o5"),
        ("_sort=-date&date:missing=false", "o5 o2 o1 o4 o3"),
        ("_sort=value-quantity", "o3 o2 o1 o4 o5 o6 o7"),
        ("_sort=-value-quantity&_count=2", "o1 o2 o3 o4 o5 o6 o7"),
        ("_sort=-_id&_count=3", "o7 o6 o5 o4 o3 o2 o1"),
        ("_sort=status,-_lastUpdated&_count=1", "o7 o6 o5 o4 o3 o2 o1"),
        ("_sort=code,-date&_count=2", "o5 o6 o7 o3 o2 o1 o4"),
        ("_count=2", "o1 o2 o3 o4 o5 o6 o7"),
    ],
)
def test_pages_follow_the_order_that_was_asked_for(store, query, ids):
    assert found(store, "Observation", query) == ids.split()


@pytest.mark.parametrize(
    ("kind", "query", "included"),
    [
        ("Observation", "_id=o1&_include=Observation:subject", "p1"),
        ("Observation", "_id=o1&_include=Observation:subject:Group", ""),
        ("Observation", "_id=o1&_include=Observation:*", "d1 p1"),
        ("Observation", "_id=o1&_include=*", "d1 p1"),
        (
            "Observation",
            "_id=o1&_include=Observation:subject&_include:iterate=Patient:organization&_include:iterate=Organization:partof",
            "h1 h2 p1",
        ),
        ("Observation", "_id=o1&_include=Observation:subject&_include=Patient:organization", "p1"),
        ("Patient", "_id=p2&_revinclude=Observation:subject", "o3 o4"),
        ("Patient", "_id=p1&_revinclude=Observation:patient&_revinclude=RiskAssessment:subject", "o1 o2 o5 r1"),
        ("Patient", "_id=p1&_revinclude=*", "o1 o2 o5 r1"),
    ],
)
def test_includes_add_what_is_referred_to(store, kind, query, included):
    page = store.search(parse_query(kind, query))
    assert sorted(i.id for i in page.includes) == included.split()
    assert page.total == 1


@pytest.mark.parametrize(
    ("query", "expression", "sentence"),
    [
        ("surname=x", "Patient.surname", "Patient has no search parameter of that name."),
        ("name%27--=x", "Patient.?", "Patient has no search parameter of that name."),
        ("name:sounds=x", "Patient.name", "This modifier is not offered here."),
        ("gender:text=x", "Patient.gender", "This modifier is not offered here."),
        ("birthdate=soon", "", "Patient.birthdate: a date as FHIR writes it is expected."),
        ("birthdate=2021-02-30", "", "Patient.birthdate: a date as FHIR writes it is expected."),
        ("birthdate=gt", "", "Patient.birthdate: a date as FHIR writes it is expected."),
        ("gender=", "Patient.gender", "Between 1 and 500 values are expected."),
        ("gender=" + "x," * 501, "Patient.gender", "Between 1 and 500 values are expected."),
        ("gender:missing=perhaps", "Patient.gender", "`:missing` takes true or false."),
        ("name.family=x", "Patient.name", "Patient has no reference parameter of that name."),
        ("organization.surname=x", "", "No target of Patient.organization has that parameter."),
        ("organization:Nobody.name=x", "", "A chain names a type that R4 does not define."),
        ("_has:Observation=x", "", "`_has` is written _has:Type:reference:parameter."),
        ("_has:Observation:code:status=x", "Observation.code", "Observation has no reference parameter of that name."),
        ("link:Patient.link:Patient.link:Patient.link:Patient.link:Patient.name=x", "", "A chain has at most 3 links."),
        ("_include=Nobody:subject", "", "An include names a type that R4 does not define."),
        ("_include=Patient:surname", "Patient.surname", "Patient has no reference parameter of that name."),
        ("_include:twice=Patient:link", "", "`_include` and `_revinclude` take :iterate only."),
        ("_sort=surname", "", "Patient cannot be sorted by that."),
        ("_count=many", "", "`_count` is a number."),
        ("_count=-1", "", "`_count` is a number."),
        ("_total=roughly", "", "`_total` is none, estimate or accurate."),
        ("_summary=short", "", "`_summary` is true, false, text, data or count."),
        ("&".join(["gender=x"] * 41), "", "A search has at most 40 parameters."),
    ],
)
def test_what_is_not_understood_is_refused(query, expression, sentence):
    with pytest.raises(BadQuery) as no:
        parse_query("Patient", query)
    assert [(i.expression, i.diagnostics) for i in no.value.issues] == [(expression, sentence)]


def test_a_chain_that_could_mean_anything_must_be_typed(store):
    with pytest.raises(BadQuery) as no:
        parse_query("Provenance", "target.identifier=x")
    assert str(no.value) == "Too many types could be meant: write `parameter:Type.other`."
    assert found(store, "Provenance", "target:Patient.identifier=x") == []


def test_lenient_handling_leaves_out_what_it_does_not_know_and_says_so(store):
    query = parse_query("Patient", "gender=male&surname=x&_count=10&_format=json", strict=False)
    page = store.search(query)
    assert [m.id for m in page.matches] == ["p1"]
    assert page.dropped == ("surname",)
    assert query.self_link(BASE) == f"{BASE}/Patient?gender=male&_count=10"


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "W10=", "WzEsMl0x", "WyJhIiwxXQ==", "Wy0xLDBd", "e30="])
def test_a_cursor_that_is_not_ours_is_refused(store, cursor):
    with pytest.raises(BadQuery) as no:
        store.search(parse_query("Patient", ""), cursor=cursor)
    assert str(no.value) == "The page's cursor is not one of ours."


@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", "%27%3B DROP TABLE resource", "a%00b", "%", "_", "\\", "$$", "||", "\U0010ffff", "x" * 5000]
)
@pytest.mark.parametrize(
    ("kind", "parameter"),
    [("Patient", "name"), ("Patient", "identifier"), ("Patient", "_id"), ("Observation", "subject"), ("Patient", "_profile")],
)
def test_text_is_never_read_as_sql_or_as_a_pattern(store, kind, parameter, text):
    assert found(store, kind, f"{parameter}={text}") == []
    assert store.history().total == len(WORLD)


def test_total_count_and_none(store):
    page = store.search(parse_query("Observation", "_count=2"))
    assert (len(page.matches), page.total) == (2, 7)
    assert store.search(parse_query("Observation", "_count=2&_total=none")).total is None
    for query in ("_summary=count", "_count=0"):
        page = store.search(parse_query("Observation", query))
        assert (page.matches, page.total, page.next_cursor) == ((), 7, None)


def test_parts_of_a_resource_stand_as_they_were_and_say_so(store):
    page = store.search(parse_query("Patient", "_id=p1&_elements=name,telecom"))
    tree = json.loads(page.matches[0].body)
    assert sorted(tree) == ["id", "meta", "name", "resourceType", "telecom"]
    assert [t["code"] for t in tree["meta"]["tag"]] == ["SUBSETTED", "t1"]
    whole = json.loads(store.read("Patient", "p1").body)
    assert tree["name"] == whole["name"]
    summary = json.loads(store.search(parse_query("Observation", "_id=o1&_summary=true")).matches[0].body)
    assert "performer" in summary
    assert [t["code"] for t in summary["meta"]["tag"]] == ["SUBSETTED"]
    assert sorted(json.loads(store.search(parse_query("Observation", "_id=o1&_summary=text")).matches[0].body)) == [
        "code",
        "id",
        "meta",
        "resourceType",
        "status",
    ]


def test_a_page_becomes_a_bundle_of_the_served_bytes(store):
    page = store.search(parse_query("Observation", "_id=o1&_include=Observation:subject"))
    packed = searchset(page, BASE, f"{BASE}/next")
    bundle = json.loads(packed)
    assert store.read("Observation", "o1").body in packed
    assert [(e["fullUrl"], e["search"]["mode"]) for e in bundle["entry"]] == [
        (f"{BASE}/Observation/o1", "match"),
        (f"{BASE}/Patient/p1", "include"),
    ]
    assert bundle["link"] == [
        {"relation": "self", "url": f"{BASE}/Observation?_id=o1&_include=Observation%3Asubject"},
        {"relation": "next", "url": f"{BASE}/next"},
    ]
    assert "entry" not in json.loads(searchset(store.search(parse_query("Observation", "_id=nobody")), BASE))


def test_every_version_has_the_index_rows_of_its_own_words(tmp_path):
    with store_at(tmp_path) as store:
        put(store, patient("a", gender="male", birthDate="1950", name=[{"family": "Old"}]))
        put(store, patient("a", gender="female", name=[{"family": "New"}]))
        assert [found(store, "Patient", q) for q in ("gender=male", "birthdate=1950", "family=old", "gender=female", "family=new")] == [
            [],
            [],
            [],
            ["a"],
            ["a"],
        ]
        store.delete("Patient", "a")
        rows = [
            store.core.writer.execute(count).fetchone()[0]
            for count in (
                "SELECT count(*) FROM ix",
                "SELECT count(*) FROM ix_range",
                "SELECT count(*) FROM ix_string",
                "SELECT count(*) FROM member",
            )
        ]
        assert (found(store, "Patient", ""), rows) == ([], [0, 0, 0, 0])


def test_a_condition_needs_one_match(store):
    with pytest.raises(BadQuery) as no:
        store.create("Patient", as_bytes({"resourceType": "Patient"}), if_none_exist="_count=1")
    assert str(no.value) == "A condition needs at least one search parameter."


def test_what_a_store_opens_with_and_says_it_can_search_compiles_nothing(tmp_path, monkeypatch):
    """All expressions take 0.16 s; a store needs their names, and those of a type when the first of it is read or sought."""
    compiled = []
    monkeypatch.setattr(indexing, "compile_parts", lambda kind, parts: compiled.append(kind) or compile_parts(kind, parts))
    indexing.parameters.cache_clear()
    try:
        opened = store_at(tmp_path)
        assert compiled == []
        names = {kind: search_parameters(kind) for kind in definitions.types()}
        assert compiled == []
        assert {kind: [(code, one.kind) for code, one in sorted(indexing.parameters(kind).items())] for kind in names} == {
            kind: list(said) for kind, said in names.items()
        }
        assert set(compiled) == set(names)
        opened.close()
    finally:
        indexing.parameters.cache_clear()


def test_every_expression_of_r4_compiles_but_three():
    lost = []
    for kind in sorted(definitions.types()):
        for code, one in definitions.parameters(kind).items():
            if code not in parameters(kind):
                lost.append(f"{kind}.{code}")
            elif one.kind == "composite":
                shape = parameters(kind)[code].ways[0]
                assert all(compile_inner(shape.type if shape.key else kind, c[2]) for c in one.components)
            elif code != "deceased":
                assert parameters(kind)[code].ways
    assert lost == [
        "MolecularSequence.chromosome-variant-coordinate",
        "MolecularSequence.chromosome-window-coordinate",
        "MolecularSequence.referenceseqid-variant-coordinate",
        "MolecularSequence.referenceseqid-window-coordinate",
    ]
    assert len(definitions.types()) == 146


def test_a_cursor_of_numbers_that_no_row_has_is_refused(tmp_path):
    import base64

    from yilian.records import BadQuery, parse_query

    with store_at(tmp_path) as store:
        for numbers in ("[18446744073709551615,0]", "[0,9223372036854775808]", "[-1,0]", "[true,0]"):
            cursor = base64.urlsafe_b64encode(numbers.encode()).decode()
            for asked in (lambda: store.search(parse_query("Observation", ""), cursor=cursor), lambda: store.history(cursor=cursor)):  # noqa: B023
                with pytest.raises(BadQuery):
                    asked()
