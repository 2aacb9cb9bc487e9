"""A transaction is a SCITT Signed Statement: how one is built, approved, signed and read.

Shape    COSE_Sign1, tag 18. Protected `{1: -8, 3: content type, 4: kid, 15: {1: iss, 2: sub, 4: exp}, -70001: network, -70002: nonce}`,
         unprotected `{}`, payload `CBOR([kind, body, approvals])`, approvals `[[public key, signature], ...]`.
Source   design 02 "Transaction"; RFC 9943; RFC 9052; RFC 9597.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import cbor2

from yilian.base import cose
from yilian.base.codec import Malformed, decode, decode_to_compare, encode
from yilian.base.keys import KID_SIZE, PUBLIC_KEY_SIZE, SIGNATURE_SIZE, SigningKey
from yilian.base.merkle import leaf_hash
from yilian.base.refusals import Reason, Refused

CONTENT_TYPE = "application/yilian-transaction+cbor"
APPROVAL_CONTENT_TYPE = "application/yilian-approval+cbor"
PAYLOAD_SIZE_BYTES_MAX = 64 * 1024  # design 02
TRANSACTION_SIZE_BYTES_MAX = PAYLOAD_SIZE_BYTES_MAX + 1024  # room for the header (under 300 bytes) and the signature
PAYLOAD_ITEMS_MAX = 4_096  # ADR-0014: what 64 KiB of keys, tags and digests hold; 65,000 empty lists took a replica 0.1 s
HEADER_SIZE_BYTES_MAX = 512  # ADR-0014: the widest has under 300
APPROVALS_MAX = 16  # design 02
MEMBER_ID_LENGTH_MAX = 32  # design 02: ASCII
AHEAD_S_MAX = 3_600  # design 02: `exp` is at most one hour ahead
NONCE_MAX = 2**64 - 1

_APPROVAL_PROTECTED = encode({cose.ALG: cose.EDDSA, cose.CONTENT_TYPE: APPROVAL_CONTENT_TYPE})

ACT_HEAD = b"\x82"  # CBOR: an array of two
APPROVAL_SIZE_BYTES = len(encode([bytes(PUBLIC_KEY_SIZE), bytes(SIGNATURE_SIZE)]))  # always the same; up to 23 of them have a head of 1

Approval = tuple[bytes, bytes]  # public key, signature


class Header(NamedTuple):
    """What the envelope says: who carries (`iss`, `kid`), what kind (`sub`), until when (`exp`), where, and which number."""

    network: bytes
    kid: bytes
    issuer: str
    subject: str
    exp_s: int
    nonce: int

    def encoded(self) -> bytes:
        """Return the exact protected bytes, which an approver receives before approving."""
        return encode(self.labelled())

    def labelled(self) -> dict[int, Any]:
        """Return the header as the map that is written; label by label in bytewise order, the claims too."""
        claims = {cose.CLAIM_ISS: self.issuer, cose.CLAIM_SUB: self.subject, cose.CLAIM_EXP: self.exp_s}
        return {
            cose.ALG: cose.EDDSA,
            cose.CONTENT_TYPE: CONTENT_TYPE,
            cose.KID: self.kid,
            cose.CWT_CLAIMS: claims,
            cose.NETWORK: self.network,
            cose.NONCE: self.nonce,
        }


class Transaction(NamedTuple):
    """A well-formed transaction. Nothing about it has been checked but its form."""

    id: bytes
    header: Header
    protected: bytes
    payload: bytes
    signature: bytes
    kind: int
    body: dict[int, Any]
    approvals: tuple[Approval, ...]

    def signed_bytes(self) -> bytes:
        """Return what the carrier signed."""
        return cose.to_be_signed(self.protected, self.payload)

    def approved_bytes(self) -> bytes:
        """Return what each approver signed. `[kind, body]` is cut from the payload, whose bytes are the only ones that it can have."""
        end = len(self.payload) - 1 - len(self.approvals) * APPROVAL_SIZE_BYTES
        return approval_message(self.protected, ACT_HEAD + self.payload[1:end])


def act_bytes(kind: int, body: dict[int, Any]) -> bytes:
    """Return `CBOR([kind, body])`: the part of a transaction that an approval covers."""
    return encode([kind, body])


def approval_message(protected: bytes, act: bytes) -> bytes:
    """Return the Sig_structure that an approver signs: bound to this envelope by `external_aad`, so that it works once."""
    return cose.to_be_signed(_APPROVAL_PROTECTED, act, external_aad=protected)


def approve(key: SigningKey, protected: bytes, act: bytes) -> Approval:
    """Return the approval of `act` in the envelope `protected`."""
    return key.public_key, key.sign(approval_message(protected, act))


def assemble(carrier_key: SigningKey, protected: bytes, kind: int, body: dict[int, Any], approvals: Sequence[Approval] = ()) -> bytes:
    """Return the signed transaction's bytes."""
    payload = encode([kind, body, [list(approval) for approval in approvals]])
    signature = carrier_key.sign(cose.to_be_signed(protected, payload))
    return cose.Sign1(protected, {}, payload, signature).encoded()


def sign(carrier_key: SigningKey, header: Header, kind: int, body: dict[int, Any], approvers: Iterable[SigningKey] = ()) -> bytes:
    """Return a transaction that is approved and signed at once, where one process holds every key."""
    protected, act = header.encoded(), act_bytes(kind, body)
    return assemble(carrier_key, protected, kind, body, [approve(key, protected, act) for key in approvers])


def transaction_id(data: bytes) -> bytes:
    """Return the id: the RFC 9162 leaf hash of the bytes as received."""
    return leaf_hash(data)


def parse(data: bytes) -> Transaction:
    """Return the transaction that `data` is, if it is well-formed.

    Refuses  BAD_BYTES, TOO_LARGE, TOO_MANY_APPROVALS, APPROVED_TWICE
    """
    if len(data) > TRANSACTION_SIZE_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, size_bytes=len(data))
    try:
        protected, payload, signature = _parse_envelope(data)
        if len(payload) > PAYLOAD_SIZE_BYTES_MAX:
            raise Refused(Reason.TOO_LARGE, size_bytes=len(payload))
        header = parse_header(protected)
        kind, body, approvals = _parse_payload(payload)
    except Malformed as error:
        raise Refused(Reason.BAD_BYTES) from error
    if len(approvals) > APPROVALS_MAX:
        raise Refused(Reason.TOO_MANY_APPROVALS, approvals=len(approvals))
    if len(approvals) > 1 and len({key for key, _ in approvals}) != len(approvals):
        raise Refused(Reason.APPROVED_TWICE)
    return Transaction(leaf_hash(data), header, protected, payload, signature, kind, body, approvals)


def _parse_envelope(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (protected, payload, signature) of a Sign1 with an empty unprotected header."""
    if data[:2] != cose.SIGN1_HEAD:
        raise Malformed("NOT_A_SIGN1")
    protected, _, payload, signature = decode_to_compare(data[1:])
    if type(protected) is not bytes or type(payload) is not bytes or type(signature) is not bytes or len(signature) != SIGNATURE_SIZE:
        raise Malformed("NOT_A_TRANSACTION")
    if b"\xd2" + cbor2.dumps([protected, {}, payload, signature]) != data:
        raise Malformed("NOT_A_TRANSACTION")
    return protected, payload, signature


def parse_header(protected: bytes) -> Header:
    """Return the header that the protected bytes are.

    Raises   Malformed
    """
    if len(protected) > HEADER_SIZE_BYTES_MAX:
        raise Malformed("NOT_OUR_HEADER")
    said = decode_to_compare(protected)
    try:
        claims = said[cose.CWT_CLAIMS]
        issuer, subject, exp_s = claims[cose.CLAIM_ISS], claims[cose.CLAIM_SUB], claims[cose.CLAIM_EXP]
        header = Header(said[cose.NETWORK], said[cose.KID], issuer, subject, exp_s, said[cose.NONCE])
    except (LookupError, TypeError) as error:
        raise Malformed("NOT_OUR_HEADER") from error
    # What is not our header to the byte - a label more, `true` for 1, -8.0 for -8 - is not what our encoder writes of these six values.
    # They are typed, and the maps stand in order, so nothing is left for `encode` to look at: it would take twice as long.
    if not _is_typed(header) or cbor2.dumps(header.labelled()) != protected:
        raise Malformed("NOT_OUR_HEADER")
    return header


def _is_typed(header: Header) -> bool:
    """Say whether each value is of its type and within its bounds."""
    network, kid, issuer, subject, exp_s, nonce = header
    is_bytes = type(network) is bytes and type(kid) is bytes and len(kid) == KID_SIZE
    is_text = type(issuer) is str and type(subject) is str and 0 < len(issuer) <= MEMBER_ID_LENGTH_MAX and issuer.isascii()
    is_numbers = type(exp_s) is int and 0 <= exp_s <= NONCE_MAX and type(nonce) is int and 0 <= nonce <= NONCE_MAX
    return is_bytes and is_text and is_numbers


def _parse_payload(payload: bytes) -> tuple[int, dict[int, Any], tuple[Approval, ...]]:
    outer = decode(payload, PAYLOAD_ITEMS_MAX)
    if type(outer) is not list or len(outer) != 3:  # noqa: PLR2004 - [kind, body, approvals]
        raise Malformed("NOT_A_PAYLOAD")
    kind, body, approvals = outer
    if type(kind) is not int or type(body) is not dict or type(approvals) is not list:
        raise Malformed("NOT_A_PAYLOAD")
    for key in body:
        if type(key) is not int:
            raise Malformed("BODY_IS_NOT_INT_KEYED")
    return kind, body, tuple([_parse_approval(item) for item in approvals])


def _parse_approval(item: object) -> Approval:
    if type(item) is list and len(item) == 2:  # noqa: PLR2004 - [public key, signature]
        key, signature = item
        if type(key) is bytes and type(signature) is bytes and len(key) == PUBLIC_KEY_SIZE and len(signature) == SIGNATURE_SIZE:
            return key, signature
    raise Malformed("NOT_AN_APPROVAL")
