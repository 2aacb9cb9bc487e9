"""The demo over four validators, as a stranger runs it: one story, four ledgers, and no process left behind."""

import json
import signal
import tempfile
from pathlib import Path

import pytest

from tests.commands import LINE_S, demo, environment_of, killed, yilian
from tests.consortium import needs_cometbft
from tests.waiting import Lines
from yilian.cli import main
from yilian.engines import fsck_folder
from yilian.engines.replica import Replica
from yilian.ledger import parse_genesis

FOUR = ["clinic-1", "hospital-1", "hospital-2", "regulator-1"]


@pytest.fixture
def tmp_path():
    """A folder with a short name, for a socket's path has 107 bytes and pytest's own folders may leave too few."""
    with tempfile.TemporaryDirectory(prefix="y-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def environment(tmp_path):
    return environment_of(tmp_path)


def descendants_of(pid):
    """Return the ids of all processes under one, with the program that each runs."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found[int(child)] = Path(f"/proc/{child}/comm").read_text().strip()
            found |= descendants_of(int(child))
    return found


@pytest.fixture
def process(environment, tmp_path):
    with demo(environment, "--network", "4", "--home", str(tmp_path / "region"), "--patients", "4", "--lang", "en") as process:
        yield process


def defects(environment):
    """Return what the command wrote down of a defect of ours, so that a failure here says its cause."""
    file = Path(environment["XDG_STATE_HOME"]) / "yilian" / "yilian-defects.log"
    return file.read_text() if file.exists() else ""


@pytest.mark.slow
@needs_cometbft
@pytest.mark.xdist_group("cometbft")
def test_the_story_over_four_validators_leaves_four_equal_ledgers_and_a_file_with_a_quorum(process, environment, tmp_path):
    home = tmp_path / "region"
    story = "".join(Lines(process).until("Ctrl-C", LINE_S))
    assert "What to try next" in story, story[-500:] + killed(process) + defects(environment)
    for sentence in (
        "validators clinic-1, hospital-1, hospital-2, regulator-1",
        "whole; root signed by clinic-1, hospital-1, hospital-2;",
        "HTTP 403  9026 REVOKED_DIRECTLY; 0 bytes",
        "HTTP 403  9007 CREDENTIAL_NOT_LIVE; 0 bytes",
        f"$ yilian network status --home {home.resolve() / 'hospital-2'}",
    ):
        assert sentence in story
    assert "one operator vouches" not in story

    standing = json.loads(yilian(environment, "network", "status", "--home", str(home / "hospital-1"), "--json").stdout)
    assert (standing["validators"], standing["peers"]) == (dict.fromkeys(FOUR, 1), 3)
    running = descendants_of(process.pid)
    assert list(running.values()).count("cometbft") == 4
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert [pid for pid in running if Path(f"/proc/{pid}").exists()] == []

    verified = yilian(environment, "verify", str(home / "entry.yilian"), "--json")  # no node runs any more
    facts = json.loads(verified.stdout)
    assert (verified.returncode, facts["is_quorum"]) == (0, True)
    assert {tuple(entry["signers"]) for entry in facts["entries"]} == {("clinic-1", "hospital-1", "hospital-2")}
    genesis = parse_genesis((home / "clinic-1" / "genesis.cbor").read_bytes())
    sound = [fsck_folder(home / member / "ledger", genesis) for member in FOUR]
    height = min(each.height for each in sound)
    assert height > 20
    assert len({app_hash_at(height, home / member / "ledger", genesis) for member in FOUR}) == 1


def app_hash_at(height, folder, genesis):
    replica = Replica.open(folder, genesis)
    try:
        return replica.block(height).app_hash
    finally:
        replica.close()


@pytest.mark.slow
@needs_cometbft
@pytest.mark.xdist_group("cometbft")
def test_ctrl_c_in_the_middle_of_the_story_leaves_no_process(process):
    told = Lines(process).until("The community clinic examines", LINE_S)
    assert "The community clinic examines" in told[-1], (told, killed(process))
    running = descendants_of(process.pid)
    assert list(running.values()).count("cometbft") == 4
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert [pid for pid in running if Path(f"/proc/{pid}").exists()] == []


def test_a_missing_cometbft_and_too_few_validators_are_said_in_a_sentence(environment, tmp_path, monkeypatch, capsys):
    missing = tmp_path / "cometbft"
    monkeypatch.setenv("YILIAN_COMETBFT", str(missing))
    assert main(["demo", "--network", "4", "--once", "--patients", "2", "--lang", "en"]) == 4
    said = f"there is no CometBFT at {missing}: run `make cometbft`, or name the program in YILIAN_COMETBFT"
    assert capsys.readouterr().err == f"unreachable: {said}\n"
    for number in ("3", "9", "0"):
        assert main(["demo", "--network", number]) == 2
        said = "--network takes 4 to 8: with fewer validators than four, none may fail"
        assert capsys.readouterr().err == f"usage: {said}\n"
    assert main(["demo", "--network", "4", "--port", "65521"]) == 2
    assert capsys.readouterr().err == "usage: --port takes 1 to 65520\n"
