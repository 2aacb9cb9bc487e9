"""The offline verifier: what an exported file proves, trusting genesis and, if given, a pinned checkpoint, and nothing else.

Shape    An export is `CBOR(["yilian-export-1", genesis, [[index, Transparent Statement], ...], [[old size, new size, path], ...]])`,
         items in ascending index. Entries that changed the directory stand among them, each with a receipt of its own block, so that
         the keys of every later item are those that the network had at that index. Where validators order, a quorum of those before
         the change must vouch for it: else one of them could invent its own successors.
Source   design 02 "Receipt"; ADR-0011, ADR-0092.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yilian.base.codec import Malformed, Value, decode, encode
from yilian.base.merkle import is_consistent
from yilian.base.refusals import Refused
from yilian.contracts import directory
from yilian.ledger.genesis import Genesis, parse_genesis
from yilian.ledger.history import History, KindUnknown, is_quorum
from yilian.ledger.receipts import Checkpoint, Proven, open_receipt, split_transparent
from yilian.ledger.screening import Screened, screen

FORM = "yilian-export-1"


class NotProven(ValueError):
    """The file does not prove what it says; the sentence tells where it fails."""


@dataclass(frozen=True, slots=True)
class Item:
    """One exported entry: its index, and its Transparent Statement."""

    index: int
    statement: bytes


@dataclass(frozen=True, slots=True)
class Consistency:
    """A proof that one log is the beginning of another."""

    old_size: int
    new_size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Export:
    """What a node hands to whoever wants to check an entry without it."""

    genesis: bytes
    items: tuple[Item, ...]
    consistency: tuple[Consistency, ...] = ()

    def encoded(self) -> bytes:
        """Return the file's bytes."""
        items = [[item.index, item.statement] for item in self.items]
        return encode([FORM, self.genesis, items, [[proof.old_size, proof.new_size, list(proof.path)] for proof in self.consistency]])


@dataclass(frozen=True, slots=True)
class Verified:
    """One entry, proven: who carried it, what it says, and whose receipts vouch for its place in the log."""

    id: bytes
    index: int
    kind: str
    carrier: str
    approvals: int
    height: int  # of the earliest receipt
    time_s: int
    signers: tuple[str, ...]
    is_quorum: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What the whole file proves."""

    network: bytes
    entries: tuple[Verified, ...]
    is_pinned: bool


def parse_export(data: bytes) -> Export:
    """Return the export that `data` is.

    Raises   Malformed
    """
    match decode(data):
        case [str(form), bytes(genesis), [*items], [*proofs]] if form == FORM:
            return Export(genesis, tuple(_item(item) for item in items), tuple(_proof(proof) for proof in proofs))
        case _:
            raise Malformed("NOT_AN_EXPORT")


def verify(data: bytes, pinned: Checkpoint | None = None, network: bytes | None = None) -> Report:
    """Return what an exported file proves; `network` is the id that the reader expects, if he knows it.

    Raises   NotProven, with a sentence
    """
    try:
        export = parse_export(data)
        genesis = parse_genesis(export.genesis)
    except Malformed as error:
        raise NotProven(f"the file is not an export of this format ({error})") from error
    if network is not None and genesis.network_id != network:
        raise NotProven("the file is of another network than the one expected")
    replay = _Replay(genesis, export, pinned)
    entries = tuple(replay.take(item) for item in export.items)
    if not entries:
        raise NotProven("the file holds no entry")
    return Report(genesis.network_id, entries, pinned is not None)


class _Replay:
    """The directory as it was at each item's index, and the roots that members signed."""

    def __init__(self, genesis: Genesis, export: Export, pinned: Checkpoint | None) -> None:
        self._genesis = genesis
        self._export = export
        self._pinned = pinned
        try:
            self._history = History(genesis)
        except ValueError as error:
            raise NotProven(f"no network begins with this genesis ({error})") from error
        self._state = self._history.state
        self._last_index = -1
        self._roots: dict[int, bytes] = {}

    def take(self, item: Item) -> Verified:
        if item.index <= self._last_index:
            raise NotProven(f"entry {item.index} stands out of order")
        self._last_index = item.index
        try:
            statement, receipts = split_transparent(item.statement)
            screened = screen(self._genesis.network_id, directory.key_table(self._state), statement)
            proven = [open_receipt(receipt, screened.transaction.id) for receipt in receipts]
        except Malformed as error:
            raise NotProven(f"entry {item.index}: {error}") from error
        except Refused as no:
            raise NotProven(f"entry {item.index}: {no}") from no
        signers = self._signers(item, proven)
        first = min(proven, key=lambda each: each.checkpoint.size).checkpoint
        verified = Verified(
            id=screened.transaction.id,
            index=item.index,
            kind=screened.transaction.header.subject,
            carrier=screened.carrier,
            approvals=len(screened.transaction.approvals),
            height=first.height,
            time_s=first.time_s,
            signers=signers,
            is_quorum=is_quorum(self._state, self._genesis, signers),
        )
        self._follow(screened, verified)
        return verified

    def _signers(self, item: Item, proven: Sequence[Proven]) -> tuple[str, ...]:
        """Return the distinct members whose receipts hold, in ascending order; one that does not hold fails the file."""
        signers: list[str] = []
        for each in proven:
            checkpoint = each.checkpoint
            if each.index != item.index:
                raise NotProven(f"entry {item.index}: a receipt proves index {each.index}")
            member = directory.member(self._state, checkpoint.member)
            if member is None or checkpoint.network != self._genesis.network_id or not checkpoint.is_signed_by(member.receipt_key):
                raise NotProven(f"entry {item.index}: the receipt of {checkpoint.member} is not signed by a key of that member")
            if member.stage is not directory.Stage.ACTIVE:
                raise NotProven(
                    f"entry {item.index}: the receipt of {checkpoint.member} is refused: it was {member.stage.name.lower()} by then"
                )
            self._compare_roots(checkpoint)
            if checkpoint.member not in signers:
                signers.append(checkpoint.member)
        if not signers:
            raise NotProven(f"entry {item.index}: no receipt")
        return tuple(sorted(signers))

    def _compare_roots(self, checkpoint: Checkpoint) -> None:
        """Refuse two roots of one size, and a root that is not of the pinned log."""
        if self._roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
            raise NotProven(f"two signed roots of one size ({checkpoint.size}): a split view; publish this file")
        pinned = self._pinned
        if pinned is None:
            return
        if pinned.size == checkpoint.size:
            if pinned.root != checkpoint.root:
                sentence = f"the pinned checkpoint and a receipt have different roots for size {pinned.size}: a split view; publish both"
                raise NotProven(sentence)
            return
        old, new = sorted([(checkpoint.size, checkpoint.root), (pinned.size, pinned.root)])
        paths = [proof.path for proof in self._export.consistency if (proof.old_size, proof.new_size) == (old[0], new[0])]
        if not any(is_consistent(old[0], old[1], new[0], new[1], path) for path in paths):
            sizes = f"{old[0]} and {new[0]}"
            raise NotProven(f"no proof in the file that the logs of size {sizes} are one: export it again for this checkpoint")

    def _follow(self, screened: Screened, verified: Verified) -> None:
        """Let an entry of the directory change the directory, as it did on the ledger, on the word of those who validated before it."""
        try:
            is_of_members = self._history.follow(screened.transaction, verified.index, verified.height, verified.time_s)
        except KindUnknown as kind:
            raise NotProven(f"entry {verified.index}: no kind {kind} was ever accepted by these rules") from kind
        except Refused as no:
            raise NotProven(f"entry {verified.index}: an entry before it that changed the directory is missing ({no})") from no
        if is_of_members and not self._genesis.operator and not verified.is_quorum:
            sentence = "it changes who may sign, and validators of no more than two thirds of the votes until then vouch for it"
            raise NotProven(f"entry {verified.index}: {sentence}")


def _item(value: Value) -> Item:
    match value:
        case [int(index), bytes(statement)]:
            return Item(index, statement)
        case _:
            raise Malformed("NOT_AN_ITEM")


def _proof(value: Value) -> Consistency:
    match value:
        case [int(old_size), int(new_size), [*path]] if all(isinstance(each, bytes) for each in path):
            return Consistency(old_size, new_size, tuple(path))
        case _:
            raise Malformed("NOT_A_CONSISTENCY_PROOF")
