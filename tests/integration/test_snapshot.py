"""`yilian snapshot`: taken while the node runs, restored only where every byte is right."""

import json
import shutil

import pytest

from tests.worlds import KINDS, key, make_genesis, node_key
from yilian.base.transaction import Header, sign
from yilian.cli import main
from yilian.contracts.consent import Give
from yilian.engines.embedded import EmbeddedEngine

GENESIS = make_genesis()


def grant(number, now_s):
    carrier, control = node_key("clinic-1"), key("snapshot", number)
    sides = (key("holder", number).public_key, key("requester", number).public_key)
    message = Give(control.public_key, *sides, bytes(32), (now_s // 86_400 + 31) * 86_400, 5)
    header = Header(GENESIS.network_id, carrier.kid, "clinic-1", "consent.give", now_s + 3_000, number + 1)
    return sign(carrier, header, KINDS["consent.give"].number, KINDS["consent.give"].body(message), [control])


@pytest.fixture
async def taken(tmp_path, capsys):
    """A ledger of five entries, open in a running engine while its snapshot is taken."""
    home, out = tmp_path / "clinic-1", tmp_path / "snapshot"
    home.mkdir()
    (home / "genesis.cbor").write_bytes(GENESIS.encoded())
    engine = EmbeddedEngine.open(home / "ledger", GENESIS, processes=0)
    try:
        for number in range(5):
            answer = await engine.submit(grant(number, engine.read().chain.time_ms // 1_000))
            assert (answer.index, answer.reason, answer.facts) == (number, 0, {})
        code = main(["snapshot", "take", "--home", str(home), "--out", str(out), "--json"])
        facts = json.loads(capsys.readouterr().out)
        chain = engine.read().chain
    finally:
        await engine.close()
    assert (code, facts["height"], facts["entries"], facts["app_hash"]) == (0, chain.height, 5, chain.app_hash.hex())
    return out, facts["app_hash"], chain


def restored(source, home, capsys, *words):
    home.mkdir()
    (home / "genesis.cbor").write_bytes(GENESIS.encoded())
    code = main(["snapshot", "restore", "--from", str(source), "--home", str(home), *words, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out or said.err)


async def test_a_snapshot_restores_to_the_same_chain_and_goes_on(taken, tmp_path, capsys):
    source, app_hash, chain = taken
    code, facts = restored(source, tmp_path / "again", capsys, "--app-hash", app_hash)
    assert (code, facts) == (0, {"height": chain.height, "entries": 5, "app_hash": app_hash, "is_pinned": True})
    engine = EmbeddedEngine.open(tmp_path / "again" / "ledger", GENESIS, processes=0)
    try:
        assert engine.read().chain == chain
        assert engine.inclusion(2, 5) != []
    finally:
        await engine.close()


@pytest.mark.parametrize("file", ["manifest.cbor", "state-0000.cbor", "blocks.bin"])
async def test_one_flipped_bit_and_nothing_is_restored(taken, tmp_path, capsys, file):
    source, app_hash, _ = taken
    data = (source / file).read_bytes()
    for position in (0, len(data) * 4, len(data) * 8 - 1):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        (source / file).write_bytes(flipped)
        home = tmp_path / f"home-{position}"
        code, facts = restored(source, home, capsys, "--app-hash", app_hash)
        assert (position, code, facts["error"], [each.name for each in home.iterdir()]) == (position, 3, "refused", ["genesis.cbor"])


async def test_a_forged_snapshot_is_not_that_of_the_trusted_app_hash(taken, tmp_path, capsys):
    source, app_hash, _chain = taken
    other = bytes.fromhex(app_hash)[::-1].hex()
    code, facts = restored(source, tmp_path / "forged", capsys, "--app-hash", other)
    assert (code, facts["sentence"]) == (3, f"{source}: its rows and log are not those of the trusted app hash")
    assert not (tmp_path / "forged" / "ledger").exists()


async def test_nothing_that_is_there_is_overwritten(taken, tmp_path, capsys):
    source, _app_hash, _ = taken
    assert main(["snapshot", "take", "--home", str(tmp_path / "clinic-1"), "--out", str(source)]) == 2
    assert main(["snapshot", "restore", "--from", str(source), "--home", str(tmp_path / "clinic-1")]) == 2
    shutil.rmtree(tmp_path / "clinic-1" / "ledger")
    assert main(["snapshot", "take", "--home", str(tmp_path / "clinic-1"), "--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"usage: {tmp_path / 'clinic-1'} holds no ledger"
