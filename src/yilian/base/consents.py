"""The artefact of a grant: a FHIR R4 Consent in the shape of IHE PCF, and the terms that it says.

Shape    IHE PCF Intermediate Consent; Advanced where security labels are named. `build` writes one JSON for one `Terms`; `parse` takes only
         a JSON with exactly the contents that `build` would have written for the terms it read (white space and the order of members are
         free). So whatever is not understood is refused, never ignored: an element, an extension, a provision, a second code.
Binding  the Consent names its grant's `control_key`: who holds a Consent cannot enter it again under a key of his own after a revocation.
         The patient is named by the kid of R_h, which no other holder knows: two holders cannot join their Consents.
Ends     FHIR Period.end is inclusive; ours are exclusive: an end is written one second earlier.
Source   IHE ITI Privacy Consent on FHIR 1.1; hl7.org/fhir/R4/consent.html; design 03 "consent"; ADR-0060.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from yilian.base.codec import Malformed
from yilian.base.keys import KID_SIZE, PUBLIC_KEY_SIZE
from yilian.base.times import datetime_text, seconds_of

PURPOSES: Final = ("TREAT", "ETREAT", "CAREMGT", "HPAYMT", "HOPERAT", "PUBHLTH", "HRESCH", "PATRQT")  # of v3-PurposeOfUse, those we act on
CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ORDINARY: Final = ("U", "L", "M", "N")  # v3-Confidentiality up to "normal": what a grant opens without naming a label
PROTECTED: Final = {  # opened only where a grant names it (PCF AdvancedSecurityTagVS, and V)
    "R": CONFIDENTIALITY,
    "V": CONFIDENTIALITY,
    "ETH": ACT_CODE,
    "ETHUD": ACT_CODE,
    "OPIOIDUD": ACT_CODE,
    "PSY": ACT_CODE,
    "SEX": ACT_CODE,
    "HIV": ACT_CODE,
}
CONSENT_SIZE_BYTES_MAX: Final = 16 * 1024  # a bound on hostile nesting; one of ours has under 3 kB

GRANT_SYSTEM: Final = "urn:yilian:grant"
PATIENT_SYSTEM: Final = "urn:yilian:relationship"
MEMBER_SYSTEM: Final = "urn:yilian:member"
CREDENTIAL_SYSTEM: Final = "urn:yilian:credential"
ROLE_SYSTEM: Final = "urn:yilian:role"
POLICY: Final = "urn:yilian:policy:receipt-before-release:1"
USES_MAX: Final = "urn:yilian:consent:uses-max"
INTERVAL_S: Final = "urn:yilian:consent:interval-s"
ERASE_AT: Final = "urn:yilian:consent:erase-at"

_PROFILE: Final = "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consent"
_SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_RESOURCE_TYPES: Final = "http://hl7.org/fhir/resource-types"
_TYPE_NAME: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
_MEMBER_ID: Final = re.compile(r"[!-~]{1,32}")  # design 02: ASCII, up to 32
_ROLE_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


class ConsentNotUnderstood(ValueError):
    """The bytes are no Consent that this software understands completely; the sentence says where it stopped."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a patient permits: who reads what at whom, for what, until when. Ends are exclusive; tuples stand in ascending order."""

    control_key: bytes  # 32 bytes: the grant's id
    patient: bytes  # 16 bytes: kid of R_h
    holder: str
    requester: str
    purpose: str  # of PURPOSES
    given_at_s: int
    until_s: int
    uses_max: int
    interval_s: int | None = None  # of a standing grant: the least time between two sessions
    resource_types: tuple[str, ...] = ()  # none named: all
    data_from_s: int | None = None
    data_until_s: int | None = None
    labels_allowed: tuple[str, ...] = ()  # of PROTECTED, besides what is ordinary
    labels_denied: tuple[str, ...] = ()
    practitioner: bytes | None = None  # 32 bytes: this credential only
    role: str | None = None
    erase_at_s: int | None = None  # when the requester erases what it got

    def __post_init__(self) -> None:
        """Raise ConsentNotUnderstood unless every field is of its kind."""
        _check_parties(self)
        _check_scope(self)
        _check_times(self)

    def opens_type(self, resource_type: str) -> bool:
        """Say whether resources of this type are within the grant."""
        return not self.resource_types or resource_type in self.resource_types

    def opens_labels(self, labels: tuple[str, ...]) -> bool:
        """Say whether a resource with these security label codes is within the grant. An unknown label keeps it closed."""
        return all(label in ORDINARY or (label in self.labels_allowed and label not in self.labels_denied) for label in labels)

    def opens_instant(self, from_s: int, until_s: int) -> bool:
        """Say whether a resource that speaks of [from_s, until_s) lies wholly within the period of the data."""
        starts_inside = self.data_from_s is None or from_s >= self.data_from_s
        return starts_inside and (self.data_until_s is None or until_s <= self.data_until_s)


def build(terms: Terms) -> bytes:
    """Return the Consent that says `terms`: the same bytes for the same terms."""
    return json.dumps(_consent(terms), ensure_ascii=False, separators=(",", ":")).encode()


def parse(data: bytes) -> Terms:
    """Return the terms of a Consent.

    Raises   ConsentNotUnderstood, for anything that is not wholly understood
    """
    said = _read_json(data)
    terms = _terms(said)
    where = _difference(said, _consent(terms), "Consent")
    if where is not None:
        _refuse(f"{where} is not understood, so nothing of this Consent is")
    return terms


def _refuse(sentence: str) -> NoReturn:
    raise ConsentNotUnderstood(sentence)


def _check_parties(terms: Terms) -> None:
    keys = ((terms.control_key, PUBLIC_KEY_SIZE), (terms.patient, KID_SIZE), (terms.practitioner or bytes(PUBLIC_KEY_SIZE), PUBLIC_KEY_SIZE))
    if any(len(key) != size for key, size in keys):
        _refuse("a key in the terms has the wrong length")
    if not _MEMBER_ID.fullmatch(terms.holder) or not _MEMBER_ID.fullmatch(terms.requester):
        _refuse("a member's id is printable ASCII of 1 to 32 characters")
    if terms.role is not None and not _ROLE_CODE.fullmatch(terms.role):
        _refuse("a role is 1 to 32 small letters, digits and hyphens")


def _check_scope(terms: Terms) -> None:
    if terms.purpose not in PURPOSES:
        _refuse(f"the purpose is none of {', '.join(PURPOSES)}")
    if not all(_TYPE_NAME.fullmatch(name) for name in terms.resource_types):
        _refuse("a resource type is not one of FHIR's names")
    if any(label not in PROTECTED for label in terms.labels_allowed + terms.labels_denied):
        _refuse(f"a security label is none of {', '.join(PROTECTED)}")
    for names in (terms.resource_types, terms.labels_allowed, terms.labels_denied):
        if any(a >= b for a, b in zip(names, names[1:], strict=False)):
            _refuse("names are listed once each, in ascending order")


def _check_times(terms: Terms) -> None:
    instants = (terms.given_at_s, terms.until_s, terms.data_from_s, terms.data_until_s, terms.erase_at_s)
    try:
        for instant_s in instants:
            if instant_s is not None:
                datetime_text(instant_s)
                datetime_text(instant_s - 1)
    except Malformed:
        _refuse("an instant lies outside the years 1 to 9999")
    if terms.given_at_s >= terms.until_s:
        _refuse("the grant ends before it is given")
    if terms.data_from_s is not None and terms.data_until_s is not None and terms.data_from_s >= terms.data_until_s:
        _refuse("the period of the data ends before it begins")
    counts = (terms.uses_max, 1 if terms.interval_s is None else terms.interval_s)
    if any(type(count) is not int or not 1 <= count < 2**31 for count in counts):  # FHIR positiveInt
        _refuse("uses and interval are positive numbers below 2147483648")


# what terms look like as a Consent


def _consent(terms: Terms) -> dict[str, Any]:
    patient = {"identifier": {"system": PATIENT_SYSTEM, "value": terms.patient.hex()}}
    grant = {"system": GRANT_SYSTEM, "value": terms.control_key.hex()}
    is_profiled = not terms.resource_types and "V" not in terms.labels_allowed + terms.labels_denied  # PCF has neither `class` nor V
    level = "Advanced" if terms.labels_allowed or terms.labels_denied else "Intermediate"
    return {
        "resourceType": "Consent",
        **({"meta": {"profile": [_PROFILE + level]}} if is_profiled else {}),
        **({"contained": [_recipient_role(terms)]} if terms.practitioner is not None or terms.role is not None else {}),
        "modifierExtension": _limits(terms),
        "identifier": [grant],
        "status": "active",
        "scope": {"coding": [{"system": _SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": patient,
        "dateTime": datetime_text(terms.given_at_s),
        "performer": [patient],
        "organization": [_member(terms.holder)],
        "sourceReference": {"type": "Consent", "identifier": grant},
        "policy": [{"uri": POLICY}],
        "provision": _provision(terms),
    }


def _limits(terms: Terms) -> list[dict[str, Any]]:
    """Return what narrows the permission in ways FHIR has no element for; modifiers, because ignoring one would widen it."""
    limits: list[dict[str, Any]] = [{"url": USES_MAX, "valuePositiveInt": terms.uses_max}]
    if terms.interval_s is not None:
        limits.append({"url": INTERVAL_S, "valuePositiveInt": terms.interval_s})
    if terms.erase_at_s is not None:
        limits.append({"url": ERASE_AT, "valueDateTime": datetime_text(terms.erase_at_s)})
    return limits


def _provision(terms: Terms) -> dict[str, Any]:
    data = _period(terms.data_from_s, terms.data_until_s)
    allowed = [{"system": CONFIDENTIALITY, "code": "N"}, *_labels(terms.labels_allowed)] if terms.labels_allowed else []
    denied = [{"type": "deny", "securityLabel": _labels(terms.labels_denied)}] if terms.labels_denied else []
    types = [{"system": _RESOURCE_TYPES, "code": name} for name in terms.resource_types]
    return {
        "type": "permit",
        "period": _period(terms.given_at_s, terms.until_s),
        "actor": [{"role": {"coding": [{"system": _PARTICIPATION, "code": "IRCP"}]}, "reference": _recipient(terms)}],
        **({"securityLabel": allowed} if allowed else {}),
        "purpose": [{"system": ACT_REASON, "code": terms.purpose}],
        **({"class": types} if types else {}),
        **({"dataPeriod": data} if data else {}),
        **({"provision": denied} if denied else {}),
    }


def _recipient(terms: Terms) -> dict[str, Any]:
    """Return the one actor. Two would mean either of them, so a practitioner of a member is one contained PractitionerRole."""
    return _member(terms.requester) if terms.practitioner is None and terms.role is None else {"reference": "#recipient"}


def _recipient_role(terms: Terms) -> dict[str, Any]:
    practitioner = {"identifier": {"system": CREDENTIAL_SYSTEM, "value": terms.practitioner.hex()}} if terms.practitioner is not None else None
    code = [{"coding": [{"system": ROLE_SYSTEM, "code": terms.role}]}] if terms.role is not None else None
    return {
        "resourceType": "PractitionerRole",
        "id": "recipient",
        **({"practitioner": practitioner} if practitioner else {}),
        "organization": _member(terms.requester),
        **({"code": code} if code else {}),
    }


def _member(member: str) -> dict[str, Any]:
    return {"type": "Organization", "identifier": {"system": MEMBER_SYSTEM, "value": member}}


def _labels(codes: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"system": PROTECTED[code], "code": code} for code in codes]


def _period(from_s: int | None, until_s: int | None) -> dict[str, str]:
    start = {} if from_s is None else {"start": datetime_text(from_s)}
    return start if until_s is None else {**start, "end": datetime_text(until_s - 1)}


# what a Consent says


def _read_json(data: bytes) -> object:
    if len(data) > CONSENT_SIZE_BYTES_MAX:
        _refuse(f"a Consent has at most {CONSENT_SIZE_BYTES_MAX} bytes")
    try:
        return json.loads(data.decode(), object_pairs_hook=_members_once, parse_float=_no_number, parse_constant=_no_number)
    except ConsentNotUnderstood:
        raise
    except (ValueError, RecursionError) as error:
        raise ConsentNotUnderstood("the bytes are not JSON in UTF-8") from error


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) != len(pairs):
        _refuse("the JSON says one thing twice")
    return said


def _no_number(text: str) -> NoReturn:
    _refuse(f"{text[:20]} is not a whole number")
