"""Sealing: HPKE (RFC 9180) to a patient (X25519) or between members (ML-KEM-768 with X25519, since health data outlive today's curves).

Every seal is for one purpose: `info` is `CBOR([label, network id, ...])`, and another purpose cannot open it.
Source   design 04 "Sealing everywhere"; `cryptography` hazmat.primitives.hpke.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

_PATIENT = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_MEMBER = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
MLKEM_PUBLIC_SIZE = 1_184  # FIPS 203, ML-KEM-768 encapsulation key
MEMBER_PUBLIC_SIZE = MLKEM_PUBLIC_SIZE + 32
MEMBER_SEED_SIZE = 64 + 32  # FIPS 203 (d || z), then X25519


class Unopened(ValueError):
    """The bytes were not sealed to this key for this purpose, or were altered."""


def patient_public(secret: bytes) -> bytes:
    """Return the 32-byte X25519 public key of a 32-byte secret."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def seal_to_patient(public_key: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Return `plaintext` sealed to a patient's S_h."""
    return _PATIENT.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info)


def open_as_patient(secret: bytes, info: bytes, sealed: bytes) -> bytes:
    """Return what was sealed to S_h.

    Raises   Unopened
    """
    try:
        return _PATIENT.decrypt(sealed, X25519PrivateKey.from_private_bytes(secret), info)
    except (InvalidTag, ValueError) as error:
        raise Unopened("not sealed to this key for this purpose") from error


def member_public(seed: bytes) -> bytes:
    """Return the 1,216-byte sealing key of a member's 96-byte sealing seed."""
    mlkem, curve = _member_private(seed)
    return mlkem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()


def seal_to_member(public_key: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Return `plaintext` sealed to a member's registered sealing key."""
    mlkem = MLKEM768PublicKey.from_public_bytes(public_key[:MLKEM_PUBLIC_SIZE])
    curve = X25519PublicKey.from_public_bytes(public_key[MLKEM_PUBLIC_SIZE:])
    return _MEMBER.encrypt(plaintext, MLKEM768X25519PublicKey(mlkem, curve), info)


def open_as_member(seed: bytes, info: bytes, sealed: bytes) -> bytes:
    """Return what was sealed to the member.

    Raises   Unopened
    """
    try:
        return _MEMBER.decrypt(sealed, MLKEM768X25519PrivateKey(*_member_private(seed)), info)
    except (InvalidTag, ValueError) as error:
        raise Unopened("not sealed to this member for this purpose") from error


def _member_private(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    if len(seed) != MEMBER_SEED_SIZE:
        raise ValueError("a member's sealing seed has exactly 96 bytes")
    return MLKEM768PrivateKey.from_seed_bytes(seed[:64]), X25519PrivateKey.from_private_bytes(seed[64:])
