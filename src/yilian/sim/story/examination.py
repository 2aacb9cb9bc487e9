"""The community clinic examines the patient and finds a risk."""

from typing import Any

from yilian.base.codec import encode
from yilian.node import screening
from yilian.sim.story.tale import CLINIC, StoryBroken, Tale

CATEGORY_ZH = {"low": "低危", "low-to-moderate": "低中危", "intermediate": "中危", "high": "高危", "very-high": "极高危"}


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
    """Have the clinic's node compute the risk from the chart; it says the source and keeps what it found."""
    tell, patient_id = tale.tell, tale.patient_at(CLINIC)
    tell.scene("心血管风险筛查", "Screening for cardiovascular risk")
    # Which region a country belongs to is a setting of the network; the simulated province is set to the middle ones.
    asked = encode([int(screening.Region.MODERATE), int(screening.Region.MODERATE), tale.seat("dr-chen").public_key])
    said = (await tale.software(CLINIC).call("POST", f"/screening/{patient_id}", asked)).json()
    found = next(one for one in said["scores"] if one["score"] == screening.Score.SCORE2_ASIA_PACIFIC.value)
    if not said["suggests_referral"] or not found.get("suggests_referral"):
        raise StoryBroken("the patient of the story is not at risk")
    sheet = screening.SCORES[screening.Score.SCORE2_ASIA_PACIFIC]
    percent, category = found["percent"], str(found["category"])
    zh, en = CATEGORY_ZH[category], category.replace("-", " ")
    tell.say(
        f"{sheet.name_zh}：十年内首次心血管事件风险 {percent}%（{zh}），建议考虑转诊。仅供决策参考，不是诊断。",
        f"{sheet.name_en}: ten-year risk {percent} % ({en}); a referral is suggested. Support, not a diagnosis.",
    )
    tell.fact("source", sheet.source)
    tell.fact("kept", f"{found['kept']} at the clinic, with method, source and the findings it is based on")


async def _chart(tale: Tale) -> list[dict[str, Any]]:
    """Return everything that the clinic has of the patient, but the Patient."""
    patient_id = tale.patient_at(CLINIC)
    every = await tale.software(CLINIC).search(f"Patient/{patient_id}/$everything")
    return [one for one in every if one["resourceType"] not in ("Patient", "RiskAssessment")]


def _is_pressure(resource: dict[str, Any]) -> bool:
    return resource["resourceType"] == "Observation" and "component" in resource
