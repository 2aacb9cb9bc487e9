"""Who the members are, followed from proofs alone: each entry judged by the directory before it, each change on the word of a quorum.

Who      The offline verifier for every entry of a file; a wallet for the changes that any node serves it. One place for both.
Rule     A receipt counts if it is of a member that was active before the entry, by its key of then; one that does not hold fails the entry.
         Who may sign changes only on the word of those who could sign until then: validators of more than two thirds of their votes, or
         the operator of an embedded ledger. So nobody invents its own successors, and nobody's suspension is made up. They must say one
         height and time: rules may turn on either, and no single member may choose them.
Not      proven: that no change was left out before the last one taken. Whoever hides one is believed with the members of before it
         (ADR-0120 says what that is worth to a liar).
Source   design 02 "Receipt"; ADR-0011, ADR-0092, ADR-0120.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from yilian.base.codec import Malformed, Value
from yilian.base.kinds import StateView
from yilian.base.merkle import leaf_hash
from yilian.base.refusals import Refused
from yilian.contracts import directory
from yilian.ledger.equivocation import FORM, Equivocation, parse_equivocation
from yilian.ledger.genesis import Genesis
from yilian.ledger.history import History, KindUnknown, NobodyToSuspend, is_quorum, validators
from yilian.ledger.receipts import Checkpoint, Proven, open_receipt, split_transparent
from yilian.ledger.screening import Screened, screen


class NotProven(ValueError):
    """The file does not prove what it says; the sentence tells where it fails."""


@dataclass(frozen=True, slots=True)
class Item:
    """One exported entry and its index: a Transparent Statement; or a leaf of the ledger itself as it is, with its receipts beside it."""

    index: int
    statement: bytes
    receipts: tuple[bytes, ...] | None = None

    def parts(self) -> list[Value]:
        """Return what stands in a file."""
        return [self.index, self.statement] if self.receipts is None else [self.index, self.statement, list(self.receipts)]


def item_of(value: Value) -> Item:
    """Return the item that `parts` wrote.

    Raises   Malformed
    """
    match value:
        case [int(index), bytes(statement)]:
            return Item(index, statement)
        case [int(index), bytes(leaf), [*receipts]]:
            held = tuple([each for each in receipts if isinstance(each, bytes)])
            if len(held) == len(receipts):
                return Item(index, leaf, held)
    raise Malformed("NOT_AN_ITEM")


@dataclass(frozen=True, slots=True)
class Verified:
    """One entry, proven: who carried it, what it says, and whose receipts vouch for its place in the log.

    A leaf of the ledger itself has nobody who carried it; `suspends` is then the member that was proven to equivocate.
    """

    id: bytes
    index: int
    kind: str
    carrier: str
    approvals: int
    height: int  # with the time, as most votes of those who vouch for it say
    time_s: int
    signers: tuple[str, ...]
    is_quorum: bool
    is_of_members: bool
    suspends: str = ""


class Membership:
    """The directory as it is after the entries taken so far, in ascending index; and the roots that members signed for them."""

    def __init__(self, genesis: Genesis) -> None:
        """Begin with genesis.

        Raises   NotProven, if no network begins with it
        """
        self._genesis = genesis
        try:
            self._history = History(genesis)
        except ValueError as error:
            raise NotProven(f"no network begins with this genesis ({error})") from error
        self._roots: dict[int, bytes] = {}
        self.last_index = -1

    def copied(self) -> Membership:
        """Return the same members and roots, to be moved on by themselves."""
        copy = Membership(self._genesis)
        copy._history, copy._roots, copy.last_index = self._history.copied(), dict(self._roots), self.last_index
        return copy

    @property
    def state(self) -> StateView:
        """The directory's rows."""
        return self._history.state

    @property
    def roots(self) -> Iterable[tuple[int, bytes]]:
        """The roots that members signed, with the size of the log each is of."""
        return self._roots.items()

    def take(self, item: Item) -> Verified:
        """Return what an item proves, and let it change the directory if it does. After a failure this object is of no more use.

        Raises   NotProven
        """
        if item.index <= self.last_index:
            raise NotProven(f"entry {item.index} stands out of order")
        self.last_index = item.index
        return self._statement(item) if item.receipts is None else self._leaf(item, item.receipts)

    def saw(self, checkpoint: Checkpoint) -> None:
        """Note a root that a member signed.

        Raises   NotProven, if another was signed for a log of its size
        """
        if self._roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
            raise NotProven(f"two signed roots of one size ({checkpoint.size}): a split view; publish this file")

    def _statement(self, item: Item) -> Verified:
        try:
            statement, receipts = split_transparent(item.statement)
            screened = screen(self._genesis.network_id, directory.key_table(self.state), statement)
            proven = [open_receipt(receipt, screened.transaction.id) for receipt in receipts]
        except Malformed as error:
            raise NotProven(f"entry {item.index}: {error}") from error
        except Refused as no:
            raise NotProven(f"entry {item.index}: {no}") from no
        signers, first, agreed = self._vouched(item, proven)
        are_enough, do_agree = (is_quorum(self.state, self._genesis, each) for each in (signers, agreed))
        is_of_members = self._follow(screened, item.index, first)
        if is_of_members:
            self._require_enough(item, agreed, is_enough=do_agree)
        return Verified(
            id=screened.transaction.id,
            index=item.index,
            kind=screened.transaction.header.subject,
            carrier=screened.carrier,
            approvals=len(screened.transaction.approvals),
            height=first.height,
            time_s=first.time_s,
            signers=signers,
            is_quorum=are_enough,
            is_of_members=is_of_members,
        )

    def _leaf(self, item: Item, receipts: Sequence[bytes]) -> Verified:
        id_ = leaf_hash(item.statement)
        try:
            said = parse_equivocation(item.statement)
            proven = [open_receipt(receipt, id_) for receipt in receipts]
        except Malformed as error:
            raise NotProven(f"entry {item.index}: {error}") from error
        signers, first, agreed = self._vouched(item, proven)
        if (said.network, said.height) != (self._genesis.network_id, first.height):
            raise NotProven(f"entry {item.index}: the leaf is not of the block that its receipts name")
        are_enough, do_agree = (is_quorum(self.state, self._genesis, each) for each in (signers, agreed))
        self._suspend(item, said)
        self._require_enough(item, agreed, is_enough=do_agree)
        return Verified(
            id_, item.index, FORM, "", 0, first.height, first.time_s, signers, are_enough, is_of_members=True, suspends=said.member
        )

    def _suspend(self, item: Item, said: Equivocation) -> None:
        try:
            self._history.suspend(said)
        except NobodyToSuspend as error:
            sentence = f"it suspends {said.member}, which validates nothing here or was suspended already: a change before it is missing"
            raise NotProven(f"entry {item.index}: {sentence}") from error

    def _vouched(self, item: Item, proven: Sequence[Proven]) -> tuple[tuple[str, ...], Checkpoint, tuple[str, ...]]:
        """Return the distinct members whose receipts hold, ascending, what most of their votes say, and whose those are.

        A receipt that does not hold fails all, and so do two roots of one size.
        """
        said: dict[tuple[int, int, int], dict[str, Checkpoint]] = {}
        signers: list[str] = []
        for each in proven:
            checkpoint = each.checkpoint
            if each.index != item.index:
                raise NotProven(f"entry {item.index}: a receipt proves index {each.index}")
            self._require_signed(item, checkpoint)
            self.saw(checkpoint)
            said.setdefault((checkpoint.size, checkpoint.height, checkpoint.time_s), {})[checkpoint.member] = checkpoint
            if checkpoint.member not in signers:
                signers.append(checkpoint.member)
        if not signers:
            raise NotProven(f"entry {item.index}: no receipt")
        votes = {self._genesis.operator: 1} if self._genesis.operator else validators(self.state)
        most = max(sorted(said), key=lambda at: sum([votes.get(member, 0) for member in said[at]]))  # of equals the earliest
        agreed = said[most]
        return tuple(sorted(signers)), next(iter(agreed.values())), tuple(sorted(agreed))

    def _require_signed(self, item: Item, checkpoint: Checkpoint) -> None:
        member = directory.member(self.state, checkpoint.member)
        if member is None or checkpoint.network != self._genesis.network_id or not checkpoint.is_signed_by(member.receipt_key):
            raise NotProven(f"entry {item.index}: the receipt of {checkpoint.member} is not signed by a key of that member")
        if member.stage is not directory.Stage.ACTIVE:
            raise NotProven(
                f"entry {item.index}: the receipt of {checkpoint.member} is refused: it was {member.stage.name.lower()} by then"
            )

    def _follow(self, screened: Screened, index: int, at: Checkpoint) -> bool:
        """Let an entry of the directory change the directory, as it did on the ledger; say whether it may change who signs."""
        try:
            return self._history.follow(screened.transaction, index, at.height, at.time_s)
        except KindUnknown as kind:
            raise NotProven(f"entry {index}: no kind {kind} was ever accepted by these rules") from kind
        except Refused as no:
            raise NotProven(f"entry {index}: an entry before it that changed the directory is missing ({no})") from no

    def _require_enough(self, item: Item, signers: tuple[str, ...], *, is_enough: bool) -> None:
        """Refuse a change of who may sign that those who could sign until then do not vouch for."""
        operator = self._genesis.operator
        if operator and operator not in signers:
            raise NotProven(f"entry {item.index}: it changes who may sign, and {operator}, which orders this ledger, does not vouch for it")
        if not operator and not is_enough:
            sentence = "it changes who may sign, and validators of no more than two thirds of the votes until then vouch for it"
            raise NotProven(f"entry {item.index}: {sentence}")
