"""The demo as a stranger runs it: the story ends with 0, the region serves other terminals, Ctrl-C leaves nothing behind."""

import json
import signal
import tempfile
from pathlib import Path

import pytest

from tests.commands import LINE_S, demo, environment_of, killed, yilian
from tests.waiting import Lines
from yilian.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("regions")]
STORY_ENDS = "接下来可以试试"


@pytest.fixture
def tmp_path():
    """A folder with a short name, for a socket's path has 107 bytes and pytest's own folders may leave too few."""
    with tempfile.TemporaryDirectory(prefix="y-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def environment(tmp_path):
    return environment_of(tmp_path)


def test_once_tells_the_story_and_ends_with_zero(environment, tmp_path):
    run = yilian(environment, "demo", "--once", "--patients", "8", "--lang", "en", "--json")
    assert (run.returncode, run.stderr) == (0, "")
    facts = json.loads(run.stdout)
    assert (facts["patients"], facts["releases"] >= 6, facts["released_bytes"] > 10_000) == (8, True, True)
    assert facts["refusals"] == ["9026 REVOKED_DIRECTLY", "9020 NO_GRANT", "9007 CREDENTIAL_NOT_LIVE"]
    assert facts["memory_mb"] < 600
    assert facts["ledger_bytes"] < facts["entries"] * 1_000
    assert list(tmp_path.glob("yilian-*")) == []
    assert not (tmp_path / "state" / "yilian" / "region").exists()


def test_every_scene_is_told_in_both_languages(environment):
    run = yilian(environment, "demo", "--once", "--patients", "4")
    assert run.returncode == 0, run.stderr
    for sentence in (
        "SCORE2-Asia-Pacific",
        "referral.request",
        "The hospital's inbox",
        "recognised, not repeated",
        "referral.down",
        "whole; root signed by regulator-1",
        "HTTP 403  9026 REVOKED_DIRECTLY; 0 bytes",
        "a review is due within 72 h",
        "HTTP 403  9007 CREDENTIAL_NOT_LIVE; 0 bytes",
        "检查互认",
        "患者：看见每一次调阅",
    ):
        assert sentence in run.stdout


@pytest.fixture
def region(environment, tmp_path):
    """A region that keeps serving, its story told."""
    words = ["--home", str(tmp_path / "region"), "--patients", "4", "--lang", "zh"]
    with demo(environment, *words) as process:
        lines = Lines(process).until("Ctrl-C", LINE_S)
        assert any(STORY_ENDS in line for line in lines), (lines, killed(process))
        process.told = "".join(lines)
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def children_of(pid):
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def test_the_region_serves_another_terminal_and_ends_cleanly(region, environment, tmp_path):
    given = yilian(environment, "grant", "--patient", "he", "--holder", "hospital-2", "--requester", "hospital-1", "--json")
    assert given.returncode == 0, given.stderr
    grant = json.loads(given.stdout)
    words = ["read", "--as", "dr-wu", "--holder", "hospital-2", "--patient", "he", "Observation", "--json"]
    without = yilian(environment, *words)
    assert (without.returncode, json.loads(without.stderr)["reason"]) == (3, "PRESENCE_REQUIRED")
    released = yilian(environment, *words, "--present")
    assert released.returncode == 0, released.stderr
    said = json.loads(released.stdout)
    assert (said["status"], said["body"]["resourceType"], said["body"]["total"] > 0) == (200, "Bundle", True)

    shown = json.loads(yilian(environment, "show", "entry", str(said["entry"]), "--json").stdout)
    assert (shown["kind"], shown["carrier"], shown["says"]["grant"]) == ("access.record", "hospital-2", grant["grant"])
    row = json.loads(yilian(environment, "show", "grant", grant["grant"][:9], "--json").stdout)
    assert (row["grant"], row["state"], row["uses"], row["uses_max"], row["entries"]) == (grant["grant"], "live", 1, 5, 1)
    log = json.loads(yilian(environment, "log", "--patient", "he", "--json").stdout)
    assert log["is_whole"] is True
    assert said["entry"] in [access["entry"] for one in log["logs"] for access in one["accesses"] if one["holder"] == "hospital-2"]

    file = tmp_path / "entry.yilian"
    assert yilian(environment, "log", "--patient", "he", "--export", str(said["entry"]), "--out", str(file)).returncode == 0
    verified = yilian(environment, "verify", str(file), "--json")
    assert (verified.returncode, json.loads(verified.stdout)["entries"][-1]["index"]) == (0, said["entry"])

    assert yilian(environment, "revoke", "--patient", "he", grant["grant"][:12]).returncode == 0
    assert json.loads(yilian(environment, "show", "grant", grant["grant"], "--json").stdout)["state"] == "revoked"
    after = yilian(environment, *words)
    assert (after.returncode, json.loads(after.stderr)["reason"]) == (3, "REVOKED_DIRECTLY")
    assert yilian(environment, "revoke", "--patient", "he", "zz").returncode == 2

    stranger = yilian(environment, "read", "--as", "dr-feng", "--holder", "hospital-1", "--patient", "lin", "Observation")
    assert (stranger.returncode, stranger.stdout) == (3, "")
    snapshot = yilian(environment, "snapshot", "take", "--home", str(tmp_path / "region"), "--out", str(tmp_path / "snapshot"), "--json")
    assert snapshot.returncode == 0, snapshot.stderr

    started = children_of(region.pid)
    assert len(started) > 4
    assert "$ yilian revoke --patient he GRANT" in region.told
    region.send_signal(signal.SIGINT)
    told, _ = region.communicate(timeout=60)
    assert (region.returncode, f"正在停止各节点；{tmp_path.resolve() / 'region'} 将保留" in told) == (0, True)
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    gone = yilian(environment, "log", "--patient", "he")
    assert (gone.returncode, gone.stderr.startswith("unreachable: no region runs here")) == (4, True)


def test_real_records_arrive_whole_in_a_running_region(region, environment, shared):
    run = yilian(environment, "import", str(shared / "data" / "synthea"), "--member", "hospital-1", "--json")
    assert run.returncode == 0, run.stderr
    first = json.loads(run.stdout)
    assert (first["refused"], first["problems"], first["found"]) == (0, [], first["created"] + first["updated"] + first["unchanged"])
    assert first["found"] > 3_000
    again = json.loads(yilian(environment, "import", str(shared / "data" / "synthea"), "--member", "hospital-1", "--json").stdout)
    assert (again["created"], again["found"]) == (0, first["found"])


def test_a_home_whose_path_leaves_no_room_for_sockets_is_said_in_a_sentence(tmp_path, capsys):
    home = tmp_path / ("x" * 90)
    assert main(["demo", "--home", str(home)]) == 2
    assert capsys.readouterr().err == f"usage: {home} is too long a path for the region's sockets: choose a --home of 80 bytes at most\n"


def test_a_home_that_is_not_empty_and_a_port_in_use_are_said_in_a_sentence(tmp_path, capsys):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "x").touch()
    assert main(["demo", "--home", str(tmp_path / "home")]) == 2
    assert capsys.readouterr().err == f"usage: {tmp_path / 'home'} is not empty: a region is founded in a folder of its own\n"
    assert main(["demo", "--home", str(tmp_path / "home" / "x")]) == 4
    assert capsys.readouterr().err == f"unreachable: {tmp_path / 'home' / 'x'} cannot be made: File exists\n"
    assert main(["demo", "--records", str(tmp_path / "home")]) == 2
    assert capsys.readouterr().err.startswith(f"usage: no file in {tmp_path / 'home'} is named *.json")
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["demo", "--once", "--patients", "2", "--port", str(port)]) == 4
    assert f"port {port} on 127.0.0.1 is in use" in capsys.readouterr().err
