"""The release gate: the heart of the product. The order of the lines is the order of design 04's steps.

Call (a) decides and fixes what would be sent; nothing leaves. Call (b) enters it on the ledger, and only then sends it: no byte leaves
before the entry is final, none after block time + 30 s, none if the grant was revoked meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import Final

from yilian.base.artefacts import ReadRequest
from yilian.base.keys import is_signed
from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import approval_message, approve
from yilian.contracts import consent
from yilian.contracts.access import Basis, UnsentReason
from yilian.engines import Committed
from yilian.node import reading
from yilian.node.asking import Offer, ReleaseCall
from yilian.node.charts import Chart
from yilian.node.emergency import by_emergency
from yilian.node.member import Node
from yilian.node.members import Finality
from yilian.node.offering import By, audited, notice_after_restart, notice_of, notice_of_no_entry, offer_anew
from yilian.node.reading import Target
from yilian.node.refusals import No, NodeRefused, demand
from yilian.node.releases import PREPARED_S, SEND_S, Prepared, Released, Row
from yilian.node.right import Right, Who, by_grant, who, with_presence
from yilian.node.schema import Stage
from yilian.node.tokens import Asker

HEADER_LEFT_S_MIN: Final = 5  # an offer whose envelope ends sooner is made anew


class OfferedAnew(Exception):
    """What was approved can no longer be entered as it stands; nothing was. Here is what can."""

    def __init__(self, offer: Offer) -> None:
        """Carry the fresh offer."""
        super().__init__()
        self.offer = offer


# --- call (a): steps 1 to 4


async def prepare(call: ReleaseCall, asker: Asker, node: Node) -> Offer:
    """Decide another member's request and fix what would be sent; nothing leaves yet.

    Refuses  what each step refuses; REQUEST_ID_USED, REQUEST_TOO_OLD
    """
    async with node.releases.alone(call.read.request_id):
        before = _offered_before(call.read.request_id, call.digest(node.network), asker.member, node)
        if before is not None:
            return before
        final = node.members.final()
        asked_by = who(call, asker, final, node)
        target = reading.parse_target(call.read.method, call.read.target, call.read.body)
        right = await _right(call, asked_by, target, final, node)
        right = with_presence(right, call, asked_by, final, node)
        answer = reading.answer(node.store, target, right.scope, node.base_url)
        prepared = _fixed(call, right, answer, final, node)
        try:
            await node.releases.keep(prepared, right.challenge, right.challenge_until_s)
        except NodeRefused:
            node.releases.leave(prepared)
            raise
        _expire_later(prepared, node)
        return prepared.offer


async def _right(call: ReleaseCall, asked_by: Who, target: Target, final: Finality, node: Node) -> Right:
    """Return by what right: a grant if one is named, else an emergency, else none."""
    if call.read.control_key is None:
        return await by_emergency(call, asked_by, target, final, node)
    demand(target.interaction != "emergency", No.NOT_READABLE)
    return await by_grant(call, asked_by, final, node)


def _offered_before(request_id: bytes, digest: bytes, member: str, node: Node) -> Offer | None:
    """Return the offer that this very call got before, or None if it is to be prepared (again).

    Refuses  REQUEST_ID_USED, REQUEST_TOO_OLD, RELEASE_TOO_LATE, and what became of it before
    """
    prepared = node.releases.open.get(request_id)
    if prepared is not None:
        demand((prepared.digest, prepared.requester) == (digest, member), No.REQUEST_ID_USED)
        if prepared.transaction is None and prepared.outcome is None and prepared.exp_s - node.members.final().now_s < HEADER_LEFT_S_MIN:
            offer_anew(prepared, node.members.final(), node)
        return prepared.offer
    row = node.releases.row(request_id)
    if row is None:
        return None
    demand((row.digest, row.requester) == (digest, member), No.REQUEST_ID_USED)
    if row.stage in (Stage.PREPARED, Stage.DROPPED):
        demand(node.members.now_s() <= row.prepared_at_s + PREPARED_S, No.REQUEST_TOO_OLD)
        return None
    _raise_if_ended(row.stage, row.reason)
    if row.block_ms is not None:
        demand(node.members.clock_ms() <= row.block_ms + SEND_S * 1_000, No.RELEASE_TOO_LATE)
    return node.releases.offer_of(row)


def _raise_if_ended(stage: int, reason: int | None) -> None:
    if stage == Stage.REFUSED and reason is not None:
        raise Refused(Reason(reason))
    if stage == Stage.UNSENT:
        raise Refused(Reason.GRANT_REVOKED) if reason == UnsentReason.REVOKED else NodeRefused(No.RELEASE_TOO_LATE)


def _fixed(call: ReleaseCall, right: Right, answer: reading.Answer, final: Finality, node: Node) -> Prepared:
    """Return the release with its bytes, its AuditEvent and its first offer, all fixed."""
    by = By(call.digest(node.network), call.practitioner, right.approver, right.challenge, call.reason)
    prepared = audited(call.read, by, right.chart, right.basis, answer, node)
    prepared.holder_key = None if right.grant is None else right.grant.holder_key
    prepared.opens, prepared.session = right.opens, right.session
    prepared.may_open = right.opens or (right.grant is not None and right.grant.interval_s is not None)
    offer_anew(prepared, final, node)
    return prepared


async def prepare_own(read: ReadRequest, digest: bytes, chart: Chart, answer: reading.Answer, node: Node) -> Prepared:
    """Fix a patient's own reading: PREPARED, awaiting nobody's approval."""
    prepared = audited(read, By(digest, None, b""), chart, Basis.PATIENT, answer, node)
    offer_anew(prepared, node.members.final(), node)
    await node.releases.keep(prepared, None, 0)
    _expire_later(prepared, node)
    return prepared


def enter_own(prepared: Prepared, node: Node) -> None:
    """Begin to enter and send a patient's own reading."""
    prepared.outcome = node.flight.start(_enter(prepared, [], node))


def _expire_later(prepared: Prepared, node: Node) -> None:
    """Drop the release when nobody approved it in time, and forget a sent one when its window is over."""

    def expire() -> None:
        if prepared.outcome is None or prepared.outcome.done():
            forget(prepared, node)
            if prepared.transaction is None:
                node.flight.attempt(_dropped(prepared, node))
        else:
            _expire_later(prepared, node)

    asyncio.get_running_loop().call_later(PREPARED_S, expire)


async def _dropped(prepared: Prepared, node: Node) -> None:
    await node.releases.drop(prepared.request_id, notice_of_no_entry(prepared.request_id, node))
    node.housekeeping.wake()


def forget(prepared: Prepared, node: Node) -> None:
    """Take a release out of memory; its row stays."""
    node.releases.forget(prepared)


# --- call (b): steps 5 to 7


async def release(request_id: bytes, approval: tuple[bytes, bytes], asker: Asker, node: Node) -> Released:
    """Enter what was approved and return what leaves. The same call gets the same bytes under the same entry, for 30 seconds.

    Refuses  NOT_PREPARED, APPROVAL_NOT_VALID, RELEASE_TOO_LATE, LEDGER_UNREACHABLE, what the ledger refuses
    Raises   OfferedAnew
    """
    prepared = node.releases.open.get(request_id)
    if prepared is None or prepared.requester != asker.member:
        return await _released_before(request_id, approval, asker.member, node)
    _check_approval(prepared.offer, prepared.approver, approval)
    if prepared.outcome is None:
        prepared.outcome = node.flight.start(_enter(prepared, [approval], node))
    return await outcome_of(prepared, node)


async def outcome_of(prepared: Prepared, node: Node) -> Released:
    """Wait for what becomes of a release under way; who goes away does not end it."""
    outcome = prepared.outcome
    assert outcome is not None, "under way"
    try:
        released = await asyncio.shield(outcome)
    except (OfferedAnew, NodeRefused):
        if prepared.outcome is outcome:
            prepared.outcome = None  # may be approved anew, or carried again
        raise
    demand(node.members.clock_ms() <= released.until_ms, No.RELEASE_TOO_LATE)
    return released


def _check_approval(offer: Offer, approver: bytes, approval: tuple[bytes, bytes]) -> None:
    """Refuse an approval that is not of this offer by the key it awaits.

    Refuses  APPROVAL_NOT_VALID
    """
    key, signature = approval
    is_theirs = key == approver and is_signed(key, approval_message(offer.protected, offer.act), signature)
    demand(is_theirs, No.APPROVAL_NOT_VALID)


async def _released_before(request_id: bytes, approval: tuple[bytes, bytes], member: str, node: Node) -> Released:
    """Return what a release of an earlier life of this process sends, if it may still.

    Refuses  NOT_PREPARED, APPROVAL_NOT_VALID, RELEASE_TOO_LATE, GRANT_REVOKED
    """
    row = node.releases.row(request_id)
    if row is None or row.requester != member or row.stage in (Stage.PREPARED, Stage.DROPPED, Stage.SUBMITTED):
        raise NodeRefused(No.NOT_PREPARED)
    _raise_if_ended(row.stage, row.reason)
    offer = node.releases.offer_of(row)
    is_theirs = is_signed(approval[0], approval_message(offer.protected, offer.act), approval[1])
    demand(is_theirs and row.tx is not None and approval[1] in row.tx, No.APPROVAL_NOT_VALID)
    return await sent_before(row, node)


async def sent_before(row: Row, node: Node) -> Released:
    """Return what was entered in an earlier life of this process, if it may still be sent: the same bytes under the same entry.

    Refuses  RELEASE_TOO_LATE, GRANT_REVOKED, what the ledger refused
    """
    _raise_if_ended(row.stage, row.reason)
    released = node.releases.released_of(row)
    if row.stage == Stage.FINAL:
        await _resume(row, released, node)
    demand(node.members.clock_ms() <= released.until_ms, No.RELEASE_TOO_LATE)
    return released


async def _resume(row: Row, released: Released, node: Node) -> None:
    """Step 6 of an earlier life's entry: the state once more, SENDING and the patient's notice.

    Refuses  GRANT_REVOKED, RELEASE_TOO_LATE; the ledger is told that nothing was sent
    """
    reason = why_not_send(row.control_key, released.until_ms, node)
    if reason is not None:
        await node.releases.unsent(row.request_id, released.entry_index, released.entry_id, reason)
        node.housekeeping.wake()
        raise Refused(Reason.GRANT_REVOKED) if reason is UnsentReason.REVOKED else NodeRefused(No.RELEASE_TOO_LATE)
    notice = notice_after_restart(row, released.entry_index, node)
    demand(await node.releases.resumed(row, notice, node.members.now_s()), No.RELEASE_TOO_LATE)


async def _enter(prepared: Prepared, approvals: list[tuple[bytes, bytes]], node: Node) -> Released:
    """Steps 5 and 6: outbox, ledger, the state once more, SENDING."""
    if prepared.released is not None:
        return prepared.released
    if prepared.transaction is None:
        transaction = await _enveloped(prepared, approvals, node)
        await node.releases.submitted(prepared, transaction)
    else:
        transaction = prepared.transaction
    committed = await node.carriage.submit(transaction)
    if committed.index is None:
        forget(prepared, node)
        await node.releases.refused(prepared.request_id, committed.reason, notice_of_no_entry(prepared.request_id, node))
        raise Refused(Reason(committed.reason), **committed.facts)
    node.releases.leave(prepared)
    return await _sent(prepared, committed, committed.index, node)


async def _enveloped(prepared: Prepared, approvals: list[tuple[bytes, bytes]], node: Node) -> bytes:
    """Return the whole transaction, when it is this entry's turn and nothing has changed since the offer.

    Refuses  REVOKED_DIRECTLY, what `consent.use` refuses
    Raises   OfferedAnew
    """
    if prepared.basis is Basis.GRANT:
        await _await_turn(prepared, node)
        assert prepared.holder_key is not None, "a grant has a key of ours"
        own_key = node.keys.grant_key(prepared.holder_key)
        assert own_key is not None, "step 2 asked for it"
    else:
        own_key = node.keys.entry_key(prepared.chart.id, prepared.month, prepared.number)
    final = node.members.final()
    if prepared.exp_s - final.now_s < HEADER_LEFT_S_MIN:
        offer_anew(prepared, final, node)
        raise OfferedAnew(prepared.offer)
    own = approve(own_key, prepared.offer.protected, prepared.offer.act)
    return node.carriage.enveloped(prepared.offer.protected, prepared.offer.act, [own, *approvals])


async def _await_turn(prepared: Prepared, node: Node) -> None:
    """Wait until this entry is its grant's next, and ask the rule once more."""
    control_key = prepared.control_key
    assert control_key is not None, "the basis is a grant"
    lane = node.releases.lane(control_key)

    def entries() -> int:
        row = consent.read(node.engine.read(), control_key)
        assert row is not None, "a grant's row is never deleted"
        return row.entries

    is_next = await lane.turn(prepared.request_id, entries)
    demand(not node.grants.is_revoked(control_key), No.REVOKED_DIRECTLY)
    final = node.members.final()
    row = consent.read(final.view, control_key)
    assert row is not None, "a grant's row is never deleted"
    opens = final.now_s >= row.session_until_s
    consent.use(row, prepared.opens or opens, final.now_s)
    demand(prepared.opens or not opens, No.PRESENCE_REQUIRED)
    if not is_next:
        offer_anew(prepared, final, node)
        raise OfferedAnew(prepared.offer)


async def _sent(prepared: Prepared, committed: Committed, index: int, node: Node) -> Released:
    """Step 6: read the state once more, write SENDING and the patient's notice, and let the bytes go.

    Refuses  GRANT_REVOKED, RELEASE_TOO_LATE; the ledger is told that nothing was sent
    """
    until_ms = committed.time_ms + SEND_S * 1_000
    reason = why_not_send(prepared.control_key, until_ms, node)
    if reason is not None:
        await node.releases.unsent(prepared.request_id, index, committed.id, reason)
        forget(prepared, node)
        node.housekeeping.wake()
        raise Refused(Reason.GRANT_REVOKED) if reason is UnsentReason.REVOKED else NodeRefused(No.RELEASE_TOO_LATE)
    answer = prepared.answer
    released = Released(answer.status, answer.media_type, answer.body, prepared.salt, index, committed.id, until_ms)
    now_s = node.members.now_s()
    await node.releases.sending(prepared, released, notice_of(prepared, index, node), now_s)
    asyncio.get_running_loop().call_later(SEND_S + 1, forget, prepared, node)  # its row answers from then on
    return released


def why_not_send(control_key: bytes | None, until_ms: int, node: Node) -> UnsentReason | None:
    """Return why the bytes of a final entry may not leave, or None if they may."""
    if control_key is not None:
        row = consent.read(node.engine.read(), control_key)
        if row is None or row.state is not consent.State.GIVEN or node.grants.is_revoked(control_key):
            return UnsentReason.REVOKED
    return UnsentReason.TOO_LATE if node.members.clock_ms() > until_ms else None
