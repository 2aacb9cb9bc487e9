"""Search against an oracle so naive that it cannot share the store's mistakes: it looks at every resource, one by one."""

import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given

from tests.unit.records_world import as_bytes, observation, patient, store_at
from yilian.records import Scope, parse_query

NAMES = ("Wang", "wangari", "Li", "Émile", "emilia")
CODES = ("a", "b", "c")
DAYS = ("2020", "2020-06", "2020-06-15", "2020-06-15T12:00:00Z", "2021-01-01", "2021-01-01T00:00:00+08:00")
SPANS = {  # by hand: the first and the first excluded second, UTC
    "2020": ("2020-01-01T00:00:00", "2021-01-01T00:00:00"),
    "2020-06": ("2020-06-01T00:00:00", "2020-07-01T00:00:00"),
    "2020-06-15": ("2020-06-15T00:00:00", "2020-06-16T00:00:00"),
    "2020-06-15T12:00:00Z": ("2020-06-15T12:00:00", "2020-06-15T12:00:01"),
    "2021-01-01": ("2021-01-01T00:00:00", "2021-01-02T00:00:00"),
    "2021-01-01T00:00:00+08:00": ("2020-12-31T16:00:00", "2020-12-31T16:00:01"),
}
VALUES = (1, 1.5, 2, 10)

people = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["male", "female", None])), min_size=1, max_size=4)
seen = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(CODES),
        st.sampled_from(DAYS) | st.none(),
        st.sampled_from(VALUES) | st.none(),
        st.sampled_from(["R", None]),
    ),
    max_size=12,
)
dates = st.tuples(st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]), st.sampled_from(DAYS))
numbers = st.tuples(st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le"]), st.sampled_from(VALUES))
questions = st.fixed_dictionaries(
    {},
    optional={
        "codes": st.lists(st.sampled_from(CODES), min_size=1, max_size=2, unique=True),
        "not_code": st.sampled_from(CODES),
        "date": dates,
        "value": numbers,
        "subject": st.integers(0, 3),
        "name": st.sampled_from(["wan", "EMIL", "x", "li"]),
        "gender": st.sampled_from(["male", "female"]),
        "dated": st.booleans(),
    },
)
scopes = st.fixed_dictionaries({"of": st.integers(0, 3) | st.none(), "denied": st.booleans(), "types": st.booleans()})
SIMPLE = {"Wang": "wang", "wangari": "wangari", "Li": "li", "Émile": "emile", "emilia": "emilia"}


def date_fits(prefix, asked, has):
    if has is None:
        return False
    (low, high), (start, end) = SPANS[asked], SPANS[has]
    inside = low <= start and end <= high
    return {
        "eq": inside,
        "ne": not inside,
        "gt": end > high,
        "lt": start < low,
        "ge": end > high or inside,
        "le": start < low or inside,
        "sa": start >= high,
        "eb": end <= low,
    }[prefix]


def value_fits(prefix, asked, has):
    if has is None:
        return False
    half = 0.05 if asked == 1.5 else 0.5  # 10 is written with two digits: its last one is the ones
    inside = asked - half <= has < asked + half
    return {"eq": inside, "ne": not inside, "gt": has > asked, "lt": has < asked, "ge": has >= asked, "le": has <= asked}[prefix]


def fits(one, world, question, scope):
    """Say whether an observation answers a question inside a scope, the slow way."""
    subject, code, day, value, label = one
    person = world[subject] if subject < len(world) else None
    sees_people = not scope["types"] and (scope["of"] is None or scope["of"] == subject)
    checks = {
        "codes": lambda codes: code in codes,
        "not_code": lambda other: code != other,
        "date": lambda asked: date_fits(*asked, day),
        "value": lambda asked: value_fits(*asked, value),
        "subject": lambda number: subject == number,
        "name": lambda prefix: person is not None and sees_people and SIMPLE[person[0]].startswith(prefix.lower()),
        "gender": lambda gender: person is not None and sees_people and person[1] == gender,
        "dated": lambda wanted: (day is not None) == wanted,
    }
    in_scope = scope["of"] in {None, subject} and not (scope["denied"] and label == "R")
    return in_scope and all(checks[k](v) for k, v in question.items())


def as_query(question):
    parts = {
        "codes": lambda codes: "code=" + ",".join(codes),
        "not_code": lambda code: f"code:not={code}",
        "date": lambda asked: f"date={asked[0]}{asked[1].replace('+', '%2B')}",
        "value": lambda asked: f"value-quantity={asked[0]}{asked[1]}",
        "subject": lambda number: f"subject=p{number}",
        "name": lambda name: f"subject:Patient.name={name}",
        "gender": lambda gender: f"patient.gender={gender}",
        "dated": lambda wanted: f"date:missing={'false' if wanted else 'true'}",
    }
    return "&".join(parts[k](v) for k, v in question.items())


@given(people, seen, st.lists(st.tuples(questions, scopes), min_size=1, max_size=6))
def test_the_store_finds_what_looking_at_each_finds(world, observations, asked):
    with tempfile.TemporaryDirectory() as folder, store_at(Path(folder)) as store:
        trees = [patient(f"p{n}", name=[{"family": name}], **({"gender": g} if g else {})) for n, (name, g) in enumerate(world)]
        for n, (subject, code, day, value, label) in enumerate(observations):
            more = ({"effectiveDateTime": day} if day else {}) | ({"valueQuantity": {"value": value}} if value is not None else {})
            trees.append(observation(f"o{n}", f"p{subject}", code, **more, **({"meta": {"security": [{"code": label}]}} if label else {})))
        entries = [{"resource": t, "request": {"method": "PUT", "url": f"{t['resourceType']}/{t['id']}"}} for t in trees]
        store.process(as_bytes({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
        for question, scope in asked:
            limits = Scope(
                patient_id=None if scope["of"] is None else f"p{scope['of']}",
                labels_denied=frozenset({"R"}) if scope["denied"] else frozenset(),
                types=frozenset({"Observation"}) if scope["types"] else None,
            )
            page = store.search(parse_query("Observation", as_query(question) + "&_count=100"), limits)
            expected = {f"o{n}" for n, one in enumerate(observations) if fits(one, world, question, scope)}
            assert {m.id for m in page.matches} == expected, (question, scope)
            assert page.total == len(expected)
