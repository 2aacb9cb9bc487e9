"""Anchor: a member shows, each minute, what records it has; later it can prove that one existed unaltered.

Who acts is `act.carrier`, the member whose node key signed the envelope: in this contract the member itself acts (design 02).
Time     `act.now_s` is the block's time, Unix seconds. Windows are `now_s // interval_s`: one tick in each.
Source   design 03 "anchor"; ADR-0045.
"""

from __future__ import annotations

from yilian.base.kinds import Act, StateView, Writes
from yilian.base.merkle import is_included, leaf_hash
from yilian.base.refusals import Reason, Refused, require
from yilian.contracts.anchor import state
from yilian.contracts.anchor.messages import Correct, version_leaf
from yilian.contracts.anchor.messages import Tick as Ticked
from yilian.contracts.anchor.state import Correction, LastTick, Tick

_AMENDING = 7  # field of `Correct`, for BAD_SHAPE


def tick(last: LastTick | None, act: Act, interval_s: int) -> LastTick:
    """Return the member's tick as its last: one in each window, so that how often it ticks says nothing.

    Refuses  TICKED_ALREADY
    """
    if last is not None:
        next_s = (last.at_s // interval_s + 1) * interval_s
        require(act.now_s >= next_s, Reason.TICKED_ALREADY, next_s=next_s)
    return LastTick(act.index, act.now_s)


def correct(amended: Tick | None, existing: Correction | None, message: Correct, act: Act) -> Correction:
    """Return the correction: by the member that anchored the version, shown to stand under its tick, once.

    Refuses  BAD_SHAPE, NO_SUCH_TICK, NOT_THE_TICK_MEMBER, NOT_UNDER_ROOT, ALREADY_CORRECTED
    """
    require(message.amending != message.amended, Reason.BAD_SHAPE, field=_AMENDING)
    if amended is None:
        raise Refused(Reason.NO_SUCH_TICK, index=message.amended_index)
    require(act.carrier == amended.member, Reason.NOT_THE_TICK_MEMBER, member=amended.member)
    leaf = leaf_hash(version_leaf(message.amended, message.erase_key_digest))
    is_under_root = is_included(leaf, message.position, message.size, message.path, amended.records_root)
    require(is_under_root, Reason.NOT_UNDER_ROOT)
    require(existing is None, Reason.ALREADY_CORRECTED)
    return Correction(message.amending)


def tick_writes(view: StateView, message: Ticked, act: Act, interval_s: int) -> Writes:
    """Return what an `anchor.tick` writes; `interval_s` is the directory's, handed over by the ledger.

    Refuses  TICKED_ALREADY
    """
    last = tick(state.last_tick(view, act.carrier), act, interval_s)
    ticked = Tick(act.carrier, message.records_root, message.own_care_root)
    return {**state.write_last(act.carrier, last), **state.write_tick(act.index, ticked)}


def decide_correct(view: StateView, message: Correct, act: Act) -> Writes:
    """Return what an `anchor.correct` writes."""
    amended = state.tick(view, message.amended_index)
    existing = state.correction(view, message.amended_index, message.amended)
    return state.write_correction(message.amended_index, message.amended, correct(amended, existing, message, act))
