"""Entries of one grant, in the order of their numbers: who waits for whom, and who is offered anew."""

import asyncio

from tests.waiting import begun, until
from yilian.node import lanes
from yilian.node.lanes import Lane


async def test_offers_foretell_the_numbers_after_those_already_offered():
    lane = Lane()
    assert [lane.foretell(name, 5) for name in (b"a", b"b", b"c")] == [5, 6, 7]
    assert lane.foretell(b"a", 5) == 5  # anew: its own old number is free for it
    lane.leave(b"b")
    assert lane.foretell(b"d", 5) == 6  # the gap is filled first


async def test_an_approved_offer_waits_for_the_one_before_it():
    lane, entries = Lane(), [5]
    for name in (b"a", b"b"):
        lane.foretell(name, 5)
    looked = []

    def next_number():
        looked.append(entries[0])
        return entries[0]

    second = await begun(lane.turn(b"b", next_number))
    assert not second.done()
    assert await lane.turn(b"a", lambda: entries[0]) is True
    await until(lambda: len(looked) == 2)  # it was told, and looked again
    assert not second.done()
    entries[0] = 6
    lane.leave(b"a")
    assert await second is True


async def test_an_offer_whose_forerunner_was_refused_is_made_anew_at_once():
    lane = Lane()
    for name in (b"a", b"b"):
        lane.foretell(name, 5)
    second = await begun(lane.turn(b"b", lambda: 5))
    lane.leave(b"a")
    assert await second is False
    assert lane.foretell(b"b", 5) == 5
    assert await lane.turn(b"b", lambda: 5) is True


async def test_an_offer_whose_number_has_passed_is_made_anew():
    lane = Lane()
    lane.foretell(b"a", 5)
    assert await lane.turn(b"a", lambda: 6) is False


async def test_who_never_approves_is_left_behind_and_the_others_still_end(monkeypatch):
    monkeypatch.setattr(lanes, "WAIT_S", 0)
    lane, entries, done = Lane(), [5], []
    for name in (b"absent", b"a", b"b", b"c"):
        lane.foretell(name, 5)

    async def caller(name):
        while not await lane.turn(name, lambda: entries[0]):
            lane.foretell(name, entries[0])
        entries[0] += 1
        done.append(name)
        lane.leave(name)

    await asyncio.gather(*[caller(name) for name in (b"c", b"a", b"b")])
    assert (sorted(done), entries, lane.numbers) == ([b"a", b"b", b"c"], [8], {})
