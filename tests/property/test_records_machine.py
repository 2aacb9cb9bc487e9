"""Anything happens to a store in any order, and a dictionary of lists remembers what should be there."""

import json
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.records_world import NETWORK, AesGcmPerPatient, KeysInMemory, as_bytes, store_at
from yilian.records import Conflict, Gone, NotFound, Scope, is_proven, parse_query

IDS = ("a", "b", "c")
SUBJECTS = ("Patient/p", "Patient/q", None)
CODES = ("x", "y")


def observation(number, subject, code):
    tree = {"resourceType": "Observation", "id": number, "status": "final", "code": {"coding": [{"code": code}]}}
    return tree | ({"subject": {"reference": subject}} if subject else {})


class Life(RuleBasedStateMachine):
    """The witness: per id the list of contents, None for a deletion."""

    @initialize(is_sealed=st.booleans())
    def open(self, is_sealed):
        self.folder = tempfile.TemporaryDirectory()
        self.given = {"keys": KeysInMemory(), "cipher": AesGcmPerPatient() if is_sealed else None}
        self.store = store_at(Path(self.folder.name), **self.given)
        self.lives = {}
        self.anchored = 0
        self.ticks = 0

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    def versions(self):
        return sum(len(v) for v in self.lives.values())

    @rule(subject=st.sampled_from(SUBJECTS), code=st.sampled_from(CODES))
    def create(self, subject, code):
        tree = observation("ignored", subject, code)
        stored = self.store.create("Observation", as_bytes(tree))
        if stored.id in self.lives:  # ids begin again when the store is opened again: then it is an update
            self.lives[stored.id].append(tree)
        else:
            self.lives[stored.id] = [tree]
        assert stored.version_id == len(self.lives[stored.id])

    @rule(
        number=st.sampled_from(IDS), subject=st.sampled_from(SUBJECTS), code=st.sampled_from(CODES), matched=st.integers(0, 4) | st.none()
    )
    def update(self, number, subject, code, matched):
        tree = observation(number, subject, code)
        life = self.lives.get(number, [])
        fits = matched is None or (matched == len(life) and bool(life) and life[-1] is not None)
        if_match = None if matched is None else f'W/"{matched}"'
        if not fits:
            with pytest.raises(Conflict):
                self.store.update("Observation", number, as_bytes(tree), if_match=if_match)
            return
        assert self.store.update("Observation", number, as_bytes(tree), if_match=if_match).version_id == len(life) + 1
        self.lives.setdefault(number, []).append(tree)

    @rule(number=st.sampled_from(IDS))
    def delete(self, number):
        life = self.lives.get(number)
        if life is None:
            with pytest.raises(NotFound):
                self.store.delete("Observation", number)
            return
        deleted = self.store.delete("Observation", number)
        assert (deleted is None) == (life[-1] is None)
        if deleted is not None:
            life.append(None)

    @rule(good=st.sampled_from(IDS), code=st.sampled_from(CODES))
    def transaction_that_fails(self, good, code):
        entries = [
            {"resource": observation(good, None, code), "request": {"method": "PUT", "url": f"Observation/{good}"}},
            {"request": {"method": "GET", "url": "Observation/never"}},
        ]
        with pytest.raises(NotFound):
            self.store.process(as_bytes({"resourceType": "Bundle", "type": "transaction", "entry": entries}))

    @rule()
    def tick(self):
        pending = self.store.pending_for_anchor()
        assert len(pending.numbers) == self.versions() - self.anchored
        self.store.anchored(self.ticks, pending)
        self.ticks += 1
        self.anchored = self.versions()

    @precondition(lambda self: self.versions() > 0)
    @rule()
    def open_again(self):
        self.store.close()
        self.store = store_at(Path(self.folder.name), **self.given)

    @invariant()
    def reading_answers_what_was_written(self):
        for number in (*IDS, *self.lives):
            life = self.lives.get(number)
            if life is None or life[-1] is None:
                with pytest.raises(NotFound if life is None else Gone):
                    self.store.read("Observation", number)
                continue
            served = json.loads(self.store.read("Observation", number).body)
            assert served.pop("meta")["versionId"] == str(len(life))
            assert served == life[-1] | {"id": number}

    @invariant()
    def history_is_the_whole_list(self):
        assert self.store.history().total == self.versions()
        for number, life in self.lives.items():
            told = [
                None if v.is_deleted else json.loads(self.store.proof("Observation", number, str(v.version_id)).received)
                for v in reversed(self.store.history("Observation", number).versions)
            ]
            assert told == life

    @invariant()
    def search_finds_the_living(self):
        living = {n: life[-1] for n, life in self.lives.items() if life[-1] is not None}
        for code in CODES:
            page = self.store.search(parse_query("Observation", f"code={code}&_count=1000"))
            assert {m.id for m in page.matches} == {n for n, t in living.items() if t["code"]["coding"][0]["code"] == code}
        for subject in SUBJECTS[:2]:
            page = self.store.search(parse_query("Observation", "_count=1000"), Scope(patient_id=subject[8:]))
            assert {m.id for m in page.matches} == {n for n, t in living.items() if t.get("subject") == {"reference": subject}}
            assert page.total == len(page.matches)

    @invariant()
    def what_is_anchored_proves(self):
        proven = [
            is_proven(self.store.proof("Observation", n, str(v + 1)), NETWORK) for n, life in self.lives.items() for v in range(len(life))
        ]
        assert sum(proven) == self.anchored


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=12, stateful_step_count=20)
