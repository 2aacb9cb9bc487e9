"""Import: every resource of a folder arrives, again and again without doubles, and what does not is said."""

import gzip
import json
from pathlib import Path

import pytest

from tests.unit.records_world import as_bytes, found, observation, patient, store_at
from yilian.records import StoreUnavailable, import_folder

HOSPITAL, DOCTOR, PERSON, SEEN = (f"urn:uuid:{n}0000000-0000-4000-8000-000000000000" for n in "1234")


def bundle(*pairs, kind="transaction"):
    """Return a transaction of creates, as Synthea writes it."""
    entries = [{"fullUrl": url, "resource": tree, "request": {"method": "POST", "url": tree["resourceType"]}} for url, tree in pairs]
    return as_bytes({"resourceType": "Bundle", "type": kind, "entry": entries})


def bare(tree):
    return {k: v for k, v in tree.items() if k != "id"}


ORGANIZATION = {"resourceType": "Organization", "name": "Hospital", "identifier": [{"system": "urn:h", "value": "1"}]}
PRACTITIONER = {"resourceType": "Practitioner", "identifier": [{"system": "urn:npi", "value": "1"}]}


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    visit = bare(observation("x", "x")) | {
        "subject": {"reference": PERSON},
        "performer": [{"reference": "Practitioner?identifier=urn:npi|1"}, {"reference": HOSPITAL}],
    }
    (source / "A_patient.json.gz").write_bytes(gzip.compress(bundle((PERSON, bare(patient("x", gender="male"))), (SEEN, visit))))
    (source / "hospitalInformation1.json").write_bytes(bundle((HOSPITAL, ORGANIZATION)))
    (source / "practitionerInformation1.json").write_bytes(b"\xef\xbb\xbf" + bundle((DOCTOR, PRACTITIONER)))
    lines = [as_bytes(observation(f"line{n}", "4711")) for n in range(3)]
    (source / "Observation.ndjson").write_bytes(b"\n".join([lines[0], b"", lines[1], lines[2], b""]))
    (source / "Patient.ndjson.gz").write_bytes(gzip.compress(as_bytes(patient("4711")) + b"\r\n"))
    (source / "single.json").write_bytes(as_bytes(bare(patient("x", gender="female"))))
    (source / "notes.txt").write_text("not a record")
    return source


def told(counts):
    return [dict(sorted(c.items())) for c in (counts.found, counts.created, counts.updated, counts.unchanged, counts.refused)]


def test_everything_arrives_and_a_second_time_changes_nothing(folder, tmp_path):
    everything = {"Observation": 4, "Organization": 1, "Patient": 3, "Practitioner": 1}
    with store_at(tmp_path) as store:
        progress = []
        first = import_folder(store, folder, progress.append)
        size = store.history().total
        second = import_folder(store, folder)
        assert told(first) == [everything, everything, {}, {}, {}]
        assert told(second) == [everything, {}, {}, everything, {}]
        assert (first.stored, first.files, first.problems, second.problems) == (9, 6, [], [])
        assert (size, store.history().total) == (9, 9)
        assert [(p.files_done, p.files_total) for p in progress] == [(n, 6) for n in range(1, 7)]
        assert progress[-1].resources == 9
        served = json.loads(store.read("Observation", SEEN[9:]).body)
        assert (served["subject"]["reference"], [p["reference"] for p in served["performer"]]) == (
            f"Patient/{PERSON[9:]}",
            [f"Practitioner/{DOCTOR[9:]}", f"Organization/{HOSPITAL[9:]}"],
        )
        assert len(found(store, "Patient", "gender=female")) == 1


def test_other_bytes_under_the_same_identity_become_the_next_version(tmp_path):
    with store_at(tmp_path) as store:
        for number, name in enumerate(["One", "Two", "One"]):
            file = tmp_path / f"{number}.json"
            file.write_bytes(bundle((HOSPITAL, ORGANIZATION | {"name": name})))
            counts = import_folder(store, file)
            assert (
                told(counts)[1:4] == [[{"Organization": 1}, {}, {}], [{}, {"Organization": 1}, {}], [{}, {}, {"Organization": 1}]][number]
            )
        assert [json.loads(v.body)["name"] for v in store.history("Organization", HOSPITAL[9:]).versions] == ["Two", "One"]


def test_a_file_whose_references_come_later_is_tried_again(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.json").write_bytes(bundle((SEEN, bare(observation("x", "x")) | {"subject": {"reference": PERSON}})))
    (source / "b.json").write_bytes(bundle((PERSON, bare(patient("x")))))
    with store_at(tmp_path) as store:
        counts = import_folder(store, source)
        assert told(counts)[:2] == [{"Observation": 1, "Patient": 1}] * 2
        assert counts.problems == []
        assert found(store, "Observation", f"subject={PERSON[9:]}") == [SEEN[9:]]


def test_a_condition_that_is_met_leaves_what_is_there(tmp_path):
    with store_at(tmp_path) as store:
        entry = {
            "fullUrl": HOSPITAL,
            "resource": ORGANIZATION,
            "request": {"method": "POST", "url": "Organization", "ifNoneExist": "identifier=urn:h|1"},
        }
        there = store.create("Organization", as_bytes(ORGANIZATION | {"name": "There"}))
        file = tmp_path / "a.json"
        visit = {"fullUrl": SEEN, "resource": bare(observation("x", "x")) | {"performer": [{"reference": HOSPITAL}]}}
        file.write_bytes(as_bytes({"resourceType": "Bundle", "type": "collection", "entry": [entry, visit]}))
        counts = import_folder(store, file)
        assert told(counts)[1:4] == [{"Observation": 1}, {}, {"Organization": 1}]
        assert found(store, "Observation", f"performer={there.id}") == [SEEN[9:]]
        assert found(store, "Organization", "") == [there.id]


def test_what_is_not_stored_is_said_by_file_and_line_and_without_a_value(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "broken.json").write_bytes(b'{"resourceType":"Bundle"')
    (source / "cut.json.gz").write_bytes(gzip.compress(as_bytes(patient("a")))[:-9])
    (source / "dangling.json").write_bytes(
        bundle((PERSON, bare(patient("x"))), (SEEN, bare(observation("x", "x")) | {"subject": {"reference": DOCTOR}}))
    )
    (source / "invalid.json").write_bytes(bundle((PERSON, bare(patient("x", gender="secret")))))
    (source / "unknown.json").write_bytes(as_bytes({"resourceType": "Secret"}))
    (source / "history.json").write_bytes(as_bytes({"resourceType": "Bundle", "type": "history", "entry": [{"fullUrl": PERSON}]}))
    good, bad = as_bytes(patient("good")), as_bytes(patient("bad", gender="secret"))
    (source / "Patient.ndjson").write_bytes(b"\n".join([good, b"{secret", bad, as_bytes(patient("good2"))]))
    with store_at(tmp_path) as store:
        counts = import_folder(store, source)
        assert sorted(found(store, "Patient", "")) == ["good", "good2"]
    assert sorted((p.file, p.line, [(i.code, i.expression, i.diagnostics) for i in p.issues]) for p in counts.problems) == [
        ("Patient.ndjson", 2, [("structure", "", "A member's name is expected.")]),
        ("Patient.ndjson", 3, [("code-invalid", "Patient.gender", "a code outside the required value set")]),
        ("broken.json", 0, [("structure", "", "The body is not JSON: it ends too early or a value is missing.")]),
        ("cut.json.gz", 0, [("exception", "", "The file cannot be read: EOFError.")]),
        ("dangling.json", 0, [("not-found", "Bundle.entry[1].resource", "A reference to an entry that the bundle does not hold.")]),
        ("history.json", 0, [("not-supported", "Bundle.entry[0]", "An entry without a resource cannot be imported.")]),
        ("invalid.json", 0, [("code-invalid", "Bundle.entry[0].resource: Patient.gender", "a code outside the required value set")]),
        ("unknown.json", 0, [("invalid", "", "resourceType is missing or not a type that R4 defines.")]),
    ]
    assert told(counts) == [{"?": 1, "Observation": 1, "Patient": 5}, {"Patient": 2}, {}, {}, {"?": 1, "Observation": 1, "Patient": 3}]
    assert sum(counts.found.values()) == counts.stored + sum(counts.refused.values())


def test_a_full_disk_stops_the_import_with_a_sentence(folder, tmp_path):
    with store_at(tmp_path) as store:
        pages = store.core.writer.execute("PRAGMA page_count").fetchone()[0]
        store.core.writer.execute(f"PRAGMA max_page_count={pages}")
        (folder / "hospitalInformation0.json").write_bytes(bundle((HOSPITAL, ORGANIZATION | {"alias": ["x" * 100_000]})))
        with pytest.raises(StoreUnavailable) as no:
            import_folder(store, folder)
        assert str(no.value).startswith("The disk is full")
        assert store.history().total == 0
        store.core.writer.execute("PRAGMA max_page_count=1000000")
        assert import_folder(store, folder).problems == []


def test_more_lines_than_one_transaction_holds_all_arrive(tmp_path):
    file = Path(tmp_path) / "Patient.ndjson"
    file.write_bytes(b"\n".join(as_bytes(patient(f"p{n}")) for n in range(1203)))
    with store_at(tmp_path) as store:
        assert told(import_folder(store, file))[:2] == [{"Patient": 1203}] * 2
        assert store.history().total == 1203
