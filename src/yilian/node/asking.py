"""What two nodes say to each other about one release: call (a), the offer that answers it, and call (b). Deterministic CBOR, text keys.

Call (a)  {request_id, method, target, body, purpose, control_key?, practitioner, signature, artefacts?, presence?, reason?}
Offer     {header, act, audit_event, d, request_salt}: what the requester checks before it approves.
Call (b)  {approval: [public key, signature]}; answered with the bytes, or with a fresh offer if the approved
          one can no longer stand.
Source    design 04 "The release gate"; ADR-0070.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from yilian.base.artefacts import ReadRequest
from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import sha256
from yilian.base.handovers import PresenceProof, SignedChallenge
from yilian.base.keys import PUBLIC_KEY_SIZE, SIGNATURE_SIZE
from yilian.base.shapes import pack, unpack
from yilian.node.refusals import No, NodeRefused, demand

REQUEST_ID_SIZE: Final = 16  # design 04
CALL_SIZE_BYTES_MAX: Final = 256 * 1024
TARGET_LENGTH_MAX: Final = 8_192
REASON_LENGTH_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class PresenceShown:
    """A presence proof: the challenge Q as the requester signed it, and R_h's answer for one holder until an instant."""

    asked: SignedChallenge
    proof: PresenceProof


@dataclass(frozen=True, slots=True)
class ReleaseCall:
    """Call (a). `requester` is who the token speaks for, `holder` is us: neither is taken from the body."""

    read: ReadRequest
    practitioner: bytes  # credential key
    signature: bytes  # over `read.statement`
    artefacts: bytes | None = None  # sealed to the holder; may be left out once the holder has them
    presence: PresenceShown | None = None
    reason: str | None = None  # of an emergency

    def encoded(self) -> bytes:
        """Return the body of call (a)."""
        read = self.read
        return encode(
            {
                "request_id": read.request_id,
                "method": read.method,
                "target": read.target,
                "body": read.body,
                "purpose": read.purpose,
                "control_key": read.control_key,
                "practitioner": self.practitioner,
                "signature": self.signature,
                "artefacts": self.artefacts,
                "presence": None if self.presence is None else pack(self.presence),
                "reason": self.reason,
            }
        )

    def digest(self, network: bytes) -> bytes:
        """Return what makes two calls the same call; sealed artefacts differ each time they are sealed and say nothing more."""
        presence = None if self.presence is None else pack(self.presence)
        return sha256(encode([self.read.statement(network), self.practitioner, self.signature, presence, self.reason]))


def presence_of(data: bytes) -> PresenceShown:
    """Return the presence proof that `pack` wrote.

    Refuses  NOT_UNDERSTOOD
    """
    try:
        return unpack(PresenceShown, data)
    except Malformed as error:
        raise NodeRefused(No.NOT_UNDERSTOOD, field="presence") from error


def parse_call(data: bytes, holder: str, requester: str) -> ReleaseCall:
    """Return call (a) as a requester made it.

    Refuses  NOT_UNDERSTOOD
    """
    demand(len(data) <= CALL_SIZE_BYTES_MAX, No.NOT_UNDERSTOOD, size_bytes_max=CALL_SIZE_BYTES_MAX)
    said = fields(data)
    match said:
        case {
            "request_id": bytes(request_id),
            "method": str(method),
            "target": str(target),
            "body": bytes(body),
            "purpose": str(purpose),
            "control_key": (bytes() | None) as control_key,
            "practitioner": bytes(practitioner),
            "signature": bytes(signature),
            "artefacts": (bytes() | None) as artefacts,
            "presence": (bytes() | None) as presence,
            "reason": (str() | None) as reason,
        } if len(said) == 11:  # noqa: PLR2004 - those named above
            pass
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)
    are_sized = len(request_id) == REQUEST_ID_SIZE and len(practitioner) == PUBLIC_KEY_SIZE and len(signature) == SIGNATURE_SIZE
    demand(are_sized and len(target) <= TARGET_LENGTH_MAX and (reason is None or len(reason) <= REASON_LENGTH_MAX), No.NOT_UNDERSTOOD)
    read = ReadRequest(holder, requester, method, target, body, purpose, control_key, request_id)
    shown = None if presence is None else presence_of(presence)
    return ReleaseCall(read, practitioner, signature, artefacts, shown, reason)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the holder fixed and would enter: to be checked by the requester, then approved as it stands."""

    protected: bytes
    act: bytes
    audit_event: bytes
    detail_key: bytes  # d
    request_salt: bytes

    def encoded(self) -> bytes:
        """Return the answer to call (a)."""
        return encode(
            {
                "header": self.protected,
                "act": self.act,
                "audit_event": self.audit_event,
                "d": self.detail_key,
                "request_salt": self.request_salt,
            }
        )


def parse_offer(data: bytes) -> Offer:
    """Return the offer that a holder made.

    Refuses  NOT_UNDERSTOOD
    """
    match fields(data):
        case {"header": bytes(header), "act": bytes(act), "audit_event": bytes(audit), "d": bytes(d), "request_salt": bytes(salt)}:
            return Offer(header, act, audit, d, salt)
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)


def fields(data: bytes) -> dict[Any, Any]:
    """Return the map that `data` encodes.

    Refuses  NOT_UNDERSTOOD
    """
    try:
        said = decode(data)
    except Malformed as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error
    if not isinstance(said, dict):
        raise NodeRefused(No.NOT_UNDERSTOOD)
    return said


def approval_of(data: bytes) -> tuple[bytes, bytes]:
    """Return the approval in call (b).

    Refuses  NOT_UNDERSTOOD
    """
    match fields(data):
        case {"approval": [bytes(key), bytes(signature)]} if len(key) == PUBLIC_KEY_SIZE and len(signature) == SIGNATURE_SIZE:
            return key, signature
        case _:
            raise NodeRefused(No.NOT_UNDERSTOOD)


def approval_body(approval: tuple[bytes, bytes]) -> bytes:
    """Return the body of call (b)."""
    return encode({"approval": list(approval)})
