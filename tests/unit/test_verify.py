"""The offline verifier: a file proves what it says, trusting genesis and a pinned checkpoint, or it fails with a sentence."""

from dataclasses import replace

import pytest

from tests.worlds import MEMBERS, World, key, make_genesis, node_key, receipt_key
from yilian.base.codec import Malformed, decode, encode
from yilian.base.merkle import inclusion_path, leaf_hash, root
from yilian.base.transaction import Header, sign
from yilian.contracts import anchor, consent, directory
from yilian.ledger import (
    Consistency,
    Export,
    Item,
    NotProven,
    consistency,
    parse_export,
    receipt,
    sign_checkpoint,
    split_transparent,
    transparent,
    verify,
)
from yilian.ledger.log import Frontier

TICK = anchor.Tick(bytes(32), bytes(32))


class Region(World):
    """A world whose entries can be exported: it remembers the log's size, height and time after each."""

    def __init__(self, genesis=None):
        super().__init__(genesis)
        self.after = {}

    def enter(self, kind_name, message, carrier="clinic-1", approvers=(), **changes):
        index = self.chain.log.size
        assert self.act(kind_name, message, carrier, approvers, **changes) == (0, {})
        self.after[index] = (self.chain.log.size, self.chain.height, self.now_s)
        return index

    def hashes(self, size):
        return [leaf_hash(leaf) for leaf in self.leaves[:size]]

    def checkpoint(self, size, at, member="clinic-1", signer=None):
        return sign_checkpoint(signer or receipt_key(member), member, self.network, (size, root(self.hashes(size))), *at)

    def receipt(self, index, member="clinic-1", signer=None, later=None):
        size, *at = self.after[later if later is not None else index]
        return receipt(self.checkpoint(size, at, member, signer), index, inclusion_path(self.hashes(size), index))

    def item(self, index, members=("clinic-1",), **how):
        return Item(index, transparent(self.leaves[index], [self.receipt(index, member, **how) for member in members]))

    def export(self, *items, proofs=()):
        return Export(self.genesis.encoded(), items, proofs).encoded()

    def consistency(self, old, new):
        kept = {}
        for level, index, value in Frontier().grown(self.hashes(new))[1]:
            kept[level, index] = value

        class Nodes:
            def node(self, level, index):
                return kept[level, index]

        return Consistency(old, new, tuple(consistency(Nodes(), old, new)))


@pytest.fixture
def region():
    made = Region()
    for member in ("clinic-1", "hospital-1", "hospital-2"):
        made.enter("anchor.tick", TICK, carrier=member)
    return made


def fails(data, sentence, **how):
    with pytest.raises(NotProven, match=sentence):
        verify(data, **how)


def test_an_entry_with_the_operators_receipt_is_proven_on_the_operators_word(region):
    report = verify(region.export(region.item(1)), network=region.network)
    (entry,) = report.entries
    assert (entry.id, entry.index, entry.kind, entry.carrier, entry.approvals) == (
        leaf_hash(region.leaves[1]),
        1,
        "anchor.tick",
        "hospital-1",
        0,
    )
    assert (entry.height, entry.time_s, entry.signers, entry.is_quorum) == (2, region.now_s, ("clinic-1",), False)
    assert (report.network, report.is_pinned) == (region.network, False)


@pytest.mark.parametrize(
    ("members", "is_quorum"),
    [
        (("clinic-1",), False),
        (("clinic-1", "hospital-1"), False),
        (("clinic-1", "hospital-1", "hospital-1"), False),  # a member counts once
        (("clinic-1", "hospital-1", "hospital-2"), True),
        (("hospital-1", "hospital-2", "regulator-1"), False),  # not without the operator
    ],
)
def test_an_embedded_quorum_is_the_operator_and_more_than_half_of_the_others(region, members, is_quorum):
    assert verify(region.export(region.item(0, members))).entries[0].is_quorum is is_quorum


@pytest.mark.parametrize(("members", "is_quorum"), [(("clinic-1", "hospital-1"), False), (("clinic-1", "hospital-1", "hospital-2"), True)])
def test_a_quorum_of_validators_is_more_than_two_thirds_of_their_power(members, is_quorum):
    region = Region(make_genesis(operator=""))
    region.enter("anchor.tick", TICK)
    assert verify(region.export(region.item(0, members))).entries[0].is_quorum is is_quorum


def test_exactly_two_thirds_are_no_quorum():
    region = Region(make_genesis(operator="", members=MEMBERS[:3]))
    region.enter("anchor.tick", TICK)
    assert verify(region.export(region.item(0, ("clinic-1", "hospital-1")))).entries[0].is_quorum is False


def test_a_receipt_against_a_later_root_proves_the_same_entry(region):
    entry = verify(region.export(region.item(0, later=2))).entries[0]
    assert (entry.index, entry.height) == (0, 3)


def test_every_flipped_bit_of_an_exported_statement_fails(region):
    statement = region.item(1).statement
    for position in range(len(statement) * 8):
        flipped = bytearray(statement)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(NotProven):
            verify(region.export(Item(1, bytes(flipped))))


def test_every_flipped_bit_of_the_whole_file_fails_or_is_another_networks(region):
    data = region.export(region.item(1))
    for position in range(0, len(data) * 8, 7):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(NotProven):
            verify(bytes(flipped), network=region.network)


def test_wrong_index_no_receipt_foreign_receipt_and_disorder_fail(region):
    item = region.item(1)
    fails(region.export(replace(item, index=2)), "entry 2: a receipt proves index 1")
    fails(region.export(Item(1, transparent(region.leaves[1], []))), "entry 1: no receipt")
    fails(region.export(Item(1, region.leaves[1])), "entry 1: NOT_A_TRANSPARENT_STATEMENT")
    fails(region.export(Item(1, transparent(region.leaves[1], [region.receipt(0)]))), "entry 1: ")
    fails(region.export(item, region.item(0)), "entry 0 stands out of order")
    fails(region.export(item, item), "entry 1 stands out of order")
    fails(region.export(replace(item, index=-1)), "entry -1 stands out of order")
    fails(region.export(), "holds no entry")
    fails(region.export(region.item(1, signer=key("stranger"))), "receipt of clinic-1 is not signed by a key of that member")
    fails(region.export(region.item(1, members=("nobody",))), "receipt of nobody is not signed")
    fails(b"", "not an export")
    fails(encode(["yilian-export-1", b"", [], []]), "not an export")
    fails(region.export(item), "another network", network=bytes(32))
    nobody_votes = make_genesis(members=[replace(member, power=0) for member in MEMBERS])
    fails(Export(nobody_votes.encoded(), (item,)).encoded(), "no network begins with this genesis")


def test_a_statement_of_a_key_that_genesis_does_not_know_fails(region):
    stranger = key("stranger")
    data = region.transaction("anchor.tick", TICK, signer=stranger)
    region.leaves.append(data)
    region.after[3] = (4, 4, region.now_s)
    fails(region.export(region.item(3)), "entry 3: 4 UNKNOWN_KEY")


def test_a_members_signature_for_another_network_vouches_for_nothing_here(region):
    size, *at = region.after[0]
    log = (size, root(region.hashes(size)))
    elsewhere = sign_checkpoint(receipt_key("clinic-1"), "clinic-1", b"m" * 32, log, *at)
    item = Item(0, transparent(region.leaves[0], [receipt(elsewhere, 0, inclusion_path(region.hashes(size), 0))]))
    fails(region.export(item), "entry 0: the receipt of clinic-1 is not signed by a key of that member")


def test_an_entry_of_a_kind_that_no_rules_know_fails(region):
    signer, index = node_key("clinic-1"), region.chain.log.size
    region.leaves.append(sign(signer, Header(region.network, signer.kid, "clinic-1", "anchor.tick", region.now_s + 60, 900), 999, {}))
    region.after[index] = (index + 1, 9, region.now_s)
    fails(region.export(region.item(index)), "entry 3: no kind 999 was ever accepted by these rules")


def test_an_entry_of_another_contract_is_proven_without_those_before_it(region):
    control = key("control")
    until_s = (region.now_s // 86_400 + 2) * 86_400
    give = consent.Give(control.public_key, b"h" * 32, b"r" * 32, b"c" * 32, until_s, 1, None)
    region.enter("consent.give", give, approvers=[control])
    revoked = region.enter("consent.revoke", consent.Revoke(control.public_key), approvers=[control])
    (entry,) = verify(region.export(region.item(revoked))).entries
    assert (entry.index, entry.kind, entry.approvals) == (revoked, "consent.revoke", 1)


def test_two_signed_roots_of_one_size_are_a_split_view(region):
    other = Region(region.genesis)
    other.enter("anchor.tick", TICK, carrier="regulator-1")
    for member in ("hospital-1", "hospital-2"):
        other.enter("anchor.tick", TICK, carrier=member)
    mixed = Item(1, transparent(region.leaves[1], [region.receipt(1, later=2)]))
    alien = Item(2, transparent(other.leaves[2], [other.receipt(2, later=2)]))
    fails(region.export(mixed, alien), "two signed roots of one size")


# a pinned checkpoint


def test_a_pinned_checkpoint_must_be_of_the_same_log(region):
    item = region.item(0)
    pinned = region.checkpoint(3, (3, region.now_s))
    proof = region.consistency(1, 3)
    assert verify(region.export(item, proofs=(proof,)), pinned=pinned).is_pinned
    fails(region.export(item), "no proof in the file", pinned=pinned)
    fails(region.export(item, proofs=(replace(proof, path=(bytes(32), *proof.path[1:])),)), "no proof in the file", pinned=pinned)
    fails(region.export(item, proofs=(proof,)), "no proof in the file", pinned=replace(pinned, root=bytes(32)))
    older = region.checkpoint(1, (1, region.now_s))
    assert verify(region.export(region.item(2), proofs=(proof,)), pinned=older).is_pinned
    assert verify(region.export(item), pinned=older).is_pinned
    fails(region.export(item), "different roots for size 1: a split view", pinned=replace(older, root=bytes(32)))


# the directory changes


def rotate(region, new_key):
    """Propose and vote a new receipt key for clinic-1; return the indices of the entries."""
    change = directory.Rotate("clinic-1", directory.KeyUse.RECEIPT, new_key.public_key)
    first = region.enter("directory.propose", directory.propose_change(change), carrier="hospital-1")
    return [first] + [
        region.enter("directory.vote", directory.Vote(first, True), carrier=member) for member in ("hospital-2", "regulator-1")
    ]


def test_a_rotated_receipt_key_is_followed_and_the_old_one_no_longer_counts(region):
    new_key = key("clinic-1", "receipt", "new")
    entries = rotate(region, new_key)
    tick = region.enter("anchor.tick", TICK, carrier="regulator-1")
    history = [region.item(index) for index in entries]
    report = verify(region.export(*history, region.item(tick, signer=new_key)))
    assert [entry.kind for entry in report.entries] == ["directory.propose", "directory.vote", "directory.vote", "anchor.tick"]
    fails(region.export(*history, region.item(tick)), "receipt of clinic-1 is not signed by a key of that member")
    fails(region.export(region.item(tick, signer=new_key)), "receipt of clinic-1 is not signed by a key of that member")


@pytest.mark.parametrize(
    ("operator", "members", "is_quorum"),
    [
        ("clinic-1", ("clinic-1", "hospital-2"), False),  # one of the two others
        ("clinic-1", ("clinic-1", "hospital-2", "regulator-1"), True),
        ("", ("clinic-1", "hospital-2"), False),  # two of three
        ("", ("clinic-1", "hospital-2", "regulator-1"), True),
    ],
)
def test_a_suspended_members_receipt_is_refused_and_it_counts_for_no_quorum(operator, members, is_quorum):
    region = Region(make_genesis(operator=operator))
    suspended = region.enter("directory.suspend", directory.Suspend("hospital-1", bytes(32)), carrier="regulator-1")
    tick = region.enter("anchor.tick", TICK)
    suspension = region.item(suspended, ("clinic-1", "hospital-1", "hospital-2"))  # until then it vouched as all others did
    report = verify(region.export(suspension, region.item(tick, members)))
    assert (report.entries[1].signers, report.entries[1].is_quorum) == (members, is_quorum)
    sentence = f"entry {tick}: the receipt of hospital-1 is refused: it was suspended by then"
    fails(region.export(suspension, region.item(tick, (*members, "hospital-1"))), sentence)


def test_a_history_with_an_entry_left_out_fails(region):
    entries = rotate(region, key("new"))
    fails(region.export(region.item(entries[1])), "an entry before it that changed the directory is missing")


def test_a_suspended_member_carries_nothing_after_its_suspension(region):
    suspended = region.enter("directory.suspend", directory.Suspend("hospital-1", bytes(32)), carrier="regulator-1")
    forged = region.transaction("anchor.tick", TICK, carrier="hospital-1")
    region.leaves.append(forged)
    index = region.chain.log.size
    region.after[index] = (index + 1, 9, region.now_s)
    assert verify(region.export(region.item(index))).entries[0].carrier == "hospital-1"  # who does not show the suspension is believed
    fails(region.export(region.item(suspended), region.item(index)), "UNKNOWN_KEY")


def test_an_export_reads_back(region):
    export = Export(region.genesis.encoded(), (region.item(0),), (region.consistency(1, 3),))
    assert parse_export(export.encoded()) == export
    proof, item = export.consistency[0], export.items[0]
    assert decode(export.encoded()) == ["yilian-export-1", export.genesis, [[0, item.statement]], [[1, 3, list(proof.path)]]]
    assert split_transparent(export.items[0].statement)[0] == region.leaves[0]
    for wrong in (["yilian-export-2", b"", [], []], ["yilian-export-1", b"", [[0]], []], ["yilian-export-1", b"", [], [[0, 1, [2]]]], []):
        with pytest.raises(Malformed):
            parse_export(encode(wrong))
