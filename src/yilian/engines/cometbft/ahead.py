"""What a proposed block would do, found out while the validators vote on it: a result is a function of block and state, and both are known.

Nothing durable comes of it. FinalizeBlock takes the result if the block that was decided is the very one; any other is decided when it is
decided, and what was found out for a proposal that lost is forgotten.
Source   ADR-0145; CometBFT v0.38.25, spec/abci/abci++_methods.md ("ProcessProposal": a full block's candidate state).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from yilian.engines.replica import Decided
from yilian.ledger import BlockHeader


class Proposal(NamedTuple):
    """All that a block's result depends on, besides the state."""

    header: BlockHeader
    items: tuple[bytes, ...]


class Worked(NamedTuple):
    """What a block does, and how many transactions each of its items has."""

    decided: Decided
    counts: list[int]


class Ahead:
    """Works on the last proposal in a thread of its own. One other thread asks, that of the consensus connection; and for a moment two,
    where a new CometBFT is there and an old one's last question is still being answered.
    """

    def __init__(self, work: Callable[[Proposal], Worked | None]) -> None:
        """Begin idle. `work` changes nothing; it says None where the proposal does not follow the last final block."""
        self._work = work
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="yilian-ahead")
        self._last: tuple[Proposal, Future[Worked | None]] | None = None  # one value: never one block's question with another's answer

    def begin(self, proposal: Proposal) -> None:
        """Begin to work on a proposal, unless that is what is being worked on: the same block is proposed again in a later round."""
        last = self._last
        if last is None or proposal != last[0]:
            self.forget()
            self._last = proposal, self._thread.submit(self._work, proposal)

    def take(self, proposal: Proposal) -> Worked | None:
        """Return what the block does, once that is known; None if another was worked on, or in vain: then it is to be worked out now."""
        last = self._last
        try:
            return last[1].result() if last is not None and proposal == last[0] else None
        except Exception:  # noqa: BLE001 - a defect, or it was forgotten meanwhile: if it is one, it happens again where it counts
            return None
        finally:
            self.forget()

    def forget(self) -> None:
        """Forget the last proposal. What is being worked out goes on to its end, and nobody asks for it."""
        last, self._last = self._last, None
        if last is not None:
            last[1].cancel()

    def close(self) -> None:
        """Wait for the thread's end."""
        self.forget()
        self._thread.shutdown()
