"""Whom a wallet believes: the members of its network, their keys, and who together vouches for a log root.

Begins with genesis and moves by the changes that any node serves: each is taken as the offline verifier takes it (`ledger.membership`),
on the word of those who could sign before it. So a node cannot invent a member. It can leave changes out, the newest or one between two
others, as long as no later one rests on it. A change that another node proves is put where it belongs and what came after it is proven
again: what one node holds back is known once anybody has served the whole history (ADR-0121). What was proven is never given up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from yilian.base.codec import Malformed
from yilian.base.keys import kid_of
from yilian.contracts import directory
from yilian.ledger import Checkpoint, Genesis, Item, Membership, NotProven, StateAnswer, parse_export, validators
from yilian.wallet.refusals import No, WalletRefused, must


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """One member's registered keys, and whether it may act: who was suspended or removed may not."""

    node_key: bytes
    sealing_key: bytes
    receipt_key: bytes
    is_active: bool


@dataclass(frozen=True, slots=True)
class Members:
    """The members of one network after a change. `operator` orders an embedded ledger; it is empty where validators do."""

    genesis: Genesis
    keys: Mapping[str, MemberKeys]  # of all members there ever were
    votes: Mapping[str, int]  # by which a quorum of validators is counted
    last: Item | None = None  # the change that led here; None: these are the founders
    before: Members | None = field(default=None, repr=False)
    _followed: Membership | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, genesis: Genesis) -> Members:
        """Return the founding members."""
        return _members(genesis, Membership(genesis), None, None)

    @property
    def network(self) -> bytes:
        """The network's id."""
        return self.genesis.network_id

    @property
    def operator(self) -> str:
        """Who orders an embedded ledger."""
        return self.genesis.operator

    @property
    def since_s(self) -> int:
        """The network's first instant: no day before it was ever closed."""
        return self.genesis.started_at_s

    @property
    def last_index(self) -> int:
        """The log index of the change that led here; -1 for the founders."""
        return -1 if self.last is None else self.last.index

    def following(self, export: bytes) -> Members:
        """Return the members after these changes and those in a node's answer, ascending; those that are known are passed over.

        Two changes that are proven at two indexes are both true, so one that was missing is put between others, and all after it are
        proven again from there: each as it is known or, where that fails now, as the answer has it, whose receipts may be others'.

        Refuses  CHANGES_NOT_PROVEN, and then nothing of the answer is taken; ANOTHER_NETWORK
        """
        try:
            said = parse_export(export)
        except Malformed as error:
            raise WalletRefused(No.CHANGES_NOT_PROVEN, why=str(error)) from error
        must(said.genesis == self.genesis.encoded(), No.ANOTHER_NETWORK)
        told = {item.index: item for item in said.items}
        must([item.index for item in said.items] == sorted(told), No.CHANGES_NOT_PROVEN, why="the changes stand out of order")
        known = {item.index: item for item in self.changes()}
        missing = told.keys() - known.keys()
        if not missing:
            return self
        after = self.at(min(missing))
        for index in sorted(index for index in told.keys() | known.keys() if index >= min(missing)):
            after = after.after(*[forms[index] for forms in (known, told) if index in forms])
        return after

    def after(self, *forms: Item) -> Members:
        """Return the members after the next change, by the first of its forms that proves it.

        Refuses  CHANGES_NOT_PROVEN, as the last form is
        """
        assert self._followed is not None, "made by `of` or by this function"
        for item in forms[:-1]:
            with suppress(WalletRefused):
                return self.after(item)
        followed = self._followed.copied()
        return _members(self.genesis, followed, _taken(followed, forms[-1]), self)

    def changes(self) -> list[Item]:
        """Return the changes that led here from the founders, ascending."""
        found, at = [], self
        while at.last is not None and at.before is not None:
            found.append(at.last)
            at = at.before
        return found[::-1]

    def at(self, index: int) -> Members:
        """Return the members as they were before an entry, as far as they were followed."""
        found = self
        while found.last_index >= index and found.before is not None:
            found = found.before
        return found

    def named(self, member: str) -> MemberKeys:
        """Return a member's keys, whether it is active or not.

        Refuses  NO_SUCH_MEMBER
        """
        if member not in self.keys:
            raise WalletRefused(No.NO_SUCH_MEMBER, member=member)
        return self.keys[member]

    def active(self, member: str) -> MemberKeys:
        """Return the keys of a member that may act.

        Refuses  NO_SUCH_MEMBER, MEMBER_NOT_ACTIVE
        """
        found = self.named(member)
        must(found.is_active, No.MEMBER_NOT_ACTIVE, member=member)
        return found

    def signer_of(self, said: Checkpoint | StateAnswer) -> str | None:
        """Return the active member whose receipt key signed a checkpoint or a state answer for this network, or None."""
        for member, keys in self.keys.items():
            if keys.is_active and kid_of(keys.receipt_key) == said.kid:
                is_named = not isinstance(said, Checkpoint) or said.member == member
                return member if is_named and said.network == self.network and said.is_signed_by(keys.receipt_key) else None
        return None

    def suffice(self, signers: Collection[str]) -> bool:
        """Say whether the signers together may be believed: the operator, or more than two thirds of the votes (design 02 "Receipt")."""
        if self.operator:
            return self.operator in signers
        return 3 * sum(votes for member, votes in self.votes.items() if member in signers) > 2 * sum(self.votes.values())


def _members(genesis: Genesis, followed: Membership, last: Item | None, before: Members | None) -> Members:
    keys = {
        one.id: MemberKeys(one.node_key, one.sealing_key, one.receipt_key, one.stage is directory.Stage.ACTIVE)
        for one in directory.members(followed.state)
    }
    return Members(genesis, keys, validators(followed.state), last, before, followed)


def _taken(followed: Membership, item: Item) -> Item:
    try:
        is_change = followed.take(item).is_of_members
    except NotProven as no:
        raise WalletRefused(No.CHANGES_NOT_PROVEN, why=str(no)) from no
    must(is_change, No.CHANGES_NOT_PROVEN, why=f"entry {item.index} changes no member")
    return item
