"""Whom CometBFT may keep as a peer: members, by the key of their seat. It asks the application of each (`filter_peers`; ADR-0117).

Source   CometBFT v0.38.25, node/setup.go createTransport: `/p2p/filter/id/ID`, asked of peers that dial and of peers that are dialled.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from yilian.contracts import directory
from yilian.engines.cometbft.settings import address
from yilian.engines.replica import Replica

STRANGER_S = 0.1  # a CometBFT that is hung up on dials again at once, without end
PAUSES_APART_S = 1.0  # CometBFT accepts one peer after the other: a pause for one stranger is a pause for every member behind it

BEHIND_MS = 60_000  # twelve heartbeats: a network that goes on is never so old


class PeerFilter:
    """The verdict on peers. One thread asks: that of the query connection."""

    def __init__(
        self,
        replica: Replica,
        named: frozenset[str],
        now_ms: Callable[[], int] | None = None,
        pause: Callable[[float], None] = time.sleep,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with a pause to spend. `named`: the peers that this member's operator chose to dial, by their ids.

        `now_ms`: this machine's clock; without one, a copy is behind as long as it has no block.
        """
        self._replica = replica
        self._named = named
        self._now_ms = now_ms
        self._pause = pause
        self._clock_s = clock_s
        self._no_pause_until_s = clock_s()

    def is_let_in(self, peer: str) -> bool:
        """Say whether a peer may stay, by its id in hex. A stranger waits for the answer, if no other did in the last second."""
        is_known = self._is_member(peer)
        now_s = self._clock_s()
        if not is_known and now_s >= self._no_pause_until_s:
            self._no_pause_until_s = now_s + PAUSES_APART_S
            self._pause(STRANGER_S)
        return is_known

    def _is_member(self, peer: str) -> bool:
        """Say whether a peer is a member's: not a removed member's, but a suspended one's, which may follow.

        Whom the operator named may be a member that a copy which is behind does not know yet. A copy that is not knows them all: then a
        name in a configuration may be the key that a member lost and replaced, and opens nothing.
        """
        stages = {
            address(member.consensus_key).hex(): member.stage
            for member in directory.members(self._replica.read())
            if member.consensus_key is not None
        }
        return stages[peer] is not directory.Stage.REMOVED if peer in stages else peer in self._named and self._is_behind()

    def _is_behind(self) -> bool:
        """Say whether members may have been admitted of whom this copy has not heard: it has no block yet, or none of the last minute."""
        chain = self._replica.chain
        return chain.height == 0 or (self._now_ms is not None and chain.time_ms < self._now_ms() - BEHIND_MS)
