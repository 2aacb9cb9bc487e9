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


class PeerFilter:
    """The verdict on peers. One thread asks: that of the query connection."""

    def __init__(
        self,
        replica: Replica,
        named: frozenset[str],
        pause: Callable[[float], None] = time.sleep,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with a pause to spend. `named`: the peers that this member's operator chose to dial, by their ids."""
        self._replica = replica
        self._named = named
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

        Whom the operator named may be a member that this copy, still behind, does not know yet.
        """
        stages = {
            address(member.consensus_key).hex(): member.stage
            for member in directory.members(self._replica.read())
            if member.consensus_key is not None
        }
        return stages[peer] is not directory.Stage.REMOVED if peer in stages else peer in self._named
