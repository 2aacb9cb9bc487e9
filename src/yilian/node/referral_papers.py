"""The papers of a referral: what travels sealed between the two sides, what a practitioner signs, and the FHIR resources each side keeps.

Package   what `referral.request` commits to: who sends whom to whom, ServiceRequest (what), Task (fulfilment), the Patient as the clinic
          has it, the grants for the receiving hospital, and the practitioner's signature. `C = HMAC(k, "referral" || package)`.
Task      requested -> received -> accepted | rejected -> in-progress -> completed | cancelled; sent back down: completed, and
          `businessStatus` says 下转 (FHIR's Task has no state after completed).
Source    design 04 "Referral"; design 03 "referral"; https://hl7.org/fhir/R4/task.html; ADR-0088.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from yilian.base import labels
from yilian.base.artefacts import intent_statement
from yilian.base.codec import Malformed
from yilian.base.consents import MEMBER_SYSTEM
from yilian.base.digests import mac, sha256
from yilian.base.shapes import pack, unpack
from yilian.contracts.referral import Stage
from yilian.node.refusals import No, NodeRefused
from yilian.records import instant

REFERRAL_SYSTEM: Final = "urn:yilian:referral"
STATUS_SYSTEM: Final = "urn:yilian:referral-status"
ACTS: Final = {
    "accept": Stage.ACCEPTED,
    "reject": Stage.REJECTED,
    "start": Stage.IN_PROGRESS,
    "complete": Stage.COMPLETED,
    "down": Stage.DOWN,
    "cancel": Stage.CANCELLED,
}
TASK_STATUS: Final = {
    Stage.REQUESTED: "requested",
    Stage.ACCEPTED: "accepted",
    Stage.REJECTED: "rejected",
    Stage.IN_PROGRESS: "in-progress",
    Stage.COMPLETED: "completed",
    Stage.DOWN: "completed",
    Stage.CANCELLED: "cancelled",
}
STEP_WORD: Final = {stage: status for stage, status in TASK_STATUS.items() if stage is not Stage.DOWN} | {Stage.DOWN: "down"}


@dataclass(frozen=True, slots=True)
class HandedGrant:
    """A grant for the receiving hospital: its control key, and the bundle that the patient's wallet sealed to that hospital."""

    control_key: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Package:
    """What the sending side commits to and hands over."""

    referral_id: bytes
    sender: str
    receiver: str
    from_key: bytes
    to_key: bytes
    service_request: bytes
    task: bytes
    patient: bytes
    grants: tuple[HandedGrant, ...]
    practitioner: bytes
    signature: bytes

    def commitment(self, network: bytes, k: bytes) -> bytes:
        """Return what the ledger's row must hold."""
        return mac(k, labels.REFERRAL, network, pack(self))

    def statement(self, network: bytes) -> bytes:
        """Return what the practitioner signed."""
        return request_statement(network, self.sender, self.referral_id, self.receiver, self.service_request)


@dataclass(frozen=True, slots=True)
class RequestMessage:
    """The message that hands a package over; k opens the commitment."""

    k: bytes
    package: Package


@dataclass(frozen=True, slots=True)
class StepMessage:
    """The message that tells of a step: which, where it stands on the ledger, who signed it, and a document that comes with it."""

    from_key: bytes
    stage: int
    entry_index: int
    practitioner: bytes
    signature: bytes
    document: bytes | None


def request_statement(network: bytes, member: str, referral_id: bytes, receiver: str, service_request: bytes) -> bytes:
    """Return what a practitioner signs to refer a patient: this ServiceRequest, to this member, once."""
    return intent_statement(network, member, "referral.request", [referral_id, receiver, sha256(service_request)])


def step_statement(network: bytes, member: str, act: str, from_key: bytes, document: bytes | None) -> bytes:
    """Return what a practitioner signs for a step; `act` is one of ACTS."""
    return intent_statement(network, member, f"referral.{act}", [from_key, sha256(document or b"")])


def parse_package(data: bytes) -> Package:
    """Return the package that was packed.

    Refuses  NOT_UNDERSTOOD
    """
    try:
        return unpack(Package, data)
    except Malformed as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error


# --- FHIR


def task(referral_id: bytes, sender: str, receiver: str, at_ms: int) -> dict[str, Any]:
    """Return the Task of a new referral."""
    name = referral_id.hex()
    return {
        "resourceType": "Task",
        "id": name,
        "identifier": [{"system": REFERRAL_SYSTEM, "value": name}],
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]},
        "focus": {"reference": f"ServiceRequest/{name}"},
        "authoredOn": instant(at_ms),
        "lastModified": instant(at_ms),
        "requester": _member(sender),
        "owner": _member(receiver),
    }


def service_request(body: bytes, referral_id: bytes, patient_id: str) -> dict[str, Any]:
    """Return the ServiceRequest as a member keeps it: under the referral's id, for its own Patient.

    Refuses  NOT_UNDERSTOOD
    """
    return {**resource(body, "ServiceRequest"), "id": referral_id.hex(), "subject": {"reference": f"Patient/{patient_id}"}}


def task_at(kept: dict[str, Any], patient_id: str | None, status: str, at_ms: int, stage: Stage, output: str | None) -> dict[str, Any]:
    """Return a Task with its status now, and the document that came of it."""
    changed = {**kept, "status": status, "lastModified": instant(at_ms)}
    if patient_id is not None:
        changed["for"] = {"reference": f"Patient/{patient_id}"}
    if stage is Stage.DOWN:
        changed["businessStatus"] = {"coding": [{"system": STATUS_SYSTEM, "code": "down"}], "text": "下转"}
    if output is not None:
        kind = {"coding": [{"system": "http://loinc.org", "code": "18842-5"}], "text": "summary"}
        changed["output"] = [{"type": kind, "valueReference": {"reference": output}}]
    return changed


def summary(body: bytes, referral_id: bytes, patient_id: str) -> dict[str, Any]:
    """Return the closing Composition as a member keeps it.

    Refuses  NOT_UNDERSTOOD
    """
    return {**resource(body, "Composition"), "id": referral_id.hex(), "subject": {"reference": f"Patient/{patient_id}"}}


def newcomer(patient: bytes) -> bytes:
    """Return a Patient as another member would register the person: without the sender's own id and version.

    Refuses  NOT_UNDERSTOOD
    """
    tree = resource(patient, "Patient")
    return orjson.dumps({name: value for name, value in tree.items() if name not in ("id", "meta", "managingOrganization", "link")})


def resource(body: bytes, wanted: str) -> dict[str, Any]:
    """Return the resource that the bytes are, if it is of the wanted type.

    Refuses  NOT_UNDERSTOOD
    """
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error
    if not isinstance(tree, dict) or tree.get("resourceType") != wanted:
        raise NodeRefused(No.NOT_UNDERSTOOD, wanted=wanted)
    return tree


def _member(member: str) -> dict[str, Any]:
    return {"type": "Organization", "identifier": {"system": MEMBER_SYSTEM, "value": member}}
