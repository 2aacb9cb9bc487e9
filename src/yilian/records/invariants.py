"""The invariants of R4 that a table of elements cannot say and that matter to who reads or searches the record.

Each returns a sentence when it is broken. They look at shapes only; the walk in `validate` has checked the types before.
Source   the constraints of hl7.fhir.r4.core 4.0.1, by their keys.
"""

from collections.abc import Callable
from typing import Any, Final

from yilian.records.primitives import extent_ms

Node = dict[str, Any]
VER_STATUS = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
ALLERGY_VER_STATUS = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"


def _has(node: Node, name: str) -> bool:
    """Say whether a choice element is there under any of its keys."""
    return any(key.startswith(name) and key[len(name) : len(name) + 1].isupper() for key in node)


def _codes(concept: object, system: str) -> set[str]:
    found = concept.get("coding", []) if isinstance(concept, dict) else []
    return {c["code"] for c in found if c.get("system") == system and "code" in c}


def per_1(node: Node) -> str | None:
    """A period does not end before it starts."""
    start, end = extent_ms(node.get("start", "")), extent_ms(node.get("end", ""))
    return "per-1: a period ends before it starts" if start and end and end[1] <= start[0] else None


def ext_1(node: Node) -> str | None:
    """An extension has a value or extensions."""
    one = ("extension" in node) != (_has(node, "value") or _has(node, "_value"))
    return None if one else "ext-1: an extension has either a value or extensions, not both and not neither"


def obs_6(node: Node) -> str | None:
    """A reason for absence stands where no value does."""
    return "obs-6: a reason for absence stands beside a value" if "dataAbsentReason" in node and _has(node, "value") else None


def obs_7(node: Node) -> str | None:
    """A component does not repeat the code of a valued observation."""

    def coded(one: Node) -> set[tuple[object, object]]:
        return {(c.get("system"), c.get("code")) for c in one.get("code", {}).get("coding", [])}

    twice = _has(node, "value") and any(coded(node) & coded(c) for c in node.get("component", []))
    return "obs-7: a component repeats the code of an observation that has a value itself" if twice else None


def obs_3(node: Node) -> str | None:
    """A reference range says something."""
    return None if {"low", "high", "text"} & node.keys() else "obs-3: a reference range needs a low, a high or a text"


def con_4(node: Node) -> str | None:
    """What abated is no longer active."""
    ended = _codes(node.get("clinicalStatus"), CLINICAL) & {"resolved", "remission", "inactive"}
    return "con-4: a condition that abated is resolved, in remission or inactive" if _has(node, "abatement") and not ended else None


def con_5(node: Node) -> str | None:
    """What was entered in error has no clinical status."""
    wrong = "entered-in-error" in _codes(node.get("verificationStatus"), VER_STATUS) and "clinicalStatus" in node
    return "con-5: a condition entered in error has no clinical status" if wrong else None


def ait_2(node: Node) -> str | None:
    """What was entered in error has no clinical status."""
    wrong = "entered-in-error" in _codes(node.get("verificationStatus"), ALLERGY_VER_STATUS) and "clinicalStatus" in node
    return "ait-2: an allergy entered in error has no clinical status" if wrong else None


def pat_1(node: Node) -> str | None:
    """A contact says who or how."""
    some = {"name", "telecom", "address", "organization"} & node.keys()
    return None if some else "pat-1: a contact needs a name, telecom, address or organization"


def org_1(node: Node) -> str | None:
    """An organization can be told from others."""
    return None if {"identifier", "name"} & node.keys() else "org-1: an organization needs a name or an identifier"


def qty_3(node: Node) -> str | None:
    """A unit's code has a system."""
    return "qty-3: a unit's code needs its system" if "code" in node and "system" not in node else None


def cpt_2(node: Node) -> str | None:
    """A contact point's value has a system."""
    return "cpt-2: a contact point's value needs its system" if "value" in node and "system" not in node else None


def att_1(node: Node) -> str | None:
    """Attached data has a content type."""
    return "att-1: attached data needs its content type" if "data" in node and "contentType" not in node else None


def rat_1(node: Node) -> str | None:
    """A ratio has both parts."""
    pair = ("numerator" in node) == ("denominator" in node)
    return None if pair and ("numerator" in node or "extension" in node) else "rat-1: a ratio has both parts or neither"


def rng_2(node: Node) -> str | None:
    """A range does not run backwards."""
    low, high = node.get("low", {}).get("value"), node.get("high", {}).get("value")
    same_unit = node.get("low", {}).get("code") == node.get("high", {}).get("code")
    wrong = low is not None and high is not None and same_unit and low > high
    return "rng-2: a range's low is above its high" if wrong else None


def tim(node: Node) -> str | None:
    """A repeat has the units and bases of its numbers."""
    needs = {"duration": "durationUnit", "period": "periodUnit", "periodMax": "period", "durationMax": "duration", "countMax": "count"}
    lacking = any(one in node and other not in node for one, other in needs.items())
    negative = any(node.get(k, 0) < 0 for k in ("duration", "period"))
    return "tim-1 to tim-8: a repeat lacks a unit or base, or is negative" if lacking or negative else None


INVARIANTS: Final[dict[str, tuple[Callable[[Node], str | None], ...]]] = {
    "Period": (per_1,),
    "Extension": (ext_1,),
    "Observation": (obs_6, obs_7),
    "Observation.referenceRange": (obs_3,),
    "Condition": (con_4, con_5),
    "AllergyIntolerance": (ait_2,),
    "Patient.contact": (pat_1,),
    "Organization": (org_1,),
    "Quantity": (qty_3,),
    "Age": (qty_3,),
    "Duration": (qty_3,),
    "ContactPoint": (cpt_2,),
    "Attachment": (att_1,),
    "Ratio": (rat_1,),
    "Range": (rng_2,),
    "Timing.repeat": (tim,),
}
