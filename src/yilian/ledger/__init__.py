"""Floor 2: the ledger, a deterministic function of signed transactions, with an append-only Merkle log of them (design 02).

Files, in the order of an entry's life: `genesis` (who may carry), `screening` (form and signatures), `nonces` (once only), `versions` and
`composed` (the contracts), `apply` (the step), `daily` (the day's leaf), `log`, `lthash`, `chain` (what a block adds up to), `receipts` and
`answers` (what members sign about it), `snapshots` (how it is handed on), `history`,
`membership`, `verify` and `recordproof` (how a stranger checks it), `equivocation` (the leaf of a suspended validator).
"""

from yilian.ledger.answers import StateAnswer, parse_answer, sign_answer, sign_day
from yilian.ledger.apply import ACCEPTED, Applied, Result, apply
from yilian.ledger.chain import BlockHeader, Chain, parse_chain, start
from yilian.ledger.daily import ClosedDay, DailyLeaf, Tagged, access_root, gone, is_tag, parse_daily_leaf, tagged_at, tagged_with
from yilian.ledger.equivocation import Equivocation, parse_equivocation
from yilian.ledger.genesis import Founder, Genesis, parse_genesis
from yilian.ledger.history import MEMBERSHIP, History, is_quorum, validators
from yilian.ledger.log import Frontier, Node, NodeStore, consistency, frontier_at, inclusion, root_at
from yilian.ledger.lthash import LANES_SIZE_BYTES, lanes_over
from yilian.ledger.membership import Item, Membership, NotProven, Verified
from yilian.ledger.nonces import RESTART_SKIP, WINDOW, highest_spent
from yilian.ledger.overlay import Overlay, Rows
from yilian.ledger.receipts import (
    Checkpoint,
    Proven,
    open_receipt,
    parse_checkpoint,
    receipt,
    sign_checkpoint,
    split_transparent,
    transparent,
)
from yilian.ledger.recordproof import Anchored, NotAnchored, RecordProof, VerifiedRecord, parse_record_proof, verify_record
from yilian.ledger.screening import KeyTable, Screened, Verify, screen, screen_all
from yilian.ledger.snapshots import Manifest, Restore, SnapshotRejected, chunks, describe, parse_manifest
from yilian.ledger.verify import Consistency, Export, Report, parse_export, verify
from yilian.ledger.versions import NEWEST, VersionMissing, rules_of

__all__ = [
    "ACCEPTED",
    "LANES_SIZE_BYTES",
    "MEMBERSHIP",
    "NEWEST",
    "RESTART_SKIP",
    "WINDOW",
    "Anchored",
    "Applied",
    "BlockHeader",
    "Chain",
    "Checkpoint",
    "ClosedDay",
    "Consistency",
    "DailyLeaf",
    "Equivocation",
    "Export",
    "Founder",
    "Frontier",
    "Genesis",
    "History",
    "Item",
    "KeyTable",
    "Manifest",
    "Membership",
    "Node",
    "NodeStore",
    "NotAnchored",
    "NotProven",
    "Overlay",
    "Proven",
    "RecordProof",
    "Report",
    "Restore",
    "Result",
    "Rows",
    "Screened",
    "SnapshotRejected",
    "StateAnswer",
    "Tagged",
    "Verified",
    "VerifiedRecord",
    "Verify",
    "VersionMissing",
    "access_root",
    "apply",
    "chunks",
    "consistency",
    "describe",
    "frontier_at",
    "gone",
    "highest_spent",
    "inclusion",
    "is_quorum",
    "is_tag",
    "lanes_over",
    "open_receipt",
    "parse_answer",
    "parse_chain",
    "parse_checkpoint",
    "parse_daily_leaf",
    "parse_equivocation",
    "parse_export",
    "parse_genesis",
    "parse_manifest",
    "parse_record_proof",
    "receipt",
    "root_at",
    "rules_of",
    "screen",
    "screen_all",
    "sign_answer",
    "sign_checkpoint",
    "sign_day",
    "split_transparent",
    "start",
    "tagged_at",
    "tagged_with",
    "transparent",
    "validators",
    "verify",
    "verify_record",
]
