"""Ed25519 with one meaning for every network of suite 1: libsodium's, as PyNaCl pins it.

Other verifiers accept whatever libsodium accepts, while ZIP-215 verifiers accept signatures that OpenSSL (and so third-party receipt
tools) refuses; so libsodium's canonical, cofactorless check without small-order keys is the network's (design 02). `self_test` refuses to
run with a library that decides the edge cases otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from nacl import bindings
from nacl.exceptions import BadSignatureError, CryptoError

from yilian.base.digests import sha256
from yilian.base.edge_cases import EDGE_CASES

SEED_SIZE = 32
PUBLIC_KEY_SIZE = 32
SIGNATURE_SIZE = 64
KID_SIZE = 16


def kid_of(public_key: bytes) -> bytes:
    """Return the key identifier: the first 16 bytes of SHA-256 of the public key (design 02)."""
    return sha256(public_key)[:KID_SIZE]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair made from a 32-byte seed. Its text form shows nothing secret."""

    seed: bytes = field(repr=False)
    public_key: bytes = field(init=False)
    _secret: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Derive the pair; `seed` must have 32 bytes."""
        if len(self.seed) != SEED_SIZE:
            raise ValueError("a seed has exactly 32 bytes")
        public_key, secret = bindings.crypto_sign_seed_keypair(self.seed)
        object.__setattr__(self, "public_key", public_key)
        object.__setattr__(self, "_secret", secret)

    @property
    def kid(self) -> bytes:
        """The key's 16-byte identifier."""
        return kid_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""
        return bindings.crypto_sign(message, self._secret)[:SIGNATURE_SIZE]


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether `signature` is libsodium's yes for `message` under `public_key`. Any bytes may be asked."""
    if len(public_key) != PUBLIC_KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except (BadSignatureError, CryptoError):
        return False
    return True


class Signed(NamedTuple):
    """What somebody claims: that this key signed this message so."""

    public_key: bytes
    message: bytes
    signature: bytes


def are_signed(claims: Sequence[Signed]) -> list[bool]:
    """Say of each claim what `is_signed` says."""
    return [is_signed(*claim) for claim in claims]


class WrongVerifier(RuntimeError):
    """The library that checks signatures here decides an edge case otherwise than the network does."""


def self_test() -> None:
    """Check the verifier on the edge cases; called once when a node starts.

    Raises   WrongVerifier
    """
    for public_key, message, signature, verdict in EDGE_CASES:
        if is_signed(bytes.fromhex(public_key), bytes.fromhex(message), bytes.fromhex(signature)) is not verdict:
            raise WrongVerifier("this machine's libsodium decides Ed25519 edge cases otherwise than the network: install the pinned PyNaCl")
