"""How ill a simulated person is: risk factors that hang together (age, sex, weight -> pressure, lipids, sugar -> disease).

The figures are plausible, not epidemiology: made to give every screen something to show, and never to be quoted.
"""

from dataclasses import dataclass
from random import Random

from yilian.sim.population import codes
from yilian.sim.population.codes import Measure, Medicine, Problem

ADULT_YEARS = 18


@dataclass(frozen=True, slots=True)
class Health:
    """The state that charts are written from; `values` are today's true means, each measurement strays a little around them."""

    problems: tuple[Problem, ...]
    treatments: tuple[tuple[Problem, Medicine], ...]
    values: dict[Measure, float]
    smoker: bool
    allergy: tuple[str, str, str, str] | None


def clamp(value: float, low: float, high: float) -> float:
    """Return the value, kept inside what a laboratory would believe."""
    return max(low, min(high, value))


def _child(rng: Random, age: int) -> Health:
    height = clamp(75 + 6.2 * age + rng.gauss(0, 4), 60, 182)
    bmi = clamp(rng.gauss(16 + age * 0.25, 1.6), 13, 30)
    values = {codes.SBP: 92 + age * 1.4, codes.DBP: 56 + age * 0.9, codes.HEART_RATE: 108 - age * 2.0, codes.HEIGHT: height, codes.BMI: bmi}
    problems = tuple(problem for problem, odds in ((codes.COLD, 0.6), (codes.ASTHMA, 0.12)) if rng.random() < odds)
    return Health(problems, _treatments(rng, problems), values, smoker=False, allergy=_allergy(rng))


def _allergy(rng: Random) -> tuple[str, str, str, str] | None:
    return rng.choice(codes.ALLERGIES) if rng.random() < 0.15 else None


def _treatments(rng: Random, problems: tuple[Problem, ...]) -> tuple[tuple[Problem, Medicine], ...]:
    # About three in four take what they should: the others are whom screening is for.
    return tuple((problem, rng.choice(codes.TREATMENT[problem])) for problem in problems if rng.random() < 0.75)


def _adult_problems(rng: Random, age: int, values: dict[Measure, float], *, smoker: bool) -> tuple[Problem, ...]:
    old = max(0, age - 45)
    found = []
    if values[codes.SBP] >= 140:
        found.append(codes.HYPERTENSION)
    if values[codes.HBA1C] >= 6.5:
        found.append(codes.DIABETES)
    if values[codes.TOTAL] >= 6.2 or values[codes.LDL] >= 4.1:
        found.append(codes.DYSLIPIDAEMIA)
    strain = len(found) + smoker
    for problem, odds in (
        (codes.CORONARY, old * 0.0022 * (1 + strain)),
        (codes.STROKE, old * 0.0012 * (1 + strain)),
        (codes.COPD, old * (0.007 if smoker else 0.001)),
        (codes.GASTRITIS, 0.16),
        (codes.HYPOTHYROID, 0.04),
        (codes.GOUT, 0.05 if values[codes.BMI] > 26 else 0.015),
        (codes.OSTEOPOROSIS, old * 0.006),
        (codes.ASTHMA, 0.04),
        (codes.COLD, 0.25),
    ):
        if rng.random() < odds:
            found.append(problem)
    return tuple(found)


def draw(rng: Random, age: int, sex: str) -> Health:
    """Return the health of a person of that age and sex."""
    if age < ADULT_YEARS:
        return _child(rng, age)
    man = sex == "male"
    smoker = rng.random() < (0.45 if man else 0.03)
    bmi = clamp(rng.gauss(24.3, 3.3), 16.5, 38)
    sbp = clamp(rng.gauss(104 + 0.42 * age + (bmi - 24) * 1.1 + 3 * smoker, 12), 92, 205)
    hba1c = clamp(rng.gauss(5.15 + 0.007 * age + (bmi - 24) * 0.04, 0.3), 4.4, 6.4)
    if rng.random() < clamp((age - 30) * 0.004 + (bmi - 24) * 0.012, 0.005, 0.4):
        hba1c = clamp(rng.gauss(7.6, 1.1), 6.5, 12.5)
    hdl = clamp(rng.gauss(1.28 if man else 1.48, 0.26) - (bmi - 24) * 0.015, 0.6, 2.6)
    triglycerides = clamp(rng.lognormvariate(0.25, 0.42) + (bmi - 24) * 0.05, 0.4, 8.0)
    ldl = clamp(rng.gauss(2.75 + 0.008 * (age - 40), 0.72), 1.0, 6.5)
    values = {
        codes.SBP: sbp,
        codes.DBP: clamp(sbp * 0.5 + 13 + rng.gauss(0, 5), 52, 118),
        codes.HEART_RATE: clamp(rng.gauss(74, 8), 52, 110),
        codes.HEIGHT: clamp(rng.gauss(169 if man else 158, 5.5), 142, 192),
        codes.BMI: bmi,
        codes.TOTAL: ldl + hdl + triglycerides / 2.2,  # Friedewald, mmol/L: the four values of a panel must fit together
        codes.HDL: hdl,
        codes.LDL: ldl,
        codes.TRIGLYCERIDES: triglycerides,
        codes.HBA1C: hba1c,
        codes.GLUCOSE: clamp(1.59 * hba1c - 3.2 + rng.gauss(0, 0.3), 3.7, 18.0),
        codes.POTASSIUM: clamp(rng.gauss(4.2, 0.3), 3.3, 5.4),
        codes.CREATININE: clamp(rng.gauss(82 if man else 66, 12) + max(0, age - 65) * 0.6, 40, 190),
    }
    problems = _adult_problems(rng, age, values, smoker=smoker)
    treatments = _treatments(rng, problems)
    treated = {problem for problem, _ in treatments}
    if codes.HYPERTENSION in treated:
        values[codes.SBP] -= min(18.0, values[codes.SBP] - 126)
    if codes.DIABETES in treated:
        values[codes.HBA1C] -= 0.4
    return Health(problems, treatments, values, smoker, _allergy(rng))
