"""Referral: what a transaction may say. Kind numbers are permanent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from yilian.base.kinds import Digest32, FieldType, Key32

REQUEST, ACCEPT, REJECT, START, COMPLETE, DOWN, CANCEL, DECLARE = 50, 51, 52, 53, 54, 55, 56, 57

DECLARED_MAX = 10_000  # ADR-0046: more than a member avoids in a day; a slip of the keyboard is refused

Count = Annotated[int, FieldType(f"uint(1..{DECLARED_MAX})", lambda value: type(value) is int and 1 <= value <= DECLARED_MAX)]


@dataclass(frozen=True, slots=True)
class Request:
    """A referral is requested. Both keys are fresh and serve this referral only."""

    from_key: Key32
    to_key: Key32
    commitment: Digest32


@dataclass(frozen=True, slots=True)
class Accept:
    """The receiving member accepts."""

    from_key: Key32


@dataclass(frozen=True, slots=True)
class Reject:
    """The receiving member does not accept."""

    from_key: Key32


@dataclass(frozen=True, slots=True)
class Start:
    """The patient has come."""

    from_key: Key32


@dataclass(frozen=True, slots=True)
class Complete:
    """The receiving member has done its part."""

    from_key: Key32


@dataclass(frozen=True, slots=True)
class Down:
    """The patient is returned to the community."""

    from_key: Key32


@dataclass(frozen=True, slots=True)
class Cancel:
    """Either side calls it off."""

    from_key: Key32


@dataclass(frozen=True, slots=True)
class Declare:
    """A member declares examinations that it did not repeat since its last declaration."""

    count: Count


Step = Accept | Reject | Start | Complete | Down
