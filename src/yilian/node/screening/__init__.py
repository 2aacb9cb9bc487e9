"""Cardiovascular screening: three published scores, as support for a referral decision and never as a diagnosis."""

from yilian.node.screening.findings import Findings, Sex, Unscored, Why
from yilian.node.screening.reading import findings_from
from yilian.node.screening.scores import SCORES, Assessment, Category, Region, Score, assess, framingham, score2, score2_asia_pacific
from yilian.node.screening.writing import risk_assessment

__all__ = [
    "SCORES",
    "Assessment",
    "Category",
    "Findings",
    "Region",
    "Score",
    "Sex",
    "Unscored",
    "Why",
    "assess",
    "findings_from",
    "framingham",
    "risk_assessment",
    "score2",
    "score2_asia_pacific",
]
