"""A member that waits to be admitted: how often its CometBFT is started anew, and what its operator is told."""

import json

import pytest

from yilian.cli import main
from yilian.engines import consortium
from yilian.engines.cometbft.redial import FIRST_S, MOST_S, Redial
from yilian.engines.cometbft.rpc import Standing

SEAT, OTHER = b"s" * 32, b"o" * 32


def starts(redial, since_s, until_s, peers):
    """Return the seconds at which it is started anew, if one looks every second."""
    return [now_s for now_s in range(since_s, until_s) if redial.may_be_due(now_s) and redial.is_due(now_s, peers)]


def test_each_start_waits_twice_as_long_as_the_one_before_up_to_five_minutes():
    assert (FIRST_S, MOST_S) == (15, 300)
    assert starts(Redial(), 1_000, 2_300, peers=0) == [1_000, 1_015, 1_045, 1_105, 1_225, 1_465, 1_765, 2_065]


def test_a_peer_or_a_block_ends_the_waiting_and_no_answer_does_not():
    redial = Redial()
    assert starts(redial, 0, 200, peers=0) == [0, 15, 45, 105]
    assert starts(redial, 200, 300, peers=None) == []
    assert starts(redial, 300, 700, peers=0) == [300, 540]
    assert starts(redial, 1_000, 1_100, peers=3) == []
    assert starts(redial, 1_100, 1_150, peers=0) == [1_100, 1_115, 1_145]
    redial.end()
    assert starts(redial, 1_150, 1_180, peers=0) == [1_150, 1_165]


class Cometbft:
    """What a CometBFT says that has a seat's key and some peers, in a network of one other member."""

    def __init__(self, peers, seats):
        self.peers, self.known = peers, seats

    def standing(self):
        return Standing(0, False, 9, self.peers, SEAT, frozenset())

    def seats(self):
        return self.known

    def others_height(self):
        return 0

    def close(self):
        pass


@pytest.mark.parametrize(
    ("peers", "seats", "is_said"),
    [(0, {OTHER: "hospital-2"}, True), (0, {OTHER: "hospital-2", SEAT: "hospital-1"}, False), (1, {OTHER: "hospital-2"}, False)],
    ids=["not admitted", "admitted and alone", "named by an operator"],
)
def test_who_waits_is_told_that_nobody_lets_it_in_yet(tmp_path, capsys, monkeypatch, peers, seats, is_said):
    home = tmp_path / "home"
    words = ["--id", "hospital-1", "--kind", "hospital", "--name", "n", "--endpoint", "http://127.0.0.1:8701", "--engine", "consortium"]
    assert main(["node", "init", "--home", str(home), *words]) == 0
    monkeypatch.setattr(consortium, "read_ports", lambda _: type("Ports", (), {"rpc": 1, "servers": ()}))
    monkeypatch.setattr(consortium, "founding_powers", lambda _: {})
    monkeypatch.setattr(consortium, "Rpc", lambda *_: Cometbft(peers, seats))
    capsys.readouterr()
    assert main(["network", "status", "--home", str(home)]) == 0
    assert ("nobody lets it in yet: the directory, as far as it is known here, has no seat" in capsys.readouterr().out) is is_said
    assert main(["network", "status", "--home", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_seated"] is (SEAT in seats)
