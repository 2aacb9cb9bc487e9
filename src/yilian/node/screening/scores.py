"""The scores: findings in, a ten-year risk and its category out, or the reason why not. Pure.

Source   `coefficients`; thresholds: 2021 ESC prevention guideline (Eur Heart J 2021;42:3227-3337, table 5) for both SCORE2 models,
         Canadian Cardiovascular Society 2021 (Can J Cardiol 2021;37:1129-1150) for Framingham 2008. ADR-0030.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final

from yilian.node.screening.coefficients import ASIA_PACIFIC_SCALES, FRAMINGHAM, SCORE2, SCORE2_SCALES
from yilian.node.screening.findings import MG_DL_PER_MMOL_L, Findings, Sex, Unscored, Why, implausible, unscored

# (high, very high) below and from fifty; (intermediate, high). First risk inside each; sources above.
ESC_OLDER_FROM_YEARS: Final = 50
ESC_THRESHOLDS_YOUNG: Final = (0.025, 0.075)
ESC_THRESHOLDS: Final = (0.05, 0.10)
CCS_THRESHOLDS: Final = (0.10, 0.20)


class Region(IntEnum):
    """Risk region of the country, a setting of the network; which country is in which region is the paper's table, not ours."""

    LOW = 0
    MODERATE = 1
    HIGH = 2
    VERY_HIGH = 3


class Category(StrEnum):
    """What the risk means at this age, in the words of the guideline named with the score."""

    LOW_TO_MODERATE = "low-to-moderate"
    HIGH = "high"
    VERY_HIGH = "very-high"
    LOW = "low"
    INTERMEDIATE = "intermediate"


class Score(StrEnum):
    """Which score; the value is used in URLs and as the method code of a RiskAssessment."""

    SCORE2 = "score2"
    SCORE2_ASIA_PACIFIC = "score2-asia-pacific"
    FRAMINGHAM_2008 = "framingham-2008"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the screen must show beside a number: name, source and whom it is valid for (ages, last one included)."""

    name_zh: str
    name_en: str
    source: str
    ages: tuple[int, int]
    valid_for: str


SCORES: Final[Mapping[Score, Sheet]] = MappingProxyType(
    {
        Score.SCORE2: Sheet(
            "SCORE2 心血管风险",
            "SCORE2",
            "doi:10.1093/eurheartj/ehab309",
            (40, 69),
            "no cardiovascular disease, no diabetes; European risk regions",
        ),
        Score.SCORE2_ASIA_PACIFIC: Sheet(
            "SCORE2 亚太版心血管风险",
            "SCORE2-Asia-Pacific",
            "doi:10.1093/eurheartj/ehae609",
            (40, 69),
            "no cardiovascular disease, no diabetes; Asia-Pacific risk regions",
        ),
        Score.FRAMINGHAM_2008: Sheet(
            "弗雷明汉 2008 总体心血管风险",
            "Framingham 2008 general CVD",
            "doi:10.1161/CIRCULATIONAHA.107.699579",
            (30, 74),
            "no cardiovascular disease; United States cohort, not recalibrated",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Assessment:
    """Ten-year risk as a fraction (0.0591 = 5.9 %) with what it was made from; support for a decision, never a diagnosis."""

    score: Score
    risk: float
    category: Category
    region: Region | None
    findings: Findings

    @property
    def percent(self) -> str:
        """Return the risk as printed: one decimal, without the sign."""
        return f"{self.risk * 100:.1f}"

    @property
    def suggests_referral(self) -> bool:
        """Tell whether the clinic should offer a referral: high or very high; the doctor decides."""
        return self.category in (Category.HIGH, Category.VERY_HIGH)


def _ineligible(found: Findings, score: Score, *, diabetes_covered: bool) -> Unscored | None:
    youngest, oldest = SCORES[score].ages
    if not youngest <= found.age_years <= oldest:
        return unscored(Why.AGE_NOT_COVERED, age_years=found.age_years, youngest=youngest, oldest=oldest)
    if found.cardiovascular_disease:
        return unscored(Why.HAS_CARDIOVASCULAR_DISEASE)
    if found.diabetes and not diabetes_covered:
        return unscored(Why.HAS_DIABETES)
    return implausible(found)


def _score2_calibrated(found: Findings, scales: Mapping[Sex, tuple[tuple[float, float], ...]], region: Region) -> float:
    model = SCORE2[found.sex]
    age = (found.age_years - 60) / 5
    terms = (
        (float(found.smoker), model.smoker),
        ((found.sbp_mmhg - 120) / 20, model.sbp),
        (found.tc_mmol_l - 6, model.tc),
        ((found.hdl_mmol_l - 1.3) / 0.5, model.hdl),
    )
    predictor = model.age * age + sum(value * (main + by_age * age) for value, (main, by_age) in terms)
    hazard = -math.log(model.baseline_survival) * math.exp(predictor)
    scale1, scale2 = scales[found.sex][region]
    return 1 - math.exp(-math.exp(scale1 + scale2 * math.log(hazard)))


def _esc_category(age_years: int, risk: float) -> Category:
    # The guideline lowers the bar for the young: a small ten-year risk at 45 is a large one for a life.
    high, very_high = ESC_THRESHOLDS_YOUNG if age_years < ESC_OLDER_FROM_YEARS else ESC_THRESHOLDS
    if risk < high:
        return Category.LOW_TO_MODERATE
    return Category.HIGH if risk < very_high else Category.VERY_HIGH


def score2(found: Findings, region: Region) -> Assessment | Unscored:
    """SCORE2 for one of its four European regions."""
    no = _ineligible(found, Score.SCORE2, diabetes_covered=False)
    if no is not None:
        return no
    risk = _score2_calibrated(found, SCORE2_SCALES, region)
    return Assessment(Score.SCORE2, risk, _esc_category(found.age_years, risk), region, found)


def score2_asia_pacific(found: Findings, region: Region) -> Assessment | Unscored:
    """SCORE2 recalibrated for one of the four Asia-Pacific regions."""
    no = _ineligible(found, Score.SCORE2_ASIA_PACIFIC, diabetes_covered=False)
    if no is not None:
        return no
    risk = _score2_calibrated(found, ASIA_PACIFIC_SCALES, region)
    return Assessment(Score.SCORE2_ASIA_PACIFIC, risk, _esc_category(found.age_years, risk), region, found)


def framingham(found: Findings) -> Assessment | Unscored:
    """Framingham 2008 general cardiovascular disease (lipid model); covers people with diabetes."""
    no = _ineligible(found, Score.FRAMINGHAM_2008, diabetes_covered=True)
    if no is not None:
        return no
    model = FRAMINGHAM[found.sex]
    predictor = (
        model.age * math.log(found.age_years)
        + model.tc * math.log(found.tc_mmol_l * MG_DL_PER_MMOL_L)
        + model.hdl * math.log(found.hdl_mmol_l * MG_DL_PER_MMOL_L)
        + (model.sbp_treated if found.treated else model.sbp_untreated) * math.log(found.sbp_mmhg)
        + model.smoker * found.smoker
        + model.diabetes * found.diabetes
    )
    risk = 1 - model.baseline_survival ** math.exp(predictor - model.mean)
    intermediate, high = CCS_THRESHOLDS
    category = Category.LOW if risk < intermediate else Category.INTERMEDIATE if risk < high else Category.HIGH
    return Assessment(Score.FRAMINGHAM_2008, risk, category, None, found)


def assess(found: Findings, *, europe: Region, asia_pacific: Region) -> dict[Score, Assessment | Unscored]:
    """Return every score, or why it is not shown, in the order a screen lists them: the network's own part of the world first."""
    ways: dict[Score, Callable[[], Assessment | Unscored]] = {
        Score.SCORE2_ASIA_PACIFIC: lambda: score2_asia_pacific(found, asia_pacific),
        Score.SCORE2: lambda: score2(found, europe),
        Score.FRAMINGHAM_2008: lambda: framingham(found),
    }
    return {score: way() for score, way in ways.items()}
