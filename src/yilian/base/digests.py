"""Digests, keyed commitments and derived keys. All inputs are `CBOR([label, network id, ...])`; nothing is concatenated.

Source   FIPS 180-4 (SHA-256), RFC 2104 (HMAC), RFC 5869 (HKDF), design 02 "Nothing is ever concatenated".
"""

from __future__ import annotations

import hashlib
import hmac

from yilian.base.codec import encode

DIGEST_SIZE = 32
TAG_SIZE = 16


def sha256(data: bytes) -> bytes:
    """Return the 32-byte SHA-256 of `data`."""
    return hashlib.sha256(data).digest()


def labelled(label: str, network: bytes, *parts: object) -> bytes:
    """Return `CBOR([label, network id, *parts])`: the input of every MAC, derivation, commitment and off-ledger signature."""
    return encode([label, network, *parts])


def mac(key: bytes, label: str, network: bytes, *parts: object) -> bytes:
    """Return the 32-byte HMAC-SHA256 that commits to `parts` under `key` (exactly 32 bytes, fresh for each commitment)."""
    if len(key) != DIGEST_SIZE:
        raise ValueError("a commitment key has exactly 32 bytes")
    return hmac.digest(key, labelled(label, network, *parts), "sha256")


def derive(secret: bytes, label: str, network: bytes, *parts: object) -> bytes:
    """Return 32 bytes of HKDF-SHA256 with an empty salt: one extract, one expand block."""
    extracted = hmac.digest(bytes(DIGEST_SIZE), secret, "sha256")
    return hmac.digest(extracted, labelled(label, network, *parts) + b"\x01", "sha256")


def grant_tag(control_key: bytes, entries: int) -> bytes:
    """Return the 16-byte tag of a grant's entry number `entries` (0 is the first): exactly design 03 "access"."""
    return sha256(encode(["tag", control_key, entries]))[:TAG_SIZE]


def key_tag(public_key: bytes) -> bytes:
    """Return the 16-byte tag that a chart's one-time key stands for."""
    return sha256(public_key)[:TAG_SIZE]
