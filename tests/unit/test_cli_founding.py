"""What a consortium is founded with and whom it admits: what is refused says which line of which file is wrong, and what is right."""

import json

import pytest

from yilian.cli import main
from yilian.vault import Vault, WrongPassphrase

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


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{}, {"p2p_port": 26_656}], "hospital-1 and hospital-2 are both at 127.0.0.1:26656: "),
        ([{}, {"rpc_port": 26_656}], "hospital-1 and hospital-2 are both at 127.0.0.1:26656: "),
        ([{"rpc_port": 26_666}, {}], "hospital-1 and hospital-2 are both at 127.0.0.1:26666: "),
        ([{"p2p_port": 7_000, "rpc_port": 7_000}], "hospital-1 has 7000 as its p2p_port and as its rpc_port: they are two\n"),
        ([{}, {"endpoint": "http://127.0.0.1:8701/"}], "hospital-1 and hospital-2 are both at http://127.0.0.1:8701: "),
        ([{"kinds": ["hospital", "bank"]}], "hospital-1: 'bank' is no kind of member: clinic, data_buyer, distributor, exchange, "),
        ([{"p2p_port": 99_999}], "hospital-1: 99999 is no port: 1 to 65535\n"),
        ([{"rpc_port": 0}], "hospital-1: 0 is no port: 1 to 65535\n"),
        ([{"power": -1}], "hospital-1: -1 is no number of votes: 0 to 1099511627776\n"),
    ],
)
def test_what_two_members_cannot_share_and_what_no_member_is_are_named(tmp_path, capsys, rows, sentence):
    sentence = f"usage: members.toml: {sentence}"
    code, _, err = founded(tmp_path, capsys, *(member(number, **row) for number, row in enumerate(rows)))
    assert (code, err[: len(sentence)], err.count("\n")) == (2, sentence, 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--id", "Pharmacy 1"), "'Pharmacy 1' is no member's id: 1 to 32 of a-z, 0-9 and -\n"),
        (("--endpoint", "banana"), "'banana' is no address that others can reach, such as https://node.hospital.example\n"),
        (("--power", "-1"), "-1 is no number of votes: 0 to 1099511627776\n"),
        (("--port", "99999"), "99999 is no port: 1 to 65535\n"),
    ],
)
def test_a_member_that_no_network_could_admit_is_not_made(tmp_path, capsys, words, sentence):
    home = tmp_path / "pharmacy-1"
    given = ["--id", "pharmacy-1", "--kind", "pharmacy", "--name", "name", "--endpoint", "http://127.0.0.1:8705", *words]
    code = main(["node", "init", "--home", str(home), *given])
    assert (code, capsys.readouterr().err, home.exists()) == (2, f"usage: {sentence}", False)


@pytest.mark.parametrize(("endpoint", "port"), [("https://node.hospital.example", 8700), ("http://127.0.0.1:8799", 8799)])
def test_a_founder_without_a_port_listens_where_the_manual_says(tmp_path, capsys, endpoint, port):
    assert founded(tmp_path, capsys, member(0, endpoint=endpoint))[0] == 0
    assert f"port = {port}\n" in (tmp_path / "out/hospital-1/node.toml").read_text()


def test_members_on_machines_of_their_own_may_have_the_same_ports(tmp_path, capsys):
    rows = [member(number, host=f"203.0.113.{number}", p2p_port=26_656, rpc_port=26_657) for number in range(4)]
    assert founded(tmp_path, capsys, *rows)[0] == 0


def test_who_founds_is_told_whether_the_key_stores_are_sealed(tmp_path, capsys):
    code, out, _ = founded(tmp_path, capsys, *map(member, range(4)))
    assert (code, "the members' key stores are NOT sealed: give --passphrase-file" in out) == (0, True)
    with Vault.open(tmp_path / "out/clinic-1") as vault:
        assert not vault.is_sealed


def test_a_passphrase_seals_every_founders_key_store(tmp_path, capsys):
    (tmp_path / "passphrase").write_text("correct horse\n")
    code, out, _ = founded(tmp_path, capsys, *map(member, range(2)), words=("--passphrase-file", str(tmp_path / "passphrase")))
    assert (code, "the members' key stores are sealed" in out) == (0, True)
    for name in FOUR[:2]:
        with pytest.raises(WrongPassphrase, match="is sealed"):
            Vault.open(tmp_path / "out" / name)
        with Vault.open(tmp_path / "out" / name, "correct horse") as vault:
            assert vault.is_sealed


def test_a_file_without_a_passphrase_seals_nothing_and_makes_nothing(tmp_path, capsys):
    (tmp_path / "passphrase").write_text("\n")
    code, _, err = founded(tmp_path, capsys, member(0), words=("--passphrase-file", str(tmp_path / "passphrase")))
    assert (code, err, (tmp_path / "out").exists()) == (2, "usage: passphrase has no passphrase in its first line\n", False)
