"""What was final at one member is not unseen at the next: a node that is behind its asker waits, and says so when it cannot catch up."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from tests.alliance_worlds import alliance
from tests.engines import Loopback
from yilian.engines import EngineStopped
from yilian.engines.remote import Backoff, RemoteEngine
from yilian.node import opened
from yilian.peers import HEIGHT_HEADER, Peers
from yilian.sim.software import connected
from yilian.web import serve
from yilian.web.application import application
from yilian.web.heights import AHEAD_MAX

AT_ONCE = Backoff(0.001, 0.002)


class Held(Loopback):
    """A way on which blocks are held until they are let through."""

    def __init__(self, engine):
        super().__init__(engine)
        self.is_open = asyncio.Event()

    async def blocks(self, since_height):
        async for block in super().blocks(since_height):
            await self.is_open.wait()
            yield block


@asynccontextmanager
async def behind(tmp_path):
    """A regulator whose node orders, and a clinic whose node follows it and has not got the latest blocks."""
    async with alliance(tmp_path, opens=["regulator-1"]) as running:
        way = Held(running.engine)
        follower = await RemoteEngine.open(tmp_path / "copy", running.genesis, way, backoff=AT_ONCE, processes=0)
        try:
            async with opened(tmp_path / "clinic-1", follower, clock=running.clock) as node, serve(node) as server:
                await running.doctor("regulator-1")
                try:
                    yield running, way, server.url
                finally:
                    way.is_open.set()  # what the node itself has on its way ends before it does
        finally:
            await follower.close()


def height(answer):
    return int(answer.headers[HEIGHT_HEADER])


async def test_a_question_waits_until_the_node_has_what_its_asker_saw_elsewhere(tmp_path):
    async with behind(tmp_path) as (running, way, url), connected() as client:
        seen = height(await client.get(running.urls["regulator-1"] + "/health"))
        assert 0 < seen <= running.engine.read().chain.height  # the node itself may have entered something meanwhile
        asking = asyncio.ensure_future(client.get(url + "/ready"))
        unasking = await running.get("clinic-1", "/ready")  # by one who has seen nothing: answered at once, and the first still waits
        assert (unasking.json()["height"], height(unasking), asking.done()) == (0, 0, False)
        way.is_open.set()
        answer = await asking
        assert seen <= answer.json()["height"] <= height(answer)


async def test_a_node_that_cannot_catch_up_says_at_which_height_it_stands(tmp_path, monkeypatch):
    monkeypatch.setattr("yilian.web.heights.WAIT_S", 0.01)
    async with behind(tmp_path) as (running, _, url), Peers(height=lambda: running.engine.read().chain.height) as peers:
        answer = await peers.get(url + "/ready")
        assert (answer.status, answer.headers["yilian-refusal"], answer.headers["retry-after"]) == (503, "9126 HEIGHT_NOT_REACHED", "5")
        assert b'"facts":{"height":0}' in answer.content


@pytest.mark.parametrize("said", [str(AHEAD_MAX + 1), "9" * 16, "-1", "1e3", ""])
async def test_a_height_that_no_moment_brings_makes_nobody_wait(tmp_path, monkeypatch, said):
    waited, reached = [], RemoteEngine.reached

    async def noted(self, height):
        waited.append(height)
        await reached(self, height)

    monkeypatch.setattr(RemoteEngine, "reached", noted)
    async with behind(tmp_path) as (_, _, url), httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(url + "/ready", headers={HEIGHT_HEADER: said})
        is_number = said == str(AHEAD_MAX + 1)
        assert (answer.status_code, AHEAD_MAX + 1 in waited) == (503 if is_number else 200, False)


async def test_only_so_many_questions_of_one_address_wait_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("yilian.web.heights.WAITING_MAX", 1)
    async with behind(tmp_path) as (_, way, url), httpx.AsyncClient(trust_env=False) as client:
        questions = [asyncio.ensure_future(client.get(url + "/ready", headers={HEIGHT_HEADER: "1"})) for _ in range(3)]
        done, waiting = await asyncio.wait(questions, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert sorted(each.result().status_code for each in done) == [503, 503]
        way.is_open.set()
        (last,) = waiting
        assert (await last).status_code == 200


async def test_who_fills_its_places_with_false_heights_takes_none_of_anybody_else(tmp_path, monkeypatch):
    monkeypatch.setattr("yilian.web.heights.WAITING_MAX", 1)
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with (
        behind(tmp_path) as (_, way, url),
        httpx.AsyncClient(trust_env=False) as liar,
        httpx.AsyncClient(trust_env=False, transport=elsewhere) as honest,
    ):
        false = [asyncio.ensure_future(liar.get(url + "/ready", headers={HEIGHT_HEADER: "2"})) for _ in range(2)]
        (refused,), (waiting,) = await asyncio.wait(false, return_when=asyncio.FIRST_COMPLETED)
        assert refused.result().status_code == 503  # its places are full
        asking = asyncio.ensure_future(honest.get(url + "/ready", headers={HEIGHT_HEADER: "1"}))
        unasking = await honest.get(url + "/ready")
        assert (unasking.status_code, asking.done(), waiting.done()) == (200, False, False)
        way.is_open.set()
        assert (await asking).status_code == 200
        waiting.cancel()


def stopped(*_):
    raise EngineStopped("the disk is full: make room, then start again")


class Stopped:
    """What a node whose engine stopped knows of its members: nothing that it would say. The node's own tasks go on with the real ones."""

    final = stopped


async def test_a_node_whose_engine_stopped_says_no_height_and_answers_what_it_can(tmp_path):
    async with alliance(tmp_path, opens=["regulator-1"]) as running:
        app = application(replace(running.nodes["regulator-1"], members=Stopped()))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:
            answers = [
                await client.get(path, headers={HEIGHT_HEADER: said})
                for path, said in (("/health", "0"), ("/health", "1"), ("/network/blocks?since=x", "0"), ("/no-such-path", "1"))
            ]
    assert [(one.status_code, HEIGHT_HEADER in one.headers) for one in answers] == [(n, False) for n in (200, 200, 400, 404)]


async def test_a_question_whose_wait_ends_with_the_engine_is_answered(tmp_path, monkeypatch):
    async with behind(tmp_path) as (_, _, url), httpx.AsyncClient(trust_env=False) as client:
        with monkeypatch.context() as patch:
            patch.setattr(RemoteEngine, "reached", stopped)
            answer = await client.get(url + "/ready", headers={HEIGHT_HEADER: "1"})
    assert (answer.status_code, answer.json()["name"], answer.headers[HEIGHT_HEADER]) == (503, "LEDGER_UNREACHABLE", "0")
