"""Mutual recognition: the doctor is warned before an examination is repeated."""

from collections.abc import Iterable
from typing import Any

from yilian.node.recognition import Order, Recognise, Result, RetestAllowed, check
from yilian.node.screening.reading import LOINC, codes, effective_s
from yilian.sim.story.tale import KNOWN, StoryBroken, Tale, now_s

LIPID_PANEL, HBA1C = "24331-1", "4548-4"
DAY_S = 86_400


async def warned(tale: Tale, seen: Iterable[dict[str, Any]]) -> None:
    """Order a lipid panel and an HbA1c: the one has a valid result elsewhere, the other's is too old."""
    tell = tale.tell
    tell.scene("检查互认：下单之前的提醒", "A warning before the order: mutual recognition")
    history = [result for resource in seen if (result := _result(resource)) is not None]
    panel, sugar = (check(Order(loinc, now_s()), history) for loinc in (LIPID_PANEL, HBA1C))
    if not isinstance(panel, Recognise) or not isinstance(sugar, RetestAllowed):
        raise StoryBroken(f"recognition answers {panel} and {sugar}")
    days = (now_s() - max(result.effective_s for result in panel.results)) // DAY_S
    left = (panel.until_s - now_s()) // DAY_S
    tell.say(
        f"血脂四项：{days} 天前外院已有结果，仍可互认 {left} 天，不必重复。",
        f"Lipid panel: another member has a result of {days} days ago, valid for {left} days more: recognised, not repeated.",
    )
    tell.fact("recognised", ", ".join(f"{result.loinc} of {result.member}" for result in panel.results))
    tell.say(
        "糖化血红蛋白：上次结果已过期，可以复查，理由记录在案。",
        "HbA1c: the last result is too old; it may be repeated, and the reason is recorded.",
    )
    tell.fact("repeat", f"{HBA1C}: {sugar.reason.value}")


def _result(resource: dict[str, Any]) -> Result | None:
    """Return what recognition needs to know of an Observation: no value, no patient."""
    found, at_s = codes(resource.get("code"), LOINC), effective_s(resource)
    if resource["resourceType"] != "Observation" or not found or at_s is None:
        return None
    return Result(min(found), at_s, str(resource["status"]), KNOWN)
