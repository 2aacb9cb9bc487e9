"""Consent: what a transaction may say. Kind numbers are permanent."""

from __future__ import annotations

from dataclasses import dataclass

from yilian.base.kinds import Digest32, Key32, Uint

GIVE, REVOKE = 20, 21


@dataclass(frozen=True, slots=True)
class Give:
    """A patient gives a grant. The three keys are fresh and serve this grant only."""

    control_key: Key32
    holder_key: Key32
    requester_key: Key32
    commitment: Digest32
    expires_at_s: Uint
    uses_max: Uint
    interval_s: Uint | None = None


@dataclass(frozen=True, slots=True)
class Revoke:
    """A patient ends a grant. One per transaction; for ever."""

    control_key: Key32
