"""That one version of a record stood, unaltered, under a member's anchor tick: a file that anyone checks offline.

Shape    `CBOR(["yilian-record-1", RecordProof fields in order])`. The export holds the tick with its receipts.
Proves   k commits to the received bytes; the commitment stands under the tick's root; the tick is in the log, carried by the member.
Needs    nothing but the file: contracts and base for the shapes, `verify` for the log (that is why it is in this room: ADR-0087).
Source   design 03 "anchor"; design 04 "Anchors and correction".
"""

from __future__ import annotations

from dataclasses import dataclass

from yilian.base import labels
from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import DIGEST_SIZE, mac, sha256
from yilian.base.merkle import is_included, leaf_hash
from yilian.base.refusals import Refused
from yilian.base.shapes import pack, unpack
from yilian.base.transaction import parse
from yilian.contracts import anchor
from yilian.ledger.membership import NotProven, Verified
from yilian.ledger.receipts import Checkpoint, split_transparent
from yilian.ledger.verify import Report, parse_export, verify

RECORD_FORM = "yilian-record-1"
_TICK = next(kind for kind in anchor.KINDS if kind.number == anchor.TICK)


class NotAnchored(NotProven):
    """The version was written after the member's last tick: nothing is wrong, and nothing is proven yet."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """Where a version stands: the tick's log index, its leaf's place under that tick, and the export that holds the tick."""

    tick_index: int
    position: int
    size: int
    path: tuple[bytes, ...]
    export: bytes


@dataclass(frozen=True, slots=True)
class RecordProof:
    """One version of one resource at one member: the bytes as received, what commits to them, and where that is anchored."""

    network: bytes
    member: str
    resource_type: str
    resource_id: str
    version_id: str
    received: bytes
    k: bytes
    erase_key: bytes
    anchored: Anchored | None

    def encoded(self) -> bytes:
        """Return the file's bytes."""
        return encode([RECORD_FORM, pack(self)])


@dataclass(frozen=True, slots=True)
class VerifiedRecord:
    """What a record's file proves, and the report on the log that it rests on. `time_s` is the block's: it existed by then."""

    proof: RecordProof
    commitment: bytes
    tick: Verified
    report: Report

    @property
    def time_s(self) -> int:
        """Since when the bytes are known to have existed as they are."""
        return self.tick.time_s


def parse_record_proof(data: bytes) -> RecordProof:
    """Return the proof that `data` is.

    Raises   Malformed
    """
    match decode(data):
        case [str(form), bytes(packed)] if form == RECORD_FORM:
            return unpack(RecordProof, packed)
        case _:
            raise Malformed("NOT_A_RECORD_PROOF")


def verify_record(data: bytes, pinned: Checkpoint | None = None, network: bytes | None = None) -> VerifiedRecord:
    """Return what a record's file proves; `pinned` and `network` as for `verify`.

    Raises   NotAnchored, if no tick covers the version yet; NotProven, with a sentence
    """
    try:
        proof = parse_record_proof(data)
    except Malformed as error:
        raise NotProven(f"the file is not a record's proof of this format ({error})") from error
    if proof.anchored is None:
        raise NotAnchored("not yet anchored: the version was written after the member's last tick; export it again in a minute")
    report = verify(proof.anchored.export, pinned, network)
    if report.network != proof.network:
        raise NotProven("the record and the export are of different networks")
    tick, records_root = _tick(proof, proof.anchored, report)
    if len(proof.k) != DIGEST_SIZE:
        raise NotProven("k has not 32 bytes")
    commitment = mac(proof.k, labels.RECORD, proof.network, proof.received)
    leaf = leaf_hash(anchor.version_leaf(commitment, sha256(proof.erase_key)))
    if not is_included(leaf, proof.anchored.position, proof.anchored.size, proof.anchored.path, records_root):
        raise NotProven("the record is not the one that was anchored: its bytes, its key or its path were changed")
    return VerifiedRecord(proof, commitment, tick, report)


def _tick(proof: RecordProof, anchored: Anchored, report: Report) -> tuple[Verified, bytes]:
    """Return the tick as verified, and its records root."""
    exported = zip(report.entries, parse_export(anchored.export).items, strict=True)
    found = next((pair for pair in exported if pair[1].index == anchored.tick_index), None)
    if found is None:
        raise NotProven(f"the export does not hold the tick, entry {anchored.tick_index}")
    verified, item = found
    if item.receipts is not None:  # a leaf of the ledger itself
        raise NotProven(f"entry {anchored.tick_index} is not a tick")
    transaction = parse(split_transparent(item.statement)[0])  # read by `verify` before
    if transaction.kind != anchor.TICK:
        raise NotProven(f"entry {anchored.tick_index} is not a tick")
    if verified.carrier != proof.member:
        raise NotProven(f"entry {anchored.tick_index} is a tick of {verified.carrier}, not of {proof.member}")
    try:
        said = _TICK.read(transaction.body)
    except Refused as no:
        raise NotProven(f"entry {anchored.tick_index}: {no}") from no
    records_root: bytes = said.records_root
    return verified, records_root
