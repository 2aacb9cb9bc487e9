"""Referral: a clinic sends a patient up with the patient's grants; a hospital takes the patient, and sends the patient back down.

Request   the patient's wallet gave one grant per holder, all final; then one-time keys, the package, its commitment on the ledger, and only
          then the message to the hospital. If a give failed nothing is requested (and the wallet revokes the others).
Steps     each is signed by a practitioner's own key, entered on the ledger by the one-time key of its side, then written into the records,
          told to the other side and to the patient. Asked again, it answers the same; after a crash the same bytes are entered again.
Source    design 04 "Referral"; design 03 "referral"; ADR-0088.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from yilian.base.codec import Malformed, encode
from yilian.base.digests import DIGEST_SIZE, sha256
from yilian.base.handovers import GrantKey
from yilian.base.keys import is_signed
from yilian.base.refusals import Reason, Refused
from yilian.base.shapes import pack, unpack
from yilian.base.transaction import approve, parse_header
from yilian.contracts import consent, directory, referral
from yilian.contracts.referral import Stage
from yilian.engines import Committed
from yilian.node import referral_book as book
from yilian.node.carriage import act_of
from yilian.node.housekeeping import duty
from yilian.node.member import Node
from yilian.node.postbox import post
from yilian.node.referral_book import Row, Step
from yilian.node.referral_papers import (
    ACTS,
    HandedGrant,
    Package,
    RequestMessage,
    StepMessage,
    request_statement,
    resource,
    step_statement,
    task,
)
from yilian.node.refusals import No, NodeRefused, demand
from yilian.node.subscriptions import notify
from yilian.peers import Unreachable

REFERRAL_ID_SIZE: Final = 16
PAPER_SIZE_BYTES_MAX: Final = 512 * 1024  # a ServiceRequest or a summary
GRANTS_MAX: Final = 32
_OK: Final = 200
_MESSAGES: Final[Mapping[Stage, type[Any]]] = {
    Stage.ACCEPTED: referral.Accept,
    Stage.REJECTED: referral.Reject,
    Stage.IN_PROGRESS: referral.Start,
    Stage.COMPLETED: referral.Complete,
    Stage.DOWN: referral.Down,
    Stage.CANCELLED: referral.Cancel,
}
_BEFORE: Final[Mapping[Stage, tuple[Stage, ...]]] = {
    Stage.ACCEPTED: (Stage.REQUESTED,),
    Stage.REJECTED: (Stage.REQUESTED,),
    Stage.IN_PROGRESS: (Stage.ACCEPTED,),
    Stage.COMPLETED: (Stage.IN_PROGRESS,),
    Stage.DOWN: (Stage.COMPLETED,),
    Stage.CANCELLED: referral.CANCELLABLE,
}
_ACT_OF: Final = {stage: act for act, stage in ACTS.items()}


@dataclass(frozen=True, slots=True)
class Ask:
    """What the clinic's software asks: 16 random bytes of its own, whom, to where, what for, with which grants; signed by the doctor."""

    referral_id: bytes
    patient_id: str
    receiver: str
    service_request: bytes
    grants: tuple[HandedGrant, ...]
    practitioner: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class StepAsk:
    """What either side's software asks: a step, signed; the summary with `complete`; for `accept`, which of our Patients it is."""

    practitioner: bytes
    signature: bytes
    document: bytes | None = None
    patient_id: str | None = None


# --- the clinic: request


async def request(asked: Ask, node: Node) -> Row:
    """Refer a patient; return the referral as it stands on the ledger. The same ask gets the same referral.

    Refuses  NOT_UNDERSTOOD, CREDENTIAL_NOT_LIVE, PRACTITIONER_DID_NOT_SIGN, MEMBER_NOT_ACTIVE, GRANT_NOT_FINAL, HOLDER_UNREACHABLE,
             REQUEST_ID_USED, LEDGER_UNREACHABLE, NotFound (the Patient), Invalid (the ServiceRequest), what the ledger refuses
    """
    statement = request_statement(node.network, node.id, asked.referral_id, asked.receiver, asked.service_request)
    digest = sha256(encode([statement, asked.patient_id, [grant.control_key for grant in asked.grants]]))
    row = book.row_of_id(node, asked.referral_id)
    if row is None:
        row = await _written(asked, statement, digest, node)
    demand(row.is_sent == 1 and row.asked == digest, No.REQUEST_ID_USED)
    return await _requested(row, node)


async def _written(asked: Ask, statement: bytes, digest: bytes, node: Node) -> Row:
    """Check what is asked, and write the referral down with the transaction that will enter it."""
    final = node.members.final()
    _check_paper(asked.service_request, "ServiceRequest", node)
    demand(len(asked.referral_id) == REFERRAL_ID_SIZE and len(asked.grants) <= GRANTS_MAX, No.NOT_UNDERSTOOD)
    receiver = node.members.active(final.view, asked.receiver)
    demand(receiver.id != node.id, No.NOT_UNDERSTOOD)
    node.members.credential(final.view, asked.practitioner, node.id, final.now_s)
    demand(is_signed(asked.practitioner, statement, asked.signature), No.PRACTITIONER_DID_NOT_SIGN)
    patient = node.store.read("Patient", asked.patient_id)
    for grant in asked.grants:
        row = consent.read(final.view, grant.control_key)
        is_live = row is not None and row.state is consent.State.GIVEN and final.now_s < row.expires_at_s
        demand(is_live, No.GRANT_NOT_FINAL, control_key=grant.control_key)
    to_key, from_key = await _to_key(receiver, node), await node.keys.new_grant_key()
    package = Package(
        referral_id=asked.referral_id,
        sender=node.id,
        receiver=receiver.id,
        from_key=from_key.public_key,
        to_key=to_key,
        service_request=asked.service_request,
        task=orjson.dumps(task(asked.referral_id, node.id, receiver.id, node.members.clock_ms())),
        patient=patient.body,
        grants=asked.grants,
        practitioner=asked.practitioner,
        signature=asked.signature,
    )
    k = secrets.token_bytes(DIGEST_SIZE)
    await node.keys.put_consent_key(from_key.public_key, k)
    message = referral.Request(from_key.public_key, to_key, package.commitment(node.network, k))
    transaction, exp_s = _approved(node, "referral.request", message, from_key.public_key)
    sealed = node.keys.seal(asked.patient_id, pack(package), from_key.public_key)
    row_ = Row(
        from_key.public_key,
        asked.referral_id,
        1,
        receiver.id,
        0,
        0,
        asked.patient_id,
        final.now_s,
        sealed,
        digest,
        transaction,
        exp_s,
        None,
    )
    await node.journal.write(lambda db: book.insert_row(db, row_))
    return book.row_of_id(node, asked.referral_id) or row_


async def _to_key(receiver: directory.Member, node: Node) -> bytes:
    """Return a one-time key of the receiver, signed by its node key.

    Refuses  HOLDER_UNREACHABLE
    """
    try:
        answer = await node.peers.post(receiver.endpoint + "/network/grant-key", b"")
        said = unpack(GrantKey, answer.content)
    except (Unreachable, Malformed) as error:
        raise NodeRefused(No.HOLDER_UNREACHABLE) from error
    is_theirs = said.member == receiver.id and said.is_signed_by(node.network, receiver.node_key)
    demand(answer.status == _OK and is_theirs and node.members.now_s() < said.until_s, No.HOLDER_UNREACHABLE)
    return said.key


async def _requested(row: Row, node: Node) -> Row:
    """Enter the request, and hand the package over once it is final."""
    if row.stage != 0:
        return row
    committed = await _committed(node, row.tx, row.exp_s)
    if committed is None or committed.index is None:
        await node.journal.execute("DELETE FROM referrals WHERE from_key = ? AND stage = 0", (row.from_key,))
        if committed is None:
            raise Refused(Reason.EXPIRED)
        raise Refused(Reason(committed.reason), **committed.facts)
    index, package, k = committed.index, book.package_of(node, row), node.keys.consent_key(row.from_key)
    receiver = directory.member(node.engine.read(), row.peer)
    assert receiver is not None and k is not None, "written with the row"  # noqa: PT018 - one fact
    book.file_papers(node, row, Stage.REQUESTED, None)
    opened = pack(RequestMessage(k, package))

    def update(db: sqlite3.Connection) -> None:
        bound = (int(Stage.REQUESTED), index, committed.time_ms // 1_000, row.from_key)
        db.execute("UPDATE referrals SET stage = ?, entry_index = ?, changed_at_s = ?, tx = NULL WHERE from_key = ? AND stage = 0", bound)
        post(db, node, receiver, "referral.request", book.message_id(node, row.from_key, int(Stage.REQUESTED), "request"), opened)
        _notify(db, node, receiver, row, Stage.REQUESTED)

    await node.journal.write(update)
    await book.tell_patient(node, row, Stage.REQUESTED, index)
    node.housekeeping.wake()
    return book.row(node, row.from_key)


# --- either side: steps


async def step(act: str, from_key: bytes, asked: StepAsk, node: Node) -> Row:
    """Take a step of a referral; return it as it stands on the ledger. The same step asked again answers the same.

    Refuses  NOT_UNDERSTOOD, NO_SUCH_REFERRAL_HERE, NOT_THIS_SIDE, CREDENTIAL_NOT_LIVE, PRACTITIONER_DID_NOT_SIGN, SUMMARY_MISSING,
             REFERRAL_STAGE_WRONG, LEDGER_UNREACHABLE, NotFound, Invalid, what the ledger refuses
    """
    demand(act in ACTS, No.NOT_UNDERSTOOD)
    stage, row = ACTS[act], book.row(node, from_key)
    demand(act == "cancel" or not row.is_sent, No.NOT_THIS_SIDE)
    final = node.members.final()
    node.members.credential(final.view, asked.practitioner, node.id, final.now_s)
    statement = step_statement(node.network, node.id, act, from_key, asked.document)
    demand(is_signed(asked.practitioner, statement, asked.signature), No.PRACTITIONER_DID_NOT_SIGN)
    demand(act == "complete" or asked.document is None, No.NOT_UNDERSTOOD)
    digest = sha256(statement)
    before = book.step(node, from_key, stage)
    if before is None:
        before = await _step_written(stage, row, asked, digest, node)
    demand(before.digest == digest, No.REFERRAL_STAGE_WRONG, stage=row.stage)
    return await _stepped(before, node)


async def _step_written(stage: Stage, row: Row, asked: StepAsk, digest: bytes, node: Node) -> Step:
    ledger = referral.read(node.engine.read(), row.from_key)
    at = 0 if ledger is None else int(ledger.stage)
    demand(ledger is not None and ledger.stage in _BEFORE[stage], No.REFERRAL_STAGE_WRONG, stage=at)
    assert ledger is not None, "asked for in the line above"
    if stage is Stage.COMPLETED:
        demand(asked.document is not None, No.SUMMARY_MISSING)
        _check_paper(asked.document or b"", "Composition", node)
    if stage is Stage.ACCEPTED:
        patient_id = book.admit(node, row, asked.patient_id)
        await node.journal.execute("UPDATE referrals SET patient_id = ? WHERE from_key = ?", (patient_id, row.from_key))
    kind = f"referral.{_ACT_OF[stage]}"
    transaction, exp_s = _approved(node, kind, _MESSAGES[stage](row.from_key), row.from_key if row.is_sent else ledger.to_key)
    sealed = book.seal_document(node, row.from_key, stage, asked.document)
    now_s = node.members.now_s()
    new = Step(row.from_key, int(stage), node.id, asked.practitioner, asked.signature, sealed, digest, now_s, transaction, exp_s, None)
    await node.journal.write(lambda db: book.insert_step(db, new))
    return book.step(node, row.from_key, stage) or new


async def _stepped(one: Step, node: Node) -> Row:
    """Enter a step; once it is final, write it into the records and tell the other side and the patient."""
    if one.entry_index is not None:
        return book.row(node, one.from_key)
    committed = await _committed(node, one.tx, one.exp_s)
    if committed is None or committed.index is None:
        await node.journal.execute(
            "DELETE FROM referral_steps WHERE from_key = ? AND stage = ? AND entry_index IS NULL", (one.from_key, one.stage)
        )
        if committed is None:
            raise Refused(Reason.EXPIRED)
        raise Refused(Reason(committed.reason), **committed.facts)
    index, row, stage = committed.index, book.row(node, one.from_key), Stage(one.stage)
    document, peer = book.document_of(node, one), directory.member(node.engine.read(), row.peer)
    assert peer is not None, "members are never deleted"
    book.file_papers(node, row, stage, document)
    opened = pack(StepMessage(one.from_key, one.stage, index, one.practitioner, one.signature, document))

    def update(db: sqlite3.Connection) -> None:
        db.execute(
            "UPDATE referral_steps SET entry_index = ?, at_s = ?, tx = NULL WHERE from_key = ? AND stage = ?",
            (index, committed.time_ms // 1_000, one.from_key, one.stage),
        )
        db.execute(
            "UPDATE referrals SET stage = ?, changed_at_s = ? WHERE from_key = ?", (one.stage, committed.time_ms // 1_000, one.from_key)
        )
        post(db, node, peer, "referral.step", book.message_id(node, one.from_key, one.stage, "step"), opened)
        _notify(db, node, peer, row, stage)

    await node.journal.write(update)
    await book.tell_patient(node, row, stage, index)
    node.housekeeping.wake()
    return book.row(node, one.from_key)


# --- what must not be forgotten


@duty
async def settle_referrals(node: Node) -> None:
    """Carry on with requests and steps whose submission got no answer; mark those that the other side has received.

    Refuses  LEDGER_UNREACHABLE
    """
    for row in book.rows(node, "stage = 0"):
        await _settled(_requested(row, node))
    for one in book.open_steps(node):
        await _settled(_stepped(one, node))
    for sent in book.rows(node, "is_sent = 1 AND is_received = 0 AND stage > 0"):
        message_id = book.message_id(node, sent.from_key, int(Stage.REQUESTED), "request")
        known = node.journal.one("SELECT acknowledged FROM outbox WHERE message_id = ?", (message_id,))
        if known is not None and known[0] is not None:
            row = book.row(node, sent.from_key)  # as it is now: it may have gone on while those before it were marked
            book.file_papers(node, replace(row, is_received=1), Stage(row.stage), None, is_received=True)
            await node.journal.execute("UPDATE referrals SET is_received = 1 WHERE from_key = ?", (row.from_key,))  # last: not done again


async def _settled(work: Any) -> None:  # noqa: ANN401 - a coroutine that returns the row
    """Wait for what became of a row; a refusal is final and has taken the row back."""
    try:
        await work
    except Refused:
        return


# --- the parts


def _notify(db: sqlite3.Connection, node: Node, peer: directory.Member, row: Row, stage: Stage) -> None:
    """Tell the other side's software, by id only, that the Task changed; the stage is the event's number: each happens once."""
    message_id = book.message_id(node, row.from_key, int(stage), "notice")
    notify(db, node, peer, f"Task/{row.referral_id.hex()}", int(stage), message_id)


def _check_paper(body: bytes, wanted: str, node: Node) -> None:
    """Refuse a document that is too large, of another type, or not valid FHIR.

    Refuses  NOT_UNDERSTOOD, Invalid, Malformed
    """
    demand(len(body) <= PAPER_SIZE_BYTES_MAX, No.NOT_UNDERSTOOD, size_bytes_max=PAPER_SIZE_BYTES_MAX)
    resource(body, wanted)
    issues = [issue for issue in node.store.validate(wanted, body) if issue.severity in ("error", "fatal")]
    demand(not issues, No.NOT_UNDERSTOOD, wanted=wanted, issues=len(issues))


def _approved(node: Node, kind: str, message: object, public_key: bytes) -> tuple[bytes, int]:
    """Return a transaction of ours, approved by a one-time key, and when it ends."""
    key = node.keys.grant_key(public_key)
    if key is None:
        raise NodeRefused(No.NOT_THIS_SIDE)
    protected, act = node.carriage.header(kind), act_of(kind, message)
    return node.carriage.enveloped(protected, act, [approve(key, protected, act)]), parse_header(protected).exp_s


async def _committed(node: Node, transaction: bytes | None, exp_s: int | None) -> Committed | None:
    """Return what became of a transaction, submitted (again) while it may be; None if its time is over and it never was entered.

    Refuses  LEDGER_UNREACHABLE
    """
    assert transaction is not None and exp_s is not None, "written down before it is submitted"  # noqa: PT018 - one fact
    return await node.carriage.outcome(transaction, exp_s)
