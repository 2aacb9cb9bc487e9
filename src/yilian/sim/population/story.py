"""The people the demo tells of: written by hand, so that the story holds for every seed.

LIN  clinic-1, man of 58, smokes, pressure high and untreated. clinic-1 has lipids 200 days old (fit for screening, not for recognition);
     hospital-1 has a lipid panel 12 days old (recognised: 30 days) and an HbA1c 70 days old (repeat allowed: 60 days).
HE   clinic-1, woman of 66, hypertension and diabetes, treated; charts at both hospitals: whom to try next.
"""

from random import Random
from typing import Final

from yilian.sim.population import codes, identity
from yilian.sim.population.chart import Chart, visit_s
from yilian.sim.population.codes import Measure
from yilian.sim.population.names import Name
from yilian.sim.population.person import Person, collect

LIN_NUMBER, HE_NUMBER = 0, 1
_LIN: Final = Name("林", "国栋", "Lin", "Guodong")
_HE: Final = Name("何", "秀兰", "He", "Xiulan")
LIPID_DAYS_AGO: Final = 12
HBA1C_DAYS_AGO: Final = 70


def _lipids(total: float, hdl: float, ldl: float, triglycerides: float) -> dict[Measure, float]:
    return dict(zip(codes.LIPIDS, (total, hdl, ldl, triglycerides), strict=True))


def lin(seed: int, now_s: int) -> Person:
    """Return 林国栋, whose risk the clinic finds and whose results the hospital need not repeat."""
    rng = Random(f"yilian story {seed} {LIN_NUMBER}")
    who = identity.identity(rng, LIN_NUMBER, _LIN, "male", identity.born(rng, now_s, 58, 58), "clinic-1")
    clinic, hospital = (Chart(seed, LIN_NUMBER, who, member_id, rng) for member_id in ("clinic-1", "hospital-1"))

    at_s = visit_s(rng, now_s, 200)
    encounter = clinic.encounter(at_s, "居民健康体检")
    clinic.pressure(148, 92, at_s + 300, encounter)
    clinic.lipids(_lipids(6.02, 1.04, 4.02, 2.11), at_s + 900, encounter)
    clinic.allergy(codes.ALLERGIES[0], at_s)
    clinic.smoking(at_s, smoker=True)
    at_s = visit_s(rng, now_s, 34)
    encounter = clinic.encounter(at_s, "头晕一周")
    clinic.pressure(156, 95, at_s + 300, encounter)
    clinic.observation(codes.BMI, 27.4, at_s + 420, encounter)
    at_s = visit_s(rng, now_s, 1)
    encounter = clinic.encounter(at_s, "头晕复诊")
    clinic.pressure(158, 96, at_s + 300, encounter)
    clinic.observation(codes.HEART_RATE, 82, at_s + 420, encounter)

    at_s = visit_s(rng, now_s, HBA1C_DAYS_AGO)
    encounter = hospital.encounter(at_s, "单位组织健康体检")
    hospital.observation(codes.HBA1C, 6.0, at_s + 1_200, encounter)
    hospital.observation(codes.GLUCOSE, 6.3, at_s + 1_200, encounter)
    hospital.observation(codes.CREATININE, 84, at_s + 1_200, encounter)
    at_s = visit_s(rng, now_s, LIPID_DAYS_AGO)
    encounter = hospital.encounter(at_s, "胸闷待查")
    hospital.condition(codes.DYSLIPIDAEMIA, at_s)
    hospital.pressure(160, 98, at_s + 600, encounter)
    hospital.lipids(_lipids(6.18, 1.02, 4.15, 2.20), at_s + 1_200, encounter)
    return collect(LIN_NUMBER, who, {"clinic-1": clinic, "hospital-1": hospital})


def he(seed: int, now_s: int) -> Person:
    """Return 何秀兰, known to the clinic and to both hospitals."""
    rng = Random(f"yilian story {seed} {HE_NUMBER}")
    who = identity.identity(rng, HE_NUMBER, _HE, "female", identity.born(rng, now_s, 66, 66), "clinic-1")
    members = ("clinic-1", "hospital-1", "hospital-2")
    clinic, general, cardiac = (Chart(seed, HE_NUMBER, who, member_id, rng) for member_id in members)
    since_s = visit_s(rng, now_s, 1_460)
    for problem, nth in ((codes.HYPERTENSION, 1), (codes.DIABETES, 0)):
        clinic.condition(problem, since_s)
        clinic.statement(problem, codes.TREATMENT[problem][nth], since_s)
    clinic.smoking(since_s, smoker=False)
    for days_ago, systolic, diastolic in ((95, 138, 82), (21, 134, 80)):
        at_s = visit_s(rng, now_s, days_ago)
        clinic.pressure(systolic, diastolic, at_s + 300, clinic.encounter(at_s, "慢病随访"))

    at_s = visit_s(rng, now_s, 26)
    encounter = general.encounter(at_s, "糖尿病年度评估")
    general.condition(codes.DIABETES, at_s)
    general.observation(codes.HBA1C, 7.4, at_s + 1_200, encounter)
    general.lipids(_lipids(4.71, 1.31, 2.62, 1.72), at_s + 1_200, encounter)
    general.request(codes.DIABETES, codes.TREATMENT[codes.DIABETES][0], at_s + 1_500, encounter)

    at_s = visit_s(rng, now_s, 300)
    encounter = cardiac.encounter(at_s, "心悸待查", days=4)
    cardiac.condition(codes.HYPERTENSION, at_s)
    cardiac.pressure(152, 88, at_s + 600, encounter)
    cardiac.observation(codes.POTASSIUM, 3.9, at_s + 1_200, encounter)
    cardiac.request(codes.HYPERTENSION, codes.TREATMENT[codes.HYPERTENSION][1], at_s + 1_500, encounter)
    return collect(HE_NUMBER, who, {"clinic-1": clinic, "hospital-1": general, "hospital-2": cardiac})
