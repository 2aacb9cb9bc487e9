"""COSE_Sign1 (RFC 9052) with Ed25519: statements and receipts, to the byte.

Labels   1 alg, 3 content type, 4 kid, 15 CWT claims (RFC 9597), 395 vds, 396 proofs, 394 receipts (RFC 9942, RFC 9943); ours: -70001
         network id, -70002 nonce, -70003 height, -70004 tree size (design 02).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cbor2

from yilian.base.codec import Malformed, decode, encode

ALG, CONTENT_TYPE, KID, CWT_CLAIMS = 1, 3, 4, 15
RECEIPTS, VDS, PROOFS = 394, 395, 396
NETWORK, NONCE, HEIGHT, TREE_SIZE = -70001, -70002, -70003, -70004
CLAIM_ISS, CLAIM_SUB, CLAIM_EXP, CLAIM_IAT = 1, 2, 4, 6
EDDSA = -8
SIGN1_TAG = 18
SIGN1_HEAD = b"\xd2\x84"  # tag 18, array of four: how every Sign1 begins
ITEMS_MAX = 4_096  # of what is outside its byte strings; receipts in the unprotected header are byte strings, some tens of them (ADR-0014)


@dataclass(frozen=True, slots=True)
class Sign1:
    """One COSE_Sign1, its protected header and payload kept as the bytes that were signed. A detached payload is None."""

    protected: bytes
    unprotected: dict[int, Any]
    payload: bytes | None
    signature: bytes

    def encoded(self) -> bytes:
        """Return the tagged bytes; the unprotected header is written by our encoder."""
        array = [self.protected, self.unprotected, self.payload, self.signature]
        return b"\xd2" + encode(array)


def parse_sign1(data: bytes) -> Sign1:
    """Return the parts of a deterministically encoded COSE_Sign1; the protected header itself is not looked into.

    Raises   Malformed
    """
    if data[:2] != SIGN1_HEAD:
        raise Malformed("NOT_A_SIGN1")
    outer = decode(data[1:], ITEMS_MAX)
    if type(outer) is not list or len(outer) != 4:  # noqa: PLR2004 - protected, unprotected, payload, signature
        raise Malformed("NOT_A_SIGN1")
    protected, unprotected, payload, signature = outer
    if type(protected) is not bytes or type(unprotected) is not dict or type(signature) is not bytes:
        raise Malformed("NOT_A_SIGN1")
    if payload is not None and type(payload) is not bytes:
        raise Malformed("NOT_A_SIGN1")
    return Sign1(protected, unprotected, payload, signature)


def to_be_signed(protected: bytes, payload: bytes, external_aad: bytes = b"") -> bytes:
    """Return the Sig_structure of RFC 9052 section 4.4 for context "Signature1"."""
    return cbor2.dumps(["Signature1", protected, external_aad, payload])


def parse_protected(protected: bytes) -> dict[int, Any]:
    """Return the header map.

    Raises   Malformed
    """
    header = decode(protected)
    if not isinstance(header, dict):
        raise Malformed("HEADER_IS_NOT_A_MAP")
    return header
