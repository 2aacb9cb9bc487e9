"""A simulated person with a chart at each member that knows them, and how a life becomes charts."""

from dataclasses import dataclass
from random import Random
from typing import Any

from yilian.sim.population import codes, health, identity
from yilian.sim.population.chart import Chart, visit_s
from yilian.sim.population.health import Health
from yilian.sim.population.identity import Identity
from yilian.sim.population.names import Name

_ACUTE = frozenset({codes.COLD})


@dataclass(frozen=True, slots=True)
class Person:
    """Door of the population. `charts`: member id -> resources, Patient first; `local_ids`: member id -> that member's patient number."""

    number: int
    name: Name
    sex: str
    birth_date: str
    id_number: str
    phone: str
    home_clinic: str
    charts: dict[str, list[dict[str, Any]]]
    local_ids: dict[str, str]

    @property
    def name_zh(self) -> str:
        """The whole name in characters."""
        return self.name.zh

    @property
    def name_pinyin(self) -> str:
        """Family name, then given name, in pinyin without tones."""
        return f"{self.name.family_pinyin} {self.name.given_pinyin}"

    def patient_id(self, member_id: str) -> str:
        """Return the id of the Patient resource in that member's chart."""
        return str(self.charts[member_id][0]["id"])


def collect(number: int, who: Identity, charts: dict[str, Chart]) -> Person:
    """Return the person with the charts as written."""
    return Person(
        number=number,
        name=who.name,
        sex=who.sex,
        birth_date=who.birth_date,
        id_number=who.id_number,
        phone=who.phone,
        home_clinic=who.home_clinic,
        charts={member_id: chart.resources for member_id, chart in charts.items()},
        local_ids={member_id: chart.local_id for member_id, chart in charts.items()},
    )


def draw(seed: int, number: int, now_s: int) -> Person:
    """Return person `number` of that seed; independent of how many others there are."""
    rng = Random(f"yilian population {seed} {number}")
    who = identity.draw(rng, number, now_s)
    state = health.draw(rng, who.age_years(now_s), who.sex)
    charts = {who.home_clinic: Chart(seed, number, who, who.home_clinic, rng)}
    lived = who.days_lived(now_s)
    _clinic(charts[who.home_clinic], rng, state, now_s, lived)
    for hospital_id in _hospitals(rng, state):
        charts[hospital_id] = Chart(seed, number, who, hospital_id, rng)
        _hospital(charts[hospital_id], rng, state, now_s, lived)
    return collect(number, who, charts)


def _hospitals(rng: Random, state: Health) -> tuple[str, ...]:
    both = ("hospital-1", "hospital-2")
    if codes.CORONARY in state.problems or codes.STROKE in state.problems:
        return both
    drawn = rng.random()
    if drawn < 0.2:
        return ()
    return both if drawn > 0.9 else (both[rng.random() < 0.4],)


def _clinic(chart: Chart, rng: Random, state: Health, now_s: int, lived: int) -> None:
    """The family doctor's chart: problems, allergy, habits, what is taken, two or three visits."""
    first_s = visit_s(rng, now_s, min(rng.randint(400, 1_500), lived - 30))
    for problem in state.problems:
        acute = problem in _ACUTE
        chart.condition(problem, visit_s(rng, now_s, rng.randint(8, 120)) if acute else first_s, resolved=acute)
    if state.allergy is not None:
        chart.allergy(state.allergy, first_s)
    if codes.TOTAL in state.values:
        chart.smoking(visit_s(rng, now_s, rng.randint(20, 300)), smoker=state.smoker)
    for problem, medicine in state.treatments:
        if problem not in _ACUTE:
            chart.statement(problem, medicine, first_s)
    reason = state.problems[0].text + "随访" if state.problems else "健康体检"
    visits = rng.randint(2, 3)
    for nth in range(visits):
        at_s = visit_s(rng, now_s, (visits - nth) * 100 - rng.randint(0, 80))
        encounter = chart.encounter(at_s, reason)
        seen = chart.strayed(state, (codes.SBP, codes.DBP, codes.BMI))
        chart.pressure(seen[codes.SBP], seen[codes.DBP], at_s + 300, encounter)
        chart.observation(codes.BMI, seen[codes.BMI], at_s + 420, encounter)


def _hospital(chart: Chart, rng: Random, state: Health, now_s: int, lived: int) -> None:
    """A specialist's chart: one visit or stay, its laboratory results and orders."""
    days_ago = min(rng.choice((rng.randint(1, 29), rng.randint(30, 180), rng.randint(181, 720))), lived - 30)
    at_s = visit_s(rng, now_s, days_ago)
    stay = rng.randint(3, 9) if days_ago > 10 and rng.random() < 0.2 else 0
    chronic = tuple(problem for problem in state.problems if problem not in _ACUTE)
    encounter = chart.encounter(at_s, chronic[0].text if chronic else "健康体检", days=stay)
    for problem in chronic[:2]:
        chart.condition(problem, at_s)
    seen = chart.strayed(state, state.values)
    chart.pressure(seen[codes.SBP], seen[codes.DBP], at_s + 600, encounter)
    chart.observation(codes.HEART_RATE, seen[codes.HEART_RATE], at_s + 660, encounter)
    if codes.TOTAL in seen:
        chart.lipids(seen, at_s + 1_200, encounter)
        for measure in (codes.GLUCOSE, codes.POTASSIUM, codes.CREATININE):
            chart.observation(measure, seen[measure], at_s + 1_200, encounter)
        if codes.DIABETES in chronic or rng.random() < 0.4:
            chart.observation(codes.HBA1C, seen[codes.HBA1C], at_s + 1_200, encounter)
    for problem, medicine in state.treatments:
        if problem in chronic[:2]:
            chart.request(problem, medicine, at_s + 1_500, encounter)
