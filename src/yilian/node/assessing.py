"""Screening at the clinic: the chart is read, the published scores are computed, what was computed is kept as RiskAssessments.

Support for a referral decision, never a diagnosis; a score that does not cover the person is not shown, and why is said.
Source   design 04 "Screening at the community clinic"; ADR-0030.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from yilian.node import ownuse
from yilian.node.member import Node
from yilian.node.screening import Assessment, Region, Score, Unscored, assess, findings_from, risk_assessment


@dataclass(frozen=True, slots=True)
class Screened:
    """What was found: each score or why it is not shown, and the RiskAssessments that were kept, by score."""

    scores: Mapping[Score, Assessment | Unscored]
    kept: Mapping[Score, str]

    @property
    def suggests_referral(self) -> bool:
        """Say whether any score is high or very high: the clinic should offer a referral; the doctor decides."""
        return any(isinstance(one, Assessment) and one.suggests_referral for one in self.scores.values())


async def screen(patient_id: str, regions: tuple[Region, Region], practitioner: bytes | None, node: Node) -> Screened:
    """Read a patient's chart, compute every score, keep those that cover the person; `regions` are (Europe's table, Asia-Pacific's).

    Reading and writing are the own staff's, and recorded as such.

    Refuses  NotFound
    """
    everything = ownuse.Interaction("GET", f"/fhir/Patient/{patient_id}/$everything", practitioner=practitioner)
    read = await ownuse.interact(everything, node)
    resources = [entry["resource"] for entry in orjson.loads(read.answer.body).get("entry", [])]
    patient: Mapping[str, Any] = orjson.loads(node.store.read("Patient", patient_id).body)
    now_s = node.members.now_s()
    found = findings_from(patient, resources, now_s)
    if isinstance(found, Unscored):
        return Screened(dict.fromkeys(Score, found), {})
    scores = assess(found, europe=regions[0], asia_pacific=regions[1])
    kept: dict[Score, str] = {}
    for score, made in scores.items():
        if isinstance(made, Assessment):
            body = orjson.dumps(risk_assessment(made, f"Patient/{patient_id}", now_s))
            written = await ownuse.interact(ownuse.Interaction("POST", "/fhir/RiskAssessment", body, practitioner), node)
            assert written.stored is not None, "a resource was created"
            kept[score] = f"RiskAssessment/{written.stored.id}"
    return Screened(scores, kept)
