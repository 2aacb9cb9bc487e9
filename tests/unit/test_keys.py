"""One signature semantics per network: libsodium's, on every edge case."""

import json
from pathlib import Path

import pytest

from yilian.base import keys
from yilian.base.edge_cases import EDGE_CASES
from yilian.base.keys import SigningKey, WrongVerifier, is_signed, kid_of, self_test

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/ed25519.json").read_text())


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_every_edge_case_has_the_networks_verdict(case):
    assert (
        is_signed(bytes.fromhex(case["public_key"]), bytes.fromhex(case["message"]), bytes.fromhex(case["signature"])) is case["is_signed"]
    )


def test_the_self_test_knows_the_same_cases_as_the_vectors():
    assert [(c["public_key"], c["message"], c["signature"], c["is_signed"]) for c in VECTORS] == list(EDGE_CASES)
    self_test()


def test_a_verifier_that_decides_one_case_otherwise_is_not_run_with(monkeypatch):
    monkeypatch.setattr(keys, "is_signed", lambda *_: True)
    with pytest.raises(WrongVerifier, match="pinned PyNaCl"):
        self_test()


def test_a_signature_holds_for_its_key_and_message_only():
    key, other = SigningKey(bytes(range(32))), SigningKey(bytes(32))
    signature = key.sign(b"m")
    assert is_signed(key.public_key, b"m", signature)
    assert not is_signed(key.public_key, b"n", signature)
    assert not is_signed(other.public_key, b"m", signature)
    for position in range(64):
        flipped = bytearray(signature)
        flipped[position] ^= 1
        assert not is_signed(key.public_key, b"m", bytes(flipped))


@pytest.mark.parametrize(("key_size", "signature_size"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_keys_and_signatures_of_any_other_size_are_not_signed(key_size, signature_size):
    assert not is_signed(bytes(key_size), b"m", bytes(signature_size))


def test_a_key_shows_nothing_secret_and_its_kid_is_half_a_digest():
    key = SigningKey(b"\x07" * 32)
    assert "0707" not in repr(key)
    assert key.kid == kid_of(key.public_key)
    assert len(key.kid) == 16
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(b"short")
