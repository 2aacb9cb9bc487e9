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
from typing import Any, Final, NoReturn

from yilian.base.codec import Malformed
from yilian.base.datetimes import datetime_text, seconds_of
from yilian.base.terms import ACT_REASON, CONFIDENTIALITY, PROTECTED, ConsentNotUnderstood, Terms

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

__all__ = ["ConsentNotUnderstood", "Terms", "build", "parse"]


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
    practitioner = (
        {"identifier": {"system": CREDENTIAL_SYSTEM, "value": terms.practitioner.hex()}} if terms.practitioner is not None else None
    )
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


def _terms(said: object) -> Terms:
    """Return the terms read off the places where they stand; `parse` then compares the whole."""
    limits = {_text(_at(item, "url")): item for item in _list_at(said, "modifierExtension")}
    interval, erase = limits.get(INTERVAL_S), limits.get(ERASE_AT)
    requester, practitioner, role = _actor(said)
    denied = _list_at(_at(said, "provision"), "provision", is_optional=True)
    data = _at(said, "provision", "dataPeriod", is_optional=True)
    erase_text = None if erase is None else _at(erase, "valueDateTime")
    try:
        return Terms(
            control_key=_hex(_at(said, "identifier", 0, "value")),
            patient=_hex(_at(said, "patient", "identifier", "value")),
            holder=_text(_at(said, "organization", 0, "identifier", "value")),
            requester=requester,
            purpose=_text(_at(said, "provision", "purpose", 0, "code")),
            given_at_s=seconds_of(_at(said, "dateTime")),
            until_s=seconds_of(_at(said, "provision", "period", "end")) + 1,
            uses_max=_whole(_at(limits.get(USES_MAX), "valuePositiveInt")),
            interval_s=None if interval is None else _whole(_at(interval, "valuePositiveInt")),
            resource_types=_codes(_list_at(_at(said, "provision"), "class", is_optional=True)),
            data_from_s=_instant(data, "start"),
            data_until_s=_end(data),
            labels_allowed=_codes(_list_at(_at(said, "provision"), "securityLabel", is_optional=True)[1:]),
            labels_denied=_codes(_list_at(denied[0], "securityLabel")) if denied else (),
            practitioner=practitioner,
            role=role,
            erase_at_s=None if erase_text is None else seconds_of(erase_text),
        )
    except Malformed as error:
        raise ConsentNotUnderstood("an instant is not written as YYYY-MM-DDThh:mm:ssZ") from error


def _actor(said: object) -> tuple[str, bytes | None, str | None]:
    """Return requester, practitioner and role of the one actor."""
    actor = _at(said, "provision", "actor", 0, "reference")
    if _at(actor, "reference", is_optional=True) is None:
        return _text(_at(actor, "identifier", "value")), None, None
    role = _at(said, "contained", 0)
    practitioner = _at(role, "practitioner", "identifier", "value", is_optional=True)
    code = _at(role, "code", 0, "coding", 0, "code", is_optional=True)
    requester = _text(_at(role, "organization", "identifier", "value"))
    return requester, None if practitioner is None else _hex(practitioner), None if code is None else _text(code)


def _instant(period: object, end: str) -> int | None:
    text = None if period is None else _at(period, end, is_optional=True)
    return None if text is None else seconds_of(text)


def _end(period: object) -> int | None:
    last_s = _instant(period, "end")
    return None if last_s is None else last_s + 1


def _at(said: object, *path: str | int, is_optional: bool = False) -> Any:  # noqa: ANN401 - a piece of JSON
    here = said
    for step in path:
        if (isinstance(here, dict) and step in here) or (isinstance(here, list) and isinstance(step, int) and step < len(here)):
            here = here[step]  # type: ignore[index]  # the line above says that it may
        elif is_optional:
            return None
        else:
            _refuse(f"the Consent lacks {'.'.join(map(str, path))}")
    return here


def _list_at(said: object, name: str, *, is_optional: bool = False) -> list[Any]:
    found = _at(said, name, is_optional=is_optional)
    if found is None:
        return []
    if not isinstance(found, list):
        _refuse(f"{name} is not a list")
    return found


def _codes(codings: list[Any]) -> tuple[str, ...]:
    return tuple(_text(_at(coding, "code")) for coding in codings)


def _text(said: object) -> str:
    if not isinstance(said, str):
        _refuse("a text is not a text")
    return said


def _whole(said: object) -> int:
    if type(said) is not int:
        _refuse("a number is not a whole number")
    return said


def _hex(said: object) -> bytes:
    try:
        return bytes.fromhex(_text(said))
    except ValueError as error:
        raise ConsentNotUnderstood("a key is not written in hexadecimal digits") from error


def _difference(said: object, meant: object, where: str) -> str | None:
    """Return the place of the first thing that is said and not meant, or the other way round; types count (1 is not true)."""
    if type(said) is not type(meant):
        return where
    if isinstance(said, dict) and isinstance(meant, dict):
        strange = [name for name in (*said, *meant) if name not in meant or name not in said]
        if strange:
            return f"{where}.{strange[0][:40]}"
        pairs = ((said[name], meant[name], f"{where}.{name}") for name in meant)
    elif isinstance(said, list) and isinstance(meant, list):
        if len(said) != len(meant):
            return f"{where}, with {len(said)} items,"
        pairs = ((said[i], meant[i], f"{where}[{i}]") for i in range(len(meant)))
    else:
        return None if said == meant else where
    return next((found for found in (_difference(*pair) for pair in pairs) if found is not None), None)
