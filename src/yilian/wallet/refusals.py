"""Why a wallet did not: its person's safeguard, so each reason is a fact that a screen can say."""

from enum import StrEnum


class No(StrEnum):
    """Reasons. They are words, not numbers: no ledger ever holds them."""

    ANOTHER_NETWORK = "ANOTHER_NETWORK"
    NO_SUCH_MEMBER = "NO_SUCH_MEMBER"
    MEMBER_NOT_ACTIVE = "MEMBER_NOT_ACTIVE"
    CHANGES_NOT_PROVEN = "CHANGES_NOT_PROVEN"
    NOT_SIGNED_BY_MEMBER = "NOT_SIGNED_BY_MEMBER"
    # enrolment
    CHART_IS_LIVE = "CHART_IS_LIVE"
    NONCE_NOT_32_BYTES = "NONCE_NOT_32_BYTES"
    NOT_ENROLLED = "NOT_ENROLLED"
    ANOTHER_RELATIONSHIP = "ANOTHER_RELATIONSHIP"
    CHART_KEY_NOT_OPENED = "CHART_KEY_NOT_OPENED"
    CHART_KEY_CHANGED = "CHART_KEY_CHANGED"
    # grants
    GRANT_KEY_ENDED = "GRANT_KEY_ENDED"
    GRANT_KEY_OF_ANOTHER_MEMBER = "GRANT_KEY_OF_ANOTHER_MEMBER"
    GRANT_KEY_USED = "GRANT_KEY_USED"
    END_NOT_ALLOWED = "END_NOT_ALLOWED"
    USES_NOT_ALLOWED = "USES_NOT_ALLOWED"
    INTERVAL_NOT_ALLOWED = "INTERVAL_NOT_ALLOWED"
    TERMS_NOT_SAYABLE = "TERMS_NOT_SAYABLE"
    NO_SUCH_GRANT = "NO_SUCH_GRANT"
    ENTROPY_NOT_32_BYTES = "ENTROPY_NOT_32_BYTES"
    # approvals
    NOT_A_HEADER = "NOT_A_HEADER"
    HEADER_OF_ANOTHER_KIND = "HEADER_OF_ANOTHER_KIND"
    HEADER_ENDED = "HEADER_ENDED"
    HEADER_TOO_FAR_AHEAD = "HEADER_TOO_FAR_AHEAD"
    # presence
    CHALLENGE_NOT_FRESH = "CHALLENGE_NOT_FRESH"
    UNTIL_NOT_ALLOWED = "UNTIL_NOT_ALLOWED"
    NOT_WHOM_THE_PERSON_SEES = "NOT_WHOM_THE_PERSON_SEES"
    PURPOSE_NOT_KNOWN = "PURPOSE_NOT_KNOWN"
    # receipts
    NOT_A_RECEIPT_OF_OURS = "NOT_A_RECEIPT_OF_OURS"
    # the process
    BAD_REQUEST = "BAD_REQUEST"
    NO_SUCH_WALLET = "NO_SUCH_WALLET"
    WALLET_EXISTS = "WALLET_EXISTS"
    WRONG_PASSPHRASE = "WRONG_PASSPHRASE"  # noqa: S105 - a reason, no secret
    WALLET_DAMAGED = "WALLET_DAMAGED"
    HOME_IN_USE = "HOME_IN_USE"


class WalletRefused(Exception):
    """The wallet said no: a reason and its facts (identifiers and numbers)."""

    def __init__(self, no: No, **facts: str | int) -> None:
        super().__init__(no, facts)
        self.no = no
        self.facts = facts

    def __str__(self) -> str:
        """Say the reason and the facts."""
        shown = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.no}({shown})" if shown else str(self.no)


def must(holds: bool, no: No, **facts: str | int) -> None:  # noqa: FBT001 - reads as the sentence it is
    """Refuse with `no` and `facts` unless `holds`."""
    if not holds:
        raise WalletRefused(no, **facts)
