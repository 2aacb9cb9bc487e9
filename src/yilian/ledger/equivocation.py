"""Equivocation: the leaf that `apply` itself appends when the engine has proof that a validator signed two blocks of one height.

Shape    `CBOR(["equivocation", network id, member, height])`; no transaction has such bytes, for a transaction is tagged (ADR-0013).
Follows  the member is suspended from that leaf on; who reads the log from a file must find it there (ADR-0120).
"""

from __future__ import annotations

from dataclasses import dataclass

from yilian.base.codec import Malformed, decode, encode

FORM = "equivocation"


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Which member's validator was proven to equivocate; `height` is that of the block which says so."""

    network: bytes
    member: str
    height: int

    def encoded(self) -> bytes:
        """Return the leaf's bytes."""
        return encode([FORM, self.network, self.member, self.height])


def parse_equivocation(data: bytes) -> Equivocation:
    """Return what a leaf says.

    Raises   Malformed, also for a leaf of another form
    """
    match decode(data):
        case [str(form), bytes(network), str(member), int(height)] if form == FORM and member.isascii():
            return Equivocation(network, member, height)
        case _:
            raise Malformed("NOT_AN_EQUIVOCATION")
