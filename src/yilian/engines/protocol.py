"""What every way of ordering transactions offers. Nothing above this floor knows which one is under it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

from yilian.ledger import Chain, Genesis, Result

if TYPE_CHECKING:
    from yilian.engines.older import Older


class Committed(NamedTuple):
    """The answer to a submitted transaction: final, and durable here.

    `index` is the entry's place in the log, or None if it was refused with `reason` and `facts` (reason 0 is acceptance). `height` is None
    for what was refused at the door: no block holds it, and the same bytes may fare better later.
    """

    id: bytes
    index: int | None  # type: ignore[assignment]  # a tuple's method of that name is not missed
    height: int | None
    time_ms: int
    reason: int
    facts: dict[str, int | str | bytes]

    @property
    def is_accepted(self) -> bool:
        """Say whether the transaction became an entry."""
        return self.index is not None


@dataclass(frozen=True, slots=True)
class Block:
    """One final block: the bytes that were ordered, what became of each, and the log after it.

    `system_leaves` stand in the log before the block's entries; `log_size` and `log_root` are those after it.
    """

    height: int
    time_ms: int
    proposer: str
    app_hash: bytes
    log_size: int
    log_root: bytes
    transactions: tuple[bytes, ...]
    results: tuple[Result, ...]
    system_leaves: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One leaf of the log, and the block it came with. A system leaf has bytes and a place like any other."""

    index: int
    id: bytes
    data: bytes
    height: int
    time_ms: int


class FinalView(Protocol):
    """The state at one final height; it stays at that height for as long as it is held."""

    @property
    def chain(self) -> Chain:
        """The chain value at that height."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key`, or None."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) for every key that begins with `prefix`, ascending."""


class Engine(Protocol):
    """A ledger that orders transactions, or follows one that does. Only `submit`, `blocks`, `reached` and `watch` take their time.

    Raises   EngineStopped, from any method, once the engine cannot go on
    """

    @property
    def genesis(self) -> Genesis:
        """The network's first word."""

    async def submit(self, transaction: bytes) -> Committed:
        """Return what became of the transaction, once that is final and durable here. The same bytes get the same answer again."""

    def read(self) -> FinalView:
        """Return the state at the latest final height."""

    def not_ready(self) -> str:
        """Return why nothing can become final here at this moment, as far as is known without trying; empty if it can."""

    def remark(self) -> str:
        """Return what the operator should know of how this engine runs here, which goes on all the same; empty if there is nothing."""

    def blocks(self, since_height: int) -> AsyncIterator[Block]:
        """Yield every block above `since_height` in order, then each new one as it becomes final."""

    async def reached(self, height: int) -> None:
        """Wait until the block at `height` is final here; at once if it is."""

    def block(self, height: int) -> Block | None:
        """Return one block; None above the latest final height."""

    def find(self, transaction_id: bytes) -> Committed | None:
        """Return what became of a transaction that a block holds."""

    def entry(self, index: int) -> Entry | None:
        """Return the leaf at `index`; None if the log is not that long."""

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of leaf `index` in the log of `size` leaves."""

    def consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the proof that the log of `new_size` leaves extends the one of `old_size`."""

    def log_root(self, size: int) -> bytes:
        """Return the root of the first `size` leaves."""

    def member_changes(self) -> list[int]:
        """Return the log indexes of what changed who the members are, ascending; without those that are missing."""

    def access_tags(self, day: int) -> tuple[bytes, ...]:
        """Return the access tags of a UTC day in ascending order, also of days whose rows have left the state."""

    def daily_leaf(self, day: int) -> int | None:
        """Return the log index of the leaf that closed a day; None while it is open or before the network began."""

    @property
    def missing(self) -> int:
        """How many of the log's first leaves are not here yet: those before the snapshot with which this copy began."""

    @property
    def began(self) -> int:
        """The height of that snapshot, also once everything is here; 0 if the copy began with genesis."""

    def older(self) -> Older:
        """Return what takes the missing leaves; only while some are missing, and one at a time."""

    async def watch(self) -> NoReturn:
        """Wait until the engine cannot go on, then raise why."""

    async def close(self) -> None:
        """Finish the block in hand, answer what it holds, refuse the rest with EngineClosed, and let go of files and processes."""
