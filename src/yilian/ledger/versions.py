"""Rule versions: which kinds exist at a height, and who decides each. A released version is copied, never edited (design 01, 02)."""

from __future__ import annotations

from yilian.base.keys import kid_of
from yilian.base.kinds import Act, Kind, StateView, Writes, by_number
from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import Transaction
from yilian.contracts import access, anchor, consent, directory, referral
from yilian.ledger.composed import COMPOSED
from yilian.ledger.screening import KeyTable

Rules = dict[int, Kind]

VERSIONS: dict[int, Rules] = {
    1: by_number(directory.KINDS, consent.KINDS, access.KINDS, anchor.KINDS, referral.KINDS),
}
NEWEST = max(VERSIONS)


class VersionMissing(RuntimeError):
    """The network has moved to rules that this software does not have; the node must stop until it is upgraded."""

    def __init__(self, version: int) -> None:
        """Say which version is missing."""
        sentence = f"the network runs rules version {version}, this software has up to {NEWEST}"
        super().__init__(f"{sentence}: install a newer release, then start again")


def rules_of(version: int) -> Rules:
    """Return the kinds of a rules version.

    Raises   VersionMissing
    """
    if version not in VERSIONS:
        raise VersionMissing(version)
    return VERSIONS[version]


def decide(rules: Rules, view: StateView, keys: KeyTable, transaction: Transaction, act: Act) -> Writes:
    """Return what one transaction writes.

    Refuses  UNKNOWN_KIND, WRONG_SUBJECT, BAD_SHAPE, and what its contract refuses
    """
    kind = rules.get(transaction.kind)
    if kind is None:
        raise Refused(Reason.UNKNOWN_KIND, kind=transaction.kind)
    if transaction.header.subject != kind.name:
        raise Refused(Reason.WRONG_SUBJECT, kind=transaction.kind)
    message = kind.read(transaction.body)
    if kind.asks_members and (members := _members(keys, transaction)):
        act = act.approved_by_members(members)
    if kind.decide is not None:
        return kind.decide(view, message, act)
    return COMPOSED[kind.number](view, message, act)


def _members(keys: KeyTable, transaction: Transaction) -> tuple[str, ...]:
    """Return the members whose node keys are among the approvals, in ascending order."""
    found = [(key, keys.get(kid_of(key))) for key, _ in transaction.approvals]
    return tuple(sorted([known[0] for key, known in found if known is not None and known[1] == key]))
