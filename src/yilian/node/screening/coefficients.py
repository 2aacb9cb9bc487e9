"""Published coefficients. Facts with a source each; every table is held by a worked example in tests/unit/test_screening.py.

SCORE2           SCORE2 working group, Eur Heart J 2021;42:2439-2454, doi 10.1093/eurheartj/ehab309, supplement: model and region scales.
SCORE2-AP        SCORE2 Asia-Pacific writing group, Eur Heart J 2025, doi 10.1093/eurheartj/ehae609: same model, own region scales.
Framingham 2008  D'Agostino et al., Circulation 2008;117:743-753, doi 10.1161/CIRCULATIONAHA.107.699579, table 2.
"""

from dataclasses import dataclass
from typing import Final

from yilian.node.screening.findings import Sex


@dataclass(frozen=True, slots=True)
class Score2Model:
    """Log sub-distribution hazard ratios: (main, times centred age) per term, and the 10-year baseline survival."""

    age: float
    smoker: tuple[float, float]
    sbp: tuple[float, float]
    tc: tuple[float, float]
    hdl: tuple[float, float]
    baseline_survival: float


# The diabetes term is left out on purpose: both scores are for people without diabetes, for whom it is zero.
SCORE2: Final = {
    Sex.MALE: Score2Model(0.3742, (0.6012, -0.0755), (0.2777, -0.0255), (0.1458, -0.0281), (-0.2698, 0.0426), 0.9605),
    Sex.FEMALE: Score2Model(0.4648, (0.7744, -0.1088), (0.3131, -0.0277), (0.1002, -0.0226), (-0.2606, 0.0613), 0.9776),
}

# (scale1, scale2) in the order of Region: low, moderate, high, very high.
SCORE2_SCALES: Final = {
    Sex.MALE: ((-0.5699, 0.7476), (-0.1565, 0.8009), (0.3207, 0.9360), (0.5836, 0.8294)),
    Sex.FEMALE: ((-0.7380, 0.7019), (-0.3143, 0.7701), (0.5710, 0.9369), (0.9412, 0.8329)),
}
ASIA_PACIFIC_SCALES: Final = {
    Sex.MALE: ((-0.375229965, 0.62020875), (0.284885676, 0.778128607), (0.778231091, 0.844985356), (0.608975204, 0.679014197)),
    Sex.FEMALE: ((-0.986572446, 0.536743779), (0.08278687, 0.718980326), (0.611474287, 0.703624072), (0.502751798, 0.555577072)),
}


@dataclass(frozen=True, slots=True)
class FraminghamModel:
    """Cox coefficients over natural logarithms (age in years, cholesterol in mg/dL, pressure in mmHg)."""

    age: float
    tc: float
    hdl: float
    sbp_untreated: float
    sbp_treated: float
    smoker: float
    diabetes: float
    mean: float
    baseline_survival: float


FRAMINGHAM: Final = {
    Sex.MALE: FraminghamModel(3.06117, 1.12370, -0.93263, 1.93303, 1.99881, 0.65451, 0.57367, 23.9802, 0.88936),
    Sex.FEMALE: FraminghamModel(2.32888, 1.20904, -0.70833, 2.76157, 2.82263, 0.52873, 0.69154, 26.1931, 0.95012),
}
