"""What a wallet remembers besides its seed. A value: every act returns a new one; the process entry keeps it in an encrypted file.

Form     `shapes.pack`: deterministic CBOR. Everything secret in it but K and k follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from yilian.base.shapes import pack, unpack
from yilian.wallet.refusals import No, WalletRefused


@dataclass(frozen=True, slots=True)
class SeenHead:
    """A head that a holder signed and the wallet checked: a month's count of its own numbers, at a height."""

    month: int
    count: int
    height: int


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart at a holder: the generation of its keys, since when, K once the holder gave it, the next grant's number, the heads seen."""

    holder: str
    generation: int
    since_s: int
    chart_key: bytes | None
    height: int
    next_grant: int
    heads: tuple[SeenHead, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant that the wallet made. Indexes are None until a member or a receipt told them."""

    control_key: bytes
    number: int  # the i of its control key
    holder: str
    requester: str
    holder_key: bytes
    requester_key: bytes
    consent: bytes
    key: bytes  # k of the commitment
    signature: bytes  # by R_h over the Consent
    given_at_s: int
    expires_at_s: int
    uses_max: int
    interval_s: int | None
    given_index: int | None
    revoked_at_s: int | None
    revoked_index: int | None

    def is_live(self, now_s: int) -> bool:
        """Say whether the grant neither ended nor was revoked."""
        return self.revoked_at_s is None and now_s < self.expires_at_s


@dataclass(frozen=True, slots=True)
class WalletState:
    """All charts and grants, and the newest checkpoint that every later log must extend."""

    charts: tuple[Chart, ...] = ()
    grants: tuple[Grant, ...] = ()
    checkpoint: bytes | None = None

    def encoded(self) -> bytes:
        """Return the bytes to keep."""
        return pack(self)

    def chart(self, holder: str) -> Chart:
        """Return the chart at a holder.

        Refuses  NOT_ENROLLED
        """
        for chart in self.charts:
            if chart.holder == holder:
                return chart
        raise WalletRefused(No.NOT_ENROLLED, holder=holder)

    def grant(self, control_key: bytes) -> Grant:
        """Return the grant with this control key.

        Refuses  NO_SUCH_GRANT
        """
        for grant in self.grants:
            if grant.control_key == control_key:
                return grant
        raise WalletRefused(No.NO_SUCH_GRANT, control_key=control_key.hex())

    def grants_at(self, holder: str) -> tuple[Grant, ...]:
        """Return the grants that concern a holder's chart."""
        return tuple(grant for grant in self.grants if grant.holder == holder)

    def with_chart(self, chart: Chart) -> WalletState:
        """Return the state with a chart added or replaced."""
        others = tuple(each for each in self.charts if each.holder != chart.holder)
        return replace(self, charts=(*others, chart))

    def with_grant(self, grant: Grant) -> WalletState:
        """Return the state with a grant added or replaced in its place."""
        if not any(each.control_key == grant.control_key for each in self.grants):
            return replace(self, grants=(*self.grants, grant))
        return replace(self, grants=tuple(grant if each.control_key == grant.control_key else each for each in self.grants))


def parse_state(data: bytes) -> WalletState:
    """Return the state that `encoded` wrote.

    Raises   Malformed
    """
    return unpack(WalletState, data)
