"""`yilian network`: what it writes, and what it says of files, folders and members that cannot be used."""

import json
import socket
import threading
import tomllib
from base64 import b64encode
from contextlib import ExitStack, closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.ports import free_ports
from yilian.base.codec import encode
from yilian.cli import main, operating
from yilian.cli.frame import Unreachable
from yilian.engines.cometbft import address, read_ports
from yilian.engines.folders import hold
from yilian.ledger import parse_genesis
from yilian.node import read_genesis, read_settings

FOUR = ("hospital-1", "hospital-2", "clinic-1", "regulator-1")


def member(called, /, **fields):
    endpoint = f"http://127.0.0.1:{8_000 + sum(called.encode())}"  # two members have two
    said = {"id": called, "kinds": [called.partition("-")[0]], "name": f"name of {called}", "endpoint": endpoint} | fields
    return "[[member]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items() if value is not None)


FOUNDERS = "[parameters]\nmemo_size = 0\n" + "".join(member(name) for name in FOUR)


@pytest.fixture
def founders(tmp_path):
    file = tmp_path / "members.toml"
    file.write_text(FOUNDERS)
    return file


def said(capsys, *words):
    code = main(["network", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def init(capsys, tmp_path, text, out="out"):
    file = tmp_path / "members.toml"
    file.write_text(text)
    code, _, err = said(capsys, "init", "--members", file, "--out", tmp_path / out)
    return code, err.replace(str(tmp_path) + "/", "")


def test_init_writes_each_founder_a_folder_of_its_own_and_one_genesis_for_all(founders, tmp_path, capsys):
    out = tmp_path / "out"
    code, printed, err = said(capsys, "init", "--members", founders, "--out", out, "--json")
    assert (code, err) == (0, "")
    genesis = parse_genesis((out / "genesis.cbor").read_bytes())
    assert json.loads(printed) == {"network": genesis.network_id.hex(), "members": list(FOUR), "folder": str(out), "is_sealed": False}
    assert (genesis.operator, [one.id for one in genesis.members], genesis.parameters) == ("", list(FOUR), {"memo_size": 0})
    assert len({one.consensus_key for one in genesis.members} - {None}) == 4
    assert [read_genesis(out / name) for name in FOUR] == [genesis] * 4
    assert {read_settings(out / name).engine for name in FOUR} == {"consortium"}
    peers = (out / "peers.txt").read_text().split()
    assert [peer.rpartition(":")[2] for peer in peers] == ["26656", "26666", "26676", "26686"]
    for name in FOUR:
        config = tomllib.loads((out / name / "ledger/validator/config/config.toml").read_text())
        assert len(config["p2p"]["persistent_peers"].split(",")) == 3
        for secret in ("priv_validator_key.json", "node_key.json"):
            assert (out / name / "ledger/validator/config" / secret).stat().st_mode & 0o077 == 0


def test_a_member_without_power_gets_a_seat_by_which_its_peers_know_it_and_no_vote(tmp_path, capsys):
    assert init(capsys, tmp_path, FOUNDERS + member("pharmacy-1", power=0)) == (0, "")
    genesis = parse_genesis((tmp_path / "out/genesis.cbor").read_bytes())
    assert [(one.power, one.consensus_key is None) for one in genesis.members] == [(1, False)] * 4 + [(0, False)]


def test_keys_are_never_overwritten(founders, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    code, _, err = said(capsys, "init", "--members", founders, "--out", tmp_path / "out")
    assert (code, err) == (2, f"usage: {tmp_path / 'out'} is there already, and keys are never overwritten: choose another folder\n")


def test_a_network_whose_folder_cannot_be_made_is_said(founders, capsys):
    out = founders / "out"  # below a file
    code, _, err = said(capsys, "init", "--members", founders, "--out", out)
    assert (code, err) == (2, f"usage: {out} cannot be made (Not a directory): choose another folder\n")


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("[[member]\n", 2, "usage: members.toml is not TOML: "),
        ("", 2, "usage: members.toml must have one [[member]] for each member, and [parameters]; nothing else\n"),
        ("member = 3\n", 2, "usage: members.toml must have one [[member]] for each member, and [parameters]; nothing else\n"),
        ("member = [3]\n", 2, "usage: members.toml must have one [[member]] for each member, and [parameters]; nothing else\n"),
        (
            "parameters = 3\n" + FOUNDERS[26:],
            2,
            "usage: members.toml must have one [[member]] for each member, and [parameters]; nothing else\n",
        ),
        ('network = "x"\n' + FOUNDERS, 2, "usage: members.toml must have one [[member]] for each member, and [parameters]; nothing else\n"),
        (member("a", votes=2), 2, "usage: members.toml: a member has no votes; it has id, kinds, name, endpoint, power, host, listen, "),
        (member("a", name=None, endpoint=None), 2, "usage: members.toml: a member lacks name, endpoint\n"),
        (member("a", power="1", kinds="clinic"), 2, "usage: members.toml: a: kinds, power is of the wrong type\n"),
        (member("a", power=True), 2, "usage: members.toml: a: power is of the wrong type\n"),
        (member("a", kinds=[1]), 2, "usage: members.toml: a: kinds is of the wrong type\n"),
        (member("a", kinds=["clinic"]) * 2, 2, "usage: members.toml names a member twice\n"),
        (member("../a"), 2, "usage: members.toml: ../a: '../a' is no member's id: 1 to 32 of a-z, 0-9 and -\n"),
        (
            member("a", kinds=["clinic"], endpoint="http://a:b"),
            2,
            "usage: members.toml: a: 'http://a:b' is no address that others can reach, such as https://node.hospital.example\n",
        ),
        ('[parameters]\nmemo_size = "0"\n' + member("clinic-1"), 2, "usage: members.toml: parameters are whole numbers\n"),
        ("[parameters]\nmemo_length = 0\n" + FOUNDERS[26:], 3, "refused: members.toml: "),
        (FOUNDERS + member("clinic-9", power=-1), 2, "usage: members.toml: clinic-9: -1 is no number of votes: 0 to 1099511627776\n"),
    ],
)
def test_what_cannot_be_founded_is_said_in_a_sentence_and_leaves_nothing(tmp_path, capsys, text, code, sentence):
    answered, err = init(capsys, tmp_path, text)
    assert (answered, err[: len(sentence)], err.count("\n")) == (code, sentence, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["members.toml"]


def test_a_file_that_is_not_there_is_said(tmp_path, capsys):
    code, _, err = said(capsys, "init", "--members", tmp_path / "none", "--out", tmp_path / "out")
    assert (code, err) == (2, f"usage: there is no file {tmp_path / 'none'}\n")


@pytest.fixture
def network(tmp_path, capsys):
    """A founded network that does not run, on ports that nobody listens on."""
    ports = free_ports(8)
    rows = [member(name, p2p_port=ports[2 * n], rpc_port=ports[2 * n + 1]) for n, name in enumerate(FOUR)]
    assert init(capsys, tmp_path, "".join(rows)) == (0, "")
    return tmp_path / "out"


@pytest.fixture
def newcomer(tmp_path, network, capsys):
    """A member's folder, as `yilian node init` makes it, whose node.toml names the consortium."""
    home = tmp_path / "hospital-3"
    words = ["--id", "hospital-3", "--kind", "hospital", "--name", "name", "--endpoint", "http://127.0.0.1:8705"]
    assert main(["node", "init", "--home", str(home), *words]) == 0, capsys.readouterr().err
    settings = home / "node.toml"
    text = settings.read_text()
    assert 'engine = "embedded"' in text
    settings.write_text(text.replace('engine = "embedded"', 'engine = "consortium"'))
    capsys.readouterr()
    return home


def joining(home, network, *words):
    p2p, rpc = free_ports(2)
    ports = ("--p2p-port", p2p, "--rpc-port", rpc)
    return ("join", "--home", home, "--genesis", network / "genesis.cbor", "--peers", network / "peers.txt", *ports, *words)


def test_a_newcomer_on_a_members_machine_is_told_to_take_other_ports(newcomer, network, capsys):
    named = (network / "peers.txt").read_text().split()[1].partition("@")[2]
    other = "give free ports with --p2p-port and --rpc-port"
    code, _, err = said(capsys, *joining(newcomer, network, "--p2p-port", named.partition(":")[2]))
    assert (code, err.partition(", or")[0]) == (2, f"usage: {named} is the address of another member in --peers: {other}")
    with socket.socket() as process:
        process.bind(("127.0.0.1", 0))
        process.listen()
        taken = process.getsockname()[1]
        for option in ("--p2p-port", "--rpc-port"):
            code, _, err = said(capsys, *joining(newcomer, network, option, taken))
            assert (code, err) == (2, f"usage: 127.0.0.1:{taken} is in use by another process: {other}\n")
    assert not (newcomer / "ledger").exists()
    assert said(capsys, *joining(newcomer, network))[0] == 0


def test_who_joins_is_seated_once_and_told_how_to_be_admitted(newcomer, network, capsys):
    code, out, err = said(capsys, *joining(newcomer, network, "--json"))
    facts = json.loads(out)
    assert (code, err, facts["member"], facts["trusted_height"]) == (0, "", "hospital-3", None)
    assert len(bytes.fromhex(facts["consensus_key"])) == 32
    assert read_genesis(newcomer) == parse_genesis((network / "genesis.cbor").read_bytes())
    again = said(capsys, *joining(newcomer, network))
    assert again == (2, "", f"usage: {newcomer} belongs to a network already: leave --genesis out\n")
    ports = [word for pair in zip(("--p2p-port", "--rpc-port"), free_ports(2), strict=True) for word in pair]
    again = said(capsys, "join", "--home", newcomer, "--peers", network / "peers.txt", *ports)
    assert again == (2, "", f"usage: {newcomer} is seated already, and keys are never overwritten\n")


@pytest.fixture
def asked():
    """Return what starts a member's RPC that says which blocks it has, and gives its address."""
    with ExitStack() as stack:

        def start(first, last, port=0, **changes):
            class Answers(BaseHTTPRequestHandler):
                def do_POST(self):
                    self.rfile.read(int(self.headers["content-length"]))
                    text = json.dumps({"result": said_by_rpc(first, last, **changes)}).encode()
                    self.send_response(200)
                    self.send_header("content-length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

                def log_message(self, *_):
                    pass

            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", port), Answers))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return f"127.0.0.1:{server.server_port}"

        yield start


def said_by_rpc(
    first, last, *, made="2020-01-01T00:00:00.5Z", catching_up=False, seat=bytes(32), peers=(), seats=(), others=0, voting=None
):
    """Return one result that holds all that `status`, `net_info`, `commit`, `abci_query`, `validators` and the rest are read for."""
    key = {"value": b64encode(seat).decode()}
    return {
        "sync_info": {
            "earliest_block_height": str(first),
            "latest_block_height": str(last),
            "latest_block_time": made,
            "catching_up": catching_up,
        },
        "validator_info": {"pub_key": key},
        "n_peers": str(len(peers)),
        "peers": [{"node_info": {"id": peer}, "peer_state": {"round_state": {"height": str(others)}}} for peer in peers],
        "signed_header": {"commit": {"block_id": {"hash": "AB" * 32}}},
        "response": {"value": b64encode(encode([list(pair) for pair in seats])).decode()},
        "validators": [{"pub_key": {"value": b64encode(each).decode()}, "voting_power": "1"} for each in voting or (seat,)],
    }


def rpc_port(home):
    return read_ports(home / "ledger").rpc


@pytest.mark.parametrize(
    ("made", "catching_up", "peers", "others", "is_halted"),
    [
        ("2020-01-01T00:00:00.5Z", False, ("aa", "bb"), 8, True),
        ("2020-01-01T00:00:00.5Z", True, (), 0, True),  # it fetches old blocks from nobody
        ("2020-01-01T00:00:00.5Z", True, ("aa",), 0, False),  # old blocks have old times
        ("2020-01-01T00:00:00.5Z", False, ("aa", "bb"), 11, False),  # CometBFT fetches no more, and hears old votes instead
        ("2020-01-01T00:00:00.5Z", False, ("aa", "bb"), 10, True),  # as late as a block may be here
        ("2999-01-01T00:00:00.5Z", False, ("aa", "bb"), 8, False),
    ],
)
def test_status_says_that_no_block_comes_and_ends_with_4(network, asked, capsys, made, catching_up, peers, others, is_halted):
    home = network / "clinic-1"
    seat = bytes(31) + b"\1"
    asked(1, 7, rpc_port(home), made=made, catching_up=catching_up, peers=peers, seat=seat, seats=[(seat, "clinic-1")], others=others)
    code, out, err = said(capsys, "status", "--home", home)
    halted = [line for line in out.splitlines() if line.startswith("halted: no block for ")]
    assert (code, bool(err), len(halted)) == ((4, True, 1) if is_halted else (0, False, 0))
    assert all(line.endswith(" s (a heartbeat comes every 5 s)") for line in halted)
    assert "1 validator: clinic-1 1/1" in out
    code, out, _ = said(capsys, "status", "--home", home, "--json")
    assert (code, json.loads(out)["is_halted"]) == (4 if is_halted else 0, is_halted)


def test_status_says_that_a_seat_with_another_key_does_not_validate(network, asked, capsys):
    seat = bytes(31) + b"\1"
    asked(
        1,
        7,
        rpc_port(network / "clinic-1"),
        made="2999-01-01T00:00:00.5Z",
        peers=("aa",),
        seat=bytes(32),
        seats=[(seat, "clinic-1")],
        voting=[seat],
    )
    code, out, _ = said(capsys, "status", "--home", network / "clinic-1")
    assert code == 0
    assert "this member's seat has a key that the directory does not know: it does not validate, and its votes are nobody's" in out


def test_one_member_named_twice_confirms_nothing(network, capsys):
    home = network / "clinic-1"
    code, _, err = said(capsys, "repair", "--home", home, "--ask", "127.0.0.1:1", "--ask", "127.0.0.1:1")
    assert (code, err) == (2, "usage: --ask names one member twice: what it says, another must confirm\n")


def test_status_names_the_validators_with_which_there_is_no_connection(network, asked, capsys):
    home, names = network / "clinic-1", ("clinic-1", "hospital-1", "hospital-2")
    keys = [bytes(31) + bytes([n]) for n in range(3)]
    there = {"made": "2999-01-01T00:00:00.5Z", "seat": keys[0], "seats": list(zip(keys, names, strict=True)), "voting": keys}
    asked(1, 7, rpc_port(home), peers=(address(keys[2]).hex(), "aa"), **there)
    code, out, _ = said(capsys, "status", "--home", home)
    assert code == 0
    assert "no connection with hospital-1: stopped, cut off, or at another address than this member dials" in out.splitlines()
    code, out, _ = said(capsys, "status", "--home", home, "--json")
    assert json.loads(out)["unreached"] == ["hospital-1"]


@pytest.fixture
def operated():
    """Return what has a folder's socket answer whatever it is asked with one object; None hears and says nothing."""
    with ExitStack() as stack:

        def start(home, answer):
            server = stack.enter_context(closing(socket.socket(socket.AF_UNIX)))
            server.bind(str(home / "control.sock"))
            server.listen()

            def serve():
                line, _ = server.accept()
                stack.callback(line.close)
                line.makefile("rb").readline()
                if answer is not None:
                    line.sendall(json.dumps({"done": answer}).encode() + b"\n")

            threading.Thread(target=serve, daemon=True).start()

        yield start


def test_status_says_who_is_suspended_since_when_by_whom_and_whether_it_validates_still(network, asked, operated, capsys, tmp_path):
    home, seat = network / "clinic-1", bytes(31) + b"\1"
    asked(1, 7, rpc_port(home), made="2999-01-01T00:00:00.5Z", seat=seat, seats=[(seat, "clinic-1")])
    row = {"since_height": 5, "since_s": 1_800_000_000, "entry": 9, "by": None, "commitment": None}
    suspended = [
        {"member": "clinic-1", **row},
        {"member": "hospital-1", **row, "since_height": 6, "entry": 11, "by": "regulator-1", "commitment": "ab" * 32},
        {"member": "hospital-2", **dict.fromkeys(row)},
    ]
    operated(home, {"height": 7, "suspended": suspended})
    code, out, err = said(capsys, "status", "--home", home)
    at = "2027-01-15T08:00:00Z"
    twice = "by the ledger itself: its validator signed two blocks of one height"
    still = "; it still validates: for a block or two, or for as long as too few would without it"
    assert (code, err, [line for line in out.splitlines() if line.startswith("suspended: ")]) == (
        0,
        "",
        [
            f"suspended: clinic-1, since height 5 (entry 9, {at}), {twice}{still}",
            f"suspended: hospital-1, since height 6 (entry 11, {at}), by regulator-1, which has the reason",
            "suspended: hospital-2, since before the snapshot with which this copy of the ledger began",
        ],
    )
    (home / "control.sock").unlink()
    operated(home, {"height": 7, "suspended": suspended})
    assert json.loads(said(capsys, "status", "--home", home, "--json")[1])["suspended"] == suspended


@pytest.mark.parametrize("answer", ["no node", None, {"declined": "the node that runs does not know 'suspended'"}])
def test_status_of_a_node_that_does_not_say_who_is_suspended_says_all_else(network, asked, operated, capsys, monkeypatch, answer):
    home = network / "clinic-1"
    asked(1, 7, rpc_port(home), made="2999-01-01T00:00:00.5Z")
    monkeypatch.setattr("yilian.cli.network.ANSWER_S_MAX", 0.05)
    if answer != "no node":
        operated(home, answer)
    code, out, err = said(capsys, "status", "--home", home, "--json")
    facts = json.loads(out)
    assert (code, err, facts["height"], facts["suspended"]) == (0, "", 7, None)


def test_a_node_that_does_not_answer_in_time_is_said(network, operated):
    home = network / "clinic-1"
    operated(home, None)
    with pytest.raises(Unreachable, match=r"^the node that runs does not answer within 0\.05 s$"):
        operating.asked(home, {"op": "suspended"}, 0.05)


def test_status_before_the_first_block_says_how_many_founders_are_here_and_how_many_are_needed(network, asked, capsys):
    home, genesis = network / "clinic-1", parse_genesis((network / "genesis.cbor").read_bytes())
    seats = [(one.consensus_key, one.id) for one in genesis.members]
    own = next(key for key, name in seats if name == "clinic-1")
    other = (network / "peers.txt").read_text().partition("@")[0]
    asked(0, 0, rpc_port(home), seat=own, seats=seats, peers=(other, "ab" * 20))  # the second is nobody's
    code, out, err = said(capsys, "status", "--home", home)
    first, second = out.splitlines()
    assert (code, err, first) == (0, "", "clinic-1: height 0, no block yet, 2 peers")
    assert second == "2 of 4 validators' votes are here, 3 needed for the first block"
    facts = json.loads(said(capsys, "status", "--home", home, "--json")[1])
    assert (facts["behind_s"], facts["is_halted"], facts["gathered"]) == (None, False, {"here": 2, "whole": 4, "needed": 3})


def test_status_of_who_waits_for_a_snapshot_says_so_and_how_to_begin_without(newcomer, network, asked, capsys):
    words = ("--ask", asked(1, 2_000), "--ask", asked(1, 2_000))
    assert said(capsys, *joining(newcomer, network, *words))[0] == 0
    asked(0, 0, rpc_port(newcomer), peers=("aa",))
    code, out, err = said(capsys, "status", "--home", newcomer)
    assert (code, err, out.count("\n")) == (0, "", 2)
    assert out.splitlines()[1].startswith("no member has offered a snapshot yet: ")
    assert out.endswith("`yilian network repair` without --ask begins at block 1\n")


@pytest.mark.parametrize(("first", "last", "trusts"), [(1, 999, None), (0, 0, "nothing"), (1, 1_000, 999), (700, 2_345, 2_344)])
def test_a_network_younger_than_its_first_snapshot_is_joined_from_block_1(newcomer, network, asked, capsys, first, last, trusts):
    words = ("--ask", asked(first, last), "--ask", asked(first, last))
    code, out, err = said(capsys, *joining(newcomer, network, *words))
    if trusts == "nothing":
        sentence = (
            "the members asked are at height 0, have no block 1, and the first snapshot comes at 1000: there is nothing to begin with yet"
        )
        assert (code, out, err) == (3, "", f"refused: {sentence}. Ask others, or try again later\n")
        assert not (newcomer / "ledger").exists()
        return
    sync = tomllib.loads((newcomer / "ledger/validator/config/config.toml").read_text())["statesync"]
    young = "it begins with block 1: the network is younger than its first snapshot, so --ask is not needed yet"
    assert (code, err, young in out) == (0, "", trusts is None)
    assert (sync["enable"], sync.get("trust_height")) == (trusts is not None, trusts)


def test_a_trusted_block_is_not_left_out_in_silence_where_nobody_is_asked_for_it(network, capsys):
    code, _, err = said(capsys, "repair", "--home", network / "clinic-1", "--trust", "11:" + "AB" * 32)
    assert (code, err) == (
        2,
        "usage: --trust says which block those who are named with --ask must have: give --ask too, twice at least\n",
    )
    assert not (network / "clinic-1/ledger/aside-1").exists()


def test_a_repair_in_a_young_network_begins_with_block_1(network, asked, capsys):
    words = ("--ask", asked(1, 12), "--ask", asked(1, 12), "--trust", "11:" + "AB" * 32)
    code, out, err = said(capsys, "repair", "--home", network / "clinic-1", *words)
    config = tomllib.loads((network / "clinic-1/ledger/validator/config/config.toml").read_text())
    assert (code, err, "so --ask is not needed yet" in out, config["statesync"]) == (0, "", True, {"enable": False})


DEAD = "unreachable: --ask 127.0.0.1:1: CometBFT does not answer (ConnectionRefusedError): see that it is a running member's RPC, "


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--ask", "127.0.0.1:1"), 2, "usage: --ask needs two members at least: what one says, the other must confirm\n"),
        (("--ask", "127.0.0.1:1", "--ask", "127.0.0.1:2", "--trust", "12"), 2, "usage: --trust is HEIGHT:HASH\n"),
        (("--ask", "127.0.0.1:x", "--ask", "127.0.0.1:2"), 2, "usage: --ask is HOST:PORT, not 127.0.0.1:x\n"),
        (("--ask", "127.0.0.1:1", "--ask", "127.0.0.1:2"), 4, DEAD),
    ],
)
def test_from_whom_one_begins_must_be_two_who_answer(newcomer, network, capsys, words, code, sentence):
    answered, _, err = said(capsys, *joining(newcomer, network, *words))
    assert (answered, err[: len(sentence)], err.count("\n")) == (code, sentence, 1)
    assert not (newcomer / "ledger").exists()


def test_a_join_that_failed_can_be_tried_again(newcomer, network, capsys):
    assert said(capsys, *joining(newcomer, network, "--ask", "127.0.0.1:1"))[0] == 2
    assert said(capsys, *joining(newcomer, network))[0] == 0


def test_a_join_with_a_wrong_engine_genesis_or_folder_is_said(newcomer, network, tmp_path, capsys):
    settings, (p2p, rpc) = newcomer / "node.toml", free_ports(2)
    settings.write_text(settings.read_text().replace('"consortium"', '"embedded"'))
    code, _, err = said(capsys, *joining(newcomer, network))
    assert (code, err) == (2, f'usage: {newcomer}/node.toml says engine = "embedded": set engine = "consortium" first\n')
    settings.write_text(settings.read_text().replace('"embedded"', '"consortium"'))
    wrong = tmp_path / "genesis"
    wrong.write_bytes(b"\x80")
    words = ("join", "--home", newcomer, "--genesis", wrong, "--peers", network / "peers.txt", "--p2p-port", p2p, "--rpc-port", rpc)
    code, _, err = said(capsys, *words)
    assert (code, err) == (3, f"refused: {wrong} is no genesis (NOT_A_GENESIS)\n")
    code, _, err = said(
        capsys, "join", "--home", newcomer, "--genesis", network / "genesis.cbor", "--peers", wrong, "--p2p-port", p2p, "--rpc-port", rpc
    )
    assert (code, err) == (2, f"usage: {wrong} must have one ID@HOST:PORT a line, as `yilian network init` writes it into peers.txt\n")
    code, _, err = said(capsys, "join", "--home", tmp_path / "none", "--peers", network / "peers.txt")
    assert (code, err.partition(":")[0], "yilian node init" in err, err.count("\n")) == (2, "usage", True, 1)


def test_status_of_a_member_that_does_not_run_or_has_no_seat_is_said(network, tmp_path, capsys):
    code, _, err = said(capsys, "status", "--home", network / "clinic-1")
    sentence = "unreachable: CometBFT does not answer (ConnectionRefusedError): is the node running? yilian node run --home DIR\n"
    assert (code, err) == (4, sentence)
    config = network / "clinic-1/ledger/validator/config/config.toml"
    config.unlink()
    code, _, err = said(capsys, "status", "--home", network / "clinic-1")
    what = f"{config} is missing or is no CometBFT configuration: write it with `yilian network init` or `yilian network join`"
    assert (code, err) == (2, f"usage: {what}\n")
    assert said(capsys, "status", "--home", tmp_path / "none")[0] == 2


def test_who_joins_gets_a_card_with_the_key_of_its_seat(newcomer, network, capsys):
    (port,) = free_ports(1)
    code, out, _ = said(capsys, *joining(newcomer, network, "--listen", "0.0.0.0", "--host", "203.0.113.7", "--p2p-port", port, "--json"))  # noqa: S104 - a setting
    facts = json.loads(out)
    (one,) = parse_genesis((newcomer / "member.card").read_bytes()).members
    (before,) = parse_genesis((newcomer / "founder.card").read_bytes()).members
    assert (code, facts["card"]) == (0, str(newcomer / "member.card"))
    assert one == replace(before, consensus_key=bytes.fromhex(facts["consensus_key"]))
    config = tomllib.loads((newcomer / "ledger/validator/config/config.toml").read_text())
    assert (config["p2p"]["laddr"], facts["peer"].partition("@")[2]) == (f"tcp://0.0.0.0:{port}", f"203.0.113.7:{port}")
    key = json.loads((newcomer / "ledger/validator/config/node_key.json").read_text())["priv_key"]
    vote = json.loads((newcomer / "ledger/validator/config/priv_validator_key.json").read_text())["priv_key"]
    assert key == vote  # ADR-0117


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--power", "clinic-1"), 2, "usage: --power is ID=N, a member and a whole number\n"),
        (("--power", "clinic-1=-1"), 2, "usage: --power is ID=N, a member and a whole number\n"),
        (("--seat-key", "clinic-1=ab"), 2, "usage: --seat-key is ID=HEX, a member and the 64 digits of a public key\n"),
        (("--admit", "FOUR"), 3, "refused: FOUR is not a member's card but the genesis of 4 members\n"),
        (("--admit", "TOML"), 3, "refused: TOML is no member's card: that is the member.card which `yilian network join` writes\n"),
        (("--admit", "NONE"), 2, "usage: there is no file NONE\n"),
        (
            ("--remove", "clinic-2"),
            4,
            "unreachable: no running node listens in HOME: start it with `yilian node run --home DIR`\n",
        ),
    ],
)
def test_what_cannot_be_proposed_is_said_in_a_sentence(network, tmp_path, capsys, words, code, sentence):
    files = {
        "FOUR": network / "genesis.cbor",
        "TOML": tmp_path / "members.toml",
        "NONE": tmp_path / "none",
        "HOME": network / "clinic-1",
    }
    given = [files.get(word, word) for word in words]
    for name, file in files.items():
        sentence = sentence.replace(name, str(file))
    answered, _, err = said(capsys, "propose", "--home", network / "clinic-1", *given)
    assert (answered, err) == (code, sentence)


def test_a_vote_is_cast_by_a_node_that_runs(network, capsys):
    code, _, err = said(capsys, "vote", "--home", network / "clinic-1", "--proposal", "1")
    assert (code, err.startswith("unreachable: no running node listens in ")) == (4, True)


def test_repair_moves_the_ledger_aside_and_keeps_keys_settings_and_votes(network, capsys):
    home = network / "clinic-1"
    validator = home / "ledger/validator"
    (home / "ledger/ledger.sqlite").write_bytes(b"damaged")
    (home / "ledger/snapshots/1000").mkdir(parents=True)
    (home / "ledger/cometbft.log").write_text("what it said\n")
    (validator / "data/blockstore.db").mkdir()
    (validator / "data/priv_validator_state.json").write_text('{"height": "77"}')
    kept = {path: path.read_bytes() for path in validator.glob("config/*.json")}
    assert len(kept) == 3
    config = tomllib.loads((validator / "config/config.toml").read_text())
    code, out, err = said(capsys, "repair", "--home", home, "--json")
    aside = home / "ledger/aside-1"
    assert (code, err, json.loads(out)) == (0, "", {"member": "clinic-1", "aside": str(aside), "trusted_height": None})
    assert sorted(str(path.relative_to(aside)) for path in aside.rglob("*")) == [
        "ledger.sqlite",
        "snapshots",
        "snapshots/1000",
        "validator",
        "validator/blockstore.db",
    ]
    assert {path: path.read_bytes() for path in kept} == kept
    votes = json.loads((validator / "data/priv_validator_state.json").read_text())
    assert votes == {"height": "77", "round": 2**31 - 1, "step": 3}  # ADR-0119: no vote of that height any more
    assert tomllib.loads((validator / "config/config.toml").read_text()) == config
    assert (home / "ledger/cometbft.log").exists()
    assert json.loads(said(capsys, "repair", "--home", home, "--json")[1])["aside"] == str(home / "ledger/aside-2")


def test_a_repair_under_a_running_node_or_of_a_folder_without_a_seat_is_refused(network, newcomer, capsys):
    (network / "clinic-1/ledger").mkdir(exist_ok=True)
    with closing(hold(network / "clinic-1/ledger")):
        code, _, err = said(capsys, "repair", "--home", network / "clinic-1")
    assert (code, "another process has the ledger in" in err) == (4, True)
    code, _, err = said(capsys, "repair", "--home", newcomer)
    assert (code, "is missing or is no CometBFT configuration" in err) == (2, True)
