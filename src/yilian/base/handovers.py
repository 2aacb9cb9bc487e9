"""What a patient's wallet and the members hand each other, beside transactions: shapes that both sides build, sign and check.

Each is written with `shapes.pack` and read with `shapes.unpack`; what is signed is built in `artefacts`, so that no side signs bytes it was
handed. Nobody is named but members: a patient is R_h, which no other holder knows.
Source   design 04 "Enrolment", "Presence", "The release gate"; design 03 "consent"; ADR-0062.
"""

from __future__ import annotations

from dataclasses import dataclass

from yilian.base import artefacts, labels
from yilian.base.artefacts import Challenge
from yilian.base.consents import ConsentNotUnderstood, Terms, parse
from yilian.base.digests import labelled
from yilian.base.keys import is_signed, kid_of
from yilian.base.seal import open_as_member, seal_to_member
from yilian.base.shapes import pack, unpack

CONSENT_KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class EnrolAsk:
    """What the desk shows: network, holder, the chart's generation, 32 random bytes."""

    network: bytes
    holder: str
    generation: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class EnrolAnswer:
    """What the wallet returns: R_h, S_h, and R_h's signature over `enrol_statement`."""

    relationship_key: bytes
    sealing_key: bytes
    signature: bytes

    def answers(self, ask: EnrolAsk) -> bool:
        """Say whether this is a proof of possession for what the desk showed."""
        keys = (self.relationship_key, self.sealing_key)
        statement = artefacts.enrol_statement(ask.network, ask.holder, ask.generation, ask.nonce, keys)
        return is_signed(self.relationship_key, statement, self.signature)


@dataclass(frozen=True, slots=True)
class Relationship:
    """What the holder answers: whose R_h it keeps since which height, signed by its node key, and the chart's K sealed to S_h."""

    holder: str
    relationship_key: bytes
    generation: int
    height: int
    signature: bytes
    sealed_chart_key: bytes  # `seal_to_patient(S_h, chart_key_info(...), K)`


def chart_key_info(network: bytes, holder: str, relationship_key: bytes, generation: int) -> bytes:
    """Return the HPKE info under which a holder seals K to S_h."""
    return labelled(labels.CHART_KEY, network, holder, relationship_key, generation)


@dataclass(frozen=True, slots=True)
class GrantKey:
    """A member's one-time key for one grant, signed by its node key over `grant_key_statement`; `until_s` is exclusive."""

    key: bytes
    member: str
    until_s: int
    signature: bytes

    def is_signed_by(self, network: bytes, node_key: bytes) -> bool:
        """Say whether the member's node key made the signature."""
        return is_signed(node_key, artefacts.grant_key_statement(network, self.key, self.member, self.until_s), self.signature)


@dataclass(frozen=True, slots=True)
class GrantBundle:
    """The artefact of a grant as holder and requester keep it: the Consent's bytes, the k of its commitment, the signature by R_h."""

    consent: bytes
    key: bytes
    signature: bytes

    def commitment(self, network: bytes) -> bytes:
        """Return what the grant's row must hold.

        Raises   ValueError, if k has not 32 bytes
        """
        return artefacts.consent_commitment(network, self.key, self.consent)

    def terms(self, network: bytes, relationship_key: bytes, commitment: bytes) -> Terms:
        """Return what the patient permits, if the bytes are the patient's and the grant's.

        Raises   ConsentNotUnderstood
        """
        if len(self.key) != CONSENT_KEY_SIZE or self.commitment(network) != commitment:
            raise ConsentNotUnderstood("the Consent is not the one that the grant on the ledger commits to")
        if not is_signed(relationship_key, artefacts.consent_statement(network, self.consent), self.signature):
            raise ConsentNotUnderstood("the Consent is not signed by the key that the holder enrolled for this patient")
        terms = parse(self.consent)
        if terms.patient != kid_of(relationship_key):
            raise ConsentNotUnderstood("the Consent names another patient's key")
        return terms


def grant_bundle_info(network: bytes, member: str, control_key: bytes) -> bytes:
    """Return the HPKE info under which a grant's bundle is sealed to a member."""
    return labelled(labels.ARTEFACTS, network, member, control_key)


def seal_bundle(sealing_key: bytes, network: bytes, member: str, control_key: bytes, bundle: GrantBundle) -> bytes:
    """Return the bundle sealed to a member's registered sealing key."""
    return seal_to_member(sealing_key, grant_bundle_info(network, member, control_key), pack(bundle))


def open_bundle(sealing_seed: bytes, network: bytes, member: str, control_key: bytes, sealed: bytes) -> GrantBundle:
    """Return the bundle that was sealed to this member for this grant.

    Raises   Unopened, Malformed
    """
    return unpack(GrantBundle, open_as_member(sealing_seed, grant_bundle_info(network, member, control_key), sealed))


@dataclass(frozen=True, slots=True)
class RevokeNotice:
    """What the wallet tells the holder directly, signed by the grant's control key: refuse from now on, before the ledger says so."""

    control_key: bytes
    revoked_at_s: int
    signature: bytes

    def is_genuine(self, network: bytes) -> bool:
        """Say whether the grant's own key made the signature."""
        return is_signed(self.control_key, artefacts.revoked_statement(network, self.control_key, self.revoked_at_s), self.signature)


@dataclass(frozen=True, slots=True)
class SignedChallenge:
    """Q with the signature of the requester's node key: what the desk shows, also as QR."""

    challenge: Challenge
    signature: bytes

    def is_signed_by(self, network: bytes, node_key: bytes) -> bool:
        """Say whether the requester's node key made the signature."""
        return is_signed(node_key, self.challenge.statement(network), self.signature)


@dataclass(frozen=True, slots=True)
class PresenceProof:
    """The patient is here: R_h's signature for one challenge, at one holder, until an instant (exclusive)."""

    challenge_digest: bytes
    holder: str
    until_s: int
    signature: bytes

    def is_signed_by(self, network: bytes, relationship_key: bytes) -> bool:
        """Say whether R_h made the signature."""
        statement = artefacts.presence_statement(network, self.challenge_digest, self.holder, self.until_s)
        return is_signed(relationship_key, statement, self.signature)


@dataclass(frozen=True, slots=True)
class OwnReading:
    """A patient asks to read what a holder keeps; `target` is path and query exactly as sent."""

    holder: str
    relationship_key: bytes
    target: str
    request_id: bytes
    until_s: int
    signature: bytes

    def is_genuine(self, network: bytes) -> bool:
        """Say whether the named R_h made the signature; whether it is enrolled is for the holder to look up."""
        statement = artefacts.own_reading_statement(network, self.holder, self.target, self.request_id, self.until_s)
        return is_signed(self.relationship_key, statement, self.signature)


@dataclass(frozen=True, slots=True)
class LogRequest:
    """A patient asks a holder for one month of the chart's log.

    `seen_size` is that of the last checkpoint seen (0: none); `control_keys` are the grants of which the next tag must be shown absent,
    also those that were never used. Both are unsigned: a wrong one only gets an answer of no use.
    """

    holder: str
    relationship_key: bytes
    month: int
    nonce: bytes
    until_s: int
    seen_size: int
    control_keys: tuple[bytes, ...]
    signature: bytes

    def is_genuine(self, network: bytes) -> bool:
        """Say whether the named R_h made the signature; whether it is enrolled is for the holder to look up."""
        statement = artefacts.log_statement(network, self.holder, self.month, self.nonce, self.until_s)
        return is_signed(self.relationship_key, statement, self.signature)
