"""Receipts: what a member signs about the log, and how anyone checks it with nothing but that member's receipt key.

Shape    RFC 9942 COSE Receipt: a COSE_Sign1 with detached payload (the log root), protected `{1: -8, 4: kid, 15: {1: iss, 2: sub, 6: iat},
         395: 1, -70003: height, -70004: tree size}`, unprotected `{396: {-1: [CBOR([tree size, leaf index, path])]}}`.
         A checkpoint is the same signature without a proof: it signs a root, and every receipt against that root carries it.
         A Transparent Statement is the transaction with its receipts in unprotected header 394.
Source   RFC 9942, RFC 9943; design 02 "Receipt" (the tree size is signed too: the RFC leaves it out).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from yilian.base import cose
from yilian.base.codec import Malformed, decode, encode
from yilian.base.keys import SigningKey, is_signed, kid_of
from yilian.base.merkle import root_from_inclusion

RFC9162_SHA256 = 1  # RFC 9942: verifiable data structure of RFC 9162 with SHA-256
INCLUSION = -1  # RFC 9942: inclusion proofs


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one member signed: this root, of a log of this size, at this height and time, in this network."""

    member: str
    network: bytes
    height: int
    size: int
    time_s: int
    root: bytes
    kid: bytes
    signature: bytes

    def protected(self) -> bytes:
        """Return the protected header, which is all of the above but the root and the signature."""
        return encode(
            {
                cose.ALG: cose.EDDSA,
                cose.KID: self.kid,
                cose.CWT_CLAIMS: {cose.CLAIM_ISS: self.member, cose.CLAIM_SUB: self.network.hex(), cose.CLAIM_IAT: self.time_s},
                cose.VDS: RFC9162_SHA256,
                cose.HEIGHT: self.height,
                cose.TREE_SIZE: self.size,
            }
        )

    def is_signed_by(self, receipt_key: bytes) -> bool:
        """Say whether the member's receipt key made the signature."""
        message = cose.to_be_signed(self.protected(), self.root)
        return kid_of(receipt_key) == self.kid and is_signed(receipt_key, message, self.signature)

    def encoded(self) -> bytes:
        """Return the bytes in which members hand checkpoints to each other: a COSE_Sign1 that carries the root as its payload."""
        return cose.Sign1(self.protected(), {}, self.root, self.signature).encoded()


def sign_checkpoint(key: SigningKey, member: str, network: bytes, log: tuple[int, bytes], height: int, time_s: int) -> Checkpoint:
    """Return a member's signature on a log, given as (size, root), at a height."""
    size, root = log
    unsigned = Checkpoint(member, network, height, size, time_s, root, key.kid, b"")
    return replace(unsigned, signature=key.sign(cose.to_be_signed(unsigned.protected(), root)))


def parse_checkpoint(data: bytes) -> Checkpoint:
    """Return the checkpoint that `data` is; the signature is not checked.

    Raises   Malformed
    """
    outer = cose.parse_sign1(data)
    if outer.unprotected or outer.payload is None:
        raise Malformed("NOT_A_CHECKPOINT")
    return _checkpoint(outer.protected, outer.payload, outer.signature)


def receipt(checkpoint: Checkpoint, index: int, path: list[bytes]) -> bytes:
    """Return the receipt of leaf `index` against the checkpoint's root."""
    proof = encode([checkpoint.size, index, path])
    unprotected = {cose.PROOFS: {INCLUSION: [proof]}}
    return cose.Sign1(checkpoint.protected(), unprotected, None, checkpoint.signature).encoded()


@dataclass(frozen=True, slots=True)
class Proven:
    """What a receipt says, once its signature holds: the checkpoint it was made against, and the leaf's place."""

    checkpoint: Checkpoint
    index: int


def open_receipt(data: bytes, leaf: bytes) -> Proven:
    """Return what a receipt says of a leaf hash, its proof followed to the root. The signature is for the caller, who knows whom to trust.

    Raises   Malformed, if it is no receipt, its path leads nowhere, or the signed tree size is not the proof's
    """
    outer = cose.parse_sign1(data)
    if outer.payload is not None:
        raise Malformed("RECEIPT_CARRIES_A_PAYLOAD")
    proofs = outer.unprotected.get(cose.PROOFS)
    if list(outer.unprotected) != [cose.PROOFS] or type(proofs) is not dict or list(proofs) != [INCLUSION]:
        raise Malformed("NOT_A_RECEIPT")
    match proofs[INCLUSION]:
        case [bytes() as proof]:
            size, index, path = _inclusion(proof)
        case _:
            raise Malformed("NOT_A_RECEIPT")
    root = root_from_inclusion(leaf, index, size, path)
    if root is None:
        raise Malformed("PATH_LEADS_NOWHERE")
    checkpoint = _checkpoint(outer.protected, root, outer.signature)
    if checkpoint.size != size:
        raise Malformed("TREE_SIZE_IS_NOT_THE_SIGNED_ONE")
    return Proven(checkpoint, index)


def transparent(statement: bytes, receipts: list[bytes]) -> bytes:
    """Return the Transparent Statement: the statement with receipts in its unprotected header."""
    outer = cose.parse_sign1(statement)
    return replace(outer, unprotected={cose.RECEIPTS: receipts}).encoded()


def split_transparent(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return (the statement with its unprotected header empty again, its receipts).

    Raises   Malformed
    """
    outer = cose.parse_sign1(data)
    receipts = outer.unprotected.get(cose.RECEIPTS)
    if list(outer.unprotected) != [cose.RECEIPTS] or type(receipts) is not list or not all(type(each) is bytes for each in receipts):
        raise Malformed("NOT_A_TRANSPARENT_STATEMENT")
    return replace(outer, unprotected={}).encoded(), receipts


def _inclusion(proof: bytes) -> tuple[int, int, list[bytes]]:
    match decode(proof):
        case [int(size), int(index), [*path]] if all(type(each) is bytes and len(each) == 32 for each in path):  # noqa: PLR2004 - SHA-256
            return size, index, path
        case _:
            raise Malformed("NOT_AN_INCLUSION_PROOF")


def _checkpoint(protected: bytes, root: bytes, signature: bytes) -> Checkpoint:
    header: dict[int, Any] = cose.parse_protected(protected)
    claims = header.get(cose.CWT_CLAIMS)
    labels = [cose.ALG, cose.KID, cose.CWT_CLAIMS, cose.VDS, cose.HEIGHT, cose.TREE_SIZE]
    if list(header) != labels or type(claims) is not dict or list(claims) != [cose.CLAIM_ISS, cose.CLAIM_SUB, cose.CLAIM_IAT]:
        raise Malformed("NOT_A_CHECKPOINT")
    alg, kid, _, vds, height, size = header.values()
    member, subject, time_s = claims.values()
    are_numbers = all(type(number) is int and number >= 0 for number in (height, size, time_s))
    are_names = type(kid) is bytes and type(member) is str and type(subject) is str
    if alg != cose.EDDSA or vds != RFC9162_SHA256 or not are_numbers or not are_names:
        raise Malformed("NOT_A_CHECKPOINT")
    try:
        network = bytes.fromhex(subject)
    except ValueError as error:
        raise Malformed("NOT_A_CHECKPOINT") from error
    checkpoint = Checkpoint(member, network, height, size, time_s, root, kid, signature)
    if checkpoint.protected() != protected:
        raise Malformed("NOT_A_CHECKPOINT")
    return checkpoint
