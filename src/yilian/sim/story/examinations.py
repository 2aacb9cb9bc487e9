"""Mutual recognition: the doctor is warned before an examination is repeated, and what becomes of the order is counted."""

import secrets
from typing import Any

from yilian.base.shapes import pack
from yilian.node import examinations
from yilian.sim.software import Release
from yilian.sim.story.tale import HOSPITAL, KNOWN, StoryBroken, Tale, now_s

LIPID_PANEL, HBA1C = "24331-1", "4548-4"
DAY_S = 86_400


async def warned(tale: Tale, seen: Release) -> None:
    """Order a lipid panel and an HbA1c: the one has a valid result elsewhere, the other's is too old."""
    tell = tale.tell
    tell.scene("检查互认：下单之前的提醒", "A warning before the order: mutual recognition")
    panel = await _ordered(tale, seen, LIPID_PANEL, "/orders/check")
    if panel["verdict"] != "recognise":
        raise StoryBroken(f"recognition says of the lipid panel: {panel['verdict']}")
    days = (now_s() - max(result["effective_s"] for result in panel["results"])) // DAY_S
    left = (panel["until_s"] - now_s()) // DAY_S
    tell.say(
        f"血脂四项：{days} 天前外院已有结果，仍可互认 {left} 天，不必重复。",
        f"Lipid panel: another member has a result of {days} days ago, valid for {left} days more: recognised, not repeated.",
    )
    codes = ", ".join(result["loinc"] for result in panel["results"])
    tell.fact("recognised", f"LOINC {codes}; of {', '.join(sorted({result['member'] for result in panel['results']}))}")
    await _ordered(tale, seen, LIPID_PANEL, "/orders", is_used=True)
    sugar = await _ordered(tale, seen, HBA1C, "/orders")
    if sugar["verdict"] != "retest-allowed":
        raise StoryBroken(f"recognition says of the HbA1c: {sugar['verdict']}")
    tell.say(
        "糖化血红蛋白：上次结果已过期，可以复查，理由记录在案。",
        "HbA1c: the last result is too old; it may be done again, and the reason is recorded.",
    )
    tell.fact("repeat", f"LOINC {HBA1C}; {sugar['reason']}")
    counted = (await tale.software(HOSPITAL).call("GET", "/statistics/examinations")).json()
    tell.fact(
        "counted",
        f"examinations at {HOSPITAL}: {counted['avoided']} avoided, {sum(counted['repeated'].values())} repeated against a valid result",
    )


async def _ordered(tale: Tale, seen: Release, loinc: str, path: str, *, is_used: bool = False) -> dict[str, Any]:
    """Return what the hospital's node says of an order, knowing what was released to it."""
    known = (examinations.Fetched(KNOWN, seen.body),)
    asked = examinations.OrderAsk(
        secrets.token_bytes(16), tale.hospital_patient, loinc, None, is_used, known, (), tale.seat("dr-zhao").public_key
    )  # fmt: skip
    said: dict[str, Any] = (await tale.software(HOSPITAL).call("POST", path, pack(asked))).json()
    return said
