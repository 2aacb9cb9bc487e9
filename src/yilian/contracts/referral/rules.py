"""Referral: a clinic sends a patient up, a hospital takes the patient, and sends the patient back down.

Time     `act.now_s` is the block's time, Unix seconds; the times of the steps are the network's referral statistics.
Source   design 03 "referral"; ADR-0046.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yilian.base.kinds import Act, StateView, Writes
from yilian.base.refusals import Reason, Refused, require
from yilian.contracts.referral import state
from yilian.contracts.referral.messages import Accept, Cancel, Complete, Declare, Down, Reject, Request, Start, Step
from yilian.contracts.referral.state import Referral, Reuse, Stage

# requested -> accepted | rejected -> in_progress -> completed -> down (design 03)
STEPS: Mapping[type[Any], tuple[Stage, Stage]] = {
    Accept: (Stage.REQUESTED, Stage.ACCEPTED),
    Reject: (Stage.REQUESTED, Stage.REJECTED),
    Start: (Stage.ACCEPTED, Stage.IN_PROGRESS),
    Complete: (Stage.IN_PROGRESS, Stage.COMPLETED),
    Down: (Stage.COMPLETED, Stage.DOWN),
}
CANCELLABLE = (Stage.REQUESTED, Stage.ACCEPTED, Stage.IN_PROGRESS)  # design 03: before complete


def request(existing: Referral | None, message: Request, act: Act) -> Referral:
    """Return the referral as requested, by the sending side's fresh key.

    Refuses  NOT_APPROVED_BY_FROM_KEY, REFERRAL_KEYS_NOT_DISTINCT, REFERRAL_EXISTS
    """
    require(message.from_key in act.approved_by, Reason.NOT_APPROVED_BY_FROM_KEY)
    require(message.from_key != message.to_key, Reason.REFERRAL_KEYS_NOT_DISTINCT)
    require(existing is None, Reason.REFERRAL_EXISTS)
    return Referral(message.from_key, message.to_key, message.commitment, Stage.REQUESTED, act.now_s)


def step(referral: Referral | None, message: Step, act: Act) -> Referral:
    """Return the referral one step further, by the receiving side; steps come in their order.

    Refuses  NO_SUCH_REFERRAL, NOT_APPROVED_BY_TO_KEY, NOT_AT_THIS_STAGE
    """
    if referral is None:
        raise Refused(Reason.NO_SUCH_REFERRAL)
    require(referral.to_key in act.approved_by, Reason.NOT_APPROVED_BY_TO_KEY)
    before, after = STEPS[type(message)]
    require(referral.stage is before, Reason.NOT_AT_THIS_STAGE, stage=int(referral.stage))
    return replace(referral, stage=after, changed_at_s=act.now_s)


def cancel(referral: Referral | None, act: Act) -> Referral:
    """Return the referral as cancelled: by either side, before it is completed.

    Refuses  NO_SUCH_REFERRAL, NEITHER_PARTY_APPROVED, NOT_AT_THIS_STAGE
    """
    if referral is None:
        raise Refused(Reason.NO_SUCH_REFERRAL)
    is_approved = referral.from_key in act.approved_by or referral.to_key in act.approved_by
    require(is_approved, Reason.NEITHER_PARTY_APPROVED)
    require(referral.stage in CANCELLABLE, Reason.NOT_AT_THIS_STAGE, stage=int(referral.stage))
    return replace(referral, stage=Stage.CANCELLED, changed_at_s=act.now_s)


def declarer(act: Act) -> str:
    """Return the one member whose node key approved.

    Refuses  REUSE_NOT_APPROVED_BY_A_MEMBER
    """
    require(len(act.members) == 1, Reason.REUSE_NOT_APPROVED_BY_A_MEMBER, members=len(act.members))
    return act.members[0]


def declare(reuse: Reuse, message: Declare) -> Reuse:
    """Return a member's avoided examinations with the declared ones added."""
    return Reuse(reuse.avoided + message.count)


def decide_request(view: StateView, message: Request, act: Act) -> Writes:
    """Return what a `referral.request` writes."""
    return state.write(request(state.read(view, message.from_key), message, act))


def decide_step(view: StateView, message: Step, act: Act) -> Writes:
    """Return what a `referral.accept`, `reject`, `start`, `complete` or `down` writes."""
    return state.write(step(state.read(view, message.from_key), message, act))


def decide_cancel(view: StateView, message: Cancel, act: Act) -> Writes:
    """Return what a `referral.cancel` writes."""
    return state.write(cancel(state.read(view, message.from_key), act))


def decide_declare(view: StateView, message: Declare, act: Act) -> Writes:
    """Return what a `reuse.declare` writes."""
    member = declarer(act)
    return state.write_reuse(member, declare(state.reuse(view, member), message))
