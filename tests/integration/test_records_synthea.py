"""Real FHIR R4 bundles made by others: all of them arrive, none is lost, and every one is found again."""

import gzip
import json
from collections import Counter

import pytest

from tests.unit.records_world import NETWORK, AesGcmPerPatient, store_at
from yilian.records import Scope, import_folder, is_proven, parse_query


@pytest.fixture(scope="module")
def synthea(shared):
    folder = shared / "data" / "synthea"
    if not folder.is_dir():
        pytest.skip(f"no Synthea bundles at {folder}")
    return folder


@pytest.fixture(scope="module")
def entries(synthea):
    bundles = [json.loads(gzip.decompress(f.read_bytes())) for f in sorted(synthea.glob("*.json.gz"))]
    return [e for b in bundles for e in b["entry"]]


@pytest.mark.slow
def test_all_resources_arrive_and_none_is_lost(synthea, entries, tmp_path):
    with store_at(tmp_path, cipher=AesGcmPerPatient()) as store:
        counts = import_folder(store, synthea)
        assert counts.problems == []
        assert counts.found == Counter(e["resource"]["resourceType"] for e in entries)
        assert counts.stored == len(entries) == 3954
        distinct = {e["fullUrl"]: e["resource"]["resourceType"] for e in entries}
        for kind, wanted in Counter(distinct.values()).items():
            assert store.search(parse_query(kind, "_summary=count")).total == wanted
        again = import_folder(store, synthea)
        assert (again.stored, sum(again.unchanged.values())) == (3954, 3954)

        for entry in entries[::37]:
            kept = store.history(entry["resource"]["resourceType"], entry["fullUrl"][9:]).versions
            proofs = [store.proof(v.type, v.id, str(v.version_id)) for v in kept]
            assert entry["resource"] in [json.loads(p.received) for p in proofs]
            assert all("urn:uuid:" not in r for v in kept for r in references(json.loads(v.body)))

        pending = store.pending_for_anchor()
        store.anchored(12, pending)
        last = store.history(count=3).versions
        assert all(is_proven(store.proof(v.type, v.id, str(v.version_id)), NETWORK) for v in last)
        assert len(pending.numbers) == store.history().total

        patients = store.search(parse_query("Patient", "")).matches
        assert len(patients) == 21
        compartments = [{(s.type, s.id) for s in store.everything(p.id, Scope(patient_id=p.id))} for p in patients]
        shared_kinds = {"Practitioner", "Organization"}
        personal = [{s for s in one if s[0] not in shared_kinds} for one in compartments]
        assert sum(map(len, personal)) == len(set().union(*personal)) == len([k for k in distinct.values() if k not in shared_kinds])


def references(tree):
    """Yield every Reference.reference in a tree."""
    if isinstance(tree, dict):
        if isinstance(tree.get("reference"), str):
            yield tree["reference"]
        for value in tree.values():
            yield from references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value)
