"""State answers: a member's signed word on what the state holds at one key, or that it holds nothing, at one height.

Shape    `[network id, height, block time, key, SHA-256(value) or null]`, signed by a receipt key over `CBOR(["state-answer", ...])`.
Use      proves a value or its absence where a quorum says the same at one height, at most 5 minutes old.
Source   design 02 "Receipt", "State answer".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from yilian.base import labels
from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import labelled, sha256
from yilian.base.keys import SigningKey, is_signed, kid_of

AGE_S_MAX = 5 * 60  # design 02


@dataclass(frozen=True, slots=True)
class StateAnswer:
    """One member's word; `value_digest` is None where the state has no such row."""

    network: bytes
    height: int
    time_s: int
    key: bytes
    value_digest: bytes | None
    kid: bytes
    signature: bytes

    def is_signed_by(self, receipt_key: bytes) -> bool:
        """Say whether the receipt key made the signature."""
        return kid_of(receipt_key) == self.kid and is_signed(receipt_key, _statement(self), self.signature)

    def is_fresh(self, now_s: int) -> bool:
        """Say whether the answer is at most five minutes old at `now_s`."""
        return self.time_s <= now_s + AGE_S_MAX and now_s - self.time_s <= AGE_S_MAX

    def encoded(self) -> bytes:
        """Return the bytes to hand over."""
        return encode([self.network, self.height, self.time_s, self.key, self.value_digest, self.kid, self.signature])


def sign_answer(key: SigningKey, network: bytes, at: tuple[int, int], row: tuple[bytes, bytes | None]) -> StateAnswer:
    """Return the signed answer; `at` is (height, block time in s) and `row` is (key, value or None)."""
    return _signed(key, network, at, row[0], None if row[1] is None else sha256(row[1]))


def sign_day(key: SigningKey, network: bytes, at: tuple[int, int], day_key: bytes, root: bytes) -> StateAnswer:
    """Return the signed root over a day's tags so far, in ascending order (`t/ day` is no row's key: its rows go on with the tag)."""
    return _signed(key, network, at, day_key, root)


def _signed(key: SigningKey, network: bytes, at: tuple[int, int], row_key: bytes, digest: bytes | None) -> StateAnswer:
    unsigned = StateAnswer(network, at[0], at[1], row_key, digest, key.kid, b"")
    return replace(unsigned, signature=key.sign(_statement(unsigned)))


def parse_answer(data: bytes) -> StateAnswer:
    """Return the answer that `data` is; the signature is not checked.

    Raises   Malformed
    """
    match decode(data):
        case [bytes(network), int(height), int(time_s), bytes(key), (bytes() | None) as value_digest, bytes(kid), bytes(signature)]:
            return StateAnswer(network, height, time_s, key, value_digest, kid, signature)
        case _:
            raise Malformed("NOT_A_STATE_ANSWER")


def _statement(answer: StateAnswer) -> bytes:
    return labelled(labels.STATE_ANSWER, answer.network, answer.height, answer.time_s, answer.key, answer.value_digest)
