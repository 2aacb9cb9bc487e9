"""The terms of a grant: what a patient permits, before it is written as a Consent (`consents`) and after it was read.

Source   design 03 "consent", design 04 "The release gate" step 4; ADR-0060.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from yilian.base.codec import Malformed
from yilian.base.datetimes import datetime_text
from yilian.base.keys import KID_SIZE, PUBLIC_KEY_SIZE

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


def _check_parties(terms: Terms) -> None:
    keys = (
        (terms.control_key, PUBLIC_KEY_SIZE),
        (terms.patient, KID_SIZE),
        (terms.practitioner or bytes(PUBLIC_KEY_SIZE), PUBLIC_KEY_SIZE),
    )
    if any(len(key) != size for key, size in keys):
        raise ConsentNotUnderstood("a key in the terms has the wrong length")
    if not _MEMBER_ID.fullmatch(terms.holder) or not _MEMBER_ID.fullmatch(terms.requester):
        raise ConsentNotUnderstood("a member's id is printable ASCII of 1 to 32 characters")
    if terms.role is not None and not _ROLE_CODE.fullmatch(terms.role):
        raise ConsentNotUnderstood("a role is 1 to 32 small letters, digits and hyphens")


def _check_scope(terms: Terms) -> None:
    if terms.purpose not in PURPOSES:
        raise ConsentNotUnderstood(f"the purpose is none of {', '.join(PURPOSES)}")
    if not all(_TYPE_NAME.fullmatch(name) for name in terms.resource_types):
        raise ConsentNotUnderstood("a resource type is not one of FHIR's names")
    if any(label not in PROTECTED for label in terms.labels_allowed + terms.labels_denied):
        raise ConsentNotUnderstood(f"a security label is none of {', '.join(PROTECTED)}")
    for names in (terms.resource_types, terms.labels_allowed, terms.labels_denied):
        if any(a >= b for a, b in pairwise(names)):
            raise ConsentNotUnderstood("names are listed once each, in ascending order")


def _check_times(terms: Terms) -> None:
    instants = (terms.given_at_s, terms.until_s, terms.data_from_s, terms.data_until_s, terms.erase_at_s)
    try:
        for instant_s in instants:
            if instant_s is not None:
                datetime_text(instant_s)
                datetime_text(instant_s - 1)
    except Malformed as error:
        raise ConsentNotUnderstood("an instant lies outside the years 1 to 9999") from error
    if terms.given_at_s >= terms.until_s:
        raise ConsentNotUnderstood("the grant ends before it is given")
    if terms.data_from_s is not None and terms.data_until_s is not None and terms.data_from_s >= terms.data_until_s:
        raise ConsentNotUnderstood("the period of the data ends before it begins")
    counts = (terms.uses_max, 1 if terms.interval_s is None else terms.interval_s)
    if any(type(count) is not int or not 1 <= count < 2**31 for count in counts):  # FHIR positiveInt
        raise ConsentNotUnderstood("uses and interval are positive numbers below 2147483648")
