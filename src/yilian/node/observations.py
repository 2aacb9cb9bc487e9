"""Reading an Observation, for screening and for mutual recognition alike: its codes, and when it was true. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from yilian.records import DAY_MS, extent_ms

Resource = Mapping[str, Any]
LOINC: Final = "http://loinc.org"


def codes(concept: object, system: str) -> frozenset[str]:
    """Return the codes of a CodeableConcept in one system; anything misshapen has none."""
    found = concept.get("coding") if isinstance(concept, Mapping) else None
    return frozenset(
        coding["code"]
        for coding in found or ()
        if isinstance(coding, Mapping) and coding.get("system") == system and isinstance(coding.get("code"), str)
    )


def effective_s(resource: Resource) -> int | None:
    """Return when an Observation was true, Unix seconds (effectiveDateTime, effectiveInstant, start of effectivePeriod), or None.

    A partial date ("2026-03") is too coarse to say which value is the newest: None. A day is its first second in UTC.
    """
    period = resource.get("effectivePeriod")
    start = period.get("start") if isinstance(period, Mapping) else None
    said = resource.get("effectiveDateTime") or resource.get("effectiveInstant") or start
    extent = extent_ms(said) if isinstance(said, str) else None
    if extent is None or extent[1] - extent[0] > DAY_MS:
        return None
    return extent[0] // 1_000
