"""Many transactions are screened beside this process, for a thread that waits for all the verdicts; a few in it.

In one process each check of a signature gives the interpreter's lock away and must win it back from whatever else runs, the web server
first of all: 5 ms each time if that is busy. A batch that is checked elsewhere wins it back once (ADR-0146).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from yilian.engines.packing import Verdict
from yilian.engines.verifiers import Verifiers
from yilian.ledger import KeyTable, screen_all

PATIENCE_S = 5.0  # a full block takes a fifth of a second: a process that stands still (stopped, starved) must not hold up the consensus
FEW_MAX = 16  # about 1 ms of a core: not worth a process, which a quiet member then does not have


@dataclass(slots=True, eq=False)
class _Asked:
    """Who waits for some verdicts; itself alone."""

    count: int
    said: dict[bytes, Verdict] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)


class _One(NamedTuple):
    """One transaction on its way to a verdict."""

    data: bytes
    asked: _Asked


class Screener:
    """`ledger.screen_all` for any thread, in as many processes as `processes`, which may be 0."""

    def __init__(self, network: bytes, keys: Callable[[], KeyTable], processes: int) -> None:
        """Begin; `keys` returns the latest table. Processes are started by the first batch of some size."""
        self._network = network
        self._keys = keys
        self._guard = threading.Lock()
        self._open: set[_Asked] = set()
        self._failure: BaseException | None = None
        self._verifiers = Verifiers[_One](network, keys, self._deliver, self._fail, processes) if processes else None

    def screen_all(self, batch: Sequence[bytes]) -> list[Verdict]:
        """Return what `ledger.screen` says of each; no two are the same bytes.

        Raises   what a verifying thread died of
        """
        if self._verifiers is None or len(batch) <= FEW_MAX:
            return screen_all(self._network, self._keys(), batch)
        asked = _Asked(len(batch))
        with self._guard:
            self._open.add(asked)
            if self._failure is not None:
                asked.done.set()
        for data in batch:
            self._verifiers.put(_One(data, asked))
        while not asked.done.wait(PATIENCE_S):
            self._verifiers.hurry()
        with self._guard:
            self._open.remove(asked)
            if len(asked.said) < len(batch):
                raise self._failure or AssertionError("woken before all verdicts were there")
        return [asked.said[data] for data in batch]

    def close(self) -> None:
        """End the processes; nobody asks any more."""
        if self._verifiers is not None:
            self._verifiers.close()

    def _deliver(self, judged: Sequence[tuple[_One, Verdict]]) -> None:
        with self._guard:
            for one, said in judged:
                one.asked.said[one.data] = said
                if len(one.asked.said) == one.asked.count:
                    one.asked.done.set()

    def _fail(self, error: BaseException) -> None:
        with self._guard:
            self._failure = error
            for asked in self._open:
                asked.done.set()
