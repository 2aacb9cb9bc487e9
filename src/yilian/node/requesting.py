"""The requester's own side: an ordinary FHIR GET of its staff becomes the two calls of the gate.

Checked before approving: grant, envelope, act, AuditEvent and `detail`, so that what enters the ledger is what was asked. Checked before
accepting: the bytes are those the AuditEvent speaks of, and the entry that both approved is final here too.
Source   design 04 "The release gate"; design 03 "What each party learns" (a requester accepts nothing without a final entry).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from yilian.base.artefacts import Challenge, ReadRequest
from yilian.base.codec import Malformed, encode
from yilian.base.consents import parse as parse_consent
from yilian.base.handovers import GrantBundle, SignedChallenge, seal_bundle
from yilian.base.keys import PUBLIC_KEY_SIZE, SigningKey, kid_of
from yilian.base.refusals import Reason, Refused
from yilian.base.shapes import pack, unpack
from yilian.base.terms import ConsentNotUnderstood
from yilian.base.transaction import approval_message, parse, parse_header
from yilian.contracts import access, consent, directory
from yilian.contracts.access import Basis
from yilian.node import auditing
from yilian.node.asking import Offer, PresenceShown, ReleaseCall, approval_body, parse_offer
from yilian.node.carriage import KINDS, read_act
from yilian.node.grants import open_artefacts
from yilian.node.logins import CBOR
from yilian.node.member import Node
from yilian.node.members import Finality
from yilian.node.offering import RECORD_KIND
from yilian.node.refusals import No, NodeRefused, demand
from yilian.node.tokens import Purpose
from yilian.peers import Answer

OFFERS_MAX: Final = 5  # an offer may be made anew when others of the same grant went first
FINAL_WITHIN_S: Final = 5  # how long this node may lag behind the holder's
NONCE_SIZE: Final = 32
OK_MAX: Final = 299


@dataclass(frozen=True, slots=True)
class Reading:
    """What a practitioner of ours wants to read at another member, signed by his own key."""

    read: ReadRequest
    practitioner: bytes
    signature: bytes
    presence: PresenceShown | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """What came: the holder's answer as it is, and the entry under which it was released (None: it was not)."""

    status: int
    media_type: str
    body: bytes
    refusal: str | None
    entry_index: int | None
    entry_id: bytes | None


async def take_grant(control_key: bytes, sealed: bytes, node: Node) -> None:
    """Keep a grant that a patient handed to us as the requester, sealed to this member.

    Refuses  ARTEFACTS_NOT_OPENED, NO_SUCH_GRANT, GRANT_NOT_OURS, CONSENT_NOT_COMMITTED, CONSENT_NOT_UNDERSTOOD
    """
    demand(len(control_key) == PUBLIC_KEY_SIZE, No.NOT_UNDERSTOOD)
    bundle = await asyncio.to_thread(open_artefacts, node.keys, node.id, control_key, sealed)
    final = node.members.final()
    row = consent.read(final.view, control_key)
    if row is None:
        raise Refused(Reason.NO_SUCH_GRANT)
    demand(node.keys.grant_key(row.requester_key) is not None, No.GRANT_NOT_OURS)
    demand(len(bundle.key) == NONCE_SIZE and bundle.commitment(node.network) == row.commitment, No.CONSENT_NOT_COMMITTED)
    try:
        terms = parse_consent(bundle.consent)
    except ConsentNotUnderstood as error:
        raise NodeRefused(No.CONSENT_NOT_UNDERSTOOD) from error
    demand(terms.requester == node.id and terms.control_key == control_key, No.GRANT_NOT_OURS)
    sealed_here = node.keys.seal(None, pack(bundle), control_key)
    await node.journal.execute(
        "INSERT INTO held VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (control_key, terms.holder, sealed_here, final.now_s)
    )


def held_grant(control_key: bytes, node: Node) -> tuple[str, GrantBundle] | None:
    """Return (holder, bundle) of a grant that we were handed, or None."""
    row = node.journal.one("SELECT holder, bundle_sealed FROM held WHERE control_key = ?", (control_key,))
    return None if row is None else (row[0], unpack(GrantBundle, node.keys.open(None, row[1], control_key)))


def challenge(practitioner: bytes, purpose: str, nonce: bytes, node: Node) -> SignedChallenge:
    """Return Q for the desk to show, signed by this member's node key."""
    demand(len(nonce) == NONCE_SIZE and len(practitioner) == PUBLIC_KEY_SIZE, No.NOT_UNDERSTOOD)
    final = node.members.final()
    node.members.credential(final.view, practitioner, node.id, final.now_s)
    asked = Challenge(node.id, practitioner, purpose, nonce, node.members.now_s(), final.view.chain.log.root())
    return SignedChallenge(asked, node.keys.node_key.sign(asked.statement(node.network)))


async def read_elsewhere(reading: Reading, node: Node) -> Received:
    """Return what another member released to a practitioner of ours, or its refusal as it said it.

    Refuses  HOLDER_NOT_KNOWN, CREDENTIAL_NOT_LIVE, NO_SUCH_GRANT, GRANT_NOT_OURS, HOLDER_UNREACHABLE, OFFER_NOT_AS_ASKED,
             AUDIT_NOT_AS_ASKED, DETAIL_NOT_OF_AUDIT, RESPONSE_NOT_AS_AUDITED, ENTRY_NOT_FINAL
    """
    read = reading.read
    final = node.members.final()
    holder = directory.member(final.view, read.holder)
    if holder is None or holder.stage is not directory.Stage.ACTIVE or read.holder == node.id:
        raise NodeRefused(No.HOLDER_NOT_KNOWN)
    credential = node.members.credential(final.view, reading.practitioner, node.id, final.now_s)
    purpose = Purpose(reading.practitioner, credential.role, read.purpose, read.control_key)
    approver, bundle = _approver(reading, final, node)
    sealed = None if bundle is None or read.control_key is None else _sealed(holder, read.control_key, bundle, node)
    call = ReleaseCall(read, reading.practitioner, reading.signature, sealed, reading.presence, reading.reason)
    answer = await node.logins.post(holder.endpoint, "/network/release", call.encoded(), purpose)
    if answer.status > OK_MAX:
        return _refused(answer)
    if read.control_key is not None:
        node.logins.delivered.add(read.control_key)
    path = f"/network/release/{read.request_id.hex()}"
    for _ in range(OFFERS_MAX):
        offer = parse_offer(answer.content)
        check_offer(offer, reading, holder, node)
        approval = approver.public_key, approver.sign(approval_message(offer.protected, offer.act))
        answer = await node.logins.post(holder.endpoint, path, approval_body(approval), purpose)
        if answer.status != 409 or answer.headers.get("content-type") != CBOR:  # noqa: PLR2004 - Conflict: a fresh offer
            return await _accepted(answer, offer, approval[0], reading, node)
    return _refused(answer)


def _approver(reading: Reading, final: Finality, node: Node) -> tuple[SigningKey, GrantBundle | None]:
    """Return whose key approves for us: the grant's requester_key, or in an emergency the node key."""
    control_key = reading.read.control_key
    if control_key is None:
        return node.keys.node_key, None
    row = consent.read(final.view, control_key)
    if row is None:
        raise Refused(Reason.NO_SUCH_GRANT)
    key, held = node.keys.grant_key(row.requester_key), held_grant(control_key, node)
    if key is None or held is None or held[0] != reading.read.holder:
        raise NodeRefused(No.GRANT_NOT_OURS)
    return key, held[1]


def _sealed(holder: directory.Member, control_key: bytes, bundle: GrantBundle, node: Node) -> bytes | None:
    """Return the artefacts sealed to the holder, or None once it has them."""
    if control_key in node.logins.delivered:
        return None
    return seal_bundle(holder.sealing_key, node.network, holder.id, control_key, bundle)


def check_offer(offer: Offer, reading: Reading, holder: directory.Member, node: Node) -> None:
    """Refuse to approve what is not what was asked: another envelope, another act, another AuditEvent, another detail.

    Refuses  OFFER_NOT_AS_ASKED, AUDIT_NOT_AS_ASKED, DETAIL_NOT_OF_AUDIT
    """
    read = reading.read
    try:
        header = parse_header(offer.protected)
        kind, body = read_act(offer.act)
        record = KINDS[kind].read(body)
    except (Malformed, KeyError, Refused) as error:
        raise NodeRefused(No.OFFER_NOT_AS_ASKED) from error
    is_envelope = (header.network, header.issuer, header.kid, header.subject) == (
        node.network,
        holder.id,
        kid_of(holder.node_key),
        RECORD_KIND,
    )
    basis = Basis.EMERGENCY if read.control_key is None else Basis.GRANT
    is_act = isinstance(record, access.Record) and (record.basis, record.grant) == (basis, read.control_key)
    demand(is_envelope and is_act, No.OFFER_NOT_AS_ASKED)
    try:
        said = auditing.said_of(offer.audit_event)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise NodeRefused(No.AUDIT_NOT_AS_ASKED) from error
    asked = {
        "holder": read.holder,
        "requester": node.id,
        "practitioner": reading.practitioner.hex(),
        "purpose": read.purpose,
        "control_key": None if read.control_key is None else read.control_key.hex(),
        "request_id": read.request_id.hex(),
        "request_hash": auditing.hash_text(auditing.salted(offer.request_salt, read.statement(node.network))),
        "basis": basis.name.lower(),
    }
    demand(all(said[name] == value for name, value in asked.items()), No.AUDIT_NOT_AS_ASKED)
    demand(record.detail == auditing.committed(offer.detail_key, node.network, offer.audit_event), No.DETAIL_NOT_OF_AUDIT)


async def _accepted(answer: Answer, offer: Offer, approver: bytes, reading: Reading, node: Node) -> Received:
    """Return the bytes if they are those of the AuditEvent and the entry is final here; keep the evidence."""
    if "yilian-entry-id" not in answer.headers:
        return _refused(answer)
    try:
        index, entry_id = int(answer.headers["yilian-entry-index"]), bytes.fromhex(answer.headers["yilian-entry-id"])
        salt = bytes.fromhex(answer.headers["yilian-response-salt"])
    except (KeyError, ValueError) as error:
        raise NodeRefused(No.RESPONSE_NOT_AS_AUDITED) from error
    response_hash = auditing.said_of(offer.audit_event)["response_hash"]
    is_audited = len(salt) == auditing.SALT_SIZE and auditing.hash_text(auditing.salted(salt, answer.content)) == response_hash
    demand(is_audited, No.RESPONSE_NOT_AS_AUDITED)
    await _await_entry(index, entry_id, offer, approver, node)
    evidence = encode([offer.audit_event, offer.detail_key, offer.request_salt, salt])
    bound = (
        reading.read.request_id,
        reading.read.holder,
        reading.read.control_key,
        index,
        entry_id,
        node.keys.seal(None, evidence, reading.read.request_id),
        node.members.now_s(),
    )
    await node.journal.execute("INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", bound)
    media_type = answer.headers.get("content-type", "application/fhir+json")
    return Received(answer.status, media_type, answer.content, None, index, entry_id)


async def _await_entry(index: int, entry_id: bytes, offer: Offer, approver: bytes, node: Node) -> None:
    """Wait until this node, too, has the entry, and it is the very one that was approved.

    Refuses  ENTRY_NOT_FINAL
    """
    entry = node.engine.entry(index)
    if entry is None:
        try:
            async with asyncio.timeout(FINAL_WITHIN_S):
                async for block in node.engine.blocks(node.engine.read().chain.height):
                    if block.log_size > index:
                        break
        except TimeoutError as error:
            raise NodeRefused(No.ENTRY_NOT_FINAL) from error
        entry = node.engine.entry(index)
    demand(entry is not None and entry.id == entry_id, No.ENTRY_NOT_FINAL)
    assert entry is not None, "asked for in the line above"
    entered = parse(entry.data)
    is_approved = any(key == approver for key, _ in entered.approvals)
    is_this = entered.protected == offer.protected and [entered.kind, entered.body] == list(read_act(offer.act))
    demand(is_approved and is_this, No.ENTRY_NOT_FINAL)


def _refused(answer: Answer) -> Received:
    """Return another member's no as it said it."""
    media_type = answer.headers.get("content-type", "application/problem+json")
    return Received(answer.status, media_type, answer.content, answer.headers.get("yilian-refusal"), None, None)
