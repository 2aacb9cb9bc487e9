"""Commands that ask a node, at members that run in this process: what they print is what the ledger and the records hold."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from tests.release_worlds import HOLDER
from yilian.cli import main
from yilian.contracts import consent
from yilian.node import anchoring


@pytest.fixture
def here(here, monkeypatch):
    monkeypatch.setattr("yilian.sim.software.time", SimpleNamespace(time=lambda: here.now_s))
    return here


@pytest.fixture
def yilian(capsys):
    async def run(*words):
        capsys.readouterr()
        code = await asyncio.to_thread(main, [str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


async def test_a_grant_is_shown_by_the_first_digits_of_its_key_as_the_ledger_has_it(here, lan, yilian):
    control_key = await here.give(lan)
    url = here.running.urls[HOLDER]

    async def shown(digits):
        code, out, err = await yilian("show", "grant", digits, "--node", url, "--json")
        assert (code, err) == (0, "")
        said = json.loads(out)
        return {name: said[name] for name in ("grant", "state", "uses", "uses_max", "entries", "session_until_s")}

    said = {"grant": control_key.hex(), "state": "live", "uses": 0, "uses_max": 5, "entries": 0, "session_until_s": None}
    assert await shown(control_key.hex()[:7].upper()) == said
    await here.read(f"/fhir/Observation?patient={lan.id}", control_key, patient=lan)
    session = consent.read(here.engine.read(), control_key).session_until_s
    assert await shown(control_key.hex()) == said | {"uses": 1, "entries": 1, "session_until_s": session}
    await here.revoke(lan, control_key)
    assert await shown(control_key.hex()) == said | {"state": "revoked", "uses": 1, "entries": 1}
    code, out, err = await yilian("show", "grant", control_key.hex()[:8], "--node", url)
    assert (code, err, out.splitlines()[0]) == (0, "", f"grant {control_key.hex()}")
    assert "1 of 5 consultations opened; 1 accesses entered under it" in out


@pytest.mark.parametrize(("digits", "code"), [("abc", 2), ("xyz0", 2), ("0" * 65, 2), ("0" * 64, 3)])
async def test_a_grant_that_is_not_there_or_not_named_is_said_in_a_sentence(here, yilian, digits, code):
    got, out, err = await yilian("show", "grant", digits, "--node", here.running.urls[HOLDER])
    assert (got, out, len(err.splitlines())) == (code, "", 1)


async def test_a_member_is_shown_as_the_directory_has_it(here, yilian):
    url = here.running.urls[HOLDER]
    code, out, _ = await yilian("show", "member", HOLDER, "--node", url, "--json")
    said = json.loads(out)
    assert (code, said["id"], said["stage"], said["node_key"]) == (0, HOLDER, "active", here.running.genesis.founder(HOLDER).node_key.hex())
    code, out, err = await yilian("show", "member", "nobody", "--node", url)
    assert (code, out) == (3, "")
    assert "clinic-1, hospital-1, regulator-1" in err


async def test_a_records_proof_is_fetched_once_anchored_and_checked_offline(here, lan, yilian, tmp_path):
    folder, file = tmp_path / HOLDER, tmp_path / "proof"
    words = ("record-proof", "--folder", folder, f"Patient/{lan.id}", "--out", file)
    code, out, err = await yilian(*words)
    assert (code, out, err.startswith("refused: version 1"), file.exists()) == (3, "", True, False)
    here.clock.go(60)
    tick = await anchoring.tick(here.holder)
    code, out, err = await yilian(*words, "--json")
    said = json.loads(out)
    assert (code, said["member"], said["type"], said["id"], said["version"], said["tick"]) == (0, HOLDER, "Patient", lan.id, "1", tick)
    assert file.stat().st_mode & 0o777 == 0o600  # it holds the record
    code, out, _ = await yilian("verify-record", file, "--network", here.network.hex())
    assert (code, out.startswith(f"proven: Patient/{lan.id} version 1 of {HOLDER}")) == (0, True)
    assert (await yilian(*words))[0] == 2  # and nothing is overwritten
    code, _, err = await yilian("verify", file)
    assert (code, "it is a record's proof: yilian verify-record" in err) == (3, True)

    file.write_bytes(file.read_bytes().replace(b"female", b"femble"))
    code, out, err = await yilian("verify-record", file)
    assert (code, out, "not the one that was anchored" in err) == (3, "", True)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("Patient/nobody",), 3),
        (("Patient/lan", "--version", "7"), 3),
        (("Patient/lan", "--version", "x"), 2),
        (("Patient",), 2),
        (("../lan",), 2),
    ],
)
async def test_a_record_that_is_not_there_or_not_named_is_said_in_a_sentence(here, lan, yilian, tmp_path, words, code):
    got, out, err = await yilian("record-proof", "--folder", tmp_path / HOLDER, *words)
    assert (got, out, len(err.splitlines())) == (code, "", 1)


async def test_a_folder_without_a_member_has_no_record(yilian, tmp_path):
    code, _, err = await yilian("record-proof", "--folder", tmp_path, "Patient/lan")
    assert (code, "is no member's data folder" in err) == (2, True)
