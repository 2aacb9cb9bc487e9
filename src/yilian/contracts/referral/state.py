"""Referral: what the ledger remembers of a referral and of avoided repeat examinations.

Rows     `r/f/ from_key` a referral; `r/u/ member` how many examinations a member says it did not repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from yilian.base.codec import encode, load
from yilian.base.kinds import StateView, Table, Writes

PREFIX = b"r/"
REFERRAL_PREFIX, REUSE_PREFIX = b"r/f/", b"r/u/"


class Stage(IntEnum):
    """Where a referral stands; rejected, down and cancelled are ends."""

    REQUESTED = 1
    ACCEPTED = 2
    REJECTED = 3
    IN_PROGRESS = 4
    COMPLETED = 5
    DOWN = 6
    CANCELLED = 7


@dataclass(frozen=True, slots=True)
class Referral:
    """A patient is sent from one member to another: two one-time keys, a commitment to ServiceRequest and Task."""

    from_key: bytes
    to_key: bytes
    commitment: bytes
    stage: Stage
    changed_at_s: int


@dataclass(frozen=True, slots=True)
class Reuse:
    """Examinations that a member did not repeat, summed over its declarations."""

    avoided: int


STATE = (
    Table(REFERRAL_PREFIX, "from_key (32 bytes)", Referral, "what may happen next; the referral statistics"),
    Table(REUSE_PREFIX, "member id (ASCII)", Reuse, "avoided repeat examinations"),
)


def write(referral: Referral) -> Writes:
    """Return the row of a referral."""
    row = [referral.to_key, referral.commitment, referral.stage, referral.changed_at_s]
    return {REFERRAL_PREFIX + referral.from_key: encode(row)}


def read(view: StateView, from_key: bytes) -> Referral | None:
    """Return the referral made by this key, or None."""
    value = view.get(REFERRAL_PREFIX + from_key)
    return None if value is None else referral_of(from_key, value)


def beginning(view: StateView, first: bytes) -> Iterator[Referral]:
    """Yield the referrals whose `from_key` begins so, ascending."""
    for key, value in view.scan(REFERRAL_PREFIX + first):
        yield referral_of(key[len(REFERRAL_PREFIX) :], value)


def referral_of(from_key: bytes, value: bytes) -> Referral:
    """Return the referral that a row holds."""
    row: Any = load(value)
    to_key, commitment, stage, changed_at_s = row
    return Referral(from_key, to_key, commitment, Stage(stage), changed_at_s)


def write_reuse(member: str, reuse: Reuse) -> Writes:
    """Return the row of a member's avoided examinations."""
    return {REUSE_PREFIX + member.encode(): encode(reuse.avoided)}


def reuse(view: StateView, member: str) -> Reuse:
    """Return a member's avoided examinations; none before its first declaration."""
    value = view.get(REUSE_PREFIX + member.encode())
    avoided: Any = 0 if value is None else load(value)
    return Reuse(avoided)
