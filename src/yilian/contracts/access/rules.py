"""Access: every release is entered before a byte leaves, under a tag that only the patient can link.

Time     `act.now_s` is the block's time, Unix seconds; ends are exclusive.
Source   design 03 "access"; ADR-0041 (shapes by basis, tags of a grant), ADR-0044 (the emergency bucket).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from yilian.base.digests import grant_tag, key_tag
from yilian.base.kinds import Act, StateView, Writes
from yilian.base.refusals import Reason, Refused, require
from yilian.base.times import DAY_S, HOUR_S, day_of
from yilian.contracts.access import state
from yilian.contracts.access.messages import Dispute, Record, Skip, Unsent
from yilian.contracts.access.messages import Review as Reviewed
from yilian.contracts.access.state import Basis, Bucket, Entry, Review, Session

ISSUED_S_MAX = 120  # design 03: `exp` is at most 120 s after issue, hence at most that far from the block (ADR-0041)
SESSION_S = 1_800  # design 04: a consultation, in an emergency as under a grant
OPENING_COST = DAY_S  # design 03: in units of seconds times cap, so that `cap` openings fit in a day
REVIEW_S = 72 * HOUR_S  # design 03
REVIEWS_MAX = 256  # design 03
CAP_LEAST = 1  # design 03: overdue reviews leave a member one emergency a day

BASES_TAKEN = (Basis.GRANT, Basis.PATIENT, Basis.EMERGENCY)  # by rules version 1

_BASIS, _GRANT, _SESSION, _TAG, _OPENS = 1, 2, 3, 4, 5  # fields of `Record`, for BAD_SHAPE


@dataclass(frozen=True, slots=True)
class Limits:
    """What `directory` says, handed over by the ledger."""

    memo_size_bytes: int
    emergency_cap: int


@dataclass(frozen=True, slots=True)
class GrantFacts:
    """What `consent` says of the grant that is used, handed over by the ledger; `entries` before this one."""

    control_key: bytes
    holder_key: bytes
    requester_key: bytes
    entries: int


def admit(message: Record, act: Act, limits: Limits) -> None:
    """Refuse what no basis allows: an approval that waited, a memo that shows something by its size.

    Refuses  ISSUED_TOO_LONG, MEMO_SIZE_WRONG
    """
    require(act.exp_s <= act.now_s + ISSUED_S_MAX, Reason.ISSUED_TOO_LONG, exp_s=act.exp_s)
    require(len(message.memo) == limits.memo_size_bytes, Reason.MEMO_SIZE_WRONG, memo_size_bytes=limits.memo_size_bytes)


def record_by_grant(message: Record, act: Act, grant: GrantFacts | None) -> Entry:
    """Return the entry of an access by grant: both sides have signed that it happened, and its tag is the grant's next.

    Refuses  BAD_SHAPE, NOT_APPROVED_BY_HOLDER_KEY, NOT_APPROVED_BY_REQUESTER_KEY
    """
    if grant is None or message.grant != grant.control_key:
        raise Refused(Reason.BAD_SHAPE, field=_GRANT)
    require(message.session is None, Reason.BAD_SHAPE, field=_SESSION)
    require(message.tag is None, Reason.BAD_SHAPE, field=_TAG)
    require(grant.holder_key in act.approved_by, Reason.NOT_APPROVED_BY_HOLDER_KEY)
    require(grant.requester_key in act.approved_by, Reason.NOT_APPROVED_BY_REQUESTER_KEY)
    tag = grant_tag(grant.control_key, grant.entries)
    return Entry(Basis.GRANT, tag, grant.control_key, grant.holder_key, None, None, is_disputed=False)


def record_by_patient(message: Record, act: Act) -> Entry:
    """Return the entry of a patient's own reading.

    Refuses  BAD_SHAPE, NOT_APPROVED_BY_TAG_KEY
    """
    require(message.grant is None, Reason.BAD_SHAPE, field=_GRANT)
    require(message.session is None, Reason.BAD_SHAPE, field=_SESSION)
    tag = own_tag(message)
    require(not message.opens, Reason.BAD_SHAPE, field=_OPENS)
    require_tag_key(tag, act)
    return Entry(Basis.PATIENT, tag, None, None, None, None, is_disputed=False)


def record_in_emergency(message: Record, act: Act) -> Entry:
    """Return the entry of an access in an emergency: it names the member that asks. Opening names no session, a later page names one.

    Refuses  BAD_SHAPE, NOT_APPROVED_BY_A_MEMBER, NOT_APPROVED_BY_TAG_KEY
    """
    require(message.grant is None, Reason.BAD_SHAPE, field=_GRANT)
    require((message.session is None) == message.opens, Reason.BAD_SHAPE, field=_SESSION)
    tag = own_tag(message)
    require(len(act.members) == 1, Reason.NOT_APPROVED_BY_A_MEMBER, members=len(act.members))
    require_tag_key(tag, act)
    return Entry(Basis.EMERGENCY, tag, None, None, act.members[0], None, is_disputed=False)


def own_tag(message: Record) -> bytes:
    """Return the tag that the message brings, as every basis but grant must.

    Refuses  BAD_SHAPE
    """
    if message.tag is None:
        raise Refused(Reason.BAD_SHAPE, field=_TAG)
    return message.tag


def require_tag_key(tag: bytes, act: Act) -> None:
    """Refuse anybody but who has the one-time key that the tag stands for.

    Refuses  NOT_APPROVED_BY_TAG_KEY
    """
    require(any(key_tag(key) == tag for key in act.approved_by), Reason.NOT_APPROVED_BY_TAG_KEY)


def level_now(bucket: Bucket | None, reviews: tuple[Review, ...], cap: int, now_s: int) -> int:
    """Return what a member's bucket holds: it fills by the cap each second, up to a day of it; each overdue review lowers the cap by one.

    A bucket is full before its first use (None). The cap of now counts for the whole time since the last opening (ADR-0044).
    """
    overdue = sum(review.due_s <= now_s for review in reviews)
    lowered = max(CAP_LEAST, cap - overdue)
    full = lowered * DAY_S
    return full if bucket is None else min(full, bucket.level + lowered * (now_s - bucket.at_s))


def open_emergency(bucket: Bucket | None, reviews: tuple[Review, ...], cap: int, act: Act) -> tuple[Bucket, tuple[Review, ...]]:
    """Return a member's bucket and reviews after it opened an emergency: a day's share less, one review more.

    Refuses  REVIEWS_FULL, EMERGENCY_QUOTA
    """
    require(len(reviews) < REVIEWS_MAX, Reason.REVIEWS_FULL, reviews=len(reviews))
    level = level_now(bucket, reviews, cap, act.now_s)
    require(level >= OPENING_COST, Reason.EMERGENCY_QUOTA, level=level)
    return Bucket(level - OPENING_COST, act.now_s), (*reviews, Review(act.index, act.now_s + REVIEW_S))


def continue_emergency(session: Session | None, member: str, now_s: int) -> None:
    """Refuse a later page unless the same member's session lives.

    Refuses  NO_SUCH_SESSION, NOT_THE_SESSION_MEMBER, EMERGENCY_SESSION_ENDED
    """
    if session is None:
        raise Refused(Reason.NO_SUCH_SESSION)
    require(session.member == member, Reason.NOT_THE_SESSION_MEMBER, member=session.member)
    require(now_s < session.until_s, Reason.EMERGENCY_SESSION_ENDED, until_s=session.until_s)


def mark_unsent(entry: Entry | None, message: Unsent, act: Act) -> Entry:
    """Return the entry as marked: by who would have sent, once.

    Refuses  NO_SUCH_ENTRY, NOT_APPROVED_BY_HOLDER_KEY, NOT_APPROVED_BY_TAG_KEY, ALREADY_UNSENT
    """
    found = existing(entry, message.index)
    if found.basis is Basis.GRANT:
        require(found.holder_key in act.approved_by, Reason.NOT_APPROVED_BY_HOLDER_KEY)
    else:
        require_tag_key(found.tag, act)
    require(found.unsent is None, Reason.ALREADY_UNSENT)
    return replace(found, unsent=message.reason)


def dispute(entry: Entry | None, message: Dispute, act: Act) -> Entry:
    """Return the entry as disputed by the patient, once.

    Refuses  NO_SUCH_ENTRY, NOT_THE_GRANTS_CONTROL_KEY, NOT_APPROVED_BY_TAG_KEY, ALREADY_DISPUTED
    """
    found = existing(entry, message.index)
    if found.basis is Basis.GRANT:
        require(found.control_key in act.approved_by, Reason.NOT_THE_GRANTS_CONTROL_KEY)
    else:
        require_tag_key(found.tag, act)
    require(not found.is_disputed, Reason.ALREADY_DISPUTED)
    return replace(found, is_disputed=True)


def review(entry: Entry, reviews: tuple[Review, ...], message: Reviewed, act: Act) -> tuple[Review, ...]:
    """Return the reviews that the entry's member still owes: this one was done, as that member and the holder say.

    Refuses  NO_REVIEW_DUE, NOT_APPROVED_BY_A_MEMBER, NOT_APPROVED_BY_TAG_KEY
    """
    left = tuple([each for each in reviews if each.index != message.index])
    require(len(left) < len(reviews), Reason.NO_REVIEW_DUE)
    require(entry.member in act.members, Reason.NOT_APPROVED_BY_A_MEMBER, members=len(act.members))
    require_tag_key(entry.tag, act)
    return left


def existing(entry: Entry | None, index: int) -> Entry:
    """Return the entry, which must be an access.

    Refuses  NO_SUCH_ENTRY
    """
    if entry is None:
        raise Refused(Reason.NO_SUCH_ENTRY, index=index)
    return entry


def spend(view: StateView, tag: bytes, act: Act) -> Writes:
    """Return the row of a tag, unique in its day and the day before.

    Refuses  TAG_USED
    """
    today = day_of(act.now_s)
    is_used = state.is_tag_used(view, today, tag) or (today > 0 and state.is_tag_used(view, today - 1, tag))
    require(not is_used, Reason.TAG_USED)
    return state.write_tag(today, tag, act.index)


def record_writes(view: StateView, message: Record, act: Act, limits: Limits, grant: GrantFacts | None) -> Writes:
    """Return what an `access.record` writes, but for the grant's own row, which the ledger adds. `grant` is None unless it is the basis.

    Refuses  BAD_SHAPE(field=1) for a basis that these rules do not take, and what the rule of its basis refuses
    """
    require(message.basis in BASES_TAKEN, Reason.BAD_SHAPE, field=_BASIS)
    admit(message, act, limits)
    if message.basis == Basis.GRANT:
        entry = record_by_grant(message, act, grant)
        # A grant's tags are distinct by construction. This one read guards the row that would be overwritten; the ledger reads it anyway.
        today = day_of(act.now_s)
        require(not state.is_tag_used(view, today, entry.tag), Reason.TAG_USED)
        return {**state.write_tag(today, entry.tag, act.index), **state.write_entry(act.index, entry)}
    if message.basis == Basis.PATIENT:
        entry = record_by_patient(message, act)
        return {**spend(view, entry.tag, act), **state.write_entry(act.index, entry)}
    entry = record_in_emergency(message, act)
    spent = spend(view, entry.tag, act)
    return {**spent, **state.write_entry(act.index, entry), **emergency_writes(view, message, act, limits.emergency_cap)}


def emergency_writes(view: StateView, message: Record, act: Act, cap: int) -> Writes:
    """Return what an emergency writes besides its entry: bucket, reviews and session when it opens, nothing for a later page.

    Refuses  what `open_emergency` and `continue_emergency` refuse
    """
    member = act.members[0]
    if message.session is not None:
        continue_emergency(state.session(view, message.session), member, act.now_s)
        return {}
    bucket, reviews = open_emergency(state.bucket(view, member), state.reviews(view, member), cap, act)
    session = state.write_session(own_tag(message), Session(member, act.now_s + SESSION_S))
    return {**state.write_bucket(member, bucket), **state.write_reviews(member, reviews), **session}


def decide_skip(view: StateView, message: Skip, act: Act) -> Writes:
    """Return what an `access.skip` writes: the tag counts as used, and no access stands behind it.

    Refuses  NOT_APPROVED_BY_TAG_KEY, TAG_USED
    """
    require_tag_key(message.tag, act)
    return spend(view, message.tag, act)


def decide_unsent(view: StateView, message: Unsent, act: Act) -> Writes:
    """Return what an `access.unsent` writes."""
    return state.write_entry(message.index, mark_unsent(state.entry(view, message.index), message, act))


def decide_dispute(view: StateView, message: Dispute, act: Act) -> Writes:
    """Return what an `access.dispute` writes; its commitment is kept by the log."""
    return state.write_entry(message.index, dispute(state.entry(view, message.index), message, act))


def decide_review(view: StateView, message: Reviewed, act: Act) -> Writes:
    """Return what an `access.review` writes; its outcome is kept by the log.

    Refuses  NO_SUCH_ENTRY, NO_REVIEW_DUE, and what `review` refuses
    """
    entry = existing(state.entry(view, message.index), message.index)
    if entry.member is None:
        raise Refused(Reason.NO_REVIEW_DUE)
    return state.write_reviews(entry.member, review(entry, state.reviews(view, entry.member), message, act))
