"""What the other side of a referral sends: a request into the inbox, and steps. Each is checked against the ledger before it is believed.

Source   design 04 "Referral" (the hospital's inbox; closing the loop); ADR-0088.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from yilian.base.codec import Malformed
from yilian.base.digests import DIGEST_SIZE, sha256
from yilian.base.keys import is_signed
from yilian.base.refusals import Refused
from yilian.base.shapes import pack, unpack
from yilian.base.transaction import parse
from yilian.contracts import directory, referral
from yilian.contracts.referral import Stage
from yilian.node import referral_book as book
from yilian.node.member import Node
from yilian.node.postbox import handles
from yilian.node.referral_book import Row, Step
from yilian.node.referral_papers import ACTS, RequestMessage, StepMessage, resource, step_statement
from yilian.node.refusals import No, NodeRefused, demand
from yilian.node.requesting import take_grant

_ACT_OF: Final = {stage: act for act, stage in ACTS.items()}
_STAGE_OF_KIND: Final = {f"referral.{act}": stage for act, stage in ACTS.items()}


@handles("referral.request")
async def take_request(node: Node, sender: str, opened: bytes) -> None:
    """Take a referral into the inbox: it is the one that the ledger holds, and a doctor of the sender signed it.

    Refuses  NOT_UNDERSTOOD, NOT_FINAL_YET, REFERRAL_NOT_COMMITTED, CREDENTIAL_NOT_LIVE, PRACTITIONER_DID_NOT_SIGN, and what `take_grant`
             refuses
    """
    try:
        said = unpack(RequestMessage, opened)
    except Malformed as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error
    package = said.package
    demand((package.sender, package.receiver) == (sender, node.id) and len(said.k) == DIGEST_SIZE, No.NOT_UNDERSTOOD)
    final = node.members.final()
    ledger = referral.read(final.view, package.from_key)
    if ledger is None:
        raise NodeRefused(No.NOT_FINAL_YET)
    is_committed = (ledger.to_key, ledger.commitment) == (package.to_key, package.commitment(node.network, said.k))
    demand(is_committed and node.keys.grant_key(package.to_key) is not None, No.REFERRAL_NOT_COMMITTED)
    node.members.credential(final.view, package.practitioner, sender, final.now_s)
    demand(is_signed(package.practitioner, package.statement(node.network), package.signature), No.PRACTITIONER_DID_NOT_SIGN)
    resource(package.service_request, "ServiceRequest")
    resource(package.patient, "Patient")
    for grant in package.grants:
        await take_grant(grant.control_key, grant.sealed, node)
    await node.keys.put_consent_key(package.from_key, said.k)
    sealed = node.keys.seal(None, pack(package), package.from_key)
    new = Row(
        package.from_key, package.referral_id, 0, sender, int(ledger.stage), 1, None, ledger.changed_at_s, sealed, None, None, None, None
    )
    await node.journal.write(lambda db: book.insert_row(db, new))


@handles("referral.step")
async def take_step(node: Node, sender: str, opened: bytes) -> None:
    """Take the other side's step: the ledger has it, and a practitioner of the sender signed it.

    Refuses  NOT_UNDERSTOOD, NO_SUCH_REFERRAL_HERE, NOT_SENT_BY_THAT_MEMBER, NOT_FINAL_YET, REFERRAL_NOT_COMMITTED, CREDENTIAL_NOT_LIVE,
             PRACTITIONER_DID_NOT_SIGN
    """
    try:
        said = unpack(StepMessage, opened)
        stage = Stage(said.stage)
        act = _ACT_OF[stage]
    except (Malformed, ValueError, KeyError) as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error
    row = book.row(node, said.from_key)
    demand(row.peer == sender and (row.is_sent == 1 or act == "cancel"), No.NOT_SENT_BY_THAT_MEMBER)
    at_s = _entered_at(node, said, stage)
    who = directory.credential_at(node.engine.read(), said.practitioner, at_s)
    demand(who is not None and who.member == sender, No.CREDENTIAL_NOT_LIVE)
    statement = step_statement(node.network, sender, act, said.from_key, said.document)
    demand(is_signed(said.practitioner, statement, said.signature), No.PRACTITIONER_DID_NOT_SIGN)
    ledger = referral.read(node.engine.read(), said.from_key)
    assert ledger is not None, "the ledger has a step of it"
    sealed, digest = book.seal_document(node, said.from_key, stage, said.document), sha256(statement)
    new = Step(said.from_key, said.stage, sender, said.practitioner, said.signature, sealed, digest, at_s, None, None, said.entry_index)
    book.file_papers(node, row, ledger.stage, said.document)

    def update(db: sqlite3.Connection) -> None:
        book.insert_step(db, new)
        db.execute(
            "UPDATE referrals SET stage = ?, changed_at_s = ?, is_received = 1 WHERE from_key = ?",
            (int(ledger.stage), ledger.changed_at_s, said.from_key),
        )

    await node.journal.write(update)
    await book.tell_patient(node, row, stage, said.entry_index)


def _entered_at(node: Node, said: StepMessage, stage: Stage) -> int:
    """Return the block time of the entry that a message names, if it is that step of that referral.

    Refuses  NOT_FINAL_YET, REFERRAL_NOT_COMMITTED
    """
    entry = node.engine.entry(said.entry_index)
    if entry is None:
        raise NodeRefused(No.NOT_FINAL_YET)
    try:
        entered = parse(entry.data)
    except Refused as no:
        raise NodeRefused(No.REFERRAL_NOT_COMMITTED) from no
    is_that = _STAGE_OF_KIND.get(entered.header.subject) is stage and entered.body.get(1) == said.from_key
    demand(is_that, No.REFERRAL_NOT_COMMITTED)
    return entry.time_ms // 1_000
