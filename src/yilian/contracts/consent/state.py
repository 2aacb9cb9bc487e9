"""Consent: what the ledger remembers of a grant. No patient, no member, no parent: one-time keys and numbers.

Row      `c/ control_key` -> `[holder_key, requester_key, commitment, expires_at_s, uses_max, uses, interval_s, session_from_s,
         session_until_s, entries, state]`; the grant's id is its `control_key`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from yilian.base.codec import encode, load
from yilian.base.kinds import StateView, Table, Writes

PREFIX = b"c/"


class State(IntEnum):
    """What became of a grant by its own key; that it has ended is computed from `expires_at_s`."""

    GIVEN = 1
    REVOKED = 2


@dataclass(frozen=True, slots=True)
class Grant:
    """A patient's signed permission, as far as strangers may know it. `session_until_s` is 0 before the first session."""

    control_key: bytes
    holder_key: bytes
    requester_key: bytes
    commitment: bytes  # of the FHIR Consent
    expires_at_s: int
    uses_max: int
    uses: int  # sessions opened
    interval_s: int | None  # of a standing grant: least time between two openings
    session_from_s: int
    session_until_s: int
    entries: int  # accesses entered; also the number of the next tag
    state: State


STATE = (Table(PREFIX, "control_key (32 bytes)", Grant, "is the grant alive, may a session open, which tag comes next"),)


def read(view: StateView, control_key: bytes) -> Grant | None:
    """Return the grant with this control key, or None."""
    value = view.get(PREFIX + control_key)
    return None if value is None else grant_of(control_key, value)


def grant_of(control_key: bytes, value: bytes) -> Grant:
    """Return the grant that a row holds."""
    row: Any = load(value)
    holder_key, requester_key, commitment, expires_at_s, uses_max, uses, interval_s, from_s, until_s, entries, given_or_revoked = row
    return Grant(
        control_key,
        holder_key,
        requester_key,
        commitment,
        expires_at_s,
        uses_max,
        uses,
        interval_s,
        from_s,
        until_s,
        entries,
        State(given_or_revoked),
    )


def write(grant: Grant) -> Writes:
    """Return the row of a grant."""
    row = [
        grant.holder_key,
        grant.requester_key,
        grant.commitment,
        grant.expires_at_s,
        grant.uses_max,
        grant.uses,
        grant.interval_s,
        grant.session_from_s,
        grant.session_until_s,
        grant.entries,
        grant.state,
    ]
    return {PREFIX + grant.control_key: encode(row)}
