"""Contract anchor: ticks and corrections. The door: kinds 40 and 41; `tick_writes` for the ledger; the leaf of a version."""

from yilian.base.kinds import Kind, kind
from yilian.contracts.anchor.messages import CORRECT, TICK, Correct, Tick, version_leaf
from yilian.contracts.anchor.rules import decide_correct, tick_writes
from yilian.contracts.anchor.state import PREFIX, STATE, Correction, LastTick, correction, last_tick, tick
from yilian.contracts.anchor.state import Tick as Ticked

KINDS: tuple[Kind, ...] = (
    kind(TICK, "anchor.tick", Tick, "the member itself (carrier)", None),
    kind(CORRECT, "anchor.correct", Correct, "the member of the tick (carrier)", decide_correct),
)

__all__ = [
    "CORRECT",
    "KINDS",
    "PREFIX",
    "STATE",
    "TICK",
    "Correct",
    "Correction",
    "LastTick",
    "Tick",
    "Ticked",
    "correction",
    "last_tick",
    "tick",
    "tick_writes",
    "version_leaf",
]
