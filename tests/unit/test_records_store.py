"""One resource in the store: what is kept, what is answered, and that nothing is half-written."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.unit.records_world import NETWORK, AesGcmPerPatient, KeysInMemory, as_bytes, found, observation, patient, put, store_at
from yilian.base import labels, merkle
from yilian.base.codec import encode
from yilian.base.digests import mac, sha256
from yilian.records import Conflict, Gone, Invalid, NotFound, SqliteStore, StoreUnavailable, is_proven, spliced


@pytest.fixture
def store(tmp_path):
    with store_at(tmp_path) as opened:
        yield opened


def test_what_was_received_is_kept_byte_for_byte(store):
    received = '{ "resourceType":"Observation",\t"status":"final", "code":{"text":"体温"},\n"valueQuantity":{"value":36.60}}'.encode()
    created = store.create("Observation", received)
    proof = store.proof("Observation", created.id, "1")
    assert proof.received == received
    assert created.body == spliced(received, list(proof.splices)) == store.read("Observation", created.id).body
    assert b'"value":36.60}' in created.body
    assert b'"id":"n1","meta":{"versionId":"1","lastUpdated":"2023-11-14T22:13:20.000Z"}' in created.body


def test_a_life_is_told_by_its_versions(store):
    created = store.create("Patient", as_bytes({"resourceType": "Patient", "active": True}))
    changed = store.update("Patient", created.id, as_bytes(patient(created.id, active=False)), if_match='W/"1"')
    deleted = store.delete("Patient", created.id)
    assert deleted is not None
    again = store.update("Patient", created.id, as_bytes(patient(created.id, active=True)))
    told = [(v.version_id, v.method, v.etag, v.is_deleted) for v in store.history("Patient", created.id).versions]
    assert told == [(4, "PUT", 'W/"4"', False), (3, "DELETE", 'W/"3"', True), (2, "PUT", 'W/"2"', False), (1, "POST", 'W/"1"', False)]
    assert store.read("Patient", created.id) == again
    assert store.vread("Patient", created.id, "2") == changed
    assert created.location == "Patient/n1/_history/1"
    assert deleted.body == b""


def test_deleted_is_gone_unknown_is_not_found(store):
    put(store, patient("a"))
    store.delete("Patient", "a")
    assert store.delete("Patient", "a") is None
    for answer, act in [
        (Gone, lambda: store.read("Patient", "a")),
        (Gone, lambda: store.vread("Patient", "a", "2")),
        (NotFound, lambda: store.read("Patient", "b")),
        (NotFound, lambda: store.read("Practitioner", "a")),
        (NotFound, lambda: store.read("Patient", "a'; DROP TABLE resource;--")),
        (NotFound, lambda: store.vread("Patient", "a", "3")),
        (NotFound, lambda: store.vread("Patient", "a", "١")),
        (NotFound, lambda: store.vread("Patient", "a", "9" * 40)),
        (NotFound, lambda: store.delete("Patient", "b")),
        (NotFound, lambda: store.history("Patient", "b")),
        (NotFound, lambda: store.proof("Patient", "a", "7")),
    ]:
        with pytest.raises(answer) as no:
            act()
        assert type(no.value) is answer


@pytest.mark.parametrize("if_match", ['W/"2"', "2", '"0"', 'W/"x"', ""])
def test_another_version_than_the_current_one_is_a_conflict(store, if_match):
    put(store, patient("a"))
    with pytest.raises(Conflict):
        store.update("Patient", "a", as_bytes(patient("a", active=True)), if_match=if_match)
    with pytest.raises(Conflict):
        store.delete("Patient", "a", if_match=if_match)
    assert store.history("Patient", "a").total == 1


def test_if_match_on_what_never_was_is_a_conflict(store):
    with pytest.raises(Conflict):
        store.update("Patient", "a", as_bytes(patient("a")), if_match='W/"1"')
    assert store.history().total == 0


def test_an_update_says_the_id_that_it_addresses(store):
    for body in (patient("b"), {"resourceType": "Patient"}):
        with pytest.raises(Invalid) as no:
            store.update("Patient", "a", as_bytes(body))
        assert [(i.expression, i.diagnostics) for i in no.value.issues] == [
            ("Patient.id", "The resource's id is not the one that was addressed.")
        ]


def test_a_conditional_update_changes_the_one_match_or_creates(store):
    tree = {"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": "7"}]}
    first = store.update_where("Patient", "identifier=urn:x|7", as_bytes(tree))
    second = store.update_where("Patient", "identifier=urn:x|7", as_bytes(tree | {"active": True}))
    assert (first.id, first.version_id, second.id, second.version_id) == ("n1", 1, "n1", 2)
    with pytest.raises(Invalid):
        store.update_where("Patient", "identifier=urn:x|7", as_bytes(tree | {"id": "other"}))


def test_each_version_is_committed_to_under_a_key_of_its_own(tmp_path):
    keys = KeysInMemory()
    with store_at(tmp_path, keys=keys) as store:
        put(store, patient("a"))
        put(store, patient("a", active=True))
        store.delete("Patient", "a")
        proofs = [store.proof("Patient", "a", n) for n in "123"]
    assert len({p.k for p in proofs}) == len(keys.kept) == 3
    assert [p.received for p in proofs] == [as_bytes(patient("a")), as_bytes(patient("a", active=True)), b""]
    assert all(p.commitment == mac(p.k, labels.RECORD, NETWORK, p.received) for p in proofs)
    assert {p.erase_pk for p in proofs} == {keys.erase_pk("a")}


def test_a_tick_covers_what_was_pending_and_proves_it(store):
    for n in range(5):
        put(store, observation(f"o{n}", "a"))
    pending = store.pending_for_anchor()
    before = store.proof("Observation", "o1", "1")
    put(store, observation("late", "a"))
    store.anchored(41, pending)
    store.anchored(43, pending)  # said twice: the first stays
    proofs = [store.proof("Observation", f"o{n}", "1") for n in range(5)]
    leaves = [merkle.leaf_hash(encode([p.commitment, sha256(p.erase_pk)])) for p in proofs]
    assert (before.is_anchored, is_proven(before, NETWORK)) == (False, False)
    assert pending.records_root == merkle.root(leaves)
    assert [(p.tick_index, p.position, p.size, p.records_root) for p in proofs] == [(41, n, 5, pending.records_root) for n in range(5)]
    assert all(is_proven(p, NETWORK) for p in proofs)
    assert not is_proven(proofs[0], b"other network")
    assert not store.proof("Observation", "late", "1").is_anchored
    assert len(store.pending_for_anchor().numbers) == 1


def test_an_empty_tick_has_the_root_of_nothing(store):
    pending = store.pending_for_anchor()
    store.anchored(1, pending)
    assert (pending.records_root, pending.numbers) == (sha256(b""), ())


def test_a_record_altered_on_the_disk_no_longer_proves(tmp_path):
    with store_at(tmp_path) as store:
        put(store, patient("a", birthDate="1950-01-01"))
        store.anchored(9, store.pending_for_anchor())
        assert is_proven(store.proof("Patient", "a", "1"), NETWORK)
        store.core.writer.execute("UPDATE version SET body=CAST(replace(CAST(body AS TEXT),'1950','1960') AS BLOB)")
        assert b"1960" in store.read("Patient", "a").body
        assert not is_proven(store.proof("Patient", "a", "1"), NETWORK)


def test_bodies_are_sealed_per_patient_and_bound_to_their_place(tmp_path):
    cipher = AesGcmPerPatient()
    with store_at(tmp_path, cipher=cipher) as store:
        put(store, patient("a", name=[{"text": "秘密"}]))
        put(store, observation("o", "a", note=[{"text": "秘密的"}]))
        put(store, observation("p", "b"))
        put(store, {"resourceType": "Organization", "id": "h", "name": "Hospital"})
        put(store, observation("o", "a", note=[{"text": "秘密的二"}]))
        assert "秘密的二" in store.read("Observation", "o").body.decode()
        assert found(store, "Observation", "subject=Patient/a") == ["o"]
        assert set(cipher.keys) == {"a", "b", None}
        bodies = b"".join(r[0] for r in store.core.writer.execute("SELECT body FROM version"))
        assert "秘密".encode() not in bodies
        swapped = store.core.writer.execute("SELECT body FROM version ORDER BY id LIMIT 1 OFFSET 1").fetchone()[0]
        store.core.writer.execute("UPDATE version SET body=? WHERE id=5", (swapped,))
        with pytest.raises(Exception, match=r"^$"):  # cryptography's InvalidTag has no text
            store.read("Observation", "o")


def test_when_the_key_store_fails_nothing_is_written(tmp_path):
    class Failing(KeysInMemory):
        def put(self, keys):
            raise OSError("[Errno 28] No space left on device")

    with store_at(tmp_path, keys=Failing()) as store:
        with pytest.raises(StoreUnavailable) as no:
            put(store, patient("a"))
        assert str(no.value) == "The disk is full: free space on the store's volume; nothing of this request was written."
        assert store.history().total == 0
        assert found(store, "Patient", "") == []


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path):
    with store_at(tmp_path) as store:
        put(store, patient("a"))
        pages = store.core.writer.execute("PRAGMA page_count").fetchone()[0]
        store.core.writer.execute(f"PRAGMA max_page_count={pages}")
        big = observation("o", "a", note=[{"text": "x" * 100_000}])
        with pytest.raises(StoreUnavailable) as no:
            put(store, big)
        assert str(no.value) == "The disk is full: free space on the store's volume; nothing of this request was written."
        store.core.writer.execute("PRAGMA max_page_count=1000000")
        assert (store.history().total, found(store, "Observation", "")) == (1, [])
        put(store, big)
        assert found(store, "Observation", "") == ["o"]


def test_a_damaged_database_is_said(tmp_path):
    (tmp_path / "records.sqlite").write_bytes(b"this is no database, whatever its name" * 100)
    with pytest.raises(StoreUnavailable) as no:
        store_at(tmp_path)
    assert str(no.value) == "The record database is damaged or not ours: restore it from a backup; nothing was written."


def test_a_page_damaged_under_a_running_store_is_said(tmp_path):
    with store_at(tmp_path) as store:
        for n in range(50):
            put(store, observation(f"o{n}", "a"))
    path = tmp_path / "records.sqlite"
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(StoreUnavailable) as no, store_at(tmp_path) as store:
        store.read("Observation", "o1")
    assert str(no.value) == "The record database is damaged: restore it from a backup, then replay; nothing was written."


def test_a_database_of_another_layout_is_refused(tmp_path):
    db = sqlite3.connect(tmp_path / "records.sqlite")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreUnavailable) as no:
        store_at(tmp_path)
    assert str(no.value) == "The record database has layout 99, this program reads 1: use the program that wrote it."


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StoreUnavailable) as no:
        SqliteStore(Path(tmp_path) / "nowhere" / "r.sqlite", keys=KeysInMemory(), network_id=NETWORK)
    assert str(no.value) == "The record database cannot be opened: check that its folder exists and may be written."


def test_the_file_is_its_owners_alone(tmp_path):
    with store_at(tmp_path) as store:
        put(store, patient("a"))
        assert {f.name: f.stat().st_mode & 0o777 for f in tmp_path.iterdir()} == {
            f"records.sqlite{end}": 0o600 for end in ("", "-wal", "-shm")
        }


def test_readers_in_other_threads_never_see_half_a_transaction(tmp_path):
    pair = [{"resource": patient(n), "request": {"method": "PUT", "url": f"Patient/{n}"}} for n in "ab"]
    both = as_bytes({"resourceType": "Bundle", "type": "transaction", "entry": pair})
    with store_at(tmp_path) as store:
        written = Event()

        def look():
            seen = set()
            while not written.is_set():
                page = store.history(count=1000)
                seen.add(page.total % 2 or len(page.versions) - page.total)
            return seen

        with ThreadPoolExecutor(3) as pool:
            watching = [pool.submit(look) for _ in range(2)]
            try:
                for _ in range(60):
                    store.process(both)
            finally:
                written.set()
        assert [w.result() for w in watching] == [{0}, {0}]
        assert store.history().total == 120


def test_what_was_answered_is_there_after_opening_again(tmp_path):
    with store_at(tmp_path) as store:
        put(store, patient("a", name=[{"family": "Lovelace"}]))
        stored = put(store, observation("o", "a"))
    with store_at(tmp_path) as store:
        assert store.read("Observation", "o") == stored
        assert found(store, "Observation", "subject:Patient.family=love") == ["o"]


def test_pages_of_history_follow_each_other(store):
    for n in range(7):
        put(store, patient("a", multipleBirthInteger=n))
    told, cursor = [], None
    while True:
        page = store.history("Patient", "a", count=3, cursor=cursor)
        told.append([v.version_id for v in page.versions])
        assert page.total == 7
        cursor = page.next_cursor
        if cursor is None:
            break
    assert told == [[7, 6, 5], [4, 3, 2], [1]]
    since = store.history(since_s=store.vread("Patient", "a", "6").updated_ms // 1000)
    assert [v.version_id for v in since.versions] == [7, 6]
    assert store.history("Organization").total == 0
