"""Whose record a resource is, of when, and under which labels: the columns that a scope is checked against.

Source   CompartmentDefinition/patient of R4; ADR-0024 for the clinical extent and for what is in several compartments.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from yilian.records import definitions, references, terms
from yilian.records.expressions import Way, compile_parts
from yilian.records.indexing import parameters
from yilian.records.terms import FOREVER_MS

TIMELESS: Final = frozenset(
    {
        "Patient",
        "RelatedPerson",
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "OrganizationAffiliation",
        "Location",
        "HealthcareService",
        "Endpoint",
        "Medication",
        "MedicationKnowledge",
        "Substance",
        "Device",
        "DeviceDefinition",
    }
)
"""Who, where and what, but not when: no period excludes them."""

CLINICAL_TIME: Final[dict[str, tuple[str, ...]]] = {
    "Observation": ("effective", "issued"),
    "DiagnosticReport": ("effective", "issued"),
    "Condition": ("onset", "recordedDate"),
    "Procedure": ("performed",),
    "Encounter": ("period",),
    "Immunization": ("occurrence", "recorded"),
    "AllergyIntolerance": ("recordedDate", "onset"),
    "MedicationRequest": ("authoredOn",),
    "MedicationStatement": ("effective", "dateAsserted"),
    "MedicationAdministration": ("effective",),
    "MedicationDispense": ("whenHandedOver", "whenPrepared"),
    "CarePlan": ("period", "created"),
    "CareTeam": ("period",),
    "Goal": ("start", "statusDate"),
    "ServiceRequest": ("occurrence", "authoredOn"),
    "ImagingStudy": ("started",),
    "DocumentReference": ("date", "context.period"),
    "Composition": ("date",),
    "Claim": ("billablePeriod", "created"),
    "ExplanationOfBenefit": ("billablePeriod", "created"),
    "Consent": ("dateTime",),
    "Task": ("authoredOn", "executionPeriod"),
    "Specimen": ("collection.collected", "receivedTime"),
    "Communication": ("sent", "received"),
    "Flag": ("period",),
    "FamilyMemberHistory": ("date",),
    "RiskAssessment": ("occurrence",),
    "QuestionnaireResponse": ("authored",),
    "Coverage": ("period",),
    "EpisodeOfCare": ("period",),
    "ClinicalImpression": ("effective", "date"),
    "List": ("date",),
    "Media": ("created", "issued"),
    "NutritionOrder": ("dateTime",),
    "DeviceUseStatement": ("timing", "recordedOn"),
    "Appointment": ("start",),
    "Provenance": ("occurred", "recorded"),
    "AuditEvent": ("recorded",),
    "BodyStructure": (),
    "Account": ("servicePeriod",),
}
"""The first of these that a resource has is its time. For types not named here: the widest extent over its date parameters."""


@dataclass(frozen=True, slots=True)
class Placing:
    """The columns of a version: patients (ids) whose compartment it is in, clinical extent in milliseconds, label codes."""

    patients: tuple[str, ...]
    from_ms: int
    until_ms: int
    labels: tuple[str, ...]


@cache
def _compartment_ways(resource_type: str) -> tuple[Way, ...]:
    known = parameters(resource_type)
    return tuple(w for code in definitions.compartment("Patient").get(resource_type, ()) for w in known[code].ways)


@cache
def _time_ways(resource_type: str) -> tuple[tuple[Way, ...], ...]:
    return tuple(compile_parts(resource_type, [f"{resource_type}.{part}"]) for part in CLINICAL_TIME[resource_type])


@cache
def _date_ways(resource_type: str) -> tuple[Way, ...]:
    return tuple(w for p in parameters(resource_type).values() if p.kind == "date" and p.code != "_lastUpdated" for w in p.ways)


_local = lru_cache(16_384)(references.local)


def _patients(resource_type: str, resource_id: str, tree: dict[str, Any], base_url: str) -> tuple[str, ...]:
    if resource_type == "Patient":
        return (resource_id,)  # R4 also puts who links here into the compartment: a second record of its own, under its own scope
    found = set()
    for way in _compartment_ways(resource_type):
        for value in way.values(tree):
            text = value.get("reference") if isinstance(value, dict) else None
            if isinstance(text, str):
                target = _local(text, base_url)
                if target.startswith("Patient/"):
                    found.add(target[8:])
    return tuple(sorted(found))


def _closed(span: tuple[int, int]) -> tuple[int, int]:
    """An extent without an end counts by its start."""
    return (span[0], span[0] + 1) if span[1] == FOREVER_MS and span[0] != -FOREVER_MS else span


def _extent(resource_type: str, tree: dict[str, Any]) -> tuple[int, int]:
    if resource_type in TIMELESS:
        return FOREVER_MS, -FOREVER_MS  # the empty extent lies inside every period
    if resource_type in CLINICAL_TIME:
        for ways in _time_ways(resource_type):
            spans = [_closed(s) for w in ways for v in w.values(tree) if (s := terms.date_range(v, w.type))]
            if spans:
                return min(s[0] for s in spans), max(s[1] for s in spans)
        return -FOREVER_MS, FOREVER_MS  # of no known time: inside no bounded period
    spans = [_closed(s) for w in _date_ways(resource_type) for v in w.values(tree) if (s := terms.date_range(v, w.type))]
    return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else (-FOREVER_MS, FOREVER_MS)


def _labels(node: dict[str, Any]) -> set[str]:
    """Return the label codes of a resource and of all resources inside it."""
    found = {c["code"] for c in node.get("meta", {}).get("security", ()) if "code" in c}
    for inner in node.get("contained", ()):
        found |= _labels(inner)
    if node.get("resourceType") == "Bundle":
        for entry in node.get("entry", ()):
            found |= _labels(entry.get("resource", {}))
    if node.get("resourceType") == "Parameters":
        for one in node.get("parameter", ()):
            found |= _labels(one.get("resource", {}))
    return found


def place(resource_type: str, resource_id: str, tree: dict[str, Any], base_url: str) -> Placing:
    """Return whose, when and how confidential a resource is."""
    start, end = _extent(resource_type, tree)
    return Placing(_patients(resource_type, resource_id, tree, base_url), start, end, tuple(sorted(_labels(tree))))
