"""The book of referrals: rows of node.db, and the FHIR resources that each side keeps of them. Both can be written again without harm."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

from yilian.base import labels
from yilian.base.digests import labelled, sha256
from yilian.contracts.referral import Stage
from yilian.node import notices
from yilian.node.member import Node
from yilian.node.postbox import MESSAGE_ID_SIZE
from yilian.node.referral_papers import (
    STEP_WORD,
    TASK_STATUS,
    Package,
    newcomer,
    parse_package,
    service_request,
    summary,
    task_at,
)
from yilian.node.refusals import No, NodeRefused
from yilian.records import NotFound

_COLUMNS: Final = (
    "from_key, referral_id, is_sent, peer, stage, is_received, patient_id, changed_at_s, package_sealed, asked, tx, exp_s, entry_index"
)
_STEP_COLUMNS: Final = "from_key, stage, member, practitioner, signature, document_sealed, digest, at_s, tx, exp_s, entry_index"


@dataclass(frozen=True, slots=True)
class Row:
    """One referral. `stage` 0: not yet on the ledger; `patient_id` None: received, and not yet taken for one of our patients."""

    from_key: bytes
    referral_id: bytes
    is_sent: int
    peer: str
    stage: int
    is_received: int
    patient_id: str | None
    changed_at_s: int
    package_sealed: bytes
    asked: bytes | None
    tx: bytes | None
    exp_s: int | None
    entry_index: int | None

    def hospital(self, own: str) -> str:
        """Return the member that takes the patient."""
        return self.peer if self.is_sent else own


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a referral; `tx` is ours while it is not final."""

    from_key: bytes
    stage: int
    member: str
    practitioner: bytes
    signature: bytes
    document_sealed: bytes | None
    digest: bytes
    at_s: int
    tx: bytes | None
    exp_s: int | None
    entry_index: int | None


def row(node: Node, from_key: bytes) -> Row:
    """Return a referral of ours.

    Refuses  NO_SUCH_REFERRAL_HERE
    """
    found = node.journal.one(f"SELECT {_COLUMNS} FROM referrals WHERE from_key = ?", (from_key,))  # noqa: S608 - our own columns
    if found is None:
        raise NodeRefused(No.NO_SUCH_REFERRAL_HERE)
    return Row(*found)


def row_of_id(node: Node, referral_id: bytes) -> Row | None:
    """Return the referral that our own software calls by this id, or None."""
    found = node.journal.one(f"SELECT {_COLUMNS} FROM referrals WHERE referral_id = ?", (referral_id,))  # noqa: S608 - our own columns
    return None if found is None else Row(*found)


def rows(node: Node, where: str = "1") -> list[Row]:
    """Return referrals, the latest changed first; `where` is ours."""
    found = node.journal.all(f"SELECT {_COLUMNS} FROM referrals WHERE {where} ORDER BY changed_at_s DESC, referral_id")  # noqa: S608 - ours
    return [Row(*each) for each in found]


def step(node: Node, from_key: bytes, stage: Stage) -> Step | None:
    """Return a step that was written down, or None."""
    found = node.journal.one(
        f"SELECT {_STEP_COLUMNS} FROM referral_steps WHERE from_key = ? AND stage = ?",  # noqa: S608 - our own columns
        (from_key, int(stage)),
    )
    return None if found is None else Step(*found)


def open_steps(node: Node) -> list[Step]:
    """Return our steps that are not final."""
    found = node.journal.all(f"SELECT {_STEP_COLUMNS} FROM referral_steps WHERE tx IS NOT NULL AND entry_index IS NULL")  # noqa: S608 - ours
    return [Step(*each) for each in found]


def steps(node: Node, from_key: bytes) -> list[Step]:
    """Return the final steps of a referral, in the order of the ledger."""
    found = node.journal.all(
        f"SELECT {_STEP_COLUMNS} FROM referral_steps WHERE from_key = ? AND entry_index IS NOT NULL ORDER BY entry_index",  # noqa: S608 - our own columns
        (from_key,),
    )
    return [Step(*each) for each in found]


def insert_row(db: sqlite3.Connection, one: Row) -> None:
    """Write a new referral; one that is there stays as it is."""
    fields = tuple(getattr(one, name) for name in Row.__dataclass_fields__)
    db.execute(f"INSERT INTO referrals VALUES ({', '.join('?' * len(fields))}) ON CONFLICT DO NOTHING", fields)  # noqa: S608 - marks


def insert_step(db: sqlite3.Connection, one: Step) -> bool:
    """Write a new step; say whether it is new."""
    fields = tuple(getattr(one, name) for name in Step.__dataclass_fields__)
    marks = ", ".join("?" * len(fields))
    return db.execute(f"INSERT INTO referral_steps VALUES ({marks}) ON CONFLICT DO NOTHING", fields).rowcount == 1  # noqa: S608 - marks


def package_of(node: Node, one: Row) -> Package:
    """Return a referral's package as it was committed to."""
    return parse_package(node.keys.open(one.patient_id if one.is_sent else None, one.package_sealed, one.from_key))


def document_of(node: Node, one: Step) -> bytes | None:
    """Return the document that came with a step, as it was received."""
    if one.document_sealed is None:
        return None
    return node.keys.open(None, one.document_sealed, one.from_key + bytes([one.stage]))


def seal_document(node: Node, from_key: bytes, stage: Stage, document: bytes | None) -> bytes | None:
    """Return a step's document sealed for the book."""
    return None if document is None else node.keys.seal(None, document, from_key + bytes([int(stage)]))


def message_id(node: Node, from_key: bytes, stage: int, kind: str) -> bytes:
    """Return the id of the one message of a kind that tells of a stage."""
    return sha256(labelled(labels.MESSAGE, node.network, node.id, from_key, stage, kind))[:MESSAGE_ID_SIZE]


# --- FHIR


def file_papers(node: Node, one: Row, stage: Stage, document: bytes | None, *, is_received: bool = False) -> None:
    """Write the referral's resources as they stand at `stage` into our own records; of a person who is not yet our patient, nothing."""
    if one.patient_id is None:
        return
    package, name = package_of(node, one), one.referral_id.hex()
    if not _is_kept(node, "ServiceRequest", name):
        _put(node, service_request(package.service_request, one.referral_id, one.patient_id))
    if document is not None:
        _put(node, summary(document, one.referral_id, one.patient_id))
    output = f"Composition/{name}" if _is_kept(node, "Composition", name) else None
    status = "received" if is_received and stage is Stage.REQUESTED else TASK_STATUS[stage]
    kept = {**orjson.loads(package.task), "id": name}
    _put(node, task_at(kept, one.patient_id, status, node.members.clock_ms(), stage, output))


def admit(node: Node, one: Row, patient_id: str | None) -> str:
    """Return the id of our Patient for a received referral: the one that the desk names, or the one of the same identifier, or a new one.

    Refuses  NotFound, PreconditionFailed (several have the identifier: the desk must say who it is)
    """
    if patient_id is not None:
        return node.store.read("Patient", patient_id).id
    body = newcomer(package_of(node, one).patient)
    tree: dict[str, Any] = orjson.loads(body)
    identifiers = [each for each in tree.get("identifier", []) if each.get("system") and each.get("value")]
    if not identifiers:
        name = one.referral_id.hex()
        return node.store.update("Patient", name, orjson.dumps({**tree, "id": name})).id
    condition = f"identifier={_token(identifiers[0]['system'])}|{_token(identifiers[0]['value'])}"
    return node.store.create("Patient", body, if_none_exist=condition).id


def _token(text: str) -> str:
    """Return a token as it stands in a search: FHIR's separators escaped, then percent-encoded."""
    return quote(text.replace("\\", "\\\\").replace("|", "\\|").replace(",", "\\,").replace("$", "\\$"), safe="")


def _put(node: Node, tree: dict[str, Any]) -> None:
    node.store.update(tree["resourceType"], tree["id"], orjson.dumps(tree))


def _is_kept(node: Node, resource_type: str, resource_id: str) -> bool:
    try:
        node.store.read(resource_type, resource_id)
    except NotFound:
        return False
    return True


async def tell_patient(node: Node, one: Row, stage: Stage, entry_index: int) -> None:
    """Write the patient's notice of a step; who is not our patient yet is told by the other side."""
    if one.patient_id is None:
        return
    chart = await node.charts.meet(one.patient_id)
    word = STEP_WORD[stage]
    facts = {"step": word, "peer": one.peer, "hospital": one.hospital(node.id), "entry": entry_index}
    known = node.journal.one("SELECT 1 FROM notices WHERE chart = ? AND kind = 'referral' AND entry_index = ?", (chart.id, entry_index))
    if known is None:
        await node.journal.write(lambda db: notices.tell(db, node, chart, "referral", facts))
