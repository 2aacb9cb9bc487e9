"""A member's key store: what is derived, what is drawn, what is gone when destroyed."""

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from yilian.base.digests import derive
from yilian.base.keys import is_signed
from yilian.base.seal import open_as_member, seal_to_member
from yilian.vault import (
    KEYS_FILE,
    SEED_FILE,
    BodyCipher,
    Kind,
    NotSealedHere,
    Vault,
    VaultCorrupt,
    VaultExists,
    VaultExposed,
    VaultFault,
    VaultInUse,
    VaultMissing,
    VersionKeys,
    WrongPassphrase,
)

NETWORK = b"n" * 32
SEED = bytes(range(32))


@pytest.fixture
def vault(tmp_path):
    with Vault.create(tmp_path / "keys") as made:
        yield made


def test_a_member_is_its_seed(tmp_path):
    with Vault.create(tmp_path / "a", seed=SEED) as first, Vault.create(tmp_path / "b", seed=SEED) as second:
        assert first.node_key.public_key == second.node_key.public_key
        assert first.receipt_key.public_key == second.receipt_key.public_key
        assert first.sealing_key == second.sealing_key
        assert len({first.node_key.public_key, first.receipt_key.public_key}) == 2
        assert len(first.sealing_seed) == 96
        assert open_as_member(second.sealing_seed, b"i", seal_to_member(first.sealing_key, b"i", b"hello")) == b"hello"
    with Vault.create(tmp_path / "c") as third:
        assert third.node_key.public_key != first.node_key.public_key


def test_keys_outlive_the_process(tmp_path):
    with Vault.create(tmp_path, "open sesame") as made:
        grant = made.new_grant_key(NETWORK)
        chart = made.draw(Kind.CHART, b"chart-1")
        made.put(Kind.CONSENT, [(b"g1", b"k" * 32)])
        node_key = made.node_key.public_key
    with Vault.open(tmp_path, "open sesame") as again:
        assert again.node_key.public_key == node_key
        assert again.draw(Kind.CHART, b"chart-1") == chart
        assert again.get(Kind.CONSENT, b"g1") == b"k" * 32
        assert again.get(Kind.CONSENT, b"g2") is None
        assert again.names(Kind.CHART) == [b"chart-1"]
        pair = again.grant_key(NETWORK, grant.public_key)
        assert is_signed(grant.public_key, b"m", pair.sign(b"m"))
        assert again.grant_key(NETWORK, b"x" * 32) is None


def test_a_grant_key_is_made_from_the_seed_and_a_random_id_and_of_one_network(tmp_path):
    ids = []

    def entropy(size):
        ids.append(os.urandom(size))
        return ids[-1]

    with Vault.create(tmp_path, seed=SEED, entropy=entropy) as made:
        key = made.new_grant_key(NETWORK)
        key_id = next(drawn for drawn in ids if len(drawn) == 16)
        assert key.seed == derive(SEED, "member-grant-key", NETWORK, key_id)
        assert made.new_grant_key(NETWORK).public_key != key.public_key


def test_the_unsealed_seed_is_for_its_owner_only_and_says_so(vault, tmp_path):
    assert stat.S_IMODE((tmp_path / "keys" / SEED_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys" / KEYS_FILE).stat().st_mode) == 0o600
    assert vault.protection().startswith("the member's seed is NOT sealed")
    with Vault.create(tmp_path / "sealed", "p") as sealed:
        assert sealed.protection() == "the member's seed is sealed under a passphrase"


def fault_of(folder, passphrase=None):
    with pytest.raises(VaultFault) as fault:
        Vault.open(folder, passphrase).close()
    return type(fault.value), str(fault.value)


def test_each_thing_that_can_be_wrong_has_its_own_sentence(tmp_path):
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    Vault.create(plain).close()
    Vault.create(sealed, "right").close()
    assert fault_of(tmp_path / "nowhere")[0] is VaultMissing
    assert fault_of(sealed) == (WrongPassphrase, f"{sealed / SEED_FILE} is sealed: give the passphrase (--passphrase-file FILE)")
    assert fault_of(sealed, "wrong") == (WrongPassphrase, f"the passphrase does not open {sealed / SEED_FILE}")
    assert fault_of(plain, "any")[0] is WrongPassphrase
    for folder in (plain, sealed):
        with pytest.raises(VaultExists):
            Vault.create(folder)
    (plain / SEED_FILE).chmod(0o640)
    assert fault_of(plain)[0] is VaultExposed
    (plain / SEED_FILE).chmod(0o600)
    (plain / KEYS_FILE).unlink()
    assert fault_of(plain)[0] is VaultMissing


def test_every_flipped_byte_of_the_seed_file_is_found(tmp_path):
    Vault.create(tmp_path, "right").close()
    whole = (tmp_path / SEED_FILE).read_bytes()
    for place in range(len(whole)):
        (tmp_path / SEED_FILE).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert fault_of(tmp_path, "right")[0] is VaultCorrupt
    (tmp_path / SEED_FILE).write_bytes(b"")
    assert fault_of(tmp_path, "right")[0] is VaultCorrupt
    (tmp_path / SEED_FILE).write_bytes(b"\x80")
    assert fault_of(tmp_path, "right")[0] is VaultCorrupt


def test_a_damaged_database_and_another_members_are_refused(tmp_path):
    Vault.create(tmp_path / "a").close()
    Vault.create(tmp_path / "b").close()
    other = (tmp_path / "b" / KEYS_FILE).read_bytes()
    (tmp_path / "a" / KEYS_FILE).write_bytes(b"not a database at all" * 500)
    assert fault_of(tmp_path / "a")[0] is VaultCorrupt
    (tmp_path / "a" / KEYS_FILE).write_bytes(other)
    assert fault_of(tmp_path / "a")[0] is VaultCorrupt


def test_a_row_can_be_neither_altered_nor_exchanged(tmp_path):
    with Vault.create(tmp_path) as made:
        made.put(Kind.VERSION, [(b"v1", b"1" * 32), (b"v2", b"2" * 32)])
    with sqlite3.connect(tmp_path / KEYS_FILE) as db:
        db.execute("UPDATE key SET sealed = (SELECT sealed FROM key WHERE name = ?) WHERE name = ?", (b"v1", b"v2"))
    db.close()
    with Vault.open(tmp_path) as again:
        assert again.get(Kind.VERSION, b"v1") == b"1" * 32
        with pytest.raises(VaultCorrupt):
            again.get(Kind.VERSION, b"v2")


def test_one_process_at_a_time(vault, tmp_path):
    vault.draw(Kind.CHART, b"c")
    code = f"from pathlib import Path; from yilian.vault import Vault; Vault.open(Path({str(tmp_path / 'keys')!r}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert VaultInUse.__name__ in run.stderr
    vault.close()
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def everything_in(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_a_destroyed_key_is_in_no_file(vault, tmp_path):
    drawn = []
    vault._entropy = vault._shelf._entropy = lambda size: drawn.append(os.urandom(size)) or drawn[-1]
    vault.draw(Kind.VERSION, b"v1")
    (nonce,) = [each for each in drawn if len(each) == 12]  # stands before the sealed key in its row
    assert nonce in everything_in(tmp_path / "keys")
    assert vault.destroy(Kind.VERSION, [b"v1", b"v9"]) == 1
    assert vault.get(Kind.VERSION, b"v1") is None
    assert nonce not in everything_in(tmp_path / "keys")
    grant = vault.new_grant_key(NETWORK).public_key
    assert (vault.destroy_grant_keys([grant]), vault.destroy_grant_keys([grant]), vault.grant_key(NETWORK, grant)) == (1, 0, None)


def test_no_key_lies_open_in_the_database(vault, tmp_path):
    key = vault.draw(Kind.CHART, b"c")
    assert key not in everything_in(tmp_path / "keys")
    vault.backup(tmp_path / "copy.db")
    assert b"c" in (tmp_path / "copy.db").read_bytes()
    assert key not in (tmp_path / "copy.db").read_bytes()


def test_a_backup_and_the_seed_are_the_member(vault, tmp_path):
    key = vault.draw(Kind.CHART, b"c")
    (tmp_path / "restored").mkdir()
    vault.backup(tmp_path / "restored" / KEYS_FILE)
    seed_file = tmp_path / "restored" / SEED_FILE
    seed_file.write_bytes((tmp_path / "keys" / SEED_FILE).read_bytes())
    seed_file.chmod(0o600)
    with Vault.open(tmp_path / "restored") as restored:
        assert restored.get(Kind.CHART, b"c") == key


def test_a_body_opens_for_its_patient_and_place_only_and_never_after_erasure(vault):
    cipher = BodyCipher(vault)
    sealed = cipher.encrypt("p1", b"body", b"Observation/1")
    other = cipher.encrypt("p2", b"body", b"Observation/1")
    own = cipher.encrypt(None, b"own", b"x")
    assert (cipher.decrypt("p1", sealed, b"Observation/1"), cipher.decrypt(None, own, b"x")) == (b"body", b"own")
    for patient, data, place in [
        ("p2", sealed, b"Observation/1"),
        ("p1", sealed, b"Observation/2"),
        ("p1", sealed[:-1], b"Observation/1"),
        ("p1", b"", b"Observation/1"),
        ("p3", sealed, b"Observation/1"),
    ]:
        with pytest.raises(NotSealedHere):
            cipher.decrypt(patient, data, place)
    assert cipher.destroy("p1")
    with pytest.raises(NotSealedHere) as no:
        cipher.decrypt("p1", sealed, b"Observation/1")
    assert str(no.value).startswith("the key of this record was destroyed")
    assert cipher.decrypt("p2", other, b"Observation/1") == b"body"
    assert not cipher.destroy("p1")
    cipher.encrypt("p1", b"the patient came back", b"x")
    with pytest.raises(NotSealedHere):
        cipher.decrypt("p1", sealed, b"Observation/1")


def test_the_regulator_may_say_erased_where_the_patient_named_no_key(vault):
    keys = VersionKeys(vault, b"R" * 32)
    keys.name_erase_pk("p1", b"P" * 32)
    assert [keys.erase_pk(who) for who in ("p1", "p2", None)] == [b"P" * 32, b"R" * 32, b"R" * 32]
    keys.put([(b"v1", b"1" * 32), (b"v2", b"2" * 32)])
    assert keys.destroy([b"v1"]) == 1
    assert [keys.get(name) for name in (b"v1", b"v2")] == [None, b"2" * 32]


def test_keys_in_memory_are_bounded(vault, monkeypatch):
    monkeypatch.setattr("yilian.vault.shelf.CACHED_MAX", 10)
    vault.put(Kind.OTHER, [(bytes([n]), bytes([n]) * 32) for n in range(50)])
    assert len(vault._shelf._known) == 10
    assert [vault.get(Kind.OTHER, bytes([n])) for n in range(50)] == [bytes([n]) * 32 for n in range(50)]
    assert len(vault._shelf._known) == 10
