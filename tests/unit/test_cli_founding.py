"""What a consortium is founded with and whom it admits: what is refused says which line of which file is wrong, and what is right."""

import json

import pytest

from yilian.cli import main

FOUR = ("hospital-1", "hospital-2", "clinic-1", "regulator-1")


def member(number, /, **fields):
    called = FOUR[number]
    said = {"id": called, "kinds": [called.partition("-")[0]], "name": called, "endpoint": f"http://127.0.0.1:{8_701 + number}"} | fields
    return "[[member]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())


def founded(tmp_path, capsys, *rows, words=()):
    """Found a network of these members; return (exit code, what it printed, what it complained of)."""
    (tmp_path / "members.toml").write_text("".join(rows))
    code = main(["network", "init", "--members", str(tmp_path / "members.toml"), "--out", str(tmp_path / "out"), *words])
    out, err = capsys.readouterr()
    return code, out, err.replace(str(tmp_path) + "/", "")


@pytest.mark.parametrize(
    ("power", "code", "sentence"),
    [
        ("1", 3, "refused: founder.card is the card of a member without a seat: use the member.card that `yilian network join` writes"),
        ("0", 4, "unreachable: no running node listens in "),  # it follows, and is asked for no vote
    ],
)
def test_who_has_votes_is_admitted_with_its_seat(tmp_path, capsys, power, code, sentence):
    assert founded(tmp_path, capsys, *map(member, range(4)))[0] == 0
    home = tmp_path / "hospital-4"
    words = ["--id", "hospital-4", "--kind", "hospital", "--name", "name", "--endpoint", "http://127.0.0.1:8705", "--power", power]
    assert main(["node", "init", "--home", str(home), *words]) == 0
    capsys.readouterr()
    answered = main(["network", "propose", "--home", str(tmp_path / "out/clinic-1"), "--admit", str(home / "founder.card")])
    err = capsys.readouterr().err.replace(f"{home}/", "")
    assert (answered, err[: len(sentence)], err.count("\n")) == (code, sentence, 1)
