"""The community clinic examines the patient and finds a risk."""

from typing import Any

from yilian.node.screening import Assessment, Findings, Region, Score, assess, findings_from, risk_assessment
from yilian.node.screening.scores import SCORES
from yilian.sim.story.tale import CLINIC, StoryBroken, Tale, now_s


async def examined(tale: Tale) -> None:
    """See the patient's own chart at the clinic."""
    tell = tale.tell
    tell.scene("社区卫生服务中心：看病", "The community clinic examines")
    chart = await _chart(tale)
    newest = max((one for one in chart if _is_pressure(one)), key=lambda one: str(one["effectiveDateTime"]))
    systolic, diastolic = (part["valueQuantity"]["value"] for part in newest["component"])
    tell.say(
        f"{tale.lin.name_zh}，58 岁，头晕复诊。陈医生打开本中心的病历：{len(chart)} 份资料，血压 {systolic}/{diastolic} mmHg。",
        f"Lin Guodong, 58, comes back dizzy. Dr Chen opens the clinic's chart: {len(chart)} resources, {systolic}/{diastolic} mmHg.",
    )
    tell.fact("own chart", "no grant is asked for; the reading is recorded and anchored with the next tick")


async def screened(tale: Tale) -> None:
    """Compute the risk from the chart, say its source, and write it down."""
    tell, clinic = tale.tell, tale.software(CLINIC)
    tell.scene("心血管风险筛查", "Screening for cardiovascular risk")
    patient_id = tale.patient_at(CLINIC)
    patient = await clinic.fhir("GET", f"Patient/{patient_id}")
    found = findings_from(patient, await _chart(tale), now_s())
    if not isinstance(found, Findings):
        raise StoryBroken(f"the chart of the story cannot be screened: {found}")
    # Which region a country belongs to is a setting of the network; the simulated province is set to the middle ones.
    made = assess(found, europe=Region.MODERATE, asia_pacific=Region.MODERATE)[Score.SCORE2_ASIA_PACIFIC]
    if not isinstance(made, Assessment) or not made.suggests_referral:
        raise StoryBroken(f"the patient of the story is not at risk: {made}")
    sheet = SCORES[made.score]
    tell.say(
        f"{sheet.name_zh}：十年内首次心血管事件风险 {made.percent}%（{made.category.value}），建议考虑转诊。仅供决策参考，不是诊断。",
        f"{sheet.name_en}: ten-year risk {made.percent} % ({made.category.value}); a referral is suggested. Support, not a diagnosis.",
    )
    tell.fact("source", sheet.source)
    written = await clinic.fhir("POST", "RiskAssessment", risk_assessment(made, f"Patient/{patient_id}", now_s()))
    tell.fact("written", f"RiskAssessment/{written['id']} at the clinic, with method, source and the findings it is based on")


async def _chart(tale: Tale) -> list[dict[str, Any]]:
    """Return everything that the clinic has of the patient, but the Patient."""
    patient_id = tale.patient_at(CLINIC)
    every = await tale.software(CLINIC).search(f"Patient/{patient_id}/$everything")
    return [one for one in every if one["resourceType"] not in ("Patient", "RiskAssessment")]


def _is_pressure(resource: dict[str, Any]) -> bool:
    return resource["resourceType"] == "Observation" and "component" in resource
