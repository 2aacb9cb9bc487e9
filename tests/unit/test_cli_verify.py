"""`yilian verify`: what it accepts, what it says about who vouches, and that no altered file passes."""

import json

import pytest

from tests.worlds import World, key, receipt_key
from yilian.base.merkle import inclusion_path, leaf_hash, root
from yilian.cli import main
from yilian.contracts.consent import Give
from yilian.ledger import Consistency, Export, Frontier, Item, consistency, receipt, sign_checkpoint, transparent


@pytest.fixture(scope="module")
def world():
    made = World()
    day = made.now_s // 86_400
    for number in range(3):
        give = Give(
            *(key("verify", number, use).public_key for use in ("control", "holder", "requester")), bytes(32), (day + 8) * 86_400, 5
        )
        assert made.act("consent.give", give, approvers=[key("verify", number, "control")]) == (0, {})
    return made


def checkpoint(world, member, size=None):
    size = len(world.leaves) if size is None else size
    log = (size, root([leaf_hash(leaf) for leaf in world.leaves[:size]]))
    return sign_checkpoint(receipt_key(member), member, world.network, log, world.chain.height, world.now_s)


class Nodes:
    """The log's nodes in memory."""

    def __init__(self, hashes):
        self.kept = {(level, index): node for level, index, node in Frontier().grown(hashes)[1]}

    def node(self, level, index):
        return self.kept[level, index]


def export(world, members=("clinic-1",), proofs=()):
    hashes = [leaf_hash(leaf) for leaf in world.leaves]
    path = inclusion_path(hashes, 1)
    statement = transparent(world.leaves[1], [receipt(checkpoint(world, member), 1, path) for member in members])
    return Export(world.genesis.encoded(), (Item(1, statement),), proofs).encoded()


def verified(tmp_path, capsys, data, *words):
    file = tmp_path / "export.cbor"
    file.write_bytes(data)
    code = main(["verify", str(file), *words, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out or said.err)


def test_what_only_the_operator_signed_is_proven_and_said_to_be_its_word(world, tmp_path, capsys):
    code, facts = verified(tmp_path, capsys, export(world))
    entry = facts["entries"][0]
    assert (code, facts["network"], facts["is_quorum"], facts["is_pinned"]) == (0, world.network.hex(), False, False)
    assert (entry["index"], entry["kind"], entry["carrier"], entry["signers"]) == (1, "consent.give", "clinic-1", ["clinic-1"])
    assert ["only clinic-1 vouches" in facts["notes"][0], "no checkpoint was given" in facts["notes"][1]] == [True, True]


def test_with_a_quorum_and_a_checkpoint_there_is_nothing_to_note(world, tmp_path, capsys):
    pinned = tmp_path / "checkpoint"
    pinned.write_bytes(checkpoint(world, "clinic-1", 2).encoded())
    hashes = [leaf_hash(leaf) for leaf in world.leaves]
    proof = Consistency(2, len(hashes), tuple(consistency(Nodes(hashes), 2, len(hashes))))
    data = export(world, ("clinic-1", "hospital-1", "hospital-2"), (proof,))
    code, facts = verified(tmp_path, capsys, data, "--checkpoint", str(pinned), "--network", world.network.hex())
    assert (code, facts["is_quorum"], facts["is_pinned"], facts["notes"]) == (0, True, True, [])


def test_no_altered_file_is_proven(world, tmp_path, capsys):
    data = export(world)
    passed = []
    for position in range(0, len(data) * 8, 97):  # every bit of every part is flipped in the ledger's own tests
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        if verified(tmp_path, capsys, bytes(flipped), "--network", world.network.hex())[0] != 3:
            passed.append(position)
    assert passed == []


def test_a_file_that_is_missing_or_a_wrong_network_id_is_usage_or_refusal(world, tmp_path, capsys):
    assert main(["verify", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"usage: there is no file {tmp_path / 'none'}\n"
    assert verified(tmp_path, capsys, export(world), "--network", "zz")[0] == 2
    code, facts = verified(tmp_path, capsys, export(world), "--network", "00" * 32)
    assert (code, facts["sentence"].partition(": ")[2]) == (3, "the file is of another network than the one expected")
