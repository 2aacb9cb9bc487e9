"""Floor 3: the ways to order transactions. The door: what an engine is, what it answers, and why it may stop.

Which engine runs under a node is chosen where rooms are wired together, from `embedded` (one operator, this process), `remote` (follows
another node) and `cometbft` (validators). Nothing else may know.
Inside   `replica` (a copy of the ledger: `store`, `tiles`, `views`) is what all of them drive; `served` is what all of them answer;
         `older` fetches what came before a snapshot;
         `verifiers` check signatures ahead; `wire` is a block as bytes; `fsck` replays a copy from genesis.
"""

from yilian.engines.faults import (
    AnswerNotKept,
    AppHashMismatch,
    BeginningMissing,
    BlockOutOfOrder,
    BlockUnreadable,
    DiskFailed,
    DiskFull,
    EngineClosed,
    EngineStopped,
    NotOrdering,
    RulesMissing,
    StoreCorrupt,
    StoreLocked,
    TooManyWaiting,
    WrongNetwork,
)
from yilian.engines.folders import LOCK, hold
from yilian.engines.fsck import Checked, fsck, fsck_folder
from yilian.engines.older import Lied, Older, Part, Progress, progress_in
from yilian.engines.protocol import Block, Committed, Engine, Entry, FinalView
from yilian.engines.replica import NotHeld
from yilian.engines.unsure import is_unsure
from yilian.engines.wire import decode_block, decode_committed, encode_block, encode_committed

__all__ = [
    "LOCK",
    "AnswerNotKept",
    "AppHashMismatch",
    "BeginningMissing",
    "Block",
    "BlockOutOfOrder",
    "BlockUnreadable",
    "Checked",
    "Committed",
    "DiskFailed",
    "DiskFull",
    "Engine",
    "EngineClosed",
    "EngineStopped",
    "Entry",
    "FinalView",
    "Lied",
    "NotHeld",
    "NotOrdering",
    "Older",
    "Part",
    "Progress",
    "RulesMissing",
    "StoreCorrupt",
    "StoreLocked",
    "TooManyWaiting",
    "WrongNetwork",
    "decode_block",
    "decode_committed",
    "encode_block",
    "encode_committed",
    "fsck",
    "fsck_folder",
    "hold",
    "is_unsure",
    "progress_in",
]
