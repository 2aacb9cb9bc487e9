"""A node whose engine has stopped: whoever asks is told so, everywhere, and nobody sees a defect where there is none."""

import asyncio
import re
from pathlib import Path

import pytest
from starlette.routing import Route

from tests.release_worlds import HOLDER, ward
from yilian.engines import EngineStopped
from yilian.engines.cometbft.faults import ConsensusFailed, KeepsDying
from yilian.engines.faults import StoreCorrupt
from yilian.web.application import application
from yilian.web.following import _frames

DAMAGED = StoreCorrupt(Path("/srv/yilian/ledger/ledger.sqlite"), "database disk image is malformed")


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        running.ann = running.person("ann")
        await running.enrol(running.ann)
        running.headers = await running.own(HOLDER)
        running.engine._stop(DAMAGED)
        yield running
        running.engine._failure = None  # the nodes end as they would: what stopped is told by who watches the engine, not here


async def test_it_is_not_ready_and_says_why_without_saying_where_its_files_lie(here):
    answer = await here.client.get(here.running.urls[HOLDER] + "/ready")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert (answer.headers["yilian-refusal"], answer.headers["retry-after"]) == ("9120 LEDGER_UNREACHABLE", "5")
    assert answer.json() == {
        "type": "urn:yilian:refusal:LEDGER_UNREACHABLE",
        "title": "the ledger in ledger.sqlite is damaged (database disk image is malformed): keep a copy, then restore the backup, or a "
        "snapshot and follow another member; in a consortium `yilian network repair` fetches the ledger from the others",
        "status": 503,
        "number": 9120,
        "name": "LEDGER_UNREACHABLE",
        "facts": {},
    }
    assert (await here.client.get(here.running.urls[HOLDER] + "/health")).status_code == 200


async def test_each_standard_is_answered_in_its_own_form(here):
    fhir = await here.client.get(here.running.urls[HOLDER] + "/fhir/metadata")
    other = await here.client.get(here.running.urls[HOLDER] + "/network/members")
    assert [one.headers["content-type"] for one in (fhir, other)] == ["application/fhir+json", "application/problem+json"]
    assert [one.headers["retry-after"] for one in (fhir, other)] == ["5", "5"]
    assert (fhir.json()["issue"][0]["code"], other.json()["name"]) == ("transient", "LEDGER_UNREACHABLE")


async def test_asking_a_stopped_engine_again_and_again_holds_on_to_nobody_who_asked(here):
    def frames():
        with pytest.raises(StoreCorrupt) as stopped:
            here.engine.read()
        return len(stopped.traceback)

    assert frames() == frames() == frames()


async def test_a_stream_of_blocks_that_began_ends_where_the_engine_stops(here):
    here.running.engine._failure = None
    frames = _frames(here.holder, 0, asyncio.Event(), is_followed=False)
    assert len(await anext(frames)) > 4
    here.running.engine._stop(DAMAGED)
    assert [frame async for frame in frames] == []


LOG = Path("/srv/yilian/ledger/cometbft.log")
SAID = "open /srv/yilian/ledger/validator/data: permission denied"


@pytest.mark.parametrize("stopped", [KeepsDying(1, LOG, SAID), ConsensusFailed(LOG, SAID), DAMAGED], ids=lambda each: type(each).__name__)
def test_no_sentence_says_where_files_lie_nor_does_what_it_quotes(stopped):
    assert "/srv/yilian" in str(stopped)
    assert "/srv" not in stopped.without_path()
    assert stopped.path.name in stopped.without_path()


def test_a_sentence_that_names_no_file_is_told_as_it_is():
    assert EngineStopped("block 7 came where block 6 was due").without_path() == "block 7 came where block 6 was due"


async def test_no_route_takes_it_for_a_defect(here, caplog):
    routes = [route for route in application(here.holder).routes if isinstance(route, Route)]
    asked = {}
    for path, method in sorted({(route.path, method) for route in routes for method in route.methods - {"HEAD"}}):
        for part in ("00", "ann"):
            url = here.running.urls[HOLDER] + re.sub(r"\{\w+(:\w+)?\}", part, path).replace("/fhir/ann", "/fhir/Observation")
            answer = await here.client.request(method, url, headers=here.headers, content=b"" if method != "GET" else None)
            asked[method, path, part] = answer.status_code
    assert [which for which, status in asked.items() if status == 500] == []
    told = {path for (_, path, _), status in asked.items() if status == 503}
    assert told >= {"/fhir/metadata", "/network/blocks", "/network/members", "/network/state/{key}", "/network/transactions", "/ready"}
    assert [one.getMessage() for one in caplog.records if "defect" in one.getMessage()] == []
