"""The first promise: no health data below floor 3. Looked for in every byte, and shown by two worlds that differ in health data only."""

import json
import time
from dataclasses import replace
from random import Random

import pytest

from tests.sim.towns import population, told
from yilian.sim import traces
from yilian.sim.population.names import Name

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("regions")]
PATIENTS = 8


async def test_no_byte_that_reached_the_ledger_says_anything_of_a_patient(tmp_path):
    people = population(PATIENTS, now_s=int(time.time()))
    tale, said, ledger = await told(tmp_path / "region", people)
    needles = traces.needles(people)
    assert len(needles) > 10_000
    everything = ledger.everything()
    # the walk has something to walk over, and would find what lies there
    assert len(tale.releases) > 5
    assert people[0].name_zh in said
    assert traces.found_in(everything + people[0].name_zh.encode(), needles) != set()
    public = traces.found_in(ledger.genesis, needles)  # members' names, which are in no way about a patient
    assert traces.found_in(everything, needles - public) == set()
    assert len(public) < 100


def elsewhere(person, rng):
    """Return the same person with other health data: every text and number about them replaced by another of the same kind."""
    other = str(rng.randrange(10**9)).zfill(9)
    given = Name("欧", "阳" + chr(0x4E00 + rng.randrange(5_000)), "Ou", "Yang" + other)
    swaps = {
        person.name_zh: given.zh,
        person.name.family_zh: given.family_zh,
        person.name.given_zh: given.given_zh,
        person.name.family_pinyin: given.family_pinyin,
        person.name.given_pinyin: given.given_pinyin,
        person.birth_date: f"19{rng.randrange(60, 70)}-0{rng.randrange(1, 9)}-1{rng.randrange(9)}",
        person.id_number: person.id_number[:6] + other + "123",
        person.phone: "160" + other[:8],
    }
    charts = {member: [_swapped(resource, swaps, rng) for resource in chart] for member, chart in person.charts.items()}
    local_ids = {member: charts[member][0]["identifier"][-1]["value"] for member in charts}
    return replace(
        person, name=given, birth_date=swaps[person.birth_date], id_number=swaps[person.id_number], phone=swaps[person.phone],
        charts=charts, local_ids=local_ids,
    )  # fmt: skip


def _swapped(value, swaps, rng, name=""):
    if isinstance(value, dict):
        return {key: _swapped(part, swaps, rng, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_swapped(part, swaps, rng, name) for part in value]
    if isinstance(value, str) and name not in ("system", "code", "url", "reference", "id", "status"):
        return swaps.get(value, value + "。另一个世界" if name == "text" else value)
    return value


async def test_two_worlds_that_differ_in_health_data_only_leave_ledgers_of_one_shape(tmp_path):
    here = population(PATIENTS, now_s=int(time.time()))  # the story screens and recognises by the clock
    there = [elsewhere(person, Random(number)) for number, person in enumerate(here)]
    texts = [json.dumps([person.charts for person in world], ensure_ascii=False) for world in (here, there)]
    assert texts[0] != texts[1]
    assert all(one.name_zh != other.name_zh and one.id_number != other.id_number for one, other in zip(here, there, strict=True))
    _, _, first = await told(tmp_path / "here", here)
    _, _, second = await told(tmp_path / "there", there)
    assert len(first.shape()[0]) > 20
    assert first.shape() == second.shape()
    sizes = zip(first.row_sizes(), second.row_sizes(), strict=True)
    assert max(abs(here - there) for here, there in sizes) <= 4
