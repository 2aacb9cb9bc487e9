"""The record store: import of transaction bundles, creates, reads and searches, with the member's real key store.

Method   One process, one core, fsync on, in a folder beside the results; bodies encrypted per patient, every version committed to. The
         charts of 150 simulated patients, about 170 resources to a bundle as in Synthea's, are imported as files; then 400
         resources are created one by one, 4,000 read, and 1,000 searches of one patient's observations by code are made and parsed.
Peer     plain SQLite: the same resources parsed as JSON and inserted, one row each, one transaction and fsync per bundle.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure
from yilian.records import SqliteStore, import_folder, parse_query
from yilian.sim.population import chart_bundle, make_population
from yilian.vault import BodyCipher, Vault, VersionKeys

NETWORK = b"n" * 32
PATIENTS, CREATES, READS, SEARCHES = 150, 400, 4_000, 1_000
CHARTS = 14  # to a bundle: about 170 resources, as many as a Synthea patient's bundle has
NOW_S = 1_800_000_000


def run() -> Iterator[Figure]:
    """Yield the figures."""
    with _folder() as folder:
        bundles = _write_charts(folder / "charts")
        plain = _per_s(len(bundles), lambda: _plain(folder / "plain.db", bundles)) * _resources(bundles) / len(bundles)
        with Vault.create(folder / "keys") as vault, _store(folder, vault) as store:
            began = time.perf_counter()
            counts = import_folder(store, folder / "charts")
            imported = counts.stored / (time.perf_counter() - began)
            peer = f"plain SQLite, JSON parsed, {plain:,.0f} resources/s"
            yield Figure("import.resources_per_s", imported, "resources/s", ">= 1200", peer)
            yield from _interactions(store, bundles)


def _interactions(store: SqliteStore, bundles: list[bytes]) -> Iterator[Figure]:
    one = next(each["resource"] for each in json.loads(bundles[0])["entry"] if each["resource"]["resourceType"] == "Observation")
    one["subject"] = {"display": "nobody"}
    for name in ("encounter", "performer", "hasMember", "derivedFrom"):
        one.pop(name, None)
    body = json.dumps(one, ensure_ascii=False).encode()
    made = [store.create("Observation", body) for _ in range(10)]
    yield Figure(
        "records.creates_per_s", _per_s(CREATES, lambda: [store.create("Observation", body) for _ in range(CREATES)]), "creates/s", ">= 500"
    )
    ids = [each.id for each in made]
    rate = _per_s(READS, lambda: [store.read("Observation", ids[n % len(ids)]) for n in range(READS)])
    yield Figure("records.reads_per_s", rate, "reads/s", ">= 3000")
    patients = [each.id for each in store.search(parse_query("Patient", "_count=50")).matches]
    queries = [f"patient={patients[n % len(patients)]}&code=http://loinc.org|85354-9" for n in range(SEARCHES)]
    rate = _per_s(SEARCHES, lambda: [store.search(parse_query("Observation", query)) for query in queries])
    yield Figure("records.searches_per_s", rate, "searches/s", ">= 1000")


def _write_charts(folder: Path) -> list[bytes]:
    folder.mkdir()
    people = make_population(7, PATIENTS, now_s=NOW_S)
    charts = [chart_bundle(person, member) for person in people for member in person.charts]
    groups = [charts[at : at + CHARTS] for at in range(0, len(charts), CHARTS)]
    bundles = [
        json.dumps(group[0] | {"entry": [one for chart in group for one in chart["entry"]]}, ensure_ascii=False).encode()
        for group in groups
    ]
    for number, bundle in enumerate(bundles):
        (folder / f"{number:05}.json").write_bytes(bundle)
    return bundles


def _resources(bundles: list[bytes]) -> int:
    return sum(len(json.loads(bundle)["entry"]) for bundle in bundles)


def _plain(path: Path, bundles: list[bytes]) -> None:
    base = sqlite3.connect(path, isolation_level=None)
    base.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE resource (id BLOB PRIMARY KEY, body BLOB) WITHOUT ROWID"
    )
    for bundle in bundles:
        base.execute("BEGIN IMMEDIATE")
        rows = [(secrets.token_bytes(16), json.dumps(each["resource"]).encode()) for each in json.loads(bundle)["entry"]]
        base.executemany("INSERT INTO resource VALUES (?, ?)", rows)
        base.execute("COMMIT")
    base.close()


def _per_s(times: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return times / (time.perf_counter() - began)


def _store(folder: Path, vault: Vault) -> SqliteStore:
    return SqliteStore(folder / "records.db", keys=VersionKeys(vault, bytes(32)), network_id=NETWORK, cipher=BodyCipher(vault))


@contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=".bench-", dir=Path(__file__).parent))  # on a disk, where fsync means something
    try:
        yield path
    finally:
        shutil.rmtree(path)
