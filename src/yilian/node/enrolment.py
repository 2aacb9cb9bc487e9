"""Enrolment at the desk: how a holder learns a patient's key. Whoever can attach a key to a chart *is* the patient, so two staff guard it.

Desk     two staff sign what they saw (`enrol.offer` over Patient id, generation, level, method, nonce), the desk shows `EnrolAsk`, the
         wallet answers with R_h, S_h and its signature, the holder stores them and answers a signed `Relationship` with K sealed to S_h.
Never    a key over a live one (that is recovery), a key that stands on another chart, a key brought by another member (an introduction).
Source   design 04 "Enrolment" (a); ADR-0073.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from typing import Final

from yilian.base.artefacts import intent_statement, relationship_statement
from yilian.base.codec import encode
from yilian.base.handovers import EnrolAnswer, EnrolAsk, Relationship, chart_key_info
from yilian.base.keys import PUBLIC_KEY_SIZE, is_signed, kid_of
from yilian.base.seal import seal_to_patient
from yilian.base.shapes import pack, unpack
from yilian.node.member import Node
from yilian.node.refusals import No, NodeRefused, demand
from yilian.node.tokens import Asker

OFFER_ACT: Final = "enrol.offer"
OFFER_S: Final = 10 * 60  # a person stands at the desk
LEVEL_MIN: Final = 2  # design 04: person present, level 2 or more
LEVEL_MAX: Final = 3
NONCE_SIZE: Final = 32
STAFF: Final = 2  # design 04: by two staff


@dataclass(frozen=True, slots=True)
class Desk:
    """What the staff say of the person before them: which Patient, how far and how proved (level 0-3), under a nonce they drew."""

    patient_id: str
    generation: int
    level: int
    method: str
    nonce: bytes


def desk_statement(network: bytes, member: str, desk: Desk) -> bytes:
    """Return what each of the two staff signs with a credential key."""
    return intent_statement(network, member, OFFER_ACT, [desk.patient_id, desk.generation, desk.level, desk.method, desk.nonce])


def next_generation(patient_id: str, node: Node) -> int:
    """Return the generation that a first enrolment of the chart would have."""
    chart = node.charts.of_patient(patient_id)
    return 0 if chart is None else chart.generation


async def offer(desk: Desk, signatures: tuple[tuple[bytes, bytes], ...], asker: Asker, node: Node) -> EnrolAsk:
    """Return what the desk shows to the wallet; `signatures` are (credential key, signature) of two of the member's own staff.

    Refuses  INTRODUCTION_NOT_AVAILABLE (another member asks), LEVEL_TOO_LOW, NOT_TWO_STAFF, CREDENTIAL_NOT_LIVE, PRACTITIONER_DID_NOT_SIGN,
             KEY_IS_LIVE, NO_SUCH_PATIENT
    """
    demand(asker.is_own, No.INTRODUCTION_NOT_AVAILABLE)
    demand(LEVEL_MIN <= desk.level <= LEVEL_MAX, No.LEVEL_TOO_LOW, level=desk.level)
    demand(len(desk.nonce) == NONCE_SIZE and 0 < len(desk.method) <= 64, No.NOT_UNDERSTOOD)  # noqa: PLR2004 - a word, not a text
    clerks = tuple(sorted({key for key, _ in signatures}))
    demand(len(clerks) == STAFF == len(signatures), No.NOT_TWO_STAFF)
    final = node.members.final()
    statement = desk_statement(node.network, node.id, desk)
    for key, signature in signatures:
        node.members.credential(final.view, key, node.id, final.now_s)
        demand(is_signed(key, statement, signature), No.PRACTITIONER_DID_NOT_SIGN)
    node.store.read("Patient", desk.patient_id)
    chart = node.charts.of_patient(desk.patient_id)
    demand(chart is None or not chart.is_enrolled, No.KEY_IS_LIVE)
    demand(desk.generation == (0 if chart is None else chart.generation), No.NOT_UNDERSTOOD)
    row = (desk.nonce, desk.patient_id, desk.generation, desk.level, desk.method, encode(list(clerks)), final.now_s + OFFER_S)
    await node.journal.execute("INSERT INTO offers VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
    return EnrolAsk(node.network, node.id, desk.generation, desk.nonce)


async def enrol(nonce: bytes, answer: EnrolAnswer, node: Node) -> Relationship:
    """Take the wallet's answer and return the holder's word for it. The same answer gets the same word.

    Refuses  OFFER_NOT_KNOWN, OFFER_ENDED, POSSESSION_NOT_SHOWN, KEY_IS_LIVE, KEY_OF_ANOTHER
    """
    row = node.journal.one("SELECT patient_id, generation, level, method, clerks, until_s FROM offers WHERE nonce = ?", (nonce,))
    if row is None:
        raise NodeRefused(No.OFFER_NOT_KNOWN)
    patient_id, generation, level, method, clerks, until_s = row
    are_keys = len(answer.relationship_key) == len(answer.sealing_key) == PUBLIC_KEY_SIZE
    demand(are_keys and answer.answers(EnrolAsk(node.network, node.id, generation, nonce)), No.POSSESSION_NOT_SHOWN)
    chart = await node.charts.meet(patient_id)
    if chart.answer is not None and (chart.nonce, chart.r_key, chart.s_key) == (nonce, answer.relationship_key, answer.sealing_key):
        return unpack(Relationship, chart.answer)
    final = node.members.final()
    demand(final.now_s < until_s, No.OFFER_ENDED, until_s=until_s)
    demand(not chart.is_enrolled, No.KEY_IS_LIVE)
    info = chart_key_info(node.network, node.id, answer.relationship_key, generation)
    said = Relationship(
        holder=node.id,
        relationship_key=answer.relationship_key,
        generation=generation,
        height=final.height,
        signature=node.keys.node_key.sign(relationship_statement(node.network, node.id, answer.relationship_key, generation, final.height)),
        sealed_chart_key=seal_to_patient(answer.sealing_key, info, node.keys.chart_key(chart.id)),
    )
    kid = kid_of(answer.relationship_key)
    bound = (
        answer.relationship_key,
        kid,
        answer.sealing_key,
        generation,
        level,
        method,
        clerks,
        final.now_s,
        final.height,
        nonce,
        pack(said),
        chart.id,
    )

    def update(db: sqlite3.Connection) -> None:
        (others,) = db.execute("SELECT count(*) FROM charts WHERE kid = ? AND chart <> ?", (kid, chart.id)).fetchone()
        demand(others == 0, No.KEY_OF_ANOTHER)
        changed = db.execute(
            "UPDATE charts SET r_key = ?, kid = ?, s_key = ?, generation = ?, level = ?, method = ?, clerks = ?, enrolled_at_s = ?,"
            " height = ?, nonce = ?, answer = ? WHERE chart = ? AND r_key IS NULL",
            bound,
        ).rowcount
        demand(changed == 1, No.KEY_IS_LIVE)

    await node.journal.write(update)
    node.charts.forget(chart)
    return said


def clerks_of(patient_id: str, node: Node) -> tuple[bytes, ...]:
    """Return the credential keys of the two who enrolled a patient."""
    chart = node.charts.of_patient(patient_id)
    return () if chart is None else chart.clerks


def new_nonce() -> bytes:
    """Return the 32 random bytes of one offer."""
    return secrets.token_bytes(NONCE_SIZE)


__all__ = ["LEVEL_MIN", "OFFER_ACT", "OFFER_S", "Desk", "clerks_of", "desk_statement", "enrol", "new_nonce", "next_generation", "offer"]
