"""What a score is computed from, and the typed answer when it cannot be.

Units    years, mmHg, mmol/L. Cholesterol in mg/dL is divided by 38.67 (molar mass of cholesterol 386.65 g/mol).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MG_DL_PER_MMOL_L: Final = 38.67

# Entry errors, not medicine: a value outside was typed into the wrong box or in the wrong unit. Ours (ADR-0030).
SBP_MMHG: Final = (60.0, 280.0)
TC_MMOL_L: Final = (1.5, 20.0)
HDL_MMOL_L: Final = (0.2, 5.0)


class Sex(StrEnum):
    """The sex the published coefficients were fitted for; values are FHIR administrative-gender codes."""

    MALE = "male"
    FEMALE = "female"


class Why(StrEnum):
    """Why no score is shown; each has one sentence for the screen in `Unscored.sentence`."""

    MISSING = "MISSING"
    SEX_NOT_COVERED = "SEX_NOT_COVERED"
    AGE_NOT_COVERED = "AGE_NOT_COVERED"
    VALUE_IMPLAUSIBLE = "VALUE_IMPLAUSIBLE"
    UNIT_UNKNOWN = "UNIT_UNKNOWN"
    HAS_CARDIOVASCULAR_DISEASE = "HAS_CARDIOVASCULAR_DISEASE"
    HAS_DIABETES = "HAS_DIABETES"


_SENTENCES: Final = {
    Why.MISSING: ("缺少评分所需的数据。", "A value the score needs is missing."),
    Why.SEX_NOT_COVERED: ("该评分仅对男性和女性发布。", "The score was published for men and women only."),
    Why.AGE_NOT_COVERED: ("年龄超出该评分的适用范围。", "The age is outside the range the score was made for."),
    Why.VALUE_IMPLAUSIBLE: ("数值不合理, 请核对录入和单位。", "A value is implausible: check the entry and its unit."),
    Why.UNIT_UNKNOWN: ("单位无法换算。", "A unit cannot be converted."),
    Why.HAS_CARDIOVASCULAR_DISEASE: ("已有心血管疾病, 该评分不适用。", "The score is for people without cardiovascular disease."),
    Why.HAS_DIABETES: ("糖尿病患者不适用该评分。", "The score is for people without diabetes."),
}


@dataclass(frozen=True, slots=True)
class Unscored:
    """No score, and why; `facts` are names and numbers for the screen (kept inside the member: they may be PHI)."""

    why: Why
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def sentence(self) -> tuple[str, str]:
        """(Chinese, English)."""
        return _SENTENCES[self.why]


def unscored(why: Why, **facts: object) -> Unscored:
    """Build an `Unscored` with its facts in the order given."""
    return Unscored(why, tuple((name, str(value)) for name, value in facts.items()))


@dataclass(frozen=True, slots=True)
class Findings:
    """One person's inputs at one visit; `basis` are the FHIR references they were read from."""

    age_years: int
    sex: Sex
    smoker: bool
    sbp_mmhg: float
    tc_mmol_l: float
    hdl_mmol_l: float
    treated: bool = False
    diabetes: bool = False
    cardiovascular_disease: bool = False
    basis: tuple[str, ...] = ()


def implausible(found: Findings) -> Unscored | None:
    """Return the first value that can only be an entry error, or None."""
    for name, value, (low, high) in (
        ("sbp_mmhg", found.sbp_mmhg, SBP_MMHG),
        ("tc_mmol_l", found.tc_mmol_l, TC_MMOL_L),
        ("hdl_mmol_l", found.hdl_mmol_l, HDL_MMOL_L),
    ):
        if not low <= value <= high:  # also NaN
            return unscored(Why.VALUE_IMPLAUSIBLE, value=name, given=value, low=low, high=high)
    if found.hdl_mmol_l >= found.tc_mmol_l:
        return unscored(Why.VALUE_IMPLAUSIBLE, value="hdl_mmol_l", given=found.hdl_mmol_l, low=HDL_MMOL_L[0], high=found.tc_mmol_l)
    return None
