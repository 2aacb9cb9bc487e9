"""When a snapshot's block was made is proven by headers that validators signed; a false time is refused before anything is taken in.

`data/headers.json`: what a real CometBFT 0.38.25 of four validators answered to `commit` at three heights, and their genesis.
"""

import copy
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.consortium import consensus_key, consortium_genesis
from tests.unit.test_state_sync import giver, offered, opened, raised, rows_of, small_chunks, taken  # noqa: F401 - fixtures
from yilian import engines
from yilian.base.digests import sha256
from yilian.cli import main
from yilian.engines import Progress, consortium, older, progress_in
from yilian.engines.cometbft import TimeUnproven, read_ports, refused_snapshot, write_home
from yilian.engines.cometbft.headers import PAUSE_S, ROUNDS, NotProven, proven_ms, servers_said
from yilian.engines.cometbft.settings import Seat, Trust
from yilian.engines.cometbft.snapshots import FOLDER, Snapshots
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.cometbft.validators import validators
from yilian.ledger import Frontier, Rows, parse_genesis, parse_manifest
from yilian.ledger.chain import Chain, start

SAID = json.loads((Path(__file__).parent / "data/headers.json").read_text())
GENESIS = parse_genesis(bytes.fromhex(SAID["genesis"]))
COMMITS = SAID["commits"]


class At(Chain):
    """The chain at the recorded height; its rows are not recorded, their hash is."""

    app_hash = bytes.fromhex(SAID["app_hash"])


CHAIN = At(GENESIS.network_id, SAID["height"], 0, Frontier(), b"")


def of_genesis():
    rows = Rows()
    rows.take(start(GENESIS)[1])
    return validators(rows)


def not_proven(commits, chain=CHAIN, voters=None):
    with pytest.raises(NotProven) as no:
        proven_ms(commits, chain, of_genesis() if voters is None else voters)
    return str(no.value)


def changed(change):
    commits = copy.deepcopy(COMMITS)
    change(*[each["signed_header"] for each in commits])
    return commits


def test_what_real_validators_signed_proves_when_the_block_was_made():
    assert proven_ms(COMMITS, CHAIN, of_genesis()) == SAID["time_ms"]


def leaves(value, path=()):
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, (*path, name))
    else:
        yield path


def other(value):
    """Return another value of the same form."""
    if isinstance(value, int):
        return value + 1
    if "T" in value and value.endswith("Z"):
        return f"{value[:-2]}{9 - int(value[-2])}Z"
    if value.isdigit() and len(value) < 20:
        return str(int(value) + 1)
    return ("1" if value[0] == "0" else "0") + value[1:] if value else "00" * 32


@pytest.mark.parametrize(
    ("number", "path"),
    [(number, path) for number in range(3) for path in leaves(COMMITS[number]["signed_header"]["header"])],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else str(value),
)
def test_any_field_of_any_header_that_is_changed_proves_nothing(number, path):
    commits = copy.deepcopy(COMMITS)
    at = commits[number]["signed_header"]["header"]
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = other(at[path[-1]])
    assert not_proven(commits)


@pytest.mark.parametrize(
    "path", [("height",), ("round",), ("block_id", "hash"), ("block_id", "parts", "total"), ("block_id", "parts", "hash")]
)
def test_votes_for_anything_else_count_for_nothing(path):
    def change(_, __, third):
        at = third["commit"]
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = other(at[path[-1]])

    assert not_proven(changed(change))


def two_voted(_, __, third):
    voted = [each for each in third["commit"]["signatures"] if each["block_id_flag"] == 2]
    for each in voted[2:]:
        each["block_id_flag"] = 1  # absent


def signed_at_another_moment(_, __, third):
    for each in third["commit"]["signatures"]:
        each["timestamp"] = other(each["timestamp"])


def signed_once_for_all(_, __, third):
    third["commit"]["signatures"] = [each for each in third["commit"]["signatures"] if each["block_id_flag"] == 2][:1] * 4


def test_more_than_two_thirds_of_the_power_must_have_signed():
    voted = sum(each["block_id_flag"] == 2 for each in COMMITS[2]["signed_header"]["commit"]["signatures"])
    assert voted >= 3
    assert not_proven(changed(two_voted)) == "votes of 2 of 4 alone"
    assert not_proven(changed(signed_at_another_moment)) == "votes of 0 of 4 alone"
    assert not_proven(changed(signed_once_for_all)) == "votes of 1 of 4 alone"
    heavier = of_genesis() | {consensus_key("pharmacy-1").public_key: 2}
    assert not_proven(COMMITS, voters=heavier) == f"votes of {voted} of 6 alone"
    assert not_proven(COMMITS, voters={}) == "votes of 0 of 0 alone"


@pytest.mark.parametrize(
    "commits",
    [[], COMMITS[:2], [None] * 3, [{}] * 3, [{"signed_header": []}] * 3, [COMMITS[1], COMMITS[1], COMMITS[2]], [COMMITS[0]] * 3],
)
def test_what_is_no_headers_proves_nothing(commits):
    assert not_proven(commits)


@pytest.mark.parametrize("chain", [replace(CHAIN, height=CHAIN.height + 1), replace(CHAIN, network=bytes(32))])
def test_headers_of_another_height_or_network_prove_nothing(chain):
    assert not_proven(COMMITS, chain) == "other heights, or another network's"


def test_a_header_that_carries_another_app_hash_proves_nothing():
    chain = Chain(GENESIS.network_id, SAID["height"], 0, Frontier(), bytes(2_048))
    assert not_proven(COMMITS, chain) == "the header after the block carries another app hash"


# -- who is asked


@contextmanager
def serving(commits):
    """Answer `commit` as CometBFT does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found = [each for each in commits if each["signed_header"]["header"]["height"] == asked["params"]["height"]]
            body = json.dumps({"id": 0, "result": found[0]} if found else {"id": 0, "error": "no such height"}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def an_hour_later(first, _, __):
    first["header"]["time"] = first["header"]["time"].replace("T0", "T1")


def test_one_server_that_is_honest_suffices_whatever_the_others_say():
    assert changed(an_hour_later) != COMMITS
    with serving(changed(an_hour_later)) as liar, serving(COMMITS[:1]) as short, serving(COMMITS) as honest:
        asked = servers_said(("127.0.0.1:1", liar, short, honest), pause=raised)
        assert asked(CHAIN, of_genesis()) == SAID["time_ms"]


def test_where_none_proves_it_the_sentence_says_what_to_do():
    pauses = []
    with serving(changed(an_hour_later)) as liar, pytest.raises(TimeUnproven) as no:
        servers_said((liar,), pauses.append)(CHAIN, of_genesis())
    assert pauses == [PAUSE_S] * (ROUNDS - 1)
    said = f"a snapshot of height {CHAIN.height} was fetched, but no member that this one asks proves when that block was made ({liar}: "
    assert str(no.value).startswith(said + "its headers do not follow one another)")
    assert "`yilian network repair --ask`" in str(no.value)
    with pytest.raises(TimeUnproven, match="no server is named"):
        servers_said(())(CHAIN, of_genesis())


def test_the_servers_are_those_from_which_the_member_begins(tmp_path):
    seat = Seat("clinic-1", "127.0.0.1", 26656, 26657, bytes(32))
    write_home(tmp_path, GENESIS, seat, [], Trust(("127.0.0.1:1", "127.0.0.1:2"), 5, "AB"))
    assert read_ports(tmp_path).servers == ("127.0.0.1:1", "127.0.0.1:2")
    write_home(tmp_path, GENESIS, seat, [])
    assert read_ports(tmp_path).servers == ()


# -- a snapshot of a false time


@pytest.fixture(scope="module")
def genesis():
    return consortium_genesis()


def falsified(snapshot, by_ms):
    manifest = parse_manifest(snapshot.metadata)
    metadata = replace(manifest, time_ms=manifest.time_ms + by_ms).encoded()
    return abci.Snapshot(height=snapshot.height, format=1, chunks=snapshot.chunks, hash=sha256(metadata), metadata=metadata)


@pytest.mark.parametrize("by_ms", [1, -1, 86_400_000])
def test_a_false_time_is_refused_nothing_is_taken_in_and_the_true_one_is_taken_then(giver, offered, genesis, tmp_path, by_ms):  # noqa: F811
    true_ms, asked = giver.chain.time_ms, []
    copied = opened(tmp_path / "copy", genesis)
    began = (copied.chain, rows_of(copied))
    taking = Snapshots(
        tmp_path / "copy" / FOLDER, copied, raised, made_at=lambda chain, voters: (asked.append((chain.height, voters)), true_ms)[1]
    )
    snapshot, parts = offered
    said = taken(taking, falsified(snapshot, by_ms), parts, giver.chain.app_hash)
    assert said[-1] == abci.ResponseApplySnapshotChunk.REJECT_SNAPSHOT
    assert (copied.chain, rows_of(copied), taking.rejected) == (*began, 1)
    assert refused_snapshot(tmp_path / "copy") == (
        f"a snapshot of height 3 was offered and refused: it says that its block was made at {true_ms + by_ms} ms, "
        f"and the validators signed {true_ms} ms"
    )
    taken(taking, snapshot, parts, giver.chain.app_hash)
    assert (copied.chain, refused_snapshot(tmp_path / "copy")) == (giver.chain, "")
    assert asked == [(3, validators(giver.read()))] * 2
    copied.close()


def test_where_nobody_can_say_when_it_was_nothing_is_taken_in(giver, offered, genesis, tmp_path):  # noqa: F811
    def nobody(chain, _):
        raise TimeUnproven(chain.height, "nobody answers")

    copied = opened(tmp_path / "copy", genesis)
    began = (copied.chain, rows_of(copied))
    with pytest.raises(TimeUnproven, match="nobody answers"):
        taken(Snapshots(tmp_path / "none", copied, raised, made_at=nobody), *offered, giver.chain.app_hash)
    assert (copied.chain, rows_of(copied)) == began
    assert Snapshots(tmp_path / "none", copied, raised).offered(offered[0], giver.chain.app_hash).result == abci.ResponseOfferSnapshot.ABORT
    copied.close()
    assert progress_in(tmp_path / "copy") is None
    assert not (tmp_path / "copy" / older.BEGUN_AGAIN).exists()


# -- what the operator is told


@pytest.mark.parametrize(
    ("refused", "progress", "sentences"),
    [
        ("", None, []),
        (
            "a snapshot of height 3 was offered and refused: why",
            None,
            ["a snapshot of height 3 was offered and refused: why; it waits for another"],
        ),
        ("", Progress(3, 9, 2, 7), ["before its snapshot: 3 of 9 entries fetched and proven so far"]),
        (
            "",
            Progress(3, 9, 2, 7, ("first", "block 5 lied")),
            ["before its snapshot: 3 of 9", "fetched in vain 2 times, last because: block 5 lied."],
        ),
    ],
)
def test_status_says_what_was_refused_and_what_was_fetched_in_vain(tmp_path, monkeypatch, capsys, refused, progress, sentences):
    home = str(tmp_path / "home")
    assert (
        main(["node", "init", "--home", home, "--id", "clinic-1", "--kind", "clinic", "--name", "C", "--endpoint", "http://c.example"]) == 0
    )
    capsys.readouterr()
    monkeypatch.setattr(
        consortium, "standing", lambda _: consortium.Standing(4, False, 1, 3, refused, True, {"clinic-1": 1}, (), False, None)
    )
    monkeypatch.setattr(engines, "progress_in", lambda _: progress)
    assert main(["network", "status", "--home", home]) == 0
    said = capsys.readouterr().out.splitlines()[2:]
    assert [line.startswith(start) for line, start in zip(said, sentences, strict=True)] == [True] * len(sentences)
    assert not any("in vain" in line for line in said) or "`yilian network repair --ask`" in said[-1]
    assert main(["network", "status", "--home", home, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    older_entries = progress and {"here": 3, "all": 9, "begun_again": list(progress.begun_again)}
    assert (facts["refused_snapshot"], facts["older_entries"]) == (refused or None, older_entries)
