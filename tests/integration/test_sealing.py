"""`yilian node seal`: a key store is sealed after it was made, or gets another passphrase; nothing that goes wrong meanwhile loses it."""

import json
import os
import subprocess
import sys
from contextlib import closing

import pytest

from yilian.cli import main
from yilian.engines import hold
from yilian.vault import SEED_FILE, Vault

COPIES = "a copy of member.seed that was made before"
CALLS = ["unlink", "open", "fstat", "open", "fchown", "write", "fsync", "close", "replace", "open", "fsync", "close", "fstat"]


def test_killed_at_any_call_it_leaves_the_old_store_or_the_new_and_never_neither(tmp_path, root):
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}
    command = [sys.executable, root / "tests/integration/seal_crash_points.py", tmp_path]
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    for told in json.loads(ran.stdout).values():
        # what is written is on the disk before it takes the old one's place, and that is on the disk before the old one is overwritten
        assert told["calls"] == [*CALLS, "pwrite", "fsync", "close"]
        replaced = CALLS.index("replace")
        assert (told["old"], told["new"]) == (2 * replaced + 1, 2 * (len(told["calls"]) - replaced) - 1)


@pytest.fixture
def yilian(tmp_path, capsys):
    """Run `yilian node ACT` on the member's home; return (exit code, what it printed, what it complained of) without the folder's name."""

    def run(act, *words):
        capsys.readouterr()
        code = main(["node", act, "--home", str(tmp_path / "home"), *map(str, words)])
        return code, *[text.replace(f"{tmp_path}/", "") for text in capsys.readouterr()]

    return run


@pytest.fixture
def phrases(tmp_path):
    """Files with a passphrase each."""
    for name in ("first", "second", "wrong"):
        (tmp_path / name).write_text(f"{name} passphrase\n")
    (tmp_path / "none").write_text("\n")
    (tmp_path / "bytes").write_bytes(bytes(range(0xA0, 0xC0)))
    return {name: tmp_path / name for name in ("first", "second", "wrong", "none", "bytes")}


@pytest.fixture
def home(tmp_path, yilian):
    words = ("--id", "clinic-1", "--kind", "clinic", "--name", "c", "--endpoint", "http://127.0.0.1:8700")
    code, out, _ = yilian("init", *words)
    assert (code, out.splitlines()[0].partition("; ")[2]) == (
        0,
        "its key store is NOT sealed: where others can read this disk, `yilian node seal`",
    )
    return tmp_path / "home"


def seed_in(home, passphrase=None):
    with Vault.open(home, passphrase) as vault:
        return vault._seed


def test_a_store_that_was_made_plain_is_sealed_and_then_gets_another_passphrase(home, yilian, phrases):
    seed = seed_in(home)
    assert seed in (home / SEED_FILE).read_bytes()
    made = [
        "the key store of clinic-1 is sealed under what first says: `yilian node run` needs it from now on",
        f"{COPIES} opens without a passphrase, as ever: make the backup of the keys anew and destroy the old one",
    ]
    code, out, err = yilian("seal", "--new-passphrase-file", phrases["first"])
    assert (code, err, out.splitlines()) == (0, "", made)
    assert seed_in(home, "first passphrase") == seed
    assert seed not in (home / SEED_FILE).read_bytes()
    code, out, err = yilian("seal", "--passphrase-file", phrases["first"], "--new-passphrase-file", phrases["second"], "--json")
    assert (code, err, json.loads(out)) == (0, "", {"member": "clinic-1", "was_sealed": True, "other_names": 0})
    assert seed_in(home, "second passphrase") == seed
    assert sorted(path.name for path in home.iterdir() if path.name.startswith(SEED_FILE)) == [SEED_FILE]
    assert (home / SEED_FILE).stat().st_mode & 0o777 == 0o600


def test_a_wrong_passphrase_a_missing_and_an_unasked_one_change_nothing(home, yilian, phrases):
    def declined(*words):
        before = (home / SEED_FILE).read_bytes()
        code, out, err = yilian("seal", *words)
        assert (out, (home / SEED_FILE).read_bytes()) == ("", before)
        return code, err

    new = ("--new-passphrase-file", phrases["second"])
    unasked = "unreachable: home/member.seed is not sealed, but a passphrase was given: leave it out\n"
    assert declined("--passphrase-file", phrases["wrong"], *new) == (4, unasked)
    assert declined("--new-passphrase-file", phrases["none"]) == (2, "usage: none has no passphrase in its first line\n")
    no_text = "usage: the first line of bytes is not text in UTF-8: choose a passphrase that can be written down\n"
    assert declined("--new-passphrase-file", phrases["bytes"]) == (2, no_text)
    assert yilian("seal", "--new-passphrase-file", phrases["first"])[0] == 0
    assert declined(*new) == (4, "unreachable: home/member.seed is sealed: give the passphrase (--passphrase-file FILE)\n")
    assert declined("--passphrase-file", phrases["wrong"], *new) == (4, "unreachable: the passphrase does not open home/member.seed\n")
    assert seed_in(home, "first passphrase")


def test_a_store_whose_node_runs_or_starts_is_not_sealed(home, yilian, phrases):
    before = (home / SEED_FILE).read_bytes()
    with Vault.open(home):
        code, _, err = yilian("seal", "--new-passphrase-file", phrases["first"])
    assert (code, err) == (4, "unreachable: home/vault.db is open in another process: one node at a time works on a data folder\n")
    (home / "ledger").mkdir()
    with closing(hold(home / "ledger")):
        code, _, err = yilian("seal", "--new-passphrase-file", phrases["first"])
    assert (code, err.startswith("unreachable: another process has the ledger in home/ledger open: stop it first")) == (4, True)
    assert (home / SEED_FILE).read_bytes() == before
    assert yilian("seal", "--new-passphrase-file", phrases["first"])[0] == 0


def test_of_a_plain_seed_with_another_name_on_the_disk_that_is_said_and_the_copy_is_left(home, yilian, phrases, tmp_path):
    os.link(home / SEED_FILE, tmp_path / "kept")
    seed = seed_in(home)
    code, out, _ = yilian("seal", "--new-passphrase-file", phrases["first"])
    said = "the file that it was before has 1 other name (hard links) on this disk and was left as it is there: find it and delete it"
    assert (code, out.splitlines()[2]) == (0, said)
    assert seed in (tmp_path / "kept").read_bytes()
    assert seed_in(home, "first passphrase") == seed


def test_the_plain_seed_is_overwritten_where_it_lay(home, yilian, phrases):
    seed = seed_in(home)
    with (home / SEED_FILE).open("rb") as old:  # as who reads the disk below the file system would
        assert seed in old.read()
        assert yilian("seal", "--new-passphrase-file", phrases["first"])[0] == 0
        old.seek(0)
        assert set(old.read()) == {0}


def test_a_seed_that_lies_elsewhere_is_sealed_there(home, yilian, phrases, tmp_path):
    (tmp_path / "safe").mkdir()
    elsewhere = (home / SEED_FILE).rename(tmp_path / "safe" / "seed")
    (home / SEED_FILE).symlink_to(elsewhere)
    seed = seed_in(home)
    assert yilian("seal", "--new-passphrase-file", phrases["first"])[0] == 0
    assert (home / SEED_FILE).is_symlink()
    assert (seed_in(home, "first passphrase"), seed in elsewhere.read_bytes()) == (seed, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_sealed_by_root_it_still_belongs_to_who_runs_the_node(home, yilian, phrases):
    os.chown(home / SEED_FILE, 1_234, 1_235)
    assert yilian("seal", "--new-passphrase-file", phrases["first"])[0] == 0
    owner = (home / SEED_FILE).stat()
    assert (owner.st_uid, owner.st_gid, owner.st_mode & 0o777) == (1_234, 1_235, 0o600)


def test_a_full_disk_leaves_the_store_as_it_was(home, yilian, phrases, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    seed = seed_in(home)
    monkeypatch.setattr("yilian.vault.seedfile._fill", full)
    code, _, err = yilian("seal", "--new-passphrase-file", phrases["first"])
    assert (code, err.startswith("unreachable: home/member.seed could not be written (No space left on device): it is whole")) == (4, True)
    assert seed_in(home) == seed
    assert [path.name for path in home.iterdir() if path.name.startswith(SEED_FILE)] == [SEED_FILE]
