"""When a CometBFT that has no peer is started anew: it gives up dialling those who hung up on it too often (ADR-0117).

Who waits to be admitted has no peer for days. So each start after the first waits twice as long as the one before, up to five minutes; a
block or a peer ends the waiting.
"""

from __future__ import annotations

FIRST_S = 15.0  # as long as a network may make no block before it counts as halted
MOST_S = 300.0


class Redial:
    """The starts of one member's CometBFT; the caller has the clock."""

    def __init__(self) -> None:
        """Begin with no start behind it."""
        self.end()

    def end(self) -> None:
        """Note a block or a peer: the next time it is alone is a first time again."""
        self._wait_s = FIRST_S
        self._not_before_s = 0.0

    def may_be_due(self, now_s: float) -> bool:
        """Say whether CometBFT's peers are worth a look."""
        return now_s >= self._not_before_s

    def is_due(self, now_s: float, peers: int | None) -> bool:
        """Say whether to start it anew; `peers` is None while it does not answer."""
        if peers:
            self.end()
        if peers != 0 or not self.may_be_due(now_s):
            return False
        self._not_before_s = now_s + self._wait_s
        self._wait_s = min(2 * self._wait_s, MOST_S)
        return True
