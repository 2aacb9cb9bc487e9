"""The AuditEvent of an access: the bytes that the entry's `detail` commits to, and that requester and patient can check it by.

Shape    FHIR R4 AuditEvent, IHE BALP: Privacy Disclosure at the source; for the patient's own reading, Patient Read.
Hashes   of request and response, each with 32 random bytes of its own (design 03: never a bare hash; `?code=...` can be guessed).
Source   https://profiles.ihe.net/ITI/BALP; design 03 "access"; ADR-0072.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from yilian.base.artefacts import detail
from yilian.base.consents import CREDENTIAL_SYSTEM, GRANT_SYSTEM, MEMBER_SYSTEM, PATIENT_SYSTEM
from yilian.base.digests import sha256
from yilian.base.terms import ACT_REASON
from yilian.contracts.access import Basis
from yilian.node.jose import to_text
from yilian.records import instant

SALT_SIZE: Final = 32  # design 03
REQUEST_SYSTEM: Final = "urn:yilian:request"
SALTED_PATIENT_SYSTEM: Final = "urn:yilian:relationship-salted"
PRESENCE_SYSTEM: Final = "urn:yilian:presence"
_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_REST: Final = "http://hl7.org/fhir/restful-interaction"
_ENTITY_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ENTITY_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_DISCLOSURE: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure.Source"
_OWN_READ: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientRead"


@dataclass(frozen=True, slots=True)
class Access:
    """What an AuditEvent says. `who` is a credential key, or None where the patient reads his own."""

    holder: str
    requester: str
    basis: Basis
    interaction: str
    type: str
    purpose: str
    at_ms: int
    request_id: bytes
    practitioner: bytes | None
    patient: bytes | None  # kid of R_h; in an emergency `salted` with the response's salt
    control_key: bytes | None
    challenge: bytes | None  # H(Q)
    reason: str | None
    request_hash: bytes  # SHA-256(salt32 || statement)
    response_hash: bytes  # SHA-256(salt32 || body)


def salted(salt: bytes, data: bytes) -> bytes:
    """Return `SHA-256(salt32 || data)`; the salt travels with the data (design 03)."""
    assert len(salt) == SALT_SIZE, "a salt has exactly 32 bytes"
    return sha256(salt + data)


def committed(detail_key: bytes, network: bytes, audit: bytes) -> bytes:
    """Return the `detail` that an entry holds of an AuditEvent."""
    return detail(detail_key, network, audit)


def audit_event(access: Access) -> bytes:
    """Return the AuditEvent's bytes: kept, committed to and shown as they are."""
    is_disclosure = access.basis is not Basis.PATIENT
    subtypes = [{"system": _REST, "code": _REST_CODES.get(access.interaction, "operation")}]
    if is_disclosure:
        subtypes.insert(0, {"system": _LIFECYCLE, "code": "disclose"})
    return orjson.dumps(
        {
            "resourceType": "AuditEvent",
            "meta": {"profile": [_DISCLOSURE if is_disclosure else _OWN_READ]},
            "type": {"system": _DCM, "code": "110106" if is_disclosure else "110112"},
            "subtype": subtypes,
            "action": "R" if access.interaction in ("read", "vread") else "E",
            "recorded": instant(access.at_ms),
            "outcome": "0",
            "purposeOfEvent": [{"coding": [{"system": ACT_REASON, "code": access.purpose}]}],
            "agent": _agents(access),
            "source": {
                "observer": _member(access.holder),
                "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}],
            },
            "entity": _entities(access),
        }
    )


_REST_CODES: Final = {
    "read": "read",
    "vread": "vread",
    "search-type": "search-type",
    "history-instance": "history-instance",
    "history-type": "history-type",
    "history-system": "history-system",
}


def own_event(
    *,
    member: str,
    practitioner: bytes | None,
    interaction: tuple[str, str],
    patient: bytes | None,
    at_ms: int,
    request_hash: bytes,
    salt: bytes,
) -> bytes:
    """Return the AuditEvent of an interaction of the member's own staff or software; `interaction` is (FHIR interaction, type)."""
    who = _member(member) if practitioner is None else _identified(CREDENTIAL_SYSTEM, practitioner)
    details = [
        {"type": "resource-type", "valueString": interaction[1] or "*"},
        {"type": "request-salt", "valueBase64Binary": _base64(salt)},
        {"type": "request-hash", "valueBase64Binary": _base64(request_hash)},
    ]
    entities: list[dict[str, Any]] = [{"what": {"display": interaction[0]}, **_kind("2", "24"), "detail": details}]
    if patient is not None:
        entities.insert(0, {"what": _identified(PATIENT_SYSTEM, patient), **_kind("1", "1")})
    return orjson.dumps(
        {
            "resourceType": "AuditEvent",
            "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
            "subtype": [{"system": _REST, "code": interaction[0]}],
            "action": _ACTIONS.get(interaction[0], "E"),
            "recorded": instant(at_ms),
            "outcome": "0",
            "agent": [{"who": who, "requestor": True}],
            "source": {"observer": _member(member)},
            "entity": entities,
        }
    )


_ACTIONS: Final = {"create": "C", "read": "R", "vread": "R", "update": "U", "patch": "U", "delete": "D"}


def _agents(access: Access) -> list[dict[str, Any]]:
    source = {"type": {"coding": [{"system": _DCM, "code": "110153"}]}, "who": _member(access.holder), "requestor": False}
    destination = {"type": {"coding": [{"system": _DCM, "code": "110152"}]}, "who": _member(access.requester), "requestor": False}
    who = (
        _identified(CREDENTIAL_SYSTEM, access.practitioner)
        if access.practitioner is not None
        else _identified(PATIENT_SYSTEM, access.patient or b"")
    )
    kind = "IRCP" if access.practitioner is not None else "PATSBJ"
    person = {
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": kind}]},
        "who": who,
        "requestor": True,
    }
    return [source, destination, person]


def _entities(access: Access) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = []
    if access.patient is not None:
        system = SALTED_PATIENT_SYSTEM if access.basis is Basis.EMERGENCY else PATIENT_SYSTEM
        entities.append({"what": _identified(system, access.patient), **_kind("1", "1")})
    if access.control_key is not None:
        entities.append({"what": _identified(GRANT_SYSTEM, access.control_key), **_kind("2", "4")})
    if access.challenge is not None:
        entities.append({"what": _identified(PRESENCE_SYSTEM, access.challenge), **_kind("2", "13")})
    details: list[dict[str, str]] = [
        {"type": "basis", "valueString": access.basis.name.lower()},
        {"type": "resource-type", "valueString": access.type or "*"},
        {"type": "request-hash", "valueBase64Binary": _base64(access.request_hash)},
        {"type": "response-hash", "valueBase64Binary": _base64(access.response_hash)},
    ]
    if access.reason is not None:
        details.append({"type": "reason", "valueString": access.reason})
    entities.append({"what": _identified(REQUEST_SYSTEM, access.request_id), **_kind("2", "24"), "detail": details})
    return entities


def _kind(type_: str, role: str) -> dict[str, Any]:
    return {"type": {"system": _ENTITY_TYPE, "code": type_}, "role": {"system": _ENTITY_ROLE, "code": role}}


def _member(member: str) -> dict[str, Any]:
    return {"type": "Organization", "identifier": {"system": MEMBER_SYSTEM, "value": member}}


def _identified(system: str, value: bytes) -> dict[str, Any]:
    return {"identifier": {"system": system, "value": value.hex()}}


def _base64(data: bytes) -> str:
    text = to_text(data).replace("-", "+").replace("_", "/")
    return text + "=" * (-len(text) % 4)


def said_of(audit: bytes) -> dict[str, Any]:
    """Return the facts that a requester checks an AuditEvent by: who, what for, by which grant, and the hashes.

    Raises   ValueError, KeyError, TypeError, IndexError: the bytes are no AuditEvent of this shape
    """
    event = orjson.loads(audit)
    agents = {agent["type"]["coding"][0]["code"]: agent["who"]["identifier"]["value"] for agent in event["agent"]}
    entities = {entity["what"]["identifier"]["system"]: entity for entity in event["entity"]}
    request = entities[REQUEST_SYSTEM]
    details = {detail["type"]: detail.get("valueString", detail.get("valueBase64Binary")) for detail in request["detail"]}
    grant = entities.get(GRANT_SYSTEM)
    return {
        "holder": agents["110153"],
        "requester": agents["110152"],
        "practitioner": agents.get("IRCP"),
        "purpose": event["purposeOfEvent"][0]["coding"][0]["code"],
        "control_key": None if grant is None else grant["what"]["identifier"]["value"],
        "request_id": request["what"]["identifier"]["value"],
        "request_hash": details["request-hash"],
        "response_hash": details["response-hash"],
        "basis": details["basis"],
    }


def hash_text(digest: bytes) -> str:
    """Return a digest as an AuditEvent writes it."""
    return _base64(digest)
