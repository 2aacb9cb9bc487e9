"""What a node answers instead of doing what was asked. A rule's `Refused` is passed on as it is; these are the node's own.

Numbers are permanent and append-only: 9000s, so that they cannot be taken for a rule's. Facts are identifiers and numbers, never
health data.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from yilian.base.refusals import Refused


class No(IntEnum):
    """Why a node did not. A name states a fact; a number is never used again."""

    # who asks
    TOKEN_MISSING = 9001
    TOKEN_NOT_VALID = 9002
    PROOF_NOT_VALID = 9003
    ASSERTION_NOT_VALID = 9004
    ASSERTION_USED = 9005
    MEMBER_NOT_ACTIVE = 9006
    CREDENTIAL_NOT_LIVE = 9007
    PRACTITIONER_DID_NOT_SIGN = 9008
    TOKEN_SAYS_ANOTHER = 9009
    # by what right
    NO_GRANT = 9020
    CONSENT_NOT_COMMITTED = 9021
    CONSENT_NOT_SIGNED = 9022
    CONSENT_NOT_UNDERSTOOD = 9023
    CONSENT_SAYS_ANOTHER = 9024
    KEY_NOT_ENROLLED = 9025
    REVOKED_DIRECTLY = 9026
    REASON_MISSING = 9028
    ARTEFACTS_NOT_OPENED = 9029
    NOT_FOR_EMERGENCIES = 9030
    NO_SUCH_PATIENT = 9031
    # presence
    PRESENCE_REQUIRED = 9040
    PRESENCE_NOT_VALID = 9041
    PRESENCE_ENDED = 9042
    PRESENCE_USED = 9043
    # the request
    NOT_READABLE = 9050
    REQUEST_ID_USED = 9051
    REQUEST_TOO_OLD = 9052
    NOT_PREPARED = 9053
    APPROVAL_NOT_VALID = 9054
    RELEASE_TOO_LATE = 9055
    SESSION_NOT_COSIGNED = 9056
    RELEASED_ALREADY = 9057
    # enrolment
    OFFER_NOT_KNOWN = 9070
    OFFER_ENDED = 9071
    LEVEL_TOO_LOW = 9072
    NOT_TWO_STAFF = 9073
    POSSESSION_NOT_SHOWN = 9074
    KEY_IS_LIVE = 9075
    KEY_OF_ANOTHER = 9076
    INTRODUCTION_NOT_AVAILABLE = 9077
    # carriage
    KIND_NOT_CARRIED = 9080
    HEADER_NOT_KNOWN = 9081
    TOO_MANY_REQUESTS = 9082
    NONCES_EXHAUSTED = 9083
    # revocation told directly
    REVOCATION_NOT_SIGNED = 9090
    # the patient's own view
    NOT_SIGNED_BY_PATIENT = 9100
    STATEMENT_ENDED = 9101
    # the requester's own side
    HOLDER_NOT_KNOWN = 9110
    OFFER_NOT_AS_ASKED = 9111
    AUDIT_NOT_AS_ASKED = 9112
    DETAIL_NOT_OF_AUDIT = 9113
    ENTRY_NOT_FINAL = 9114
    RESPONSE_NOT_AS_AUDITED = 9115
    GRANT_NOT_OURS = 9116
    # what the node stands on
    LEDGER_UNREACHABLE = 9120
    STORAGE_FAILED = 9121
    HOLDER_UNREACHABLE = 9122
    SHUTTING_DOWN = 9123
    NETWORK_MAKES_NO_BLOCKS = 9124
    TOO_MANY_WAITING = 9125
    HEIGHT_NOT_REACHED = 9126
    BEGINNING_MISSING = 9127
    # the shape of what was sent
    NOT_UNDERSTOOD = 9130
    # receipts and anchors
    NOT_FINAL_YET = 9140
    NO_SUCH_LEAF = 9141
    NOT_A_TRANSACTION = 9142
    RECEIPT_NOT_AVAILABLE = 9143
    SPLIT_VIEW = 9144
    NOT_ANCHORED = 9145
    RECORD_ERASED = 9146
    # referrals
    NOT_SENT_BY_THAT_MEMBER = 9150
    MESSAGE_NOT_OPENED = 9151
    MESSAGE_ID_USED = 9152
    NO_SUCH_REFERRAL_HERE = 9153
    NOT_THIS_SIDE = 9154
    REFERRAL_NOT_COMMITTED = 9155
    GRANT_NOT_FINAL = 9156
    REFERRAL_STAGE_WRONG = 9157
    SUMMARY_MISSING = 9158
    MESSAGE_TOO_OLD = 9159
    # examinations
    RESULT_VALID = 9160
    EXCEPTION_NOT_KNOWN = 9161


RETRY_AFTER_S: Final = 5  # design 02: no answer in 5 s, try again (elsewhere)
_UNAUTHORIZED = {No.TOKEN_MISSING, No.TOKEN_NOT_VALID, No.PROOF_NOT_VALID, No.ASSERTION_NOT_VALID, No.ASSERTION_USED}
_CONFLICT = {
    No.REQUEST_ID_USED,
    No.KEY_IS_LIVE,
    No.KEY_OF_ANOTHER,
    No.HEADER_NOT_KNOWN,
    No.NOT_PREPARED,
    No.PRESENCE_USED,
    No.RELEASED_ALREADY,
    No.MESSAGE_ID_USED,
    No.REFERRAL_STAGE_WRONG,
    No.NOT_ANCHORED,
    No.RESULT_VALID,
}
_BAD = {No.NOT_UNDERSTOOD, No.NOT_READABLE, No.APPROVAL_NOT_VALID, No.SUMMARY_MISSING, No.EXCEPTION_NOT_KNOWN}
_NOT_FOUND = {No.NO_SUCH_LEAF, No.NOT_A_TRANSACTION, No.NO_SUCH_REFERRAL_HERE, No.NOT_FINAL_YET}
_GONE = {No.REQUEST_TOO_OLD, No.RELEASE_TOO_LATE, No.OFFER_ENDED, No.MESSAGE_TOO_OLD, No.RECORD_ERASED}
_UNAVAILABLE = {
    No.LEDGER_UNREACHABLE,
    No.STORAGE_FAILED,
    No.HOLDER_UNREACHABLE,
    No.SHUTTING_DOWN,
    No.NETWORK_MAKES_NO_BLOCKS,
    No.TOO_MANY_WAITING,
    No.HEIGHT_NOT_REACHED,
    No.BEGINNING_MISSING,
    No.NONCES_EXHAUSTED,
    No.RECEIPT_NOT_AVAILABLE,
}


class NodeRefused(Exception):
    """A node said no: a reason and its facts; the HTTP status follows from the reason."""

    def __init__(self, no: No, **facts: int | str | bytes) -> None:
        """Keep the reason and its facts; facts are public."""
        super().__init__(no, facts)
        self.no = no
        self.facts = facts

    def __str__(self) -> str:
        """Say the number, the name and the facts."""
        return said(self)


Refusal = Refused | NodeRefused


def number_and_name(refusal: Refusal) -> tuple[int, str]:
    """Return a refusal's permanent number and its name."""
    reason: IntEnum = refusal.no if isinstance(refusal, NodeRefused) else refusal.reason
    return int(reason), reason.name


def said(refusal: Refusal) -> str:
    """Return `9021 CONSENT_NOT_COMMITTED(fact=1)`."""
    number, name = number_and_name(refusal)
    shown = ", ".join(f"{key}={value.hex() if isinstance(value, bytes) else value}" for key, value in refusal.facts.items())
    return f"{number} {name}" + (f"({shown})" if shown else "")


def status_of(refusal: Refusal) -> int:
    """Return the HTTP status of a refusal: 403 unless the reason says otherwise."""
    if isinstance(refusal, Refused):
        return 403
    for reasons, status in ((_UNAUTHORIZED, 401), (_CONFLICT, 409), (_BAD, 400), (_NOT_FOUND, 404), (_GONE, 410), (_UNAVAILABLE, 503)):
        if refusal.no in reasons:
            return status
    return 429 if refusal.no is No.TOO_MANY_REQUESTS else 403


def demand(holds: bool, no: No, **facts: int | str | bytes) -> None:  # noqa: FBT001 - reads as the sentence it is
    """Refuse with `no` and `facts` unless `holds`."""
    if not holds:
        raise NodeRefused(no, **facts)
