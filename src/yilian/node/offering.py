"""What a release fixes before anything is entered: its AuditEvent once, its offer as often as it must be made anew."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from yilian.base import labels
from yilian.base.artefacts import ReadRequest
from yilian.base.codec import encode
from yilian.base.digests import grant_tag, key_tag, labelled
from yilian.base.keys import kid_of
from yilian.base.refusals import Reason, require
from yilian.base.seal import seal_to_member
from yilian.base.times import month_of
from yilian.base.transaction import parse_header
from yilian.contracts import access, consent, directory
from yilian.contracts.access import Basis
from yilian.node import auditing
from yilian.node.asking import Offer
from yilian.node.carriage import act_of
from yilian.node.charts import Chart
from yilian.node.member import Node
from yilian.node.members import Finality
from yilian.node.reading import Answer
from yilian.node.refusals import No, demand
from yilian.node.releases import NoEntry, Prepared, Row

RECORD_KIND: Final = "access.record"
MEMO_OVERHEAD_BYTES: Final = 1_136  # of a seal between members: ML-KEM-768 ciphertext 1,088 (FIPS 203), X25519 share 32, tag 16


@dataclass(frozen=True, slots=True)
class By:
    """Who a release is for, besides what was read: the call's digest, the practitioner, whose approval is awaited, H(Q), a reason."""

    digest: bytes
    practitioner: bytes | None
    approver: bytes
    challenge: bytes | None = None
    reason: str | None = None


def audited(read: ReadRequest, by: By, chart: Chart, basis: Basis, answer: Answer, node: Node) -> Prepared:
    """Return the release with its AuditEvent, no offer made yet."""
    request_salt, salt = secrets.token_bytes(auditing.SALT_SIZE), secrets.token_bytes(auditing.SALT_SIZE)
    now_s = node.members.final().now_s
    audit_event = auditing.audit_event(
        auditing.Access(
            holder=node.id,
            requester=read.requester,
            basis=basis,
            interaction=answer.interaction,
            type=answer.type,
            purpose=read.purpose,
            at_ms=max(node.members.clock_ms(), now_s * 1_000),
            request_id=read.request_id,
            practitioner=by.practitioner,
            patient=_patient(chart, basis, salt),
            control_key=read.control_key,
            challenge=by.challenge,
            reason=by.reason,
            request_hash=auditing.salted(request_salt, read.statement(node.network)),
            response_hash=auditing.salted(salt, answer.body),
        )
    )
    return Prepared(
        request_id=read.request_id,
        digest=by.digest,
        requester=read.requester,
        practitioner=by.practitioner,
        purpose=read.purpose,
        basis=basis,
        chart=chart,
        control_key=read.control_key,
        approver=by.approver,
        answer=answer,
        audit_event=audit_event,
        request_salt=request_salt,
        salt=salt,
        prepared_at_s=now_s,
        month=month_of(now_s),
    )


def _patient(chart: Chart, basis: Basis, salt: bytes) -> bytes | None:
    """Return whose records these are, as the AuditEvent says it: the kid of R_h, or None before an enrolment.

    In an emergency the requester has shown no grant, and sees the offer before anything is entered: there it is a hash, whose salt goes
    with the bytes; and nothing tells whether the patient is enrolled here.
    """
    kid = b"" if chart.r_key is None else kid_of(chart.r_key)
    return auditing.salted(salt, kid) if basis is Basis.EMERGENCY else kid or None


def offer_anew(prepared: Prepared, final: Finality, node: Node) -> None:
    """Make the offer, or make it anew: the number that the entry will get, its tag, d and detail, in a fresh envelope.

    Refuses  PRESENCE_REQUIRED: the session that the call was to be part of is over, and nothing was shown that opens another
    """
    if prepared.basis is Basis.GRANT:
        assert prepared.control_key is not None, "the basis is a grant"
        row = consent.read(final.view, prepared.control_key)
        assert row is not None, "a grant's row is never deleted"
        opens = final.now_s >= row.session_until_s
        demand(prepared.may_open or not opens, No.PRESENCE_REQUIRED)
        prepared.opens = opens
        prepared.number = node.releases.lane(prepared.control_key).foretell(prepared.request_id, row.entries)
        prepared.tag = grant_tag(prepared.control_key, prepared.number)
    elif prepared.number < 0:  # a chart's number is allotted once
        prepared.number = node.releases.next_number(prepared.chart.id, prepared.month)
        prepared.tag = key_tag(node.keys.entry_key(prepared.chart.id, prepared.month, prepared.number).public_key)
    detail_key = node.keys.detail_key(prepared.chart.id, prepared.month, prepared.tag)
    is_by_grant = prepared.basis is Basis.GRANT
    record = access.Record(
        basis=int(prepared.basis),
        grant=prepared.control_key if is_by_grant else None,
        session=prepared.session,
        tag=None if is_by_grant else prepared.tag,
        opens=prepared.opens,
        detail=auditing.committed(detail_key, node.network, prepared.audit_event),
        memo=memo_of(prepared, final, node),
    )
    protected = node.carriage.header(RECORD_KIND)
    prepared.exp_s = parse_header(protected).exp_s
    prepared.offer = Offer(protected, act_of(RECORD_KIND, record), prepared.audit_event, detail_key, prepared.request_salt)


def memo_of(prepared: Prepared, final: Finality, node: Node) -> bytes:
    """Return what the regulator may open: holder, requester and basis, filled up to the size that the network fixed; 0 is none.

    Refuses  MEMO_SIZE_WRONG, if the network's size has no room for a seal: nothing can be entered until a vote changes it
    """
    size_bytes = directory.parameter(final.view, "memo_size")
    if size_bytes == 0:
        return b""
    said = encode([node.id, prepared.requester, int(prepared.basis)])
    regulator = next((one for one in directory.members(final.view) if directory.REGULATOR in one.kinds), None)
    fits = regulator is not None and size_bytes >= len(said) + MEMO_OVERHEAD_BYTES
    require(fits, Reason.MEMO_SIZE_WRONG, memo_size_bytes=size_bytes)
    assert regulator is not None, "asked for in the line above"
    filled = said + bytes(size_bytes - MEMO_OVERHEAD_BYTES - len(said))
    return seal_to_member(regulator.sealing_key, labelled(labels.MEMO, node.network, prepared.tag), filled)


def notice_of(prepared: Prepared, index: int, node: Node) -> bytes:
    """Return the patient's notice of one access, sealed: who, what for, what kind of thing, by what right."""
    facts = {
        "requester": prepared.requester,
        "practitioner": None if prepared.practitioner is None else prepared.practitioner.hex(),
        "purpose": prepared.purpose,
        "basis": prepared.basis.name.lower(),
        "type": prepared.answer.type,
        "interaction": prepared.answer.interaction,
        "grant": None if prepared.control_key is None else prepared.control_key.hex(),
        "entry": index,
    }
    return _sealed_notice(prepared.chart, facts, node)


def notice_of_no_entry(request_id: bytes, node: Node) -> NoEntry:
    """Return the patient's notice that an emergency was offered and nothing was entered or sent; None for another basis.

    The requester has learnt from the offer that the patient is known here, and nothing on the ledger says that it asked.
    """
    row = node.releases.row(request_id)
    assert row is not None, "rows are never deleted"
    return (notice_after_restart(row, None, node), node.members.now_s()) if row.basis == Basis.EMERGENCY else None


def notice_after_restart(row: Row, index: int | None, node: Node) -> bytes:
    """Return the notice of an access that an earlier life of this process entered: what its AuditEvent says."""
    chart = node.charts.of_id(row.chart)
    sealed = node.journal.one("SELECT audit_sealed FROM releases WHERE request_id = ?", (row.request_id,))
    assert sealed is not None, "the row is there"
    audit = node.releases.audit_event_of(chart.patient_id, row.request_id, sealed[0])
    said, event = auditing.said_of(audit), orjson.loads(audit)
    details = {detail["type"]: detail.get("valueString") for detail in event["entity"][-1]["detail"]}
    facts = {
        "requester": said["requester"],
        "practitioner": said["practitioner"],
        "purpose": said["purpose"],
        "basis": said["basis"],
        "type": "" if details["resource-type"] == "*" else details["resource-type"],
        "interaction": event["subtype"][-1]["code"],
        "grant": said["control_key"],
        "entry": index,
    }
    return _sealed_notice(chart, facts, node)


def _sealed_notice(chart: Chart, facts: Mapping[str, object], node: Node) -> bytes:
    return node.keys.seal(chart.patient_id, orjson.dumps(facts), encode(["notice", chart.id]))
