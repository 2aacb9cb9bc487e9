"""The simulated people: the same from the same seed, valid FHIR, connected, and nobody real."""

import hashlib
import json
import os
import re
import subprocess
import sys
from datetime import datetime
from typing import Any

import fhirkit
import pytest

from yilian.node.observations import effective_s
from yilian.node.recognition import Order, Recognise, Result, Retest, RetestAllowed, check
from yilian.node.screening import Assessment, Category, Findings, Region, assess, findings_from
from yilian.sim.members import CARE_MEMBERS, MEMBERS
from yilian.sim.population import HE_NUMBER, ID_CARD_SYSTEM, LIN_NUMBER, Person, chart_bundle, local_system, make_population
from yilian.sim.population.identity import check_digit, id_number

NOW_S = 1_790_000_000
SEED = 20_180_401


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return make_population(SEED, now_s=NOW_S)


def resources(people: list[Person]) -> list[tuple[Person, str, dict[str, Any]]]:
    return [(person, member_id, resource) for person in people for member_id, chart in person.charts.items() for resource in chart]


def digest(people: list[Person]) -> str:
    return hashlib.sha256(json.dumps([[person.charts, person.local_ids] for person in people]).encode()).hexdigest()


def test_every_resource_is_valid_fhir(people: list[Person]) -> None:
    problems = [
        (resource["resourceType"], issue.path, issue.message)
        for _, _, resource in resources(people)
        for issue in fhirkit.validate(json.dumps(resource))
    ]
    assert problems == []
    assert len(people) == 300
    assert 15 <= len(resources(people)) / len(people) <= 26


def test_bundles_are_valid_and_every_reference_finds_its_entry(people: list[Person]) -> None:
    for person in people[:20]:
        for member_id, chart in person.charts.items():
            bundle = chart_bundle(person, member_id)
            text = json.dumps(bundle)
            assert fhirkit.validate(text) == []
            assert [entry["request"]["url"] for entry in bundle["entry"]] == [resource["resourceType"] for resource in chart]
            referred = set(re.findall(r'"reference": "([^"]+)"', text))
            assert referred <= {entry["fullUrl"] for entry in bundle["entry"]}
            assert chart_bundle(person, member_id) == bundle


def test_the_same_seed_in_two_processes_gives_the_same_people(people: list[Person]) -> None:
    program = (
        "import hashlib, json; from yilian.sim.population import make_population;"
        f"people = make_population({SEED}, now_s={NOW_S});"
        "print(hashlib.sha256(json.dumps([[p.charts, p.local_ids] for p in people]).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(n), "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for n in (1, 2)
    }
    assert digests == {digest(people)}


def test_a_person_does_not_depend_on_how_many_there_are(people: list[Person]) -> None:
    assert make_population(SEED, 12, now_s=NOW_S) == people[:12]
    assert make_population(SEED, 1, now_s=NOW_S) == people[:1]
    assert make_population(SEED + 1, 12, now_s=NOW_S)[2:] != people[2:12]


def test_nobody_real_can_be_hit(people: list[Person]) -> None:
    # GB/T 2260 has no province beyond 91: no county begins with 99; no operator was given 160.
    assert all(person.id_number.startswith("9999") for person in people)
    assert all(re.fullmatch(r"160\d{8}", person.phone) for person in people)


def test_identity_numbers_are_whole_and_one_each(people: list[Person]) -> None:
    for person in people:
        assert re.fullmatch(r"\d{17}[\dX]", person.id_number)
        assert check_digit(person.id_number[:17]) == person.id_number[17]
        assert person.id_number[6:14] == person.birth_date.replace("-", "")
        assert int(person.id_number[16]) % 2 == (person.sex == "male")
    assert len({person.id_number for person in people}) == len({person.phone for person in people}) == len(people)


def test_the_check_digit_is_that_of_the_standard() -> None:
    assert check_digit("11010519491231002") == "X"  # the example printed in GB 11643-1999
    assert check_digit("44052418800101001") == "4"


def test_a_thousand_people_born_on_one_day_have_numbers_of_their_own() -> None:
    numbers = {id_number("1970-01-01", sex, number) for number in range(1_100) for sex in ("male", "female")}
    assert len(numbers) == 2_200
    assert {number[:6] for number in numbers} == {"999999", "999998", "999997"}


def test_each_member_knows_a_person_by_its_own_number(people: list[Person]) -> None:
    for person, member_id, resource in resources(people):
        if resource["resourceType"] == "Patient":
            values = {identifier["system"]: identifier["value"] for identifier in resource["identifier"]}
            assert values == {ID_CARD_SYSTEM: person.id_number, local_system(member_id): person.local_ids[member_id]}
            assert [name["text"] for name in resource["name"]] == [person.name_zh, person.name_pinyin]
    for one in CARE_MEMBERS:
        local = [person.local_ids[one.id] for person in people if one.id in person.local_ids]
        assert len(local) == len(set(local)) >= 50
    assert all(person.home_clinic in person.charts and len(set(person.local_ids.values())) == len(person.charts) for person in people)


def test_nothing_happens_before_birth_or_after_now(people: list[Person]) -> None:
    for person, _, resource in resources(people):
        for said in re.findall(r'"(\d{4}-\d\d-\d\dT[^"]+)"', json.dumps(resource)):
            at = datetime.fromisoformat(said)
            assert at.timestamp() < NOW_S, resource
            assert at.date().isoformat() > person.birth_date, resource


def test_ids_are_unique_over_the_region(people: list[Person]) -> None:
    ids = [resource["id"] for _, _, resource in resources(people)]
    assert len(ids) == len(set(ids))


def test_illness_and_treatment_hang_together(people: list[Person]) -> None:
    hypertensive = {
        p.number for p, _, r in resources(people) if r["resourceType"] == "Condition" and r["code"]["coding"][1]["code"] == "I10"
    }
    treated = {
        p.number
        for p, _, r in resources(people)
        if r["resourceType"].startswith("Medication") and r["medicationCodeableConcept"]["coding"][0]["code"][:3] in {"C08", "C09"}
    }
    assert treated <= hypertensive
    assert 30 <= len(treated) < len(hypertensive) <= 200


def history(person: Person) -> list[Result]:
    return [
        Result(resource["code"]["coding"][0]["code"], effective_s(resource) or 0, resource["status"], member_id)
        for member_id, chart in person.charts.items()
        for resource in chart
        if resource["resourceType"] == "Observation"
    ]


@pytest.mark.parametrize("seed", [1, SEED])
@pytest.mark.parametrize("now_s", [NOW_S, 1_790_006_399, 1_790_006_400, 1_709_164_800])  # the region's midnight; a leap day
def test_the_story_holds_for_every_seed_and_hour(seed: int, now_s: int) -> None:
    lin = make_population(seed, 2, now_s=now_s)[LIN_NUMBER]
    assert (lin.name_zh, lin.home_clinic, list(lin.charts)) == ("林国栋", "clinic-1", ["clinic-1", "hospital-1"])
    lipids = check(Order("24331-1", now_s), history(lin))
    assert isinstance(lipids, Recognise)
    assert {result.member for result in lipids.results} == {"hospital-1"}
    assert check(Order("4548-4", now_s), history(lin)) == RetestAllowed(Retest.EXPIRED)


def test_the_clinic_finds_the_risk_in_its_own_chart(people: list[Person]) -> None:
    chart = people[LIN_NUMBER].charts["clinic-1"]
    found = findings_from(chart[0], chart, NOW_S)
    assert isinstance(found, Findings)
    made = [
        answer for answer in assess(found, europe=Region.MODERATE, asia_pacific=Region.MODERATE).values() if isinstance(answer, Assessment)
    ]
    assert [(answer.percent, answer.category, answer.suggests_referral) for answer in made] == [
        ("24.0", Category.VERY_HIGH, True),
        ("15.5", Category.VERY_HIGH, True),
        ("43.1", Category.HIGH, True),
    ]


def test_the_second_person_is_known_to_three_members(people: list[Person]) -> None:
    he = people[HE_NUMBER]
    assert (he.name_zh, list(he.charts)) == ("何秀兰", ["clinic-1", "hospital-1", "hospital-2"])


def test_there_are_eight_members_with_their_own_ids() -> None:
    assert [member.id for member in MEMBERS] == [
        "clinic-1",
        "clinic-2",
        "hospital-1",
        "hospital-2",
        "pharmacy-1",
        "maker-1",
        "exchange-1",
        "regulator-1",
    ]
