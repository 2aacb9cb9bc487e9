"""Screening: the published worked examples to the printed digit, and typed answers where a score does not hold."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import fhirkit
import pytest

from yilian.node.screening import (
    Assessment,
    Category,
    Findings,
    Region,
    Score,
    Sex,
    Unscored,
    Why,
    assess,
    findings_from,
    framingham,
    risk_assessment,
    score2,
    score2_asia_pacific,
)
from yilian.node.screening.findings import MG_DL_PER_MMOL_L

NOW_S = 1_790_000_000
DAY_S = 86_400
MAN = Findings(age_years=50, sex=Sex.MALE, smoker=True, sbp_mmhg=140, tc_mmol_l=5.5, hdl_mmol_l=1.3)
WOMAN = replace(MAN, sex=Sex.FEMALE)


def scored(answer: Assessment | Unscored) -> Assessment:
    assert isinstance(answer, Assessment), answer
    return answer


def american(age: int, sex: Sex, total: int, hdl: int, sbp: int, **more: bool) -> Findings:
    """Build findings from mg/dL, as the paper prints them."""
    facts: dict[str, Any] = {"smoker": False, **more}
    return Findings(age_years=age, sex=sex, sbp_mmhg=sbp, tc_mmol_l=total / MG_DL_PER_MMOL_L, hdl_mmol_l=hdl / MG_DL_PER_MMOL_L, **facts)


@pytest.mark.parametrize(("person", "percent"), [(MAN, "5.9"), (WOMAN, "4.2")])
def test_score2_gives_the_worked_example_of_the_paper(person: Findings, percent: str) -> None:
    assert scored(score2(person, Region.LOW)).percent == percent


@pytest.mark.parametrize(
    ("person", "region", "percent"),
    [
        (MAN, Region.LOW, "10.3"),
        (MAN, Region.MODERATE, "12.3"),
        (MAN, Region.HIGH, "16.1"),
        (MAN, Region.VERY_HIGH, "21.6"),
        (WOMAN, Region.LOW, "5.7"),
        (WOMAN, Region.MODERATE, "8.8"),
        (WOMAN, Region.HIGH, "15.2"),
        (WOMAN, Region.VERY_HIGH, "21.8"),
    ],
)
def test_score2_asia_pacific_gives_all_eight_figures_of_the_abstract(person: Findings, region: Region, percent: str) -> None:
    assert scored(score2_asia_pacific(person, region)).percent == percent


@pytest.mark.parametrize(
    ("person", "percent"),
    [
        (american(61, Sex.FEMALE, 180, 47, 124, smoker=True), "10.48"),  # the paper's first case
        (american(53, Sex.MALE, 161, 55, 125, treated=True, diabetes=True), "15.62"),  # the paper's second case: 15.6 %
        (american(55, Sex.MALE, 213, 50, 140), "13.53"),  # the example of the R package CVrisk
    ],
)
def test_framingham_2008_gives_the_published_cases(person: Findings, percent: str) -> None:
    assert f"{scored(framingham(person)).risk * 100:.2f}" == percent


@pytest.mark.parametrize(
    ("age", "risk_from", "category"),
    [
        (49, {"sbp_mmhg": 140}, Category.HIGH),
        (49, {"sbp_mmhg": 100, "smoker": False, "tc_mmol_l": 3.5}, Category.LOW_TO_MODERATE),
        (50, {"sbp_mmhg": 140}, Category.HIGH),
        (50, {"sbp_mmhg": 120, "smoker": False}, Category.LOW_TO_MODERATE),
        (69, {"sbp_mmhg": 180}, Category.VERY_HIGH),
    ],
)
def test_the_category_follows_the_guideline_of_the_age(age: int, risk_from: dict[str, Any], category: Category) -> None:
    assert scored(score2(replace(MAN, age_years=age, **risk_from), Region.LOW)).category is category


def test_the_same_risk_is_worse_at_forty_nine_than_at_fifty() -> None:
    # 3.2 % at 49 is already "high" (2.5 % and more), at 50 it is not (5 % and more).
    young = scored(score2(replace(MAN, age_years=49, smoker=False), Region.LOW))
    older = scored(score2(replace(MAN, age_years=50, smoker=False), Region.LOW))
    assert 0.025 <= young.risk < older.risk < 0.05
    assert (young.category, older.category) == (Category.HIGH, Category.LOW_TO_MODERATE)
    assert (young.suggests_referral, older.suggests_referral) == (True, False)


@pytest.mark.parametrize("age", [39, 70])
def test_outside_its_ages_score2_says_so(age: int) -> None:
    no = Unscored(Why.AGE_NOT_COVERED, (("age_years", str(age)), ("youngest", "40"), ("oldest", "69")))
    person = replace(MAN, age_years=age)
    assert score2(person, Region.LOW) == no
    assert score2_asia_pacific(person, Region.LOW) == no


def test_the_first_and_last_year_are_inside_and_risk_grows_with_age() -> None:
    risks = [scored(score2(replace(MAN, age_years=age), Region.LOW)).risk for age in range(40, 70)]
    assert risks == sorted(risks)
    assert 0 < risks[0] < risks[-1] < 1


@pytest.mark.parametrize(("age", "inside"), [(29, False), (30, True), (74, True), (75, False)])
def test_framingham_is_for_thirty_to_seventy_four(age: int, inside: bool) -> None:
    answer = framingham(replace(MAN, age_years=age))
    expected = Unscored(Why.AGE_NOT_COVERED, (("age_years", str(age)), ("youngest", "30"), ("oldest", "74")))
    assert isinstance(answer, Assessment) if inside else answer == expected


def test_who_has_diabetes_gets_framingham_and_not_score2() -> None:
    answers = assess(replace(MAN, diabetes=True), europe=Region.LOW, asia_pacific=Region.LOW)
    assert list(answers) == [Score.SCORE2_ASIA_PACIFIC, Score.SCORE2, Score.FRAMINGHAM_2008]
    assert answers[Score.SCORE2] == answers[Score.SCORE2_ASIA_PACIFIC] == Unscored(Why.HAS_DIABETES)
    assert scored(answers[Score.FRAMINGHAM_2008]).score is Score.FRAMINGHAM_2008


def test_who_has_cardiovascular_disease_is_past_screening() -> None:
    answers = assess(replace(MAN, cardiovascular_disease=True), europe=Region.LOW, asia_pacific=Region.LOW)
    assert list(answers.values()) == [Unscored(Why.HAS_CARDIOVASCULAR_DISEASE)] * 3


@pytest.mark.parametrize(
    ("person", "facts"),
    [
        (
            replace(MAN, tc_mmol_l=213.0),
            (("value", "tc_mmol_l"), ("given", "213.0"), ("low", "1.5"), ("high", "20.0")),
        ),  # mg/dL in the mmol/L box
        (replace(MAN, sbp_mmhg=14.0), (("value", "sbp_mmhg"), ("given", "14.0"), ("low", "60.0"), ("high", "280.0"))),
        (replace(MAN, hdl_mmol_l=float("nan")), (("value", "hdl_mmol_l"), ("given", "nan"), ("low", "0.2"), ("high", "5.0"))),
        (replace(MAN, tc_mmol_l=1.6, hdl_mmol_l=1.6), (("value", "hdl_mmol_l"), ("given", "1.6"), ("low", "0.2"), ("high", "1.6"))),
    ],
)
def test_an_entry_error_is_named_instead_of_scored(person: Findings, facts: tuple[tuple[str, str], ...]) -> None:
    assert score2(person, Region.LOW) == Unscored(Why.VALUE_IMPLAUSIBLE, facts)


def test_every_reason_has_a_sentence_in_both_languages() -> None:
    assert all(zh and en for zh, en in (Unscored(why).sentence for why in Why))


# --- from and to FHIR -----------------------------------------------------------------------------------------------

PATIENT = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1976-09-21"}  # 50 at NOW_S (2026-09-21)


def observed(name: str, loinc: str, age_days: int = 1, status: str = "final", **value: Any) -> dict[str, Any]:
    at = datetime.fromtimestamp(NOW_S - age_days * DAY_S, UTC).isoformat()
    code = {"coding": [{"system": "http://loinc.org", "code": loinc}]}
    return {"resourceType": "Observation", "id": name, "status": status, "code": code, "effectiveDateTime": at, **value}


def quantity(value: float, unit: str) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "code": unit, "system": "http://unitsofmeasure.org"}}


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def pressure(value: float) -> dict[str, Any]:
    return observed("bp", "85354-9", component=[{"code": concept("http://loinc.org", "8480-6"), **quantity(value, "mm[Hg]")}])


def visit() -> list[dict[str, Any]]:
    return [
        pressure(140),
        observed("tc", "2093-3", **quantity(5.5, "mmol/L")),
        observed("hdl", "2085-9", **quantity(1.3, "mmol/L")),
        observed("smoking", "72166-2", valueCodeableConcept=concept("http://snomed.info/sct", "449868002")),
    ]


def read(resources: list[dict[str, Any]], patient: dict[str, Any] = PATIENT) -> Findings:
    found = findings_from(patient, resources, NOW_S)
    assert isinstance(found, Findings), found
    return found


def test_fhir_observations_give_the_worked_example() -> None:
    found = read(visit())
    assert found == replace(MAN, basis=("Observation/bp", "Observation/tc", "Observation/hdl", "Observation/smoking"))
    assert scored(score2(found, Region.LOW)).percent == "5.9"


def test_milligrams_and_molar_codes_are_converted_by_table() -> None:
    resources = visit()
    resources[1] = observed("tc", "14647-2", **quantity(5.5, "mmol/L"))
    resources[2] = observed("hdl", "2085-9", **quantity(1.3 * MG_DL_PER_MMOL_L, "mg/dL"))
    found = read(resources)
    assert (found.tc_mmol_l, round(found.hdl_mmol_l, 9)) == (5.5, 1.3)


def test_the_newest_final_value_within_a_year_counts() -> None:
    more = [
        observed("old", "2093-3", age_days=30, **quantity(9.0, "mmol/L")),
        observed("draft", "2093-3", age_days=0, status="preliminary", **quantity(9.0, "mmol/L")),
        observed("tomorrow", "2093-3", age_days=-1, **quantity(9.0, "mmol/L")),
    ]
    assert read(more + visit() + more).tc_mmol_l == 5.5


@pytest.mark.parametrize(("age_days", "usable"), [(365, True), (366, False)])
def test_a_year_old_value_is_the_last_that_counts(age_days: int, usable: bool) -> None:
    resources = visit()
    resources[1] = observed("tc", "2093-3", age_days=age_days, **quantity(5.5, "mmol/L"))
    answer = findings_from(PATIENT, resources, NOW_S)
    assert isinstance(answer, Findings) if usable else answer == Unscored(Why.MISSING, (("value", "tc"),))


@pytest.mark.parametrize(("gone", "name"), [(0, "sbp"), (1, "tc"), (2, "hdl"), (3, "smoking")])
def test_what_is_missing_is_named(gone: int, name: str) -> None:
    resources = visit()
    del resources[gone]
    assert findings_from(PATIENT, resources, NOW_S) == Unscored(Why.MISSING, (("value", name),))


def test_no_birth_day_no_known_sex_no_known_unit() -> None:
    assert findings_from({**PATIENT, "birthDate": "1976"}, visit(), NOW_S) == Unscored(Why.MISSING, (("value", "birthDate"),))
    assert findings_from({**PATIENT, "gender": "other"}, visit(), NOW_S) == Unscored(Why.SEX_NOT_COVERED, (("gender", "other"),))
    resources = visit()
    resources[1] = observed("tc", "2093-3", **quantity(5.5, "g/L"))
    assert findings_from(PATIENT, resources, NOW_S) == Unscored(Why.UNIT_UNKNOWN, (("value", "tc"), ("unit", "g/L")))


def test_unknown_smoking_is_missing_and_a_comparator_is_no_number() -> None:
    resources = visit()
    resources[3] = observed("smoking", "72166-2", valueCodeableConcept=concept("http://snomed.info/sct", "266927001"))
    assert findings_from(PATIENT, resources, NOW_S) == Unscored(Why.MISSING, (("value", "smoking"),))
    resources = visit()
    resources[2]["valueQuantity"]["comparator"] = ">"
    assert findings_from(PATIENT, resources, NOW_S) == Unscored(Why.MISSING, (("value", "hdl"),))


@pytest.mark.parametrize(("birth_date", "age"), [("1976-09-21", 50), ("1976-09-22", 49), ("1976-09-20", 50)])
def test_the_birthday_itself_counts(birth_date: str, age: int) -> None:
    assert read(visit(), {**PATIENT, "birthDate": birth_date}).age_years == age


@pytest.mark.parametrize(
    ("value", "unit", "diabetes"), [(6.4, "%", False), (6.5, "%", True), (47.0, "mmol/mol", False), (48.0, "mmol/mol", True)]
)
def test_an_hba_1_c_of_six_and_a_half_takes_a_person_out_of_score2(value: float, unit: str, diabetes: bool) -> None:
    assert read([*visit(), observed("a1c", "4548-4", **quantity(value, unit))]).diabetes is diabetes


def condition(system: str, code: str, verified: str = "confirmed") -> dict[str, Any]:
    status = concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", verified)
    return {"resourceType": "Condition", "code": concept(system, code), "verificationStatus": status}


def test_conditions_and_medicines_are_read_from_their_codes() -> None:
    icd10 = "http://hl7.org/fhir/sid/icd-10"
    assert read([*visit(), condition(icd10, "E11.9")]).diabetes
    assert read([*visit(), condition(icd10, "I25.1")]).cardiovascular_disease
    assert not read([*visit(), condition(icd10, "I10")]).cardiovascular_disease
    assert not read([*visit(), condition(icd10, "I25.1", "refuted")]).cardiovascular_disease
    pill = {
        "resourceType": "MedicationRequest",
        "status": "active",
        "medicationCodeableConcept": concept("http://www.whocc.no/atc", "C08CA01"),
    }
    assert read([*visit(), pill]).treated
    assert not read([*visit(), {**pill, "status": "stopped"}]).treated


def test_the_risk_assessment_is_valid_fhir_and_says_what_it_is() -> None:
    made = scored(score2_asia_pacific(read(visit()), Region.LOW))
    resource = risk_assessment(made, "Patient/p", NOW_S)
    assert fhirkit.validate(json.dumps(resource)) == []
    assert resource["prediction"][0]["probabilityDecimal"] == 0.1026
    assert resource["prediction"][0]["qualitativeRisk"]["coding"][0]["code"] == "very-high"
    assert "10.1093/eurheartj/ehae609; ages 40-69" in resource["prediction"][0]["rationale"]
    assert "never a diagnosis" in resource["note"][0]["text"]
    assert fhirkit.validate(json.dumps(risk_assessment(scored(framingham(MAN)), "Patient/p", NOW_S))) == []
