"""How tests wait: what does not happen is a failure with a sentence of what was last seen."""

import asyncio
import subprocess
import sys

import pytest

from tests.consortium import persistently, within
from tests.waiting import Lines, bound, tries, until
from yilian.engines.cometbft import NotOrdering


async def failure(waiting):
    with pytest.raises(AssertionError) as failed:
        await waiting
    return str(failed.value)


async def test_what_never_holds_is_told_as_it_was_last_seen():
    seen = []
    said = await failure(until(lambda: seen.append(len(seen)), 0.02))
    assert said == "it did not happen within 0.02 s; last seen: None"
    assert len(seen) > 1


async def test_what_is_not_answered_is_named():
    async def answered():
        await asyncio.Event().wait()

    assert "last seen: still waiting for test_what_is_not_answered_is_named" in await failure(within(answered(), 0))


async def test_what_is_answered_is_returned():
    async def answered():
        return "answer"

    assert await within(answered()) == "answer"


async def test_somebody_elses_bound_is_not_taken_for_ours():
    with pytest.raises(TimeoutError, match=r"^theirs$"):
        async with bound(str):
            raise TimeoutError("theirs")


async def test_a_network_that_never_orders_again_is_told_with_its_refusals():
    refusals = [NotOrdering(7), NotOrdering(8)]

    class Halted:
        async def submit(self, data):
            if refusals:
                raise refusals.pop(0)
            await asyncio.Event().wait()

    assert await failure(persistently(Halted(), b"", 0.01)) == f"it did not happen within 0.01 s; last seen: 2 times {[NotOrdering(8)]}"


def test_one_may_try_until_the_bound_and_is_told_what_was_last_seen():
    trying = tries(lambda: "no answer", 0.1)
    next(trying)
    with pytest.raises(AssertionError, match=r"^it did not happen within 0.1 s; last seen: no answer$"):
        list(trying)


@pytest.fixture
def speaker():
    """A process that says two lines and half a third one, and then listens."""
    code = "import sys; print('one\\ntwo\\nhal', end='', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_lines_come_one_by_one_and_what_does_not_come_is_told_with_the_last_one(speaker):
    lines = Lines(speaker)
    assert [lines.next(), lines.next()] == ["one\n", "two\n"]
    with pytest.raises(AssertionError) as failed:
        lines.next(0.01)
    seen = f"'two\\n' from process {speaker.pid}, which has ended with None"
    assert str(failed.value) == f"it did not happen within 0.01 s; last seen: {seen}"
    speaker.stdin.close()
    assert [lines.next(), lines.next()] == ["hal", ""]


def test_lines_are_read_up_to_the_words_or_to_the_end(speaker):
    lines = Lines(speaker)
    assert lines.until("tw") == ["one\n", "two\n"]
    speaker.stdin.close()
    assert lines.until("tw") == ["hal"]
