"""Consent: a patient gives a grant, each access uses it, the patient revokes it.

Time     `act.now_s` is the block's time, Unix seconds; second `expires_at_s` is already outside, and so is `session_until_s`.
Source   design 03 "consent"; ADR-0040 (ends, uses and intervals single nobody out).
"""

from __future__ import annotations

from dataclasses import replace

from yilian.base.kinds import Act, StateView, Writes
from yilian.base.refusals import Reason, Refused, require
from yilian.base.times import DAY_S
from yilian.contracts.consent import state
from yilian.contracts.consent.messages import Give, Revoke
from yilian.contracts.consent.state import Grant, State

# A grant ends at a UTC midnight 2, 8, 31, 91 or 366 days on, or one day less: signed before midnight, applied after (design 03).
DAYS_AHEAD_ALLOWED = (1, 2, 7, 8, 30, 31, 90, 91, 365, 366)
USES_ALLOWED = (1, 5, 24)  # design 03
SESSION_S = 1_800  # design 03: one consultation of dozens of calls is one use
INTERVAL_STEP_S = 43_200  # design 04: a standing grant leaves at least 12 hours between openings; ADR-0040: whole half days
INTERVAL_S_MAX = 31 * DAY_S  # ADR-0040


def give(existing: Grant | None, message: Give, act: Act) -> Grant:
    """Return the grant as given: by its own fresh key, once, with an end and a number of uses that many others have.

    Refuses  NOT_APPROVED_BY_CONTROL_KEY, KEYS_NOT_DISTINCT, GRANT_EXISTS, GRANT_END_NOT_ALLOWED, USES_NOT_ALLOWED, INTERVAL_NOT_ALLOWED
    """
    control_key, holder_key, requester_key = message.control_key, message.holder_key, message.requester_key
    require(control_key in act.approved_by, Reason.NOT_APPROVED_BY_CONTROL_KEY)
    require(control_key not in (holder_key, requester_key) and holder_key != requester_key, Reason.KEYS_NOT_DISTINCT)
    require(existing is None, Reason.GRANT_EXISTS)
    days_ahead, beyond_midnight_s = divmod(message.expires_at_s, DAY_S)
    days_ahead -= act.now_s // DAY_S
    is_common_end = beyond_midnight_s == 0 and days_ahead in DAYS_AHEAD_ALLOWED
    require(is_common_end, Reason.GRANT_END_NOT_ALLOWED, expires_at_s=message.expires_at_s)
    require(message.uses_max in USES_ALLOWED, Reason.USES_NOT_ALLOWED, uses_max=message.uses_max)
    if message.interval_s is not None:
        is_common_interval = message.interval_s % INTERVAL_STEP_S == 0 and INTERVAL_STEP_S <= message.interval_s <= INTERVAL_S_MAX
        require(is_common_interval, Reason.INTERVAL_NOT_ALLOWED, interval_s=message.interval_s)
    return Grant(
        control_key=control_key,
        holder_key=holder_key,
        requester_key=requester_key,
        commitment=message.commitment,
        expires_at_s=message.expires_at_s,
        uses_max=message.uses_max,
        uses=0,
        interval_s=message.interval_s,
        session_from_s=0,
        session_until_s=0,
        entries=0,
        state=State.GIVEN,
    )


def revoke(grant: Grant | None, message: Revoke, act: Act) -> Grant:
    """Return the grant as revoked. Only by its own key, and once; an ended grant may still be revoked.

    Refuses  NOT_APPROVED_BY_CONTROL_KEY, NO_SUCH_GRANT, ALREADY_REVOKED
    """
    require(message.control_key in act.approved_by, Reason.NOT_APPROVED_BY_CONTROL_KEY)
    if grant is None:
        raise Refused(Reason.NO_SUCH_GRANT)
    require(grant.state is State.GIVEN, Reason.ALREADY_REVOKED)
    return replace(grant, state=State.REVOKED)


def use(grant: Grant, opens: bool, now_s: int) -> Grant:  # noqa: FBT001 - the entry says whether it opens a session
    """Return the grant as used by one access entry. A node asks this before it prepares; the ledger decides by it.

    Inside a session an entry only counts, whatever `opens` says; outside it must open one, as long as uses are left and, for a standing
    grant, as soon as the interval since the last opening is over.

    Refuses  GRANT_REVOKED, GRANT_ENDED, SESSION_ENDED, USES_EXHAUSTED, INTERVAL_NOT_OVER
    """
    require(grant.state is State.GIVEN, Reason.GRANT_REVOKED)
    require(now_s < grant.expires_at_s, Reason.GRANT_ENDED, expires_at_s=grant.expires_at_s)
    if now_s < grant.session_until_s:
        return replace(grant, entries=grant.entries + 1)
    require(opens, Reason.SESSION_ENDED, session_until_s=grant.session_until_s)
    require(grant.uses < grant.uses_max, Reason.USES_EXHAUSTED, uses_max=grant.uses_max)
    if grant.interval_s is not None and grant.uses > 0:
        opens_from_s = grant.session_from_s + grant.interval_s
        require(now_s >= opens_from_s, Reason.INTERVAL_NOT_OVER, opens_from_s=opens_from_s)
    return replace(
        grant,
        uses=grant.uses + 1,
        session_from_s=now_s,
        session_until_s=min(now_s + SESSION_S, grant.expires_at_s),
        entries=grant.entries + 1,
    )


def decide_give(view: StateView, message: Give, act: Act) -> Writes:
    """Return what a `consent.give` writes."""
    return state.write(give(state.read(view, message.control_key), message, act))


def decide_revoke(view: StateView, message: Revoke, act: Act) -> Writes:
    """Return what a `consent.revoke` writes."""
    return state.write(revoke(state.read(view, message.control_key), message, act))
