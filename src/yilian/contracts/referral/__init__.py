"""Contract referral: up and back down, and avoided repeat examinations. The door: kinds 50 to 57, and the rows."""

from yilian.base.kinds import Kind, kind
from yilian.contracts.referral.messages import (
    ACCEPT,
    CANCEL,
    COMPLETE,
    DECLARE,
    DECLARED_MAX,
    DOWN,
    REJECT,
    REQUEST,
    START,
    Accept,
    Cancel,
    Complete,
    Declare,
    Down,
    Reject,
    Request,
    Start,
)
from yilian.contracts.referral.rules import CANCELLABLE, decide_cancel, decide_declare, decide_request, decide_step
from yilian.contracts.referral.state import PREFIX, STATE, Referral, Reuse, Stage, beginning, read, reuse

KINDS: tuple[Kind, ...] = (
    kind(REQUEST, "referral.request", Request, "from_key", decide_request),
    kind(ACCEPT, "referral.accept", Accept, "to_key", decide_step),
    kind(REJECT, "referral.reject", Reject, "to_key", decide_step),
    kind(START, "referral.start", Start, "to_key", decide_step),
    kind(COMPLETE, "referral.complete", Complete, "to_key", decide_step),
    kind(DOWN, "referral.down", Down, "to_key", decide_step),
    kind(CANCEL, "referral.cancel", Cancel, "from_key or to_key", decide_cancel),
    kind(DECLARE, "reuse.declare", Declare, "one member's node key", decide_declare, asks_members=True),
)

__all__ = [
    "ACCEPT",
    "CANCEL",
    "CANCELLABLE",
    "COMPLETE",
    "DECLARE",
    "DECLARED_MAX",
    "DOWN",
    "KINDS",
    "PREFIX",
    "REJECT",
    "REQUEST",
    "START",
    "STATE",
    "Accept",
    "Cancel",
    "Complete",
    "Declare",
    "Down",
    "Referral",
    "Reject",
    "Request",
    "Reuse",
    "Stage",
    "Start",
    "beginning",
    "read",
    "reuse",
]
