"""What the walk over the ledger looks for: every planted form is found, and random bytes hold none."""

import base64
from random import Random

import pytest

from yilian.sim import traces
from yilian.sim.population import LIN_NUMBER, make_population

PEOPLE = make_population(7, 12, now_s=1_790_000_000)
LIN = PEOPLE[LIN_NUMBER]
NEEDLES = traces.needles(PEOPLE)


@pytest.mark.parametrize(
    "planted",
    [
        LIN.name_zh.encode(),
        LIN.name_zh.encode("utf-16-le"),
        LIN.name_zh.encode("utf-16-be"),
        LIN.name_zh.encode().hex().encode(),
        base64.b64encode(LIN.name_zh.encode()),
        base64.b64encode(b"." + LIN.name_zh.encode() + b"."),
        base64.b64encode(b".." + LIN.name_zh.encode() + b"."),
        base64.urlsafe_b64encode(LIN.id_number.encode()),
        b"Lin Guodong",
        b"linguodong",
        b"GUODONG",
        LIN.birth_date.encode(),
        LIN.birth_date.replace("-", "").encode(),
        LIN.id_number.encode(),
        LIN.phone.encode(),
        LIN.local_ids["hospital-1"].encode(),
        LIN.patient_id("clinic-1").encode(),
        bytes.fromhex(LIN.patient_id("clinic-1").replace("-", "")),
        "头晕复诊".encode(),
        b"14647-2",
        b"E78.5",
    ],
)
def test_each_planted_form_is_found(planted):
    noise = Random(1).randbytes(5_000)
    assert traces.found_in(noise + planted + noise, NEEDLES) != set()


def test_random_bytes_and_keys_hold_none():
    assert len(NEEDLES) > 10_000
    assert traces.found_in(Random(2).randbytes(1_000_000), NEEDLES) == set()


def test_every_person_is_looked_for_by_name_number_and_date():
    for person in PEOPLE:
        said = traces.sayings(person)
        assert {person.name_zh, person.name_pinyin, person.id_number, person.phone, person.birth_date, *person.local_ids.values()} <= said
