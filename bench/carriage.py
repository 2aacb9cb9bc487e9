"""What one validator's process carries in `bench.network`: transactions signed by the keys of the members that it carries for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from bench.load import DAY_S, KINDS, digest, key, member
from yilian.base.keys import SigningKey
from yilian.base.merkle import leaf_hash, node_hash
from yilian.base.transaction import Header, sign
from yilian.contracts import access, anchor, consent
from yilian.contracts.anchor.messages import version_leaf

VERSIONS = 256  # record versions under one member's tick, as in bench.load
CARRIED = 64  # members that one validator's process carries for: a member ticks once a minute, and no minute is waited for
EXP_S = 3_000
RECORD_EXP_S = 100  # below the 120 s that an access entry may wait


@dataclass
class Load:
    """What one validator's process carries, signed by the keys of the members that it carries for."""

    network: bytes
    number: int
    nonces: dict[str, int] = field(default_factory=dict)
    corrections: Iterator[bytes] | None = None
    granted: int = 0
    used: int = 0

    def transaction(self, kind: str, message: object, carrier: str, approvers: tuple[SigningKey, ...] = ()) -> bytes:
        """Return a signed transaction."""
        self.nonces[carrier] = self.nonces.get(carrier, 0) + 1
        signer = key(carrier, "node")
        exp_s = int(time.time()) + (RECORD_EXP_S if kind == "access.record" else EXP_S)
        header = Header(self.network, signer.kid, carrier, kind, exp_s, self.nonces[carrier])
        return sign(signer, header, KINDS[kind].number, KINDS[kind].body(message), approvers)

    def ticks(self) -> list[bytes]:
        """Return the ticks that the corrections are under, one of each member carried for."""
        return [self.transaction("anchor.tick", anchor.Tick(_levels(each)[-1][0], bytes(32)), each) for each in carried(self.number)]

    def ticked(self, indexes: Sequence[int]) -> None:
        """Learn where the ticks stand in the log: corrections name them."""
        self.corrections = self._corrections(indexes)

    def correct(self) -> bytes:
        """Return a correction of the next version: one signature."""
        assert self.corrections is not None, "the ticks come first"
        return next(self.corrections)

    def _corrections(self, indexes: Sequence[int]) -> Iterator[bytes]:
        for index, carrier in zip(indexes, carried(self.number), strict=True):
            levels = _levels(carrier)
            for at in range(VERSIONS):
                path = [level[(at >> height) ^ 1] for height, level in enumerate(levels[:-1])]
                amended, erase, by = (digest(what, carrier, at) for what in ("version", "erase", "by"))
                yield self.transaction("anchor.correct", anchor.Correct(index, amended, erase, at, VERSIONS, path, by), carrier)

    def give(self) -> bytes:
        """Return the next grant: two signatures."""
        at, self.granted = self.granted, self.granted + 1
        control, holder, requester = self._keys(at)
        until_s = (int(time.time()) // DAY_S + 8) * DAY_S
        message = consent.Give(
            control.public_key, holder.public_key, requester.public_key, digest("commitment", self.number, at), until_s, 5
        )
        return self.transaction("consent.give", message, member(self.number), (control,))

    def record(self) -> bytes:
        """Return the first access by the next grant: four signatures."""
        at, self.used = self.used, self.used + 1
        control, holder, requester = self._keys(at)
        opens = True
        message = access.Record(access.Basis.GRANT, control.public_key, None, None, opens, digest("detail", self.number, at), b"")
        return self.transaction("access.record", message, member(self.number), (holder, requester, control))

    def of(self, mix: str, count: int) -> list[bytes]:
        """Return a load: of each 20 of the real mix, 14 have one signature, 5 two, 1 four."""
        makers = [self.correct] * 20 if mix == "single" else [self.correct] * 14 + [self.give] * 5 + [self.record]
        return [makers[n * 7 % 20]() for n in range(count)]

    def _keys(self, at: int) -> tuple[SigningKey, SigningKey, SigningKey]:
        return key("grant", self.number, at, "c"), key("grant", self.number, at, "h"), key("grant", self.number, at, "r")


def carried(number: int) -> list[str]:
    """Return the members that a validator's process carries for, itself first."""
    return [member(number), *[f"clinic-{number}-{n}" for n in range(1, CARRIED)]]


@lru_cache(CARRIED)
def _levels(carrier: str) -> list[list[bytes]]:
    levels = [[leaf_hash(version_leaf(digest("version", carrier, n), digest("erase", carrier, n))) for n in range(VERSIONS)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[n], below[n + 1]) for n in range(0, len(below), 2)])
    return levels
