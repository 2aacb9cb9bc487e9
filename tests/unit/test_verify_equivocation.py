"""A validator that signed two blocks of one height is suspended by a leaf of the ledger: files hold it, nobody can make one up."""

from dataclasses import replace
from hashlib import sha256

import pytest

from tests.unit.test_verify import TICK, fails
from tests.unit.test_verify_validators import FOUR, THREE, Validated
from tests.worlds import MEMBERS, World, key, make_genesis, receipt_key
from yilian.base.codec import Malformed, decode, encode
from yilian.base.merkle import inclusion_path, leaf_hash, root
from yilian.contracts import directory
from yilian.ledger import (
    Anchored,
    BlockHeader,
    Equivocation,
    Export,
    History,
    Item,
    Membership,
    NotProven,
    RecordProof,
    apply,
    parse_equivocation,
    parse_export,
    receipt,
    sign_checkpoint,
    verify,
    verify_record,
)
from yilian.ledger.history import NobodyToSuspend

GUILTY = "hospital-2"
OTHERS = ("clinic-1", "hospital-1", "regulator-1")


def consensus_key(member):
    return key(member, "consensus").public_key


def founders():
    return [replace(one, consensus_key=consensus_key(one.id)) for one in MEMBERS]


class Convicted(Validated):
    """Four validators with consensus keys."""

    def __init__(self):
        super().__init__()
        World.__init__(self, make_genesis(founders(), operator=""))

    def convicted(self, member=GUILTY, receipts=FOUR):
        """Commit a block that brings the proof against a member; return its leaf's index and keep its item."""
        index = self.chain.log.size
        address = sha256(consensus_key(member)).digest()[:20]
        header = BlockHeader(self.chain.height + 1, self.now_s * 1_000, "", (address,))
        applied = apply(self.rows, self.chain, header, [])
        self.rows.take(applied.writes)
        self.chain = applied.chain
        self.leaves += applied.leaves
        self.after[index] = (self.chain.log.size, self.chain.height, self.now_s)
        self.history.append(self.leaf_item(index, receipts))
        return index

    def leaf_item(self, index, members=FOUR, leaf=None):
        receipts = tuple(self.receipt(index, member) for member in members)
        return Item(index, self.leaves[index] if leaf is None else leaf, receipts)

    def reinstated(self, member=GUILTY):
        index = self.enter("directory.reinstate", directory.Reinstate(member), carrier="regulator-1")
        self.history.append(self.item(index, OTHERS))
        return index

    def tick(self, members):
        """Return the item of one more entry with receipts of `members`."""
        self.now_s += 60
        return self.item(self.enter("anchor.tick", TICK, carrier="regulator-1"), members)

    def forged(self, leaf):
        """Append a leaf that the ledger never made, as somebody who writes a log of his own would; return its index."""
        index = len(self.leaves)
        self.leaves.append(leaf)
        self.after[index] = (index + 1, self.chain.height + 1, self.now_s)
        return index


@pytest.fixture
def region():
    return Convicted()


def test_a_leaf_says_who_equivocated_and_reads_back():
    said = Equivocation(b"n" * 32, "hospital-2", 7)
    assert decode(said.encoded()) == ["equivocation", b"n" * 32, "hospital-2", 7]
    assert parse_equivocation(said.encoded()) == said
    for wrong in (
        ["day", b"n" * 32, "hospital-2", 7],
        ["equivocation", "n", "hospital-2", 7],
        ["equivocation", b"n", b"hospital-2", 7],
        ["equivocation", b"n", "医院", 7],
        ["equivocation", b"n", "hospital-2", "7"],
        ["equivocation", b"n", "hospital-2"],
    ):
        with pytest.raises(Malformed, match="NOT_AN_EQUIVOCATION"):
            parse_equivocation(encode(wrong))


def test_before_the_leaf_the_guilty_one_vouches_and_between_leaf_and_reinstatement_it_does_not_and_afterwards_again(region):
    early = region.tick(FOUR)
    leaf = region.convicted()
    between = region.tick(OTHERS)
    back = region.reinstated()
    late = region.tick(("clinic-1", "hospital-1", GUILTY))
    report = verify(region.export(early, region.history[0], between, region.history[1], late), network=region.network)
    assert [(entry.index, entry.kind, entry.is_quorum, entry.is_of_members) for entry in report.entries] == [
        (early.index, "anchor.tick", True, False),
        (leaf, "equivocation", True, True),
        (between.index, "anchor.tick", True, False),
        (back, "directory.reinstate", True, True),
        (late.index, "anchor.tick", True, False),
    ]
    told = report.entries[1]
    assert (told.id, told.carrier, told.approvals, told.suspends) == (leaf_hash(region.leaves[leaf]), "", 0, GUILTY)
    assert (told.height, told.time_s, told.signers) == (2, region.after[leaf][2], FOUR)
    assert [entry.suspends for entry in report.entries if entry is not told] == [""] * 4


def test_the_guilty_ones_receipt_between_leaf_and_reinstatement_is_refused(region):
    region.convicted()
    between = region.tick((*OTHERS, GUILTY))
    fails(region.export(*region.history, between), f"entry {between.index}: the receipt of {GUILTY} is refused: it was suspended by then$")


def test_a_validator_that_was_removed_after_its_conviction_never_vouches_again(region):
    region.convicted()
    change = directory.propose_change(directory.Remove(GUILTY))
    proposal = region.enter("directory.propose", change, carrier="clinic-1")
    votes = [region.enter("directory.vote", directory.Vote(proposal, True), carrier=each) for each in OTHERS[1:]]
    region.history += [region.item(index, OTHERS) for index in (proposal, *votes)]
    assert verify(region.export(*region.history, region.tick(OTHERS))).entries[-1].is_quorum is True
    late = region.tick((*OTHERS, GUILTY))
    fails(region.export(*region.history, late), f"entry {late.index}: the receipt of {GUILTY} is refused: it was removed by then$")


def test_a_leaf_without_a_quorum_of_those_before_it_fails_the_file(region):
    index = region.convicted()
    sentence = f"entry {index}: it changes who may sign, and validators of no more than two thirds of the votes until then vouch for it$"
    for members in (("clinic-1", GUILTY), ("clinic-1", "hospital-1")):
        fails(region.export(region.leaf_item(index, members)), sentence)
    assert verify(region.export(region.leaf_item(index, THREE))).entries[0].is_quorum is True  # the guilty one was a validator until then
    fails(region.export(region.leaf_item(index, ())), f"entry {index}: no receipt$")


def test_who_hides_the_conviction_cannot_show_the_reinstatement(region):
    region.convicted()
    region.reinstated()
    sentence = "entry 1: an entry before it that changed the directory is missing"
    fails(region.export(region.history[1]), sentence)


def test_who_hides_the_conviction_is_believed_with_the_validators_of_before_and_never_gets_by_with_fewer_votes(region):
    """What an omitted change is worth (ADR-0120): a quorum of the older set, which is three of four; two never suffice."""
    region.convicted()
    entry = region.tick(("clinic-1", "hospital-1", GUILTY))
    assert verify(region.export(entry)).entries[0].is_quorum is True
    assert verify(region.export(region.item(entry.index, ("clinic-1", GUILTY)))).entries[0].is_quorum is False


def test_a_leaf_that_names_another_network_or_height_than_its_block_is_refused(region):
    for network, height in ((bytes(32), 1), (region.network, 9)):
        index = region.forged(Equivocation(network, GUILTY, height).encoded())
        fails(region.export(region.leaf_item(index)), f"entry {index}: the leaf is not of the block that its receipts name$")


@pytest.mark.parametrize("member", ["nobody", "", GUILTY])
def test_a_leaf_that_suspends_nobody_is_refused_whoever_signed_it(region, member):
    region.convicted()
    index = region.forged(Equivocation(region.network, member, region.chain.height + 1).encoded())
    sentence = f"entry {index}: it suspends {member}, which validates nothing here or was suspended already: a change before it is missing$"
    fails(region.export(region.history[0], region.leaf_item(index, OTHERS)), sentence)


def test_an_operators_ledger_has_no_such_leaf_whoever_signs_it():
    region = Convicted()
    World.__init__(region, make_genesis(founders()))
    index = region.forged(Equivocation(region.network, GUILTY, 1).encoded())
    fails(region.export(region.leaf_item(index)), f"entry {index}: it suspends {GUILTY}, which validates nothing here")


def test_a_leaf_of_the_ledger_is_no_statement_and_a_statement_no_leaf(region):
    index = region.convicted()
    item = region.history[0]
    fails(region.export(Item(index, item.statement)), f"entry {index}: ")
    tick = region.tick(FOUR)
    fails(region.export(item, Item(tick.index, region.leaves[tick.index], (region.receipt(tick.index),))), f"entry {tick.index}: ")
    fails(region.export(Item(index, b"", item.receipts)), f"entry {index}: ")
    fails(region.export(Item(index, item.statement, (b"",))), f"entry {index}: ")


def test_every_flipped_bit_of_a_leaf_and_of_a_receipt_beside_it_fails(region):
    index = region.convicted()
    whole = region.export(region.history[0])
    for part in (region.leaves[index], region.history[0].receipts[0]):
        start = whole.index(part)
        for position in range(start * 8, (start + len(part)) * 8):
            flipped = bytearray(whole)
            flipped[position // 8] ^= 1 << position % 8
            with pytest.raises(NotProven):
                verify(bytes(flipped), network=region.network)


def test_items_of_both_kinds_read_back(region):
    index = region.convicted()
    export = Export(region.genesis.encoded(), (region.history[0], region.tick(OTHERS)))
    assert parse_export(export.encoded()) == export
    assert decode(export.encoded())[2][0] == [index, region.leaves[index], list(region.history[0].receipts)]
    for wrong in ([0, b"", [1]], [0, b"", b""], [0, b"", [], []], [b"", b"", []], 7):
        with pytest.raises(Malformed, match="NOT_AN_ITEM"):
            parse_export(encode(["yilian-export-1", b"", [wrong], []]))


def test_another_root_of_one_size_is_a_split_view_in_a_leafs_receipts_too(region):
    region.convicted()
    tick = region.tick(OTHERS)
    size, *at = region.after[tick.index]
    other = [*region.hashes(size - 1), bytes(32)]
    alien = sign_checkpoint(receipt_key("clinic-1"), "clinic-1", region.network, (size, root(other)), *at)
    leaf = region.history[0]
    mixed = replace(leaf, receipts=(*leaf.receipts, receipt(alien, leaf.index, inclusion_path(other, leaf.index))))
    fails(region.export(mixed, tick), f"two signed roots of one size \\({size}\\): a split view; publish this file$")


def test_on_an_operators_ledger_a_change_of_members_needs_the_operators_receipt():
    region = Convicted()
    World.__init__(region, make_genesis(founders()))
    index = region.enter("directory.suspend", directory.Suspend(GUILTY, bytes(32)), carrier="regulator-1")
    sentence = f"entry {index}: it changes who may sign, and clinic-1, which orders this ledger, does not vouch for it$"
    fails(region.export(region.item(index, OTHERS[1:])), sentence)
    assert verify(region.export(region.item(index, ("clinic-1",)))).entries[0].is_of_members is True


def test_a_leaf_of_the_ledger_anchors_no_record(region):
    index = region.convicted()
    anchored = Anchored(index, 0, 1, (), region.export(*region.history))
    proof = RecordProof(region.network, "clinic-1", "Patient", "p1", "1", b"{}", bytes(32), bytes(32), anchored)
    with pytest.raises(NotProven, match=f"^entry {index} is not a tick$"):
        verify_record(proof.encoded())


def test_history_suspends_as_the_ledger_did_and_refuses_what_it_cannot_have_done(region):
    region.convicted()
    history = History(region.genesis)
    history.suspend(parse_equivocation(region.leaves[0]))
    assert dict(region.rows.scan(directory.PREFIX)) == dict(history.state.scan(directory.PREFIX))
    with pytest.raises(NobodyToSuspend, match=GUILTY):
        history.suspend(parse_equivocation(region.leaves[0]))


def test_a_founder_without_a_validator_equivocates_never():
    history = History(replace(make_genesis(), operator=""))
    with pytest.raises(NobodyToSuspend):
        history.suspend(Equivocation(history.genesis.network_id, GUILTY, 1))


def test_who_follows_the_members_begins_with_genesis_and_knows_where_it_stands(region):
    index = region.convicted()
    members = Membership(region.genesis)
    assert members.last_index == -1
    members.take(region.history[0])
    assert (members.last_index, directory.member(members.state, GUILTY).stage) == (index, directory.Stage.SUSPENDED)
    assert dict(members.roots) == {index + 1: root(region.hashes(index + 1))}
    with pytest.raises(NotProven, match=f"entry {index} stands out of order"):
        members.take(region.history[0])
