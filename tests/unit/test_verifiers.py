"""What becomes of the verifying threads when something is wrong with them or the machine: nobody waits for ever, and none is missed."""

import subprocess
import threading
from types import SimpleNamespace

import pytest

from tests.waiting import WITHIN_S, tries
from yilian.base.refusals import Refused
from yilian.engines.verifiers import AHEAD_MAX, BATCH_MAX, INLINE_MAX, Verifiers


class Told:
    """What the verifiers delivered and of what they died; `defect` is raised instead of taking a delivery from another process."""

    def __init__(self):
        self.judged, self.died_of, self.defect, self.changed = [], [], None, threading.Condition()

    def deliver(self, judged):
        if self.defect is not None and threading.current_thread().name == "yilian-verified":
            raise self.defect
        with self.changed:
            self.judged += judged
            self.changed.notify_all()

    def fail(self, error):
        with self.changed:
            self.died_of.append(error)
            self.changed.notify_all()

    def until(self, holds):
        with self.changed:
            assert self.changed.wait_for(holds, WITHIN_S), (len(self.judged), self.died_of)


@pytest.fixture
def told():
    return Told()


def put(verifiers, count):
    for _ in range(count):
        verifiers.put(SimpleNamespace(data=b"no transaction"))


def closed(verifiers):
    closer = threading.Thread(target=verifiers.close, daemon=True)
    closer.start()
    closer.join(WITHIN_S)
    return not closer.is_alive()


def until_ready(verifiers):
    for _ in tries(lambda: verifiers._processes):
        if any(each.is_ready for each in verifiers._processes):
            return
        put(verifiers, INLINE_MAX + 1)


def test_a_defect_at_the_receiving_thread_is_told_and_closing_does_not_wait_for_its_process(told):
    verifiers = Verifiers(b"n" * 32, dict, told.deliver, told.fail, 1)
    until_ready(verifiers)
    told.defect = ZeroDivisionError()
    put(verifiers, 4 * AHEAD_MAX * BATCH_MAX)  # more than one process may have: the dispatcher waits for room
    told.until(lambda: told.died_of)
    assert closed(verifiers)
    assert set(told.died_of) == {told.defect}


def test_where_no_process_can_be_started_all_is_judged_here(told, monkeypatch):
    def no_room(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")  # fork(2): too many processes

    monkeypatch.setattr(subprocess, "Popen", no_room)
    verifiers = Verifiers(b"n" * 32, dict, told.deliver, told.fail, 2)
    put(verifiers, 3 * BATCH_MAX)
    told.until(lambda: len(told.judged) == 3 * BATCH_MAX or told.died_of)
    assert closed(verifiers)
    assert (told.died_of, {type(said) for _, said in told.judged}) == ([], {Refused})
