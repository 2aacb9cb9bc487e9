"""The offline verifier where validators order: a quorum follows from the file alone, through every change of who validates."""

import pytest

from tests.unit.test_verify import TICK, Region, fails
from tests.worlds import founder, make_genesis
from yilian.base.merkle import inclusion_path
from yilian.contracts import directory
from yilian.ledger import Item, receipt, transparent, verify

FOUR = ("clinic-1", "hospital-1", "hospital-2", "regulator-1")
THREE = FOUR[:3]


class Validated(Region):
    """Four validators of one vote each; every entry that changes who validates is exported with all of their receipts."""

    def __init__(self):
        super().__init__(make_genesis(operator=""))
        self.history, self.validators = [], list(FOUR)

    def decided(self, change, voters=FOUR):
        """Let `voters` carry a change: one proposes, the others vote."""
        before = tuple(self.validators)
        first, *others = voters[:3] if len(before) == 4 else voters[:4]
        proposal = self.enter("directory.propose", directory.propose_change(change), carrier=first)
        indexes = [proposal] + [self.enter("directory.vote", directory.Vote(proposal, True), carrier=each) for each in others]
        self.history += [self.item(index, before) for index in indexes]

    def admitted(self, member):
        one = founder(member)
        change = directory.Admit(
            one.id, list(one.kinds), one.name, "http://n", one.node_key, one.sealing_key, one.receipt_key, b"v" * 32, one.power
        )
        self.decided(change)
        self.validators.append(member)

    def removed(self, member):
        self.decided(directory.Remove(member), [each for each in self.validators if each != member])
        self.validators.remove(member)

    def suspended(self, member, receipts=FOUR):
        index = self.enter("directory.suspend", directory.Suspend(member, bytes(32)), carrier="regulator-1")
        self.history.append(self.item(index, receipts))
        return index

    def verified(self, members):
        """Return what is proven of one more entry with the receipts of `members`."""
        index = self.enter("anchor.tick", TICK, carrier="regulator-1")
        return self.export(*self.history, self.item(index, members)), index


@pytest.fixture
def region():
    return Validated()


def quorum_of(data):
    return verify(data).entries[-1].is_quorum


def test_three_of_four_are_a_quorum_and_two_are_not(region):
    assert quorum_of(region.verified(THREE)[0]) is True
    region.now_s += 60
    assert quorum_of(region.verified(THREE[:2])[0]) is False


def test_a_fifth_validator_counts_from_its_admission_and_three_of_five_no_longer_suffice(region):
    region.admitted("hospital-3")
    data, _ = region.verified(THREE)
    assert quorum_of(data) is False
    region.now_s += 60
    data, _ = region.verified((*THREE, "hospital-3"))
    report = verify(data)
    assert (report.entries[-1].signers, report.entries[-1].is_quorum) == (("clinic-1", "hospital-1", "hospital-2", "hospital-3"), True)
    assert [entry.kind for entry in report.entries[:-1]] == ["directory.propose", "directory.vote", "directory.vote"]


def test_a_validators_receipt_from_before_its_admission_is_refused(region):
    region.admitted("hospital-3")
    early = region.history[0].index
    fails(region.export(region.item(early, (*FOUR, "hospital-3"))), "receipt of hospital-3 is not signed by a key of that member")


def test_a_removed_validators_receipt_is_refused_and_the_others_suffice_without_it(region):
    region.admitted("hospital-3")
    region.removed("hospital-2")
    data, index = region.verified(("clinic-1", "hospital-1", "hospital-3"))
    assert quorum_of(data) is True
    with_it = region.export(*region.history, region.item(index, ("clinic-1", "hospital-1", "hospital-2", "hospital-3")))
    fails(with_it, f"entry {index}: the receipt of hospital-2 is refused: it was removed by then")
    hidden = region.export(*region.history[:3], region.item(index, ("clinic-1", "hospital-1", "hospital-3")))
    assert quorum_of(hidden) is False  # who hides the removal is counted against five


def test_a_suspended_validators_receipt_is_refused(region):
    region.suspended("hospital-2")
    data, index = region.verified(("clinic-1", "hospital-1", "regulator-1"))
    assert quorum_of(data) is True
    with_it = region.export(*region.history, region.item(index, FOUR))
    fails(with_it, f"entry {index}: the receipt of hospital-2 is refused: it was suspended by then")


def test_a_change_of_who_validates_without_a_quorum_of_those_before_it_fails_the_file(region):
    index = region.suspended("hospital-2", receipts=("clinic-1", "regulator-1"))
    data, _ = region.verified(("clinic-1", "hospital-1", "regulator-1"))
    fails(data, f"entry {index}: it changes who may sign, and validators of no more than two thirds of the votes until then vouch for it$")


def test_by_suspending_the_others_nobody_becomes_a_quorum_alone(region):
    """Three suspensions that were really entered: the one who is left still has but one vote of four (ADR-0090)."""
    region.suspended("hospital-1")
    region.suspended("hospital-2", receipts=("clinic-1", "hospital-2", "regulator-1"))
    data, _ = region.verified(("clinic-1", "regulator-1"))
    assert quorum_of(data) is False


def test_power_decides_and_not_heads(region):
    region.decided(directory.SetPower("regulator-1", 9))
    data, _ = region.verified(("regulator-1",))
    assert quorum_of(data) is True
    region.now_s += 60
    data, _ = region.verified(THREE)
    assert quorum_of(data) is False


# height and time


def said_otherwise(region, index, liars, at, size=None):
    """Return an item on which the liars, who stand first, say another height and time than the others do."""
    size = size or region.after[index][0]
    path = inclusion_path(region.hashes(size), index)
    lies = [receipt(region.checkpoint(size, at, member), index, path) for member in liars]
    true = [region.receipt(index, member) for member in FOUR if member not in liars]
    return Item(index, transparent(region.leaves[index], lies + true))


@pytest.mark.parametrize("at", [(1, 5), (999_999, 5), (1, 1 << 40)])
def test_no_single_member_says_when_a_change_was(region, at):
    region.enter("anchor.tick", TICK, carrier="regulator-1")
    index = region.suspended("hospital-2")
    height, time_s = region.after[index][1:]
    (entry,) = verify(region.export(said_otherwise(region, index, FOUR[:1], at))).entries
    assert (entry.height, entry.time_s, entry.signers, entry.is_quorum) == (height, time_s, FOUR, True)
    assert (height, time_s) not in ((1, 5), (999_999, 5), (1, 1 << 40))


def test_a_change_whose_quorum_does_not_say_one_height_fails_the_file(region):
    index = region.suspended("hospital-2")
    sentence = f"entry {index}: it changes who may sign, and validators of no more than two thirds of the votes until then vouch for it$"
    fails(region.export(said_otherwise(region, index, FOUR[:2], (1, 5))), sentence)


def test_of_an_entry_on_which_as_many_votes_disagree_the_smaller_log_is_named(region):
    index = region.enter("anchor.tick", TICK, carrier="regulator-1")
    later = region.enter("anchor.tick", TICK, carrier="hospital-1")
    (entry,) = verify(region.export(said_otherwise(region, index, FOUR[:2], (1, 5), size=later + 1))).entries
    assert (entry.height, entry.time_s, entry.is_quorum) == (*region.after[index][1:], True)


def test_whoever_has_most_votes_says_when_an_entry_was(region):
    region.decided(directory.SetPower("regulator-1", 9))
    index = region.enter("anchor.tick", TICK, carrier="regulator-1")
    *_, entry = verify(region.export(*region.history, said_otherwise(region, index, THREE, (1, 5)))).entries
    assert (entry.height, entry.time_s) == region.after[index][1:]


def test_on_an_operators_ledger_the_operator_says_when_an_entry_was():
    region = Region(make_genesis(operator="clinic-1"))
    index = region.enter("anchor.tick", TICK, carrier="regulator-1")
    (entry,) = verify(region.export(said_otherwise(region, index, FOUR[1:], (1, 5)))).entries
    assert (entry.height, entry.time_s) == region.after[index][1:]
