"""Screening: what can be said of a transaction before its turn: its form, its network, its key and every signature on it.

A function of the bytes and of the key table of the last final state, so that every replica and every worker process says the same.
Nonce, `exp` and rules are judged only when the block is applied (design 02 "Verdicts").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from yilian.base.keys import Signed, are_signed
from yilian.base.refusals import Reason, Refused, require
from yilian.base.transaction import Transaction, parse

KeyTable = Mapping[bytes, tuple[str, bytes]]  # kid -> member id, node key; active members only
Verify = Callable[[Sequence[Signed]], Sequence[bool]]
_Claim = tuple[int, Signed]  # the place of its transaction, and what is claimed


class Screened(NamedTuple):
    """A transaction whose form, network, carrier and signatures are good; a fact about bytes and one public key, true for ever."""

    transaction: Transaction
    carrier: str
    carrier_key: bytes


def screen(network: bytes, keys: KeyTable, data: bytes) -> Screened:
    """Return what the transaction is, with every signature on it checked.

    Refuses  BAD_BYTES, TOO_LARGE, TOO_MANY_APPROVALS, APPROVED_TWICE, WRONG_NETWORK, UNKNOWN_KEY, WRONG_ISSUER, BAD_SIGNATURE, BAD_APPROVAL
    """
    (said,) = screen_all(network, keys, [data])
    if isinstance(said, Refused):
        raise said
    return said


def screen_all(network: bytes, keys: KeyTable, batch: Iterable[bytes], verify: Verify = are_signed) -> list[Screened | Refused]:
    """Return what `screen` says of each, a refusal too; `verify` says of many claims at once what `is_signed` says of each.

    All are read before any signature is checked: two kinds of work that take turns push each other out of the processor's caches, which
    costs 6 us of 95 for each. The envelopes are one question, the first approvals of all that still hold the next, then their second ones:
    after the first signature that is false nothing more of its transaction is checked, or whoever sends sixteen would cost sixteen.
    """
    said: list[Screened | Refused] = []
    for data in batch:
        try:
            said.append(_recognised(network, keys, data))
        except Refused as no:
            said.append(no.with_traceback(None))  # which would keep this very list alive
    _refuse(said, _envelopes(said), verify, lambda _: Refused(Reason.BAD_SIGNATURE))
    for number in range(max([len(one.transaction.approvals) for one in said if isinstance(one, Screened)], default=0)):
        _refuse(said, _approvals(said, number), verify, lambda claim: Refused(Reason.BAD_APPROVAL, key=claim.public_key))
    return said


def _recognised(network: bytes, keys: KeyTable, data: bytes) -> Screened:
    """Return what the transaction says it is; no signature has been looked at."""
    transaction = parse(data)
    header = transaction.header
    require(header.network == network, Reason.WRONG_NETWORK)
    known = keys.get(header.kid)
    if known is None:
        raise Refused(Reason.UNKNOWN_KEY, kid=header.kid)
    carrier, carrier_key = known
    require(header.issuer == carrier, Reason.WRONG_ISSUER)
    return Screened(transaction, carrier, carrier_key)


def _envelopes(said: Sequence[Screened | Refused]) -> list[_Claim]:
    """Return, with its place, what each carrier is said to have signed."""
    found = [(place, one) for place, one in enumerate(said) if isinstance(one, Screened)]
    return [(place, Signed(one.carrier_key, one.transaction.signed_bytes(), one.transaction.signature)) for place, one in found]


def _approvals(said: Sequence[Screened | Refused], number: int) -> list[_Claim]:
    """Return, with its place, what the approver of that number is said to have signed, of each that is not refused yet and has so many."""
    claims: list[_Claim] = []
    for place, one in enumerate(said):
        if isinstance(one, Screened) and len(one.transaction.approvals) > number:
            key, signature = one.transaction.approvals[number]
            claims.append((place, Signed(key, one.transaction.approved_bytes(), signature)))
    return claims


def _refuse(said: list[Screened | Refused], claims: Sequence[_Claim], verify: Verify, no: Callable[[Signed], Refused]) -> None:
    """Put a refusal in the place of each transaction of which the claim is false."""
    if claims:
        for (place, claim), is_true in zip(claims, verify([claim for _, claim in claims]), strict=True):
            if not is_true:
                said[place] = no(claim)
