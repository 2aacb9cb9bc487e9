"""An assessment as a FHIR R4 RiskAssessment: the number, its method, its source and whom it is valid for travel together."""

from typing import Any, Final

from yilian.base.datetimes import datetime_text
from yilian.node.screening.scores import SCORES, Assessment

_METHOD_SYSTEM: Final = "urn:yilian:screening"
_NOTE_ZH: Final = "仅供转诊决策参考, 不是诊断。"
_NOTE_EN: Final = "Support for a referral decision, never a diagnosis."


def risk_assessment(made: Assessment, subject: str, now_s: int) -> dict[str, Any]:
    """Return the resource, without an id. `subject` is a FHIR reference; `probabilityDecimal` has four places."""
    sheet = SCORES[made.score]
    youngest, oldest = sheet.ages
    region = "" if made.region is None else f"; region {made.region.name.lower().replace('_', ' ')}"
    resource: dict[str, Any] = {
        "resourceType": "RiskAssessment",
        "status": "final",
        "method": {"coding": [{"system": _METHOD_SYSTEM, "code": made.score.value, "display": sheet.name_en}], "text": sheet.name_zh},
        "subject": {"reference": subject},
        "occurrenceDateTime": datetime_text(now_s),
        "basis": [{"reference": reference} for reference in made.findings.basis],
        "prediction": [
            {
                "outcome": {"text": "10年内首次心血管事件"},
                "probabilityDecimal": round(made.risk, 4),
                "qualitativeRisk": {"coding": [{"system": f"{_METHOD_SYSTEM}:category", "code": made.category.value}]},
                "whenRange": {
                    "low": {"value": made.findings.age_years, "unit": "岁", "system": "http://unitsofmeasure.org", "code": "a"},
                    "high": {"value": made.findings.age_years + 10, "unit": "岁", "system": "http://unitsofmeasure.org", "code": "a"},
                },
                "rationale": f"{sheet.source}; ages {youngest}-{oldest}; {sheet.valid_for}{region}",
            }
        ],
        "note": [{"text": f"{_NOTE_ZH} {_NOTE_EN}"}],
    }
    if not made.findings.basis:
        del resource["basis"]  # FHIR has no empty lists
    return resource
