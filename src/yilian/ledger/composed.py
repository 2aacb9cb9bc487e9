"""Transactions that concern several contracts, composed here because rooms do not know each other.

`access.record` with basis `grant` uses the grant (contract consent) and enters the access (contract access), together or not at all.
`anchor.tick` is held to the interval that the directory keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yilian.base.kinds import Act, StateView, Writes
from yilian.base.refusals import Reason, Refused
from yilian.contracts import access, anchor, consent, directory


def record_access(view: StateView, message: access.Record, act: Act) -> Writes:
    """Return what an access entry writes.

    Refuses  what `consent.use` and the access contract's rules refuse
    """
    limits = access.Limits(
        memo_size_bytes=directory.parameter(view, "memo_size"),
        emergency_cap=directory.parameter(view, "emergency_cap"),
    )
    if message.basis != access.Basis.GRANT:
        return access.record_writes(view, message, act, limits, None)
    if message.grant is None:
        raise Refused(Reason.BAD_SHAPE, field=2)
    grant = consent.read(view, message.grant)
    if grant is None:
        raise Refused(Reason.NO_SUCH_GRANT)
    facts = access.GrantFacts(grant.control_key, grant.holder_key, grant.requester_key, grant.entries)
    writes = access.record_writes(view, message, act, limits, facts)
    used = consent.use(grant, message.opens, act.now_s)
    return {**writes, **consent.write(used)}


def tick(view: StateView, message: anchor.Tick, act: Act) -> Writes:
    """Return what an anchor's tick writes.

    Refuses  TICKED_ALREADY
    """
    return anchor.tick_writes(view, message, act, directory.parameter(view, "anchor_interval_s"))


COMPOSED: dict[int, Callable[[StateView, Any, Act], Writes]] = {access.RECORD: record_access, anchor.TICK: tick}
