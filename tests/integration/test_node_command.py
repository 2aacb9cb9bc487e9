"""`yilian node`: two members in processes of their own; the one orders, the other follows over HTTP and decides every block itself."""

import json
import os
import signal
import socket
import subprocess
from contextlib import contextmanager

import pytest

from tests.commands import YILIAN
from tests.waiting import Lines, tries
from yilian.cli import main
from yilian.node import read_settings


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def made(home, member, port, *words):
    url = f"http://127.0.0.1:{port}"
    given = ["--id", member, "--kind", "hospital", "--name", member, "--endpoint", url, "--port", str(port), *words]
    assert main(["node", "init", "--home", str(home), *given]) == 0
    return url


@pytest.fixture
def network(tmp_path):
    first = made(tmp_path / "a", "a", free_port())
    second = made(tmp_path / "b", "b", free_port(), "--engine", "remote", "--operator", first)
    cards = [str(tmp_path / member / "founder.card") for member in "ab"]
    assert main(["node", "found", "--operator", "a", "--out", str(tmp_path / "genesis"), *cards]) == 0
    for member in "ab":
        assert main(["node", "join", "--home", str(tmp_path / member), "--genesis", str(tmp_path / "genesis")]) == 0
    return first, second


@contextmanager
def running(home):
    """Give a node that runs, and the first line that it says."""
    process = subprocess.Popen([*YILIAN, "node", "run", "--home", str(home), "--json"], env=os.environ, stdout=subprocess.PIPE, text=True)
    try:
        yield process, json.loads(Lines(process).next())
    finally:
        process.kill()  # if it was not asked to end, or did not
        process.communicate(timeout=60)


def shown(url, which, capsys):
    code = main(["show", "block", which, "--node", url, "--json"])
    said = capsys.readouterr()
    return json.loads(said.out) if code == 0 else None


@pytest.mark.slow
def test_one_member_orders_and_another_follows_it(network, tmp_path, capsys):
    capsys.readouterr()
    with running(tmp_path / "a") as (one, first), running(tmp_path / "b") as (two, second):
        assert (first["url"], second["url"], first["network"] == second["network"]) == (*network, True)
        for _ in tries(lambda: "no block 1 at the member that follows"):  # each anchors at once when it starts: block 1 comes
            assert (one.poll(), two.poll()) == (None, None)
            if (there := shown(network[1], "1", capsys)) is not None:
                break
        here = shown(network[0], "1", capsys)
        assert (here["signed_by"], there["signed_by"]) == ("a", "b")
        assert [here[name] == there[name] for name in ("height", "entries", "root", "network")] == [True] * 4
        for process in (two, one):
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(timeout=60) for process in (two, one)]
    assert codes == [0, 0]
    for member in "ab":
        assert main(["node", "check", "--home", str(tmp_path / member)]) == 0


@pytest.mark.parametrize(
    ("words", "port"),
    [
        (("http://127.0.0.1:18705",), 18_705),
        (("http://localhost:18705",), 18_705),
        (("http://127.0.0.1:18705", "--port", "9000"), 9_000),
        (("http://127.0.0.1",), 8_700),
        (("https://node.hospital.example:9443",), 8_700),
    ],
)
def test_a_node_listens_where_a_loopback_endpoint_says_unless_a_port_is_named(tmp_path, words, port):
    given = ["--id", "c", "--kind", "clinic", "--name", "c", "--endpoint", *words]
    assert main(["node", "init", "--home", str(tmp_path / "c"), *given]) == 0
    assert read_settings(tmp_path / "c").port == port


@pytest.mark.parametrize(
    "words",
    [("--engine", "cometbft"), ("--engine", "remote"), ("--host", "0.0.0.0"), ("--passphrase-file", "none")],  # noqa: S104 - what is refused
)
def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path, words):
    given = ["--id", "c", "--kind", "clinic", "--name", "c", "--endpoint", "http://127.0.0.1:8700", *words]
    assert main(["node", "init", "--home", str(tmp_path / "new" / "c"), *given]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("engine", "command"), [("embedded", "yilian node join"), ("consortium", "yilian network join")])
def test_who_has_a_folder_is_told_the_command_by_which_it_joins(tmp_path, capsys, engine, command):
    given = ["--id", "c", "--kind", "clinic", "--name", "c", "--endpoint", "http://127.0.0.1:8700", "--engine", engine]
    assert main(["node", "init", "--home", str(tmp_path / "c"), *given]) == 0
    assert f"{command} --home {tmp_path / 'c'} --genesis FILE" in capsys.readouterr().out.splitlines()[-1]


def test_what_a_folder_lacks_is_said_in_a_sentence(network, tmp_path, capsys):
    capsys.readouterr()
    assert main(["node", "run", "--home", str(tmp_path / "none")]) == 2
    assert "is no member's data folder" in capsys.readouterr().err
    assert (
        main(["node", "init", "--home", str(tmp_path / "a"), "--id", "a", "--kind", "clinic", "--name", "a", "--endpoint", "http://x"]) == 2
    )
    assert "keys are never overwritten" in capsys.readouterr().err
    assert main(["node", "join", "--home", str(tmp_path / "a"), "--genesis", str(tmp_path / "genesis")]) == 2
    assert main(["node", "join", "--home", str(tmp_path / "a"), "--genesis", str(tmp_path / "a" / "node.toml")]) == 3
    words = ["--id", "c", "--kind", "clinic", "--name", "c", "--endpoint", "http://x", "--host", "0.0.0.0"]  # noqa: S104 - what is refused
    capsys.readouterr()
    assert main(["node", "init", "--home", str(tmp_path / "c"), *words]) == 2
    assert "refusing to listen on 0.0.0.0 without TLS" in capsys.readouterr().err
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0


def test_who_shows_a_block_outside_a_region_is_told_how_a_node_is_named(tmp_path, capsys):
    assert main(["show", "block", "latest", "--home", str(tmp_path)]) == 4
    said = capsys.readouterr().err
    assert said.startswith(f"unreachable: no region runs in {tmp_path}: start one with `yilian demo`")
    assert said.endswith("; of a node that is in no region name the address: yilian show ... --node URL\n")


def test_a_port_in_use_is_said_in_a_sentence(network, tmp_path, capsys):
    with socket.socket() as taken:
        port = int(network[0].rpartition(":")[2])
        taken.bind(("127.0.0.1", port))
        taken.listen()
        capsys.readouterr()
        assert main(["node", "run", "--home", str(tmp_path / "a")]) == 4
    assert f"port {port} on 127.0.0.1 is in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("genesis.cbor", "is damaged: copy another member's, it is the same file for all"),
        ("own-client.key", "is missing or damaged: bring it back from the backup of the keys, and start again"),
    ],
)
def test_a_damaged_file_is_said_in_a_sentence_and_is_not_called_our_defect(network, tmp_path, capsys, name, sentence):
    (tmp_path / "a" / name).write_bytes(b"overwritten")
    capsys.readouterr()
    assert main(["node", "run", "--home", str(tmp_path / "a")]) == 2
    assert capsys.readouterr().err == f"usage: {tmp_path / 'a' / name} {sentence}\n"


@pytest.mark.parametrize("name", ["node.db", "records.db"])
def test_a_damaged_database_is_said_in_a_sentence_and_is_not_called_our_defect(network, tmp_path, capsys, name):
    (tmp_path / "a" / "records.db").touch()
    (tmp_path / "a" / "node.db").touch()
    (tmp_path / "a" / name).write_bytes(b"overwritten" * 500)
    capsys.readouterr()
    assert main(["node", "run", "--home", str(tmp_path / "a")]) == 4
    said = capsys.readouterr().err
    assert said.startswith(f"unreachable: {tmp_path / 'a' / name}")
    assert ("damaged" in said, "docs/operating/backup.md" in said, said.count("\n")) == (True, True, 1)
    assert main(["node", "backup", "--home", str(tmp_path / "a"), "--out", str(tmp_path / "copy")]) == 4
    assert f"{tmp_path / 'a' / name} cannot be copied" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


@pytest.mark.slow
def test_a_backup_of_a_running_node_holds_records_and_tables_and_no_key(network, tmp_path, capsys):
    words = ["node", "backup", "--home", str(tmp_path / "a"), "--out", str(tmp_path / "backup")]
    assert main(words) == 2  # a node that never ran has nothing to copy
    with running(tmp_path / "a") as (process, _):
        assert main(words) == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert sorted(file.name for file in (tmp_path / "backup").iterdir()) == ["genesis.cbor", "node.db", "node.toml", "records.db"]
    assert main(words) == 2  # and nothing is overwritten


def test_an_import_names_each_file_and_line_that_was_not_stored_and_quotes_no_value(network, tmp_path, capsys):
    folder = tmp_path / "files"
    folder.mkdir()
    words = ["import", str(folder), "--folder", str(tmp_path / "a")]
    capsys.readouterr()
    assert main(words) == 2
    assert capsys.readouterr().err == f"usage: no file in {folder} is named *.json, *.json.gz, *.ndjson or *.ndjson.gz\n"
    (folder / "broken.json").write_text('{"resourceType":"Observation"')
    (folder / "people.ndjson").write_text('{"resourceType":"Patient","id":"p1"}\n{"resourceType":"Patient","id":"not an id"}\n')
    assert main(words) == 3
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "2 files, 2 resources found: 1 stored, 1 refused",
        "of the stored 1 are new, 0 new versions, 0 were there already",
        "most of them Patient 2",
        "  broken.json  structure: The body is not JSON: it ends too early or a value is missing",
        "  people.ndjson:2  value at Patient.id: not a valid id",
    ]
    assert said.err == "refused: 1 resource was not stored; 2 files or lines are named above\n"
