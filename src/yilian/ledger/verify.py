"""The offline verifier: what an exported file proves, trusting genesis and, if given, a pinned checkpoint, and nothing else.

Shape    An export is `CBOR(["yilian-export-1", genesis, [[index, Transparent Statement], ...], [[old size, new size, path], ...]])`,
         items in ascending index. What changed the directory stands among them, each with receipts of its own block, so that the keys of
         every later item are those that the network had at that index. A leaf that the ledger itself appended, by which a validator was
         suspended, is an item `[index, leaf, [receipt, ...]]`. `membership` says whom an item needs.
Source   design 02 "Receipt"; ADR-0011, ADR-0092, ADR-0120.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from yilian.base.codec import Malformed, Value, decode, encode
from yilian.base.merkle import is_consistent
from yilian.ledger.genesis import parse_genesis
from yilian.ledger.membership import Item, Membership, NotProven, Verified, item_of
from yilian.ledger.receipts import Checkpoint

FORM = "yilian-export-1"


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
        items = [item.parts() for item in self.items]
        return encode([FORM, self.genesis, items, [[proof.old_size, proof.new_size, list(proof.path)] for proof in self.consistency]])


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
            return Export(genesis, tuple([item_of(item) for item in items]), tuple([_proof(proof) for proof in proofs]))
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
    members = Membership(genesis)
    entries = tuple([members.take(item) for item in export.items])
    if not entries:
        raise NotProven("the file holds no entry")
    if pinned is not None:
        _require_pinned(export, pinned, members.roots)
    return Report(genesis.network_id, entries, pinned is not None)


def _require_pinned(export: Export, pinned: Checkpoint, roots: Iterable[tuple[int, bytes]]) -> None:
    """Refuse roots that are not shown to be of the pinned log."""
    for size, root in roots:
        if size == pinned.size and root != pinned.root:
            raise NotProven(f"the pinned checkpoint and a receipt have different roots for size {size}: a split view; publish both")
        old, new = sorted([(size, root), (pinned.size, pinned.root)])
        paths = [proof.path for proof in export.consistency if (proof.old_size, proof.new_size) == (old[0], new[0])]
        if size != pinned.size and not any(is_consistent(old[0], old[1], new[0], new[1], path) for path in paths):
            sizes = f"{old[0]} and {new[0]}"
            raise NotProven(f"no proof in the file that the logs of size {sizes} are one: export it again for this checkpoint")


def _proof(value: Value) -> Consistency:
    match value:
        case [int(old_size), int(new_size), [*path]] if all(isinstance(each, bytes) for each in path):
            return Consistency(old_size, new_size, tuple(path))
        case _:
            raise Malformed("NOT_A_CONSISTENCY_PROOF")
