"""A consortium by its commands, as the manual has them: founded, governed by votes, joined by a fifth, damaged and repaired."""

import json
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.commands import YILIAN
from tests.consortium import NAMES, needs_cometbft
from tests.ports import free_ports
from tests.waiting import Lines, tries
from yilian.engines.consortium import Standing, Unreachable, standing
from yilian.engines.replica import Replica
from yilian.ledger import parse_genesis

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]

FIFTH = "pharmacy-1"
STARTED_S = REACHED_S = 120  # bounds that turn a hang into a failure: a start and state sync take some ten seconds
ENDED_S = 60


def yilian(*words):
    """Run a command; return (exit code, what it printed, what it complained of)."""
    done = subprocess.run([*YILIAN, *map(str, words)], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


def facts(*words):
    code, printed, complained = yilian(*words, "--json")
    assert (code, complained) == (0, ""), complained
    return json.loads(printed)


class Members:
    """Folders made by `yilian network init`, and the nodes that run on them."""

    def __init__(self, folder):
        self.folder, self.running = folder, {}
        self.ports = {name: free_ports(3) for name in (*NAMES, FIFTH)}
        rows = []
        for name in NAMES:
            http, p2p, rpc = self.ports[name]
            said = {"id": name, "kinds": [name.partition("-")[0]], "name": name, "endpoint": f"http://127.0.0.1:{http}"}
            said |= {"p2p_port": p2p, "rpc_port": rpc}
            rows.append("[[member]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items()))
        members = folder / "members.toml"
        members.write_text("[parameters]\nmemo_size = 0\n" + "".join(rows))
        facts("network", "init", "--members", members, "--out", folder / "out")
        self.genesis = parse_genesis((folder / "out/genesis.cbor").read_bytes())

    def home(self, name):
        return self.folder / "out" / name

    def complaints(self, name):
        """Return the file of what a member's node writes to its standard error."""
        return self.folder / f"{name}.log"

    def start(self, *names):
        for name in names:
            command = [*YILIAN, "node", "run", "--home", str(self.home(name)), "--json"]
            with self.complaints(name).open("a") as complaints:
                self.running[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)
        for name in names:
            line = Lines(self.running[name]).next(STARTED_S)
            assert line, self.complaints(name).read_text()
            assert json.loads(line)["member"] == name

    def stop(self, *names):
        for name in names:
            self.running[name].send_signal(signal.SIGTERM)
        for name in names:
            process = self.running.pop(name)
            process.communicate(timeout=ENDED_S)
            assert process.returncode == 0

    def end(self):
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.communicate(timeout=ENDED_S)
            finally:
                process.kill()  # if it did not end by itself

    def standing(self, name):
        return facts("network", "status", "--home", self.home(name))

    def reaches(self, name, height):
        """Wait until a running member stands at a height, not catching up."""
        for _ in tries(lambda: f"{self._seen(name)}, and it should be at {height}", REACHED_S):
            seen = self._seen(name)
            if isinstance(seen, Standing) and seen.height >= height and not seen.is_catching_up:
                break
            with suppress(subprocess.TimeoutExpired):  # looks again in a moment, or at once if the node has ended
                raise AssertionError(f"{name} ended with {self.running[name].wait(0.3)}: {self.complaints(name).read_text()}")
        return self.standing(name)

    def height(self, name):
        return standing(self.home(name) / "ledger").height

    def _seen(self, name):
        try:
            return standing(self.home(name) / "ledger")
        except Unreachable as starting:
            return starting

    def stops_with(self, name):
        """Run a node that cannot go on; return (exit code, its sentence)."""
        code, _, complained = yilian("node", "run", "--home", self.home(name))
        return code, complained

    def app_hashes(self, *names):
        """Return each member's app hash at the highest height that all of them have; none of them runs."""
        copies = [Replica.open(self.home(name) / "ledger", self.genesis) for name in names]
        height = min(copy.chain.height for copy in copies)
        hashes = [copy.block(height).app_hash for copy in copies]
        for copy in copies:
            copy.close()
        return hashes


@pytest.fixture
def members():
    with tempfile.TemporaryDirectory(prefix="y-", ignore_cleanup_errors=True) as folder:  # a socket's path has 107 bytes
        made = Members(Path(folder))
        try:
            yield made
        finally:
            made.end()


def test_a_fifth_member_joins_by_the_manual_and_one_whose_ledger_is_damaged_is_repaired(members):
    members.start(*NAMES)
    home, out = members.home(FIFTH), members.folder / "out"
    http, p2p, rpc = members.ports[FIFTH]
    words = ["--id", FIFTH, "--kind", "pharmacy", "--name", "Pharmacy", "--endpoint", f"http://127.0.0.1:{http}", "--port", http]
    facts("node", "init", "--home", home, *words, "--engine", "consortium", "--power", 1)
    at = ["--p2p-port", p2p, "--rpc-port", rpc]
    joined = facts("network", "join", "--home", home, "--genesis", out / "genesis.cbor", "--peers", out / "peers.txt", *at)
    assert joined["trusted_height"] is None

    proposed = facts("network", "propose", "--home", members.home("hospital-1"), "--admit", joined["card"])
    assert (proposed["is_carried"], proposed["yes"]) == (False, ["hospital-1"])
    vote = ["--proposal", proposed["proposal"]]
    assert facts("network", "vote", "--home", members.home("clinic-1"), *vote)["is_carried"] is False
    again = yilian("network", "vote", "--home", members.home("clinic-1"), *vote)
    assert (again[0], again[2].splitlines()[0].split()[2]) == (3, "ALREADY_VOTED")
    carried = facts("network", "vote", "--home", members.home("regulator-1"), *vote)
    assert (carried["is_carried"], carried["yes"]) == (True, ["clinic-1", "hospital-1", "regulator-1"])

    members.start(FIFTH)
    standing = members.reaches(FIFTH, carried["height"] + 2)
    assert standing["validators"] == dict.fromkeys([*NAMES, FIFTH], 1)
    assert (standing["peers"], members.standing("hospital-2")["peers"]) == (4, 4)

    members.stop("hospital-2")  # four of five go on
    ledger = members.home("hospital-2") / "ledger"
    with (ledger / "ledger.sqlite").open("r+b") as file:
        file.write(bytes(4_096))
    code, sentence = members.stops_with("hospital-2")
    assert code == 4
    assert f"the ledger in {ledger / 'ledger.sqlite'} is damaged" in sentence
    assert "in a consortium `yilian network repair` fetches the ledger from the others" in sentence
    votes = json.loads((ledger / "validator/data/priv_validator_state.json").read_text())
    repaired = facts("network", "repair", "--home", members.home("hospital-2"))
    assert (Path(repaired["aside"]) / "ledger.sqlite").exists()
    kept = json.loads((ledger / "validator/data/priv_validator_state.json").read_text())
    assert kept == {"height": votes["height"], "round": 2**31 - 1, "step": 3}  # it signs from the next height on
    members.start("hospital-2")
    members.reaches("hospital-2", members.height("hospital-1"))
    members.stop(*NAMES, FIFTH)
    assert len(set(members.app_hashes(*NAMES, FIFTH))) == 1


def test_what_stops_a_node_is_said_by_the_command_that_runs_it(members, monkeypatch):
    home = members.home("hospital-1")
    _, p2p, _ = members.ports["hospital-1"]

    with socket.socket() as other:
        other.bind(("127.0.0.1", p2p))
        other.listen()
        code, sentence = members.stops_with("hospital-1")
    assert (code, f"127.0.0.1:{p2p} is in use by another process" in sentence) == (4, True)

    program = members.folder / "other"
    program.write_text("#!/bin/sh\necho 0.37.0\n")
    program.chmod(0o700)
    monkeypatch.setenv("YILIAN_COMETBFT", str(program))
    code, sentence = members.stops_with("hospital-1")
    assert (code, "CometBFT 0.37.0 was found" in sentence, "run `make cometbft`" in sentence) == (4, True, True)
    monkeypatch.delenv("YILIAN_COMETBFT")

    config = home / "ledger/validator/config/genesis.json"
    kept = config.read_text()
    config.write_text(kept.replace('"genesis_time": "20', '"genesis_time": "19').replace('"chain_id": "yilian-', '"chain_id": "other-'))
    code, sentence = members.stops_with("hospital-1")
    assert (code, "copy the founders' genesis.json to this node" in sentence) == (4, True)
    config.write_text(kept)


def test_a_ledger_brought_back_alone_replays_and_blocks_brought_back_alone_are_told_and_repaired(members):
    members.start(*NAMES)
    members.reaches("hospital-1", 2)
    members.stop("clinic-1")
    ledger, early = members.home("clinic-1") / "ledger", members.folder / "early"
    shutil.copytree(ledger, early)
    members.start("clinic-1")
    members.reaches("clinic-1", members.height("hospital-1") + 1)
    members.stop("clinic-1")

    # the ledger is behind CometBFT's blocks: these are replayed
    for path in ledger.glob("ledger.sqlite*"):
        path.unlink()
    for path in early.glob("ledger.sqlite*"):
        shutil.copy(path, ledger)
    members.start("clinic-1")
    members.reaches("clinic-1", members.height("hospital-1"))
    members.stop("clinic-1")

    # it is ahead of them
    votes = (ledger / "validator/data/priv_validator_state.json").read_text()
    shutil.rmtree(ledger / "validator/data")
    shutil.copytree(early / "validator/data", ledger / "validator/data")
    (ledger / "validator/data/priv_validator_state.json").write_text(votes)
    code, sentence = members.stops_with("clinic-1")
    assert (code, "the ledger here ends at height" in sentence, "`yilian network repair` does" in sentence) == (4, True, True)
    facts("network", "repair", "--home", members.home("clinic-1"))
    members.start("clinic-1")
    members.reaches("clinic-1", members.height("hospital-1"))
    members.stop(*NAMES)
    assert len(set(members.app_hashes(*NAMES))) == 1
