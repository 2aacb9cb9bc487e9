"""Anchor: what the ledger remembers of ticks and corrections.

Rows     `k/l/ member` a member's last tick; `k/t/ index` a tick (8 bytes big-endian, the log index of its entry);
         `k/c/ index commitment` a correction of the version that stands under the tick at `index`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yilian.base.codec import encode, load
from yilian.base.kinds import StateView, Table, Writes

PREFIX = b"k/"
LAST_PREFIX, TICK_PREFIX, CORRECTION_PREFIX = b"k/l/", b"k/t/", b"k/c/"


@dataclass(frozen=True, slots=True)
class LastTick:
    """When a member ticked last, and the entry that says so."""

    index: int
    at_s: int


@dataclass(frozen=True, slots=True)
class Tick:
    """What a member had written since its last tick: the root of its record versions, the root of its own staff's readings."""

    member: str
    records_root: bytes
    own_care_root: bytes


@dataclass(frozen=True, slots=True)
class Correction:
    """The commitment of the version that amends another."""

    amending: bytes


STATE = (
    Table(LAST_PREFIX, "member id (ASCII)", LastTick, "one tick a window; is the member alive"),
    Table(TICK_PREFIX, "log index (8 bytes)", Tick, "what existed when"),
    Table(CORRECTION_PREFIX, "log index (8 bytes), commitment (32 bytes)", Correction, "one correction of a version"),
)


def write_last(member: str, last: LastTick) -> Writes:
    """Return the row of a member's last tick."""
    return {LAST_PREFIX + member.encode(): encode([last.index, last.at_s])}


def last_tick(view: StateView, member: str) -> LastTick | None:
    """Return a member's last tick, or None before its first."""
    value = view.get(LAST_PREFIX + member.encode())
    if value is None:
        return None
    row: Any = load(value)
    index, at_s = row
    return LastTick(index, at_s)


def write_tick(index: int, tick: Tick) -> Writes:
    """Return the row of a tick."""
    return {TICK_PREFIX + index.to_bytes(8, "big"): encode([tick.member, tick.records_root, tick.own_care_root])}


def tick(view: StateView, index: int) -> Tick | None:
    """Return the tick entered at `index`, or None if that entry is none."""
    value = view.get(TICK_PREFIX + index.to_bytes(8, "big"))
    if value is None:
        return None
    row: Any = load(value)
    member, records_root, own_care_root = row
    return Tick(member, records_root, own_care_root)


def write_correction(index: int, amended: bytes, correction: Correction) -> Writes:
    """Return the row of a correction."""
    return {CORRECTION_PREFIX + index.to_bytes(8, "big") + amended: encode(correction.amending)}


def correction(view: StateView, index: int, amended: bytes) -> Correction | None:
    """Return what amends the version `amended` under the tick at `index`, or None."""
    value = view.get(CORRECTION_PREFIX + index.to_bytes(8, "big") + amended)
    if value is None:
        return None
    amending: Any = load(value)
    return Correction(amending)
