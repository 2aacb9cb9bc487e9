"""Ordering by CometBFT validators over ABCI 2.0. The door: the engine, and what writes a member's folder.

Files    in the order of a transaction's life: `engine` (submitted, answered), `items` (batched, screened), `verifier` (its signatures
         checked beside this process), `rpc` (handed over), `server` and `wire` (ABCI's socket), `application` (ABCI's methods), `waiting`
         (until a block holds it), `proposing` (in our turn), `ahead` (worked out), `validators` (who decides); `process` keeps CometBFT
         alive, `settings` tells it everything. `stubs` are generated; `verifier/` is the program, in Go.
"""

from yilian.engines.cometbft.engine import HALTED_S, CometBftEngine
from yilian.engines.cometbft.faults import (
    BinaryMissing,
    ConsensusFailed,
    Diverged,
    KeepsDying,
    OutOfStep,
    PortInUse,
    RestoredAlone,
    SeatIncomplete,
    TimeUnproven,
    VerifierDiffers,
    WrongGenesis,
    WrongVersion,
)
from yilian.engines.cometbft.repair import begin_again
from yilian.engines.cometbft.rpc import Rpc, Unreachable
from yilian.engines.cometbft.settings import HEARTBEAT_S, HOME, NotAHome, Seat, Trust, address, founding_powers, read_ports, write_home
from yilian.engines.cometbft.snapshots import EVERY, refused_snapshot
from yilian.engines.faults import NotOrdering

__all__ = [
    "EVERY",
    "HALTED_S",
    "HEARTBEAT_S",
    "HOME",
    "BinaryMissing",
    "CometBftEngine",
    "ConsensusFailed",
    "Diverged",
    "KeepsDying",
    "NotAHome",
    "NotOrdering",
    "OutOfStep",
    "PortInUse",
    "RestoredAlone",
    "Rpc",
    "Seat",
    "SeatIncomplete",
    "TimeUnproven",
    "Trust",
    "Unreachable",
    "VerifierDiffers",
    "WrongGenesis",
    "WrongVersion",
    "address",
    "begin_again",
    "founding_powers",
    "read_ports",
    "refused_snapshot",
    "write_home",
]
