"""What a holder's answers prove, before anything is asked of them: roots, entries, closed days, state answers. Nothing unproven gets in.

Source   design 02 "Receipt", "Daily leaf", "State answer"; ADR-0063.
"""

from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

from yilian.base.chartlogs import TAG_ROW_DAYS, LogAnswer, OpenDay, Place, ShownDay, ShownEntry, Standing, standing
from yilian.base.codec import Malformed
from yilian.base.merkle import is_consistent, is_included, leaf_hash
from yilian.base.refusals import Refused
from yilian.base.times import day_of
from yilian.base.transaction import Transaction, parse
from yilian.contracts import access
from yilian.ledger import Checkpoint, parse_answer, parse_checkpoint, parse_daily_leaf
from yilian.wallet.findings import Fault, Finding, finding
from yilian.wallet.members import Members

_DAY_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Proven:
    """An entry of the log: what it says, in which month's answer it was shown, and the description that came with it."""

    index: int
    month: int
    transaction: Transaction
    audit_event: bytes | None


@dataclass(slots=True)
class Evidence:
    """All that was proven by a holder's answers, and what was found wrong on the way."""

    members: Members
    holder: str
    now_s: int
    seen: bytes | None  # the newest checkpoint, encoded
    vouched_by: tuple[str, ...] = ()
    split_view: tuple[bytes, bytes] | None = None  # two signed roots of one size: to be published
    findings: list[Finding] = field(default_factory=list)
    entries: dict[int, Proven] = field(default_factory=dict)
    _standing: dict[tuple[int, bytes], Standing] = field(default_factory=dict)
    _absent_by: dict[tuple[int, bytes], list[str]] = field(default_factory=dict)

    def take(self, answer: LogAnswer) -> None:
        """Take one month's answer."""
        root = self._root(answer)
        if root is None:
            return
        for shown in answer.entries:
            self._entry(answer, shown, root)
        for day in answer.days:
            self._day(day, root)
        for said in answer.state_answers:
            self._state_answer(said)
        for open_day in answer.open_days:
            self._open_day(open_day)

    def standing(self, day: int, tag: bytes) -> Standing:
        """Return what is proven of a tag on a day."""
        closed = self._standing.get((day, tag))
        if closed is not None:
            return closed
        is_absent = self.members.suffice(self._absent_by.get((day, tag), []))
        return Standing.ABSENT if is_absent else Standing.NOT_SHOWN

    def find(self, fault: Fault, **facts: int | str) -> None:
        """Note what is wrong, once."""
        found = finding(fault, **facts)
        if found not in self.findings:
            self.findings.append(found)

    def _root(self, answer: LogAnswer) -> Checkpoint | None:
        """Return the root that the answer's proofs lead to, if it is one, vouched for, and extends the one seen before."""
        try:
            said = [parse_checkpoint(data) for data in answer.checkpoints]
        except Malformed:
            self.find(Fault.NOT_READABLE, holder=self.holder, what="checkpoint")
            return None
        signed = [(data, each, self.members.signer_of(each)) for data, each in zip(answer.checkpoints, said, strict=True)]
        vouched = [(data, each) for data, each, signer in signed if signer is not None]
        signers = tuple(sorted({signer for _, _, signer in signed if signer is not None}))
        for (data, one), (other_data, other) in combinations(vouched, 2):
            if one.size == other.size and one.root != other.root:
                self._split(one.size, data, other_data)
                return None
        if len({(each.size, each.root) for each in said}) != 1 or not self.members.suffice(signers):
            self.find(Fault.NOT_VOUCHED, holder=self.holder)
            return None
        if not self._extends(answer, *vouched[0]):
            return None
        if vouched[0][1].size <= self.members.last_index:  # signed by those of now, or by retired keys: not a log of today
            self.find(Fault.LOG_BEHIND, holder=self.holder, size=vouched[0][1].size, index=self.members.last_index)
            return None
        self.seen = vouched[0][0]
        self.vouched_by = signers
        return vouched[0][1]

    def _split(self, size: int, one: bytes, other: bytes) -> None:
        self.split_view = (one, other)
        self.find(Fault.SPLIT_VIEW, size=size)

    def _extends(self, answer: LogAnswer, data: bytes, root: Checkpoint) -> bool:
        if self.seen is None:
            return True
        before = parse_checkpoint(self.seen)
        if before.size == root.size and before.root != root.root:
            self._split(root.size, self.seen, data)
            return False
        is_one_log = before.size == root.size or (
            answer.old_size == before.size and is_consistent(before.size, before.root, root.size, root.root, answer.consistency)
        )
        if not is_one_log:
            self.find(Fault.LOG_REWRITTEN, holder=self.holder, size=root.size, old_size=before.size)
        return is_one_log

    def _entry(self, answer: LogAnswer, shown: ShownEntry, root: Checkpoint) -> None:
        try:
            transaction = parse(shown.statement)
        except Refused:
            self.find(Fault.NOT_READABLE, holder=self.holder, what=f"entry {shown.index}")
            return
        if not is_included(transaction.id, shown.index, root.size, shown.path, root.root):
            self.find(Fault.NOT_IN_LOG, holder=self.holder, index=shown.index)
            return
        self.entries.setdefault(shown.index, Proven(shown.index, answer.month, transaction, shown.audit_event))

    def _day(self, shown: ShownDay, root: Checkpoint) -> None:
        try:
            leaf = parse_daily_leaf(shown.leaf)
        except Malformed:
            self.find(Fault.NOT_READABLE, holder=self.holder, what=f"daily leaf {shown.index}")
            return
        is_in_log = is_included(leaf_hash(shown.leaf), shown.index, root.size, shown.path, root.root)
        if not is_in_log or leaf.network != self.members.network:
            self.find(Fault.DAY_NOT_PROVEN, holder=self.holder, day=leaf.day)
            return
        for place in shown.places:
            self._place(leaf.day, place, shown.size, leaf.access_root)

    def _place(self, day: int, place: Place, size: int, access_root: bytes) -> None:
        found = standing(place, size, access_root)
        if found is not Standing.NOT_SHOWN:
            self._standing[day, place.tag] = found

    def _open_day(self, shown: OpenDay) -> None:
        """Take members' words on the root over an open day's tags, and the places that follow from it."""
        if not 0 <= shown.day < 1 << (8 * _DAY_BYTES):
            return
        day_key = access.TAG_PREFIX + shown.day.to_bytes(_DAY_BYTES, "big")
        for data in shown.answers:
            try:
                said = parse_answer(data)
            except Malformed:
                self.find(Fault.NOT_READABLE, holder=self.holder, what="state answer")
                continue
            signer = self.members.signer_of(said)
            is_of_day = said.key == day_key and said.is_fresh(self.now_s) and day_of(said.time_s) <= shown.day + TAG_ROW_DAYS
            if signer is None or said.value_digest is None or not is_of_day:
                continue
            for place in shown.places:
                found = standing(place, shown.size, said.value_digest)
                if found is Standing.PRESENT:
                    self._standing[shown.day, place.tag] = found
                elif found is Standing.ABSENT:
                    self._absent_by.setdefault((shown.day, place.tag), []).append(signer)

    def _state_answer(self, data: bytes) -> None:
        """Take a member's word on a day that is not closed: fresh, and of a time at which that day's rows were still kept."""
        try:
            said = parse_answer(data)
        except Malformed:
            self.find(Fault.NOT_READABLE, holder=self.holder, what="state answer")
            return
        signer = self.members.signer_of(said)
        prefix, rest = said.key[: len(access.TAG_PREFIX)], said.key[len(access.TAG_PREFIX) :]
        if signer is None or prefix != access.TAG_PREFIX or len(rest) <= _DAY_BYTES:
            return
        day, tag = int.from_bytes(rest[:_DAY_BYTES], "big"), rest[_DAY_BYTES:]
        if not said.is_fresh(self.now_s) or day_of(said.time_s) > day + TAG_ROW_DAYS:
            return
        if said.value_digest is not None:
            self._standing[day, tag] = Standing.PRESENT
        else:
            self._absent_by.setdefault((day, tag), []).append(signer)
