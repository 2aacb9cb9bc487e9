"""A member's keys as the use cases of this floor name them, on top of its vault.

Token key   signs client assertions and access tokens; drawn, apart from the node key, so that the process that logs in need not be able to
            carry transactions. The node key's signature binds it (ADR-0071).
Threads     what waits for a disk runs in a thread: the event loop serves others meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from yilian.base.artefacts import detail_key, entry_seed, month_key
from yilian.base.keys import SigningKey
from yilian.vault import BodyCipher, Kind, Vault

_TOKEN_KEY = b"token-key"


@dataclass(frozen=True, slots=True)
class Keys:
    """The vault of one member in one network."""

    vault: Vault
    network: bytes
    cipher: BodyCipher
    token_key: SigningKey

    @classmethod
    def of(cls, vault: Vault, network: bytes) -> Keys:
        """Return the keys that `vault` holds; the token key is drawn on first use."""
        return cls(vault, network, BodyCipher(vault), SigningKey(vault.draw(Kind.OTHER, _TOKEN_KEY)))

    @property
    def node_key(self) -> SigningKey:
        """Return the key that signs envelopes."""
        return self.vault.node_key

    async def new_grant_key(self) -> SigningKey:
        """Return a fresh one-time key; its id is on disk when this returns."""
        return await asyncio.to_thread(self.vault.new_grant_key, self.network)

    def grant_key(self, public_key: bytes) -> SigningKey | None:
        """Return the pair of a one-time key of ours, or None."""
        return self.vault.grant_key(self.network, public_key)

    async def destroy_grant_keys(self, public_keys: Sequence[bytes]) -> None:
        """Forget one-time keys for good."""
        await asyncio.to_thread(self.vault.destroy_grant_keys, public_keys)

    async def draw_chart_key(self, chart: bytes) -> bytes:
        """Return K of a chart, drawn at first contact."""
        known = self.vault.get(Kind.CHART, chart)
        return known if known is not None else await asyncio.to_thread(self.vault.draw, Kind.CHART, chart)

    def chart_key(self, chart: bytes) -> bytes:
        """Return K of a chart that has one; a chart without is our defect."""
        key = self.vault.get(Kind.CHART, chart)
        assert key is not None, "a chart's row is written after its key"
        return key

    def month_key(self, chart: bytes, month: int) -> bytes:
        """Return t_m of a chart."""
        return _month_key(self.chart_key(chart), self.network, month)

    def entry_key(self, chart: bytes, month: int, number: int) -> SigningKey:
        """Return pk_n of a chart's month, the pair."""
        return SigningKey(entry_seed(self.month_key(chart, month), self.network, number))

    def detail_key(self, chart: bytes, month: int, tag: bytes) -> bytes:
        """Return d of the entry with `tag`."""
        return detail_key(self.month_key(chart, month), self.network, tag)

    async def put_consent_key(self, control_key: bytes, key: bytes) -> None:
        """Keep the k of a Consent apart from its bytes; on disk when this returns."""
        await asyncio.to_thread(self.vault.put, Kind.CONSENT, [(control_key, key)])

    def consent_key(self, control_key: bytes) -> bytes | None:
        """Return the k of a Consent, or None once it was destroyed."""
        return self.vault.get(Kind.CONSENT, control_key)

    def seal(self, patient_id: str | None, data: bytes, context: bytes) -> bytes:
        """Return `data` sealed under the patient's data key (None: the member's own), bound to `context`."""
        return self.cipher.encrypt(patient_id, data, context)

    def open(self, patient_id: str | None, sealed: bytes, context: bytes) -> bytes:
        """Return what was sealed.

        Raises   NotSealedHere
        """
        return self.cipher.decrypt(patient_id, sealed, context)


_month_key = lru_cache(8_192)(month_key)
