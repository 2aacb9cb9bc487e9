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
    """Works on the last proposal in a thread of its own. One other thread asks: that of the consensus connection."""

    def __init__(self, work: Callable[[Proposal], Worked | None]) -> None:
        """Begin idle. `work` changes nothing; it says None where the proposal does not follow the last final block."""
        self._work = work
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="yilian-ahead")
        self._proposal: Proposal | None = None
        self._found: Future[Worked | None] | None = None

    def begin(self, proposal: Proposal) -> None:
        """Begin to work on a proposal, unless that is what is being worked on: the same block is proposed again in a later round."""
        if proposal != self._proposal:
            self.forget()
            self._proposal, self._found = proposal, self._thread.submit(self._work, proposal)

    def take(self, proposal: Proposal) -> Worked | None:
        """Return what the block does, once that is known; None if another was worked on, or in vain: then it is to be worked out now."""
        found = self._found if proposal == self._proposal else None
        worked = None if found is None or found.exception() is not None else found.result()
        self.forget()
        return worked

    def forget(self) -> None:
        """Forget the last proposal. What is being worked out goes on to its end, and nobody asks for it."""
        if self._found is not None:
            self._found.cancel()
        self._proposal = self._found = None

    def close(self) -> None:
        """Wait for the thread's end."""
        self.forget()
        self._thread.shutdown()
