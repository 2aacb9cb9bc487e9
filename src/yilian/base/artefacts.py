"""What is signed outside the ledger: the exact bytes, which both sides build from the same named fields.

Every statement is `CBOR([label, network id, ...])` (design 02), so that a signature for one purpose, holder or network is none for another.
Source   design 04 "Enrolment", "Presence", "The release gate", "The patient's own view".
"""

from __future__ import annotations

from dataclasses import dataclass

from yilian.base import labels
from yilian.base.digests import derive, labelled, mac, sha256

PRESENCE_S_MAX = 5 * 60  # design 04: a presence proof lives at most 5 minutes
INTRODUCTION_S_MAX = 10 * 60  # design 04


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What a practitioner signs to read at a holder: design 04, step 1. `control_key` is None where no grant is the basis."""

    holder: str
    requester: str
    method: str
    target: str  # path and query exactly as sent
    body: bytes
    purpose: str  # v3-PurposeOfUse code
    control_key: bytes | None
    request_id: bytes  # 16 random bytes, kept over retries

    def statement(self, network: bytes) -> bytes:
        """Return the bytes to sign with the practitioner's own key."""
        return labelled(
            labels.READ,
            network,
            self.holder,
            self.requester,
            self.method,
            self.target,
            sha256(self.body),
            self.purpose,
            self.control_key,
            self.request_id,
        )


def intent_statement(network: bytes, member: str, act: str, facts: list[bytes | str | int]) -> bytes:
    """Return what a practitioner signs for an act of his own other than reading, e.g. ("referral.request", [digest])."""
    return labelled(labels.INTENT, network, member, act, facts)


@dataclass(frozen=True, slots=True)
class Challenge:
    """Q: what the desk shows and the wallet reads out to the person before it answers. Signed by the requester's node key."""

    requester: str
    practitioner: bytes  # credential key
    purpose: str
    nonce: bytes  # 32 random bytes
    issued_at_s: int
    checkpoint: bytes  # log root at the requester's latest final height

    def statement(self, network: bytes) -> bytes:
        """Return the bytes that the requester signs, whose digest the presence proof names."""
        return labelled(
            labels.CHALLENGE, network, self.requester, self.practitioner, self.purpose, self.nonce, self.issued_at_s, self.checkpoint
        )

    def digest(self, network: bytes) -> bytes:
        """Return H(Q), 32 bytes."""
        return sha256(self.statement(network))


def presence_statement(network: bytes, challenge_digest: bytes, holder: str, until_s: int) -> bytes:
    """Return what R_h signs to say that the patient is here: for one challenge, one holder, until an instant."""
    return labelled(labels.PRESENCE, network, challenge_digest, holder, until_s)


def enrol_statement(network: bytes, holder: str, generation: int, nonce: bytes, keys: tuple[bytes, bytes]) -> bytes:
    """Return what R_h signs at the desk; `keys` is (R_h, S_h)."""
    return labelled(labels.ENROL, network, holder, generation, nonce, keys[0], keys[1])


def relationship_statement(network: bytes, holder: str, relationship_key: bytes, generation: int, height: int) -> bytes:
    """Return what the holder's node key signs to say whose R_h it keeps since which height."""
    return labelled(labels.RELATIONSHIP, network, holder, relationship_key, generation, height)


def grant_key_statement(network: bytes, key: bytes, member: str, until_s: int) -> bytes:
    """Return what a member's node key signs when it hands out a one-time key for one grant."""
    return labelled(labels.GRANT_KEY, network, key, member, until_s)


def consent_statement(network: bytes, consent: bytes) -> bytes:
    """Return what R_h signs over the bytes of a Consent as they were received."""
    return labelled(labels.CONSENT_SIGNED, network, consent)


def consent_commitment(network: bytes, key: bytes, consent: bytes) -> bytes:
    """Return what a grant's row holds of its Consent; `key` is fresh, 32 bytes, kept beside the artefact."""
    return mac(key, labels.CONSENT, network, consent)


def suspension_commitment(network: bytes, key: bytes, member: str, reason: str) -> bytes:
    """Return what the ledger holds of why a member was suspended; `key` is fresh, 32 bytes, kept with the reason (ADR-0149)."""
    return mac(key, labels.SUSPENSION, network, member, reason)


def revoked_statement(network: bytes, control_key: bytes, revoked_at_s: int) -> bytes:
    """Return what the grant's control key signs when the wallet tells the holder of a revocation directly."""
    return labelled(labels.REVOKED, network, control_key, revoked_at_s)


def own_reading_statement(network: bytes, holder: str, target: str, request_id: bytes, until_s: int) -> bytes:
    """Return what R_h signs to read what the holder keeps of the patient."""
    return labelled(labels.OWN_READING, network, holder, target, request_id, until_s)


def log_statement(network: bytes, holder: str, month: int, nonce: bytes, until_s: int) -> bytes:
    """Return what R_h signs to ask the holder for one month of the chart's log."""
    return labelled(labels.LOG, network, holder, month, nonce, until_s)


def head_statement(network: bytes, relationship_key: bytes, month: int, month_key_digest: bytes, count: int, height: int) -> bytes:
    """Return what the holder signs: at `height` the chart's log of `month` had `count` tags of its own key."""
    return labelled(labels.HEAD, network, relationship_key, month, month_key_digest, count, height)


# a chart's log: what K opens (design 03 "access")


def month_key(chart_key: bytes, network: bytes, month: int) -> bytes:
    """Return t_m: whoever has it sees that month of the chart's log, and no other."""
    return mac(chart_key, labels.MONTH, network, month)


def entry_seed(month_secret: bytes, network: bytes, number: int) -> bytes:
    """Return the seed of pk_n, the one-time key of entry `number` of the month (not basis `grant`)."""
    return mac(month_secret, labels.ENTRY, network, number)


def detail_key(month_secret: bytes, network: bytes, tag: bytes) -> bytes:
    """Return d: what keys the detail of the one entry with `tag`."""
    return mac(month_secret, labels.DETAIL, network, tag)


def detail(key: bytes, network: bytes, audit_event: bytes) -> bytes:
    """Return what the ledger holds of an AuditEvent: an HMAC under d of the very bytes that are kept."""
    return mac(key, labels.ACCESS, network, audit_event)


def own_key(chart_key: bytes, network: bytes, number: int) -> bytes:
    """Return what keys the holder's own staff's reading `number` of this chart: a series of the holder's own, not gap-checked."""
    return mac(chart_key, labels.OWN, network, number)


# a wallet's keys: what the seed opens (design 04 "Enrolment")


def relationship_seed(seed: bytes, network: bytes, holder: str, generation: int) -> bytes:
    """Return the Ed25519 seed of R_h."""
    return derive(seed, labels.REL, network, holder, generation)


def sealing_secret(seed: bytes, network: bytes, holder: str, generation: int) -> bytes:
    """Return the X25519 secret of S_h."""
    return derive(seed, labels.SEAL, network, holder, generation)


def control_seed(seed: bytes, network: bytes, holder: str, number: int) -> bytes:
    """Return the Ed25519 seed of the control key of grant `number` at `holder`."""
    return derive(seed, labels.GRANT, network, holder, number)
