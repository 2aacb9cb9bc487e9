"""What a copy that began with a snapshot may say of a transaction while the entries before the snapshot are missing.

A refusal that a transaction meets *because* it was entered before (its nonce is spent), or that it would not meet if the copy could find it
(its time is over, its carrier's key went), says nothing then: the true answer may lie below the snapshot (ADR-0122).
"""

from __future__ import annotations

from typing import Final

from yilian.base.refusals import Reason
from yilian.engines.faults import BeginningMissing
from yilian.engines.protocol import Committed

HIDES_AN_ENTRY: Final = frozenset({Reason.EXPIRED, Reason.NONCE_TOO_OLD, Reason.REPLAYED, Reason.UNKNOWN_KEY})


def is_unsure(said: Committed) -> bool:
    """Say whether the same bytes may have been entered before, so that this is not what became of them."""
    return said.index is None and said.reason in HIDES_AN_ENTRY


def sure(said: Committed, *, is_beginning_missing: bool) -> Committed | BeginningMissing:
    """Return an answer, or that there is none yet. `is_beginning_missing`: asked before the search, for it may end meanwhile."""
    return BeginningMissing() if is_beginning_missing and is_unsure(said) else said
