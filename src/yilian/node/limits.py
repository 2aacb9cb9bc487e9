"""Named rate limits for what strangers may ask without showing a key: token buckets in memory, in whole numbers.

A limit protects the node's nonces, its vault and its disk; it is per remote address, and one for all addresses together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from yilian.node.refusals import No, NodeRefused

ADDRESSES_MAX: Final = 10_000  # buckets remembered; beyond it the fullest are the same as new ones


@dataclass(frozen=True, slots=True)
class Limit:
    """So many per minute from one address, so many from all."""

    name: str
    per_minute: int
    all_per_minute: int


HEADERS: Final = Limit("headers", 600, 12_000)  # a wallet needs one per act; the window of 65,536 nonces lasts for minutes of this
SUBMISSIONS: Final = Limit("submissions", 600, 12_000)  # one for each header; a header that is not spent can be offered any number of acts
TRANSACTIONS: Final = Limit("transactions", 30_000, 120_000)  # of members: 500 a second is one group; strangers' cost a signature's check
GRANT_KEYS: Final = Limit("grant keys", 300, 3_000)  # each is one fsync of the vault
REVOCATIONS: Final = Limit("revocations", 600, 6_000)
ASSERTIONS: Final = Limit("assertions", 1_200, 12_000)
EMERGENCIES: Final = Limit("emergencies", 20, 400)  # by member, not address: openings asked for; a day has about as many (emergency_cap)
PATIENT_READS: Final = Limit("patient reads", 600, 12_000)
CHANGES: Final = Limit("changes of members", 600, 12_000)  # a phone asks for a few before each act; an item is put together once


@dataclass(slots=True)
class Limits:
    """The buckets of one node."""

    now_s: Callable[[], int]
    _levels: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def spend(self, limit: Limit, address: str) -> None:
        """Take one from the address's bucket and from everybody's.

        Refuses  TOO_MANY_REQUESTS
        """
        self._take(limit.name, address, limit.per_minute)
        self._take(limit.name, "", limit.all_per_minute)

    def _take(self, name: str, address: str, per_minute: int) -> None:
        now_s = self.now_s()
        level, at_s = self._levels.get((name, address), (per_minute * 60, now_s))
        level = min(per_minute * 60, level + per_minute * max(0, now_s - at_s))
        if level < 60:  # noqa: PLR2004 - one request costs 60, a minute adds 60 per allowed request
            raise NodeRefused(No.TOO_MANY_REQUESTS, per_minute=per_minute)
        if len(self._levels) >= ADDRESSES_MAX:  # strangers with very many addresses start anew; all of them together do not
            self._levels = {key: held for key, held in self._levels.items() if not key[1]}
        self._levels[name, address] = (level - 60, now_s)
