"""A record's file: what it proves, and what it stops proving when any of it is changed."""

from dataclasses import replace

import pytest

from tests.worlds import World, node_key, receipt_key, seed
from yilian.base import labels
from yilian.base.codec import decode, encode
from yilian.base.digests import mac, sha256
from yilian.base.merkle import EMPTY_ROOT, inclusion_path, leaf_hash, root
from yilian.base.shapes import pack
from yilian.base.transaction import Header, sign
from yilian.contracts import anchor, consent
from yilian.ledger import (
    Anchored,
    Export,
    Item,
    NotAnchored,
    NotProven,
    RecordProof,
    inclusion,
    parse_record_proof,
    receipt,
    root_at,
    sign_checkpoint,
    transparent,
    verify_record,
)

RECEIVED = b'{"resourceType":"Observation","status":"final"}'
ERASE_KEY = b"e" * 32


class Nodes:
    def __init__(self):
        self.at = {}

    def node(self, level, index):
        return self.at[level, index]


class AnchoredWorld(World):
    """One tick over three versions, of which the second is ours."""

    def __init__(self):
        super().__init__()
        self.nodes = Nodes()
        commitment = mac(seed("k"), labels.RECORD, self.network, RECEIVED)
        self.leaves_of_tick = [leaf_hash(b"one"), leaf_hash(anchor.version_leaf(commitment, sha256(ERASE_KEY))), leaf_hash(b"three")]

    def commit(self, *transactions, known=None):
        applied = super().commit(*transactions, known=known)
        self.nodes.at.update({(level, index): digest for level, index, digest in applied.nodes})
        return applied

    def tick(self, carrier="clinic-1", records_root=None):
        tick = anchor.Tick(records_root or root(self.leaves_of_tick), EMPTY_ROOT)
        (result,) = self.commit(self.transaction("anchor.tick", tick, carrier)).results
        assert (result.reason, result.facts) == (0, {})
        return result.index

    def enter_unjudged(self, data):
        """Put bytes into the log that no honest member would have let in."""
        index = self.chain.log.size
        log, nodes = self.chain.log.grown([leaf_hash(data)])
        self.chain = replace(self.chain, height=self.chain.height + 1, log=log)
        self.nodes.at.update({(level, place): digest for level, place, digest in nodes})
        self.leaves.append(data)
        return index

    def exported(self, index, genesis=None):
        log = (self.chain.log.size, root_at(self.nodes, self.chain.log.size))
        signed = sign_checkpoint(receipt_key("clinic-1"), "clinic-1", self.network, log, self.chain.height, self.now_s)
        statement = transparent(self.leaves[index], [receipt(signed, index, inclusion(self.nodes, index, log[0]))])
        return Export((genesis or self.genesis).encoded(), (Item(index, statement),)).encoded()

    def proof(self, index, member="clinic-1"):
        path = tuple(inclusion_path(self.leaves_of_tick, 1))
        anchored = Anchored(index, 1, 3, path, self.exported(index))
        return RecordProof(self.network, member, "Observation", "o1", "1", RECEIVED, seed("k"), ERASE_KEY, anchored)


@pytest.fixture
def world():
    return AnchoredWorld()


def test_the_bytes_existed_unaltered_when_the_tick_was_entered(world):
    index = world.tick()
    found = verify_record(world.proof(index).encoded(), network=world.network)
    assert (found.proof.received, found.time_s, found.tick.carrier, found.tick.index) == (RECEIVED, world.now_s, "clinic-1", index)


def test_what_no_tick_covers_is_said_to_be_not_yet_anchored(world):
    file = replace(world.proof(world.tick()), anchored=None).encoded()
    with pytest.raises(NotAnchored, match="not yet anchored"):
        verify_record(file)


@pytest.mark.parametrize(
    "change",
    [
        {"received": RECEIVED.replace(b"final", b"draft")},
        {"k": seed("another")},
        {"erase_key": b"f" * 32},
    ],
)
def test_other_bytes_another_key_or_another_eraser_are_not_what_was_anchored(world, change):
    file = replace(world.proof(world.tick()), **change).encoded()
    with pytest.raises(NotProven, match="not the one that was anchored"):
        verify_record(file)


def test_another_place_under_the_tick_is_not_its_place(world):
    proof = world.proof(world.tick())
    file = replace(proof, anchored=replace(proof.anchored, position=0)).encoded()
    with pytest.raises(NotProven, match="not the one that was anchored"):
        verify_record(file)


def test_a_tick_of_another_member_proves_nothing_about_this_one(world):
    file = world.proof(world.tick("hospital-1"), member="clinic-1").encoded()
    with pytest.raises(NotProven, match="a tick of hospital-1, not of clinic-1"):
        verify_record(file)


def test_an_entry_that_is_no_tick_anchors_nothing(world):
    from tests.worlds import key

    control = key("control")
    give = consent.Give(control.public_key, b"h" * 32, b"r" * 32, b"c" * 32, (world.now_s // 86_400 + 2) * 86_400, 1, None)
    (result,) = world.commit(world.transaction("consent.give", give, approvers=[control])).results
    assert result.reason == 0
    with pytest.raises(NotProven, match="is not a tick"):
        verify_record(world.proof(result.index).encoded())


def test_an_export_of_another_network_is_not_this_records(world):
    proof = replace(world.proof(world.tick()), network=b"n" * 32)
    with pytest.raises(NotProven, match="different networks"):
        verify_record(proof.encoded())


def test_the_tick_must_be_in_the_export_that_comes_along(world):
    first = world.tick()
    proof = world.proof(first)
    file = replace(proof, anchored=replace(proof.anchored, tick_index=first + 1)).encoded()
    with pytest.raises(NotProven, match="does not hold the tick"):
        verify_record(file)


def test_every_flipped_bit_of_the_file_is_found(world):
    file = world.proof(world.tick()).encoded()
    named_at = file.find(b"kObservationbo1a1")  # type, id and number are the member's words for it: the commitment is to the bytes
    assert named_at > 0
    for offset in range(0, len(file), 7):
        if named_at <= offset < named_at + len(b"kObservationbo1a1"):
            continue
        changed = file[:offset] + bytes([file[offset] ^ 1]) + file[offset + 1 :]
        with pytest.raises(NotProven):
            verify_record(changed)


def test_a_file_reads_back_and_names_its_form(world):
    proof = world.proof(world.tick())
    assert decode(proof.encoded()) == ["yilian-record-1", pack(proof)]
    assert parse_record_proof(proof.encoded()) == proof


@pytest.mark.parametrize("data", [b"", b"\x80", encode(["yilian-record-2", b""]), encode(["yilian-record-1", b""])])
def test_bytes_that_are_no_such_file_are_said_to_be_none(data):
    with pytest.raises(NotProven, match="not a record's proof"):
        verify_record(data)


@pytest.mark.parametrize("k", [b"", bytes(31), bytes(33)])
def test_what_commits_to_the_bytes_has_32_of_its_own(world, k):
    """HMAC fills a short key up with zeros: without the check two keys would open one commitment."""
    with pytest.raises(NotProven, match="k has not 32 bytes"):
        verify_record(replace(world.proof(world.tick()), k=k).encoded())


def test_a_tick_that_says_nothing_that_rules_could_read_anchors_nothing(world):
    signer = node_key("clinic-1")
    forged = sign(signer, Header(world.network, signer.kid, "clinic-1", "anchor.tick", world.now_s + 60, 900), 40, {1: bytes(32)})
    index = world.enter_unjudged(forged)
    with pytest.raises(NotProven, match=rf"entry {index}: 16 BAD_SHAPE\(field=2\)"):
        verify_record(world.proof(index).encoded())
