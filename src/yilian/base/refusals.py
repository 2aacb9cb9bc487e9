"""Refusals: answers that say no, with a permanent number and facts. Anything else that is raised is our defect (design 01).

Facts are identifiers and numbers, never health data: they are public.
Numbers  1-99 the envelope; 1000s consent; 4000s access; 5000s anchor; 6000s referral; 7000s directory. Append-only.
"""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Why something was refused. A name states a fact; a number is never used again."""

    # the envelope: nothing is written but the spent nonce
    BAD_BYTES = 1
    TOO_LARGE = 2
    WRONG_NETWORK = 3
    UNKNOWN_KEY = 4
    BAD_SIGNATURE = 5
    EXPIRED = 6
    TOO_FAR_AHEAD = 7
    REPLAYED = 8
    NONCE_TOO_OLD = 9
    NONCE_TOO_FAR = 10
    UNKNOWN_KIND = 11
    WRONG_SUBJECT = 12
    BAD_APPROVAL = 13
    APPROVED_TWICE = 14
    TOO_MANY_APPROVALS = 15
    BAD_SHAPE = 16
    MEMBER_SUSPENDED = 17
    WRONG_ISSUER = 18

    # consent
    NOT_APPROVED_BY_CONTROL_KEY = 1001
    GRANT_EXISTS = 1002
    GRANT_END_NOT_ALLOWED = 1003
    USES_NOT_ALLOWED = 1004
    INTERVAL_NOT_ALLOWED = 1005
    KEYS_NOT_DISTINCT = 1006
    NO_SUCH_GRANT = 1007
    ALREADY_REVOKED = 1008
    GRANT_REVOKED = 1009
    GRANT_ENDED = 1010
    SESSION_ENDED = 1011
    USES_EXHAUSTED = 1012
    INTERVAL_NOT_OVER = 1013

    # access
    NOT_APPROVED_BY_HOLDER_KEY = 4001
    NOT_APPROVED_BY_REQUESTER_KEY = 4002
    NOT_APPROVED_BY_TAG_KEY = 4003
    TAG_USED = 4004
    NOT_APPROVED_BY_A_MEMBER = 4005
    EMERGENCY_QUOTA = 4006
    REVIEWS_FULL = 4007
    NO_SUCH_SESSION = 4008
    EMERGENCY_SESSION_ENDED = 4009
    NOT_THE_SESSION_MEMBER = 4010
    NO_SUCH_ENTRY = 4011
    ALREADY_UNSENT = 4012
    ALREADY_DISPUTED = 4013
    NO_REVIEW_DUE = 4014
    ISSUED_TOO_LONG = 4015
    MEMO_SIZE_WRONG = 4016
    NOT_THE_GRANTS_CONTROL_KEY = 4017

    # anchor
    TICKED_ALREADY = 5001
    NO_SUCH_TICK = 5002
    NOT_UNDER_ROOT = 5003
    ALREADY_CORRECTED = 5004
    NOT_THE_TICK_MEMBER = 5005

    # referral
    NOT_APPROVED_BY_FROM_KEY = 6001
    NOT_APPROVED_BY_TO_KEY = 6002
    REFERRAL_EXISTS = 6003
    NO_SUCH_REFERRAL = 6004
    NOT_AT_THIS_STAGE = 6005
    REFERRAL_KEYS_NOT_DISTINCT = 6006
    NEITHER_PARTY_APPROVED = 6007
    REUSE_NOT_APPROVED_BY_A_MEMBER = 6008

    # directory
    NOT_A_VOTER = 7001
    NOT_THE_REGULATOR = 7002
    NO_SUCH_MEMBER = 7003
    MEMBER_EXISTS = 7004
    KEY_IN_USE = 7005
    PROPOSAL_EXISTS = 7006
    NO_SUCH_PROPOSAL = 7007
    ALREADY_VOTED = 7008
    PROPOSAL_CLOSED = 7009
    CREDENTIAL_EXISTS = 7010
    NO_SUCH_CREDENTIAL = 7011
    NOT_THE_CREDENTIALS_MEMBER = 7012
    CREDENTIAL_END_NOT_ALLOWED = 7013
    VERSION_TOO_SOON = 7014
    VERSION_NOT_NEWER = 7015
    ALREADY_SUSPENDED = 7016
    NOT_SUSPENDED = 7017
    NO_SUCH_PARAMETER = 7018
    PARAMETER_OUT_OF_RANGE = 7019
    CREDENTIAL_ENDED = 7020
    PROPOSAL_NO_LONGER_APPLIES = 7021
    NO_POWER_LEFT = 7022
    MEMBER_REMOVED = 7023


class Refused(Exception):
    """A rule said no: a reason and the facts it was given."""

    def __init__(self, reason: Reason, **facts: int | str | bytes) -> None:
        """Keep the reason and its facts; facts are public."""
        super().__init__(reason, facts)
        self.reason = reason
        self.facts = facts

    def __str__(self) -> str:
        """Say the number, the name and the facts: `1004 USES_NOT_ALLOWED(uses_max=7)`."""
        shown = ", ".join(f"{name}={value.hex() if isinstance(value, bytes) else value}" for name, value in self.facts.items())
        return f"{int(self.reason)} {self.reason.name}" + (f"({shown})" if shown else "")


def require(holds: bool, reason: Reason, **facts: int | str | bytes) -> None:  # noqa: FBT001 - reads as the sentence it is
    """Refuse with `reason` and `facts` unless `holds`."""
    if not holds:
        raise Refused(reason, **facts)
