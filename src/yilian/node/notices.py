"""Notices: what a patient is told about a chart, in plain sentences, within a minute of what happened.

Written   with what they tell of (a release writes its own in the transaction that says SENDING; a referral's step in its own): durable
          before the bytes leave, so that a crash can neither lose a notice nor tell of what was not.
Grouped   the holder's own staff's readings: one notice per day with their number. Everything else is told one by one, once per entry.
Source    design 04, step 7 "Tell the patient"; design 08 "access log in plain sentences".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from yilian.base.codec import encode
from yilian.base.times import DAY_S, day_of
from yilian.contracts import directory
from yilian.node.charts import Chart
from yilian.node.member import Node

TOLD_WITHIN_S: Final = 60  # design 04, step 7
COUNT_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice. `number` ascends per holder and is what a reader goes on from; 0 for a group, which may still grow."""

    number: int
    at_s: int
    kind: str
    entry_index: int | None
    zh: str
    en: str
    facts: Mapping[str, Any]


def context(chart: Chart) -> bytes:
    """Return what a notice's sealed facts are bound to."""
    return encode(["notice", chart.id])


def tell(db: sqlite3.Connection, node: Node, chart: Chart, kind: str, facts: Mapping[str, Any]) -> None:
    """Write a notice in the transaction of what it tells of."""
    sealed = node.keys.seal(chart.patient_id, orjson.dumps(facts), context(chart))
    row = (chart.id, node.members.now_s(), kind, facts.get("entry"), sealed)
    db.execute("INSERT INTO notices (chart, at_s, kind, entry_index, facts_sealed) VALUES (?, ?, ?, ?, ?)", row)


def notices(node: Node, chart: Chart, after: int = 0) -> tuple[Notice, ...]:
    """Return the notices of a chart after number `after`, ascending, each entry told once; then the own staff's readings by day."""
    rows = node.journal.all(
        "SELECT number, at_s, kind, entry_index, facts_sealed FROM notices WHERE chart = ? AND number > ?"
        " AND (entry_index IS NULL OR number = (SELECT min(number) FROM notices AS same"
        "      WHERE same.chart = notices.chart AND same.kind = notices.kind AND same.entry_index = notices.entry_index))"
        " ORDER BY number LIMIT ?",
        (chart.id, after, COUNT_MAX),
    )
    return (*(_notice(node, chart, row) for row in rows), *_own_care(node, chart))


def _notice(node: Node, chart: Chart, row: tuple[int, int, str, int | None, bytes]) -> Notice:
    number, at_s, kind, entry_index, sealed = row
    facts: dict[str, Any] = orjson.loads(node.keys.open(chart.patient_id, sealed, context(chart)))
    zh, en = _sentence(node, kind, facts)
    return Notice(number, at_s, kind, entry_index, zh, en, facts)


def _own_care(node: Node, chart: Chart) -> tuple[Notice, ...]:
    """Return one notice for each of the last days on which the holder's own staff read the chart."""
    days = node.journal.all(
        "SELECT at_s / 86400, count(*), max(at_s) FROM own_readings WHERE chart = ? GROUP BY at_s / 86400 ORDER BY 1 DESC LIMIT ?",
        (chart.id, COUNT_MAX),
    )
    name = _name(node, node.id)
    return tuple(
        Notice(
            0,
            last_s,
            "own-care",
            None,
            f"{name}的工作人员当日为您的诊疗查阅或记录了您的病历 {count} 次。",
            f"Staff of {name} read or wrote your record {count} times that day, for your care there.",
            {"day": day, "count": count, "today": day == day_of(node.members.now_s()), "until_s": (day + 1) * DAY_S},
        )
        for day, count, last_s in reversed(days)
    )


# --- sentences


_PURPOSES: Final = {
    "TREAT": ("诊疗", "treatment"),
    "ETREAT": ("急救", "emergency treatment"),
    "HRESCH": ("研究", "research"),
    "HPAYMT": ("支付", "payment"),
    "PATRQT": ("您本人的请求", "your own request"),
}
_TYPES: Final = {
    "": ("病历", "records"),
    "Observation": ("检查检验结果", "results"),
    "Condition": ("诊断", "problems"),
    "MedicationRequest": ("用药", "medicines"),
    "AllergyIntolerance": ("过敏史", "allergies"),
    "DiagnosticReport": ("检查报告", "reports"),
    "Encounter": ("就诊记录", "visits"),
    "Patient": ("基本信息", "personal details"),
}
_STEPS: Final = {
    "requested": ("已为您向{peer}申请转诊。", "A referral to {peer} was requested for you."),
    "received": ("收到{peer}为您申请的转诊。", "A referral for you from {peer} has arrived."),
    "accepted": ("{hospital}已接受您的转诊。", "{hospital} has accepted your referral."),
    "rejected": ("{hospital}未接受您的转诊。", "{hospital} has not accepted your referral."),
    "in-progress": ("{hospital}已开始您的转诊诊疗。", "Your referral at {hospital} has begun."),
    "completed": (
        "{hospital}已完成您的转诊诊疗, 小结已交回社区。",
        "{hospital} has completed your referral; its summary went back to your clinic.",
    ),
    "down": ("您已由{hospital}下转回社区。", "{hospital} has returned you to your community clinic."),
    "cancelled": ("您的转诊已取消。", "Your referral was cancelled."),
}


def _sentence(node: Node, kind: str, facts: Mapping[str, Any]) -> tuple[str, str]:
    """Return (Chinese, English)."""
    if kind == "referral":
        zh, en = _STEPS[facts["step"]]
        names = {"peer": _name(node, facts["peer"]), "hospital": _name(node, facts["hospital"])}
        return zh.format(**names), en.format(**names)
    who = _name(node, facts["requester"])
    if kind == "no-entry":
        return (
            f"{who}曾以紧急调阅方式请求查阅您的病历，但没有继续：没有任何内容发出，账本上也没有记录。",
            f"{who} asked for your records by break-glass access and did not go on: nothing was sent, and the ledger has no entry of it.",
        )
    purpose = _PURPOSES.get(facts["purpose"], (facts["purpose"], facts["purpose"]))
    what = _TYPES.get(facts["type"], (facts["type"], facts["type"]))
    if facts["basis"] == "patient":
        return f"您本人查阅了您的{what[0]}。", f"You read your {what[1]}."
    if facts["basis"] == "emergency":
        return (
            f"{who}以紧急调阅方式查阅了您的{what[0]}，事后将接受审查。",
            f"{who} read your {what[1]} by break-glass access; this will be reviewed.",
        )
    return (
        f"{who}凭您的授权，为{purpose[0]}查阅了您的{what[0]}。",
        f"{who} read your {what[1]} for {purpose[1]}, with your grant.",
    )


def _name(node: Node, member: str) -> str:
    found = directory.member(node.engine.read(), member) if member.isascii() else None
    return member if found is None or not found.name else found.name
