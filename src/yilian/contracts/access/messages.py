"""Access: what a transaction may say. Kind numbers, reasons and outcomes are permanent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from yilian.base.kinds import Bytes2048, Digest32, FieldType, Flag, Key32, Tag16, Uint

RECORD, SKIP, UNSENT, DISPUTE, REVIEW = 30, 31, 32, 33, 34


class UnsentReason(IntEnum):
    """Why nothing left after an entry (design 04, step 6 and "After a restart")."""

    REVOKED = 1
    TOO_LATE = 2
    INTERRUPTED = 3


class Outcome(IntEnum):
    """What a second person found about an emergency."""

    JUSTIFIED = 1
    TOO_WIDE = 2
    UNJUSTIFIED = 3


UnsentNumber = Annotated[int, FieldType("uint(1..3)", lambda value: type(value) is int and value in tuple(UnsentReason))]
OutcomeNumber = Annotated[int, FieldType("uint(1..3)", lambda value: type(value) is int and value in tuple(Outcome))]


@dataclass(frozen=True, slots=True)
class Record:
    """An access: entered before any byte leaves. Which of the optional fields stand depends on the basis."""

    basis: Uint
    grant: Key32 | None  # control key; basis grant
    session: Tag16 | None  # tag of the opening; later pages of an emergency
    tag: Tag16 | None  # every basis but grant, whose tag the ledger computes
    opens: Flag
    detail: Digest32
    memo: Bytes2048


@dataclass(frozen=True, slots=True)
class Skip:
    """A tag that was allocated and will never be recorded."""

    tag: Tag16


@dataclass(frozen=True, slots=True)
class Unsent:
    """After the entry at `index` no byte was sent."""

    index: Uint
    reason: UnsentNumber


@dataclass(frozen=True, slots=True)
class Dispute:
    """The patient disputes the entry at `index`, and commits to why."""

    index: Uint
    commitment: Digest32


@dataclass(frozen=True, slots=True)
class Review:
    """The emergency entered at `index` has been reviewed."""

    index: Uint
    outcome: OutcomeNumber
