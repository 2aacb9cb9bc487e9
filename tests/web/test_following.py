"""What a node tells anybody of the ledger: blocks to who follows it, and the row of a grant to who knows the beginning of its key."""

import asyncio
import gc
from collections import Counter
from types import SimpleNamespace

import httpx
import pytest

from tests.alliance_worlds import alliance
from tests.release_worlds import ward
from yilian.base.codec import decode
from yilian.base.digests import sha256
from yilian.contracts import consent
from yilian.engines import encode_block
from yilian.ledger import parse_answer
from yilian.web import following

REGULATOR = "regulator-1"


@pytest.fixture
async def complaints():
    """What nobody took: exceptions that the event loop would print when a task is thrown away."""
    said, loop = [], asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context["message"]))
    yield said
    loop.set_exception_handler(None)


def followed(node, closing=None):
    return following._frames(node, 0, closing or asyncio.Event(), is_followed=True)


async def test_who_follows_and_goes_leaves_nothing_behind_when_the_node_ends(tmp_path, complaints):
    async with alliance(tmp_path, opens=[]) as running:
        await came_and_went(followed(SimpleNamespace(engine=running.engine)))
    await thrown_away()
    assert complaints == []


async def came_and_went(stream):
    """Follow until there is nothing new, and go; what is left is nobody's, also not of a trace that this function holds."""
    waiting = asyncio.ensure_future(drained(stream))
    await a_while()
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def a_while():
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def thrown_away():
    """Let what still waits come to its end, and have the loop say what nobody took."""
    await a_while()
    gc.collect()


async def drained(stream):
    return [frame async for frame in stream]


@pytest.mark.parametrize("ends_first", ["server", "engine"])
async def test_a_stream_ends_with_the_server_and_with_the_engine_and_says_nothing(tmp_path, complaints, ends_first):
    async with alliance(tmp_path, opens=[]) as running:
        closing = asyncio.Event()
        rest = asyncio.ensure_future(drained(followed(SimpleNamespace(engine=running.engine), closing)))
        await a_while()
        if ends_first == "server":
            closing.set()
        else:
            await running.engine.close()
        assert await rest == []
    await thrown_away()
    assert complaints == []


async def test_the_row_of_a_grant_is_told_signed_to_who_knows_the_beginning_of_its_key(tmp_path):
    async with ward(tmp_path) as here:
        patient = here.person("lan")
        await here.enrol(patient)
        control_key = await here.give(patient)
        await here.read(f"/fhir/Observation?patient={patient.id}", control_key, patient=patient)
        answer = await here.running.get(REGULATOR, f"/network/grants/{control_key.hex()[:4]}")
        ((signed, row),) = decode(answer.content)
        said, grant = parse_answer(signed), consent.grant_of(control_key, row)
        node = here.running.nodes[REGULATOR]
        assert (said.network, said.key, said.value_digest) == (here.network, consent.PREFIX + control_key, sha256(row))
        assert said.is_signed_by(node.keys.vault.receipt_key.public_key)
        assert grant == consent.read(here.engine.read(), control_key)
        assert (grant.uses, grant.uses_max, grant.entries, grant.state) == (1, 5, 1, consent.State.GIVEN)
        assert patient.number.encode() not in answer.content

        assert decode((await here.running.get(REGULATOR, "/network/grants/" + "00" * 32)).content) == []
        for beginning in (control_key.hex()[:2], "zz", "00" * 65):
            refused = await here.running.get(REGULATOR, f"/network/grants/{beginning}")
            assert (refused.status_code, refused.json()["name"]) == (400, "NOT_UNDERSTOOD")


async def test_one_address_follows_so_often_at_once_and_again_when_it_has_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "STREAMS_MAX", 1)
    async with alliance(tmp_path, opens=[REGULATOR]) as running, httpx.AsyncClient(trust_env=False) as client:
        path = running.urls[REGULATOR] + "/network/blocks?since=0&follow"
        await running.doctor(REGULATOR)
        async with client.stream("GET", path) as first:
            await anext(first.aiter_raw())
            async with client.stream("GET", path) as second:
                await second.aread()
                assert (second.status_code, second.json()["facts"]) == (429, {"streams_max": 1})
            assert (await client.get(path.removesuffix("&follow"))).status_code == 200

    streams, frames = Counter(), following._counted(aiter_of(b"a", b"b"), Counter(), "x")
    assert [frame async for frame in frames] == [b"a", b"b"]
    frames = following._counted(aiter_of(b"a", b"b"), streams, "x")
    assert await anext(frames) == b"a"
    assert streams == {"x": 1}
    await frames.aclose()
    assert streams == {}


async def aiter_of(*items):
    for item in items:
        yield item


def cut(content):
    """Return the frames in an answer."""
    frames = []
    while content:
        end = 4 + int.from_bytes(content[:4], "big")
        frames.append(content[4:end])
        content = content[end:]
    return frames


async def test_a_part_of_the_blocks_has_as_many_as_were_asked_for_and_then_the_next(tmp_path, monkeypatch):
    async with ward(tmp_path) as here:
        engine, last = here.engine, here.engine.read().chain.height
        assert last > 3
        shown = [encode_block(engine.block(height)) for height in range(1, last + 1)]
        for since, limit in ((0, 1), (0, 2), (1, 2), (last - 1, 999), (last, 5), (last + 9, 5)):
            answer = await here.running.get(REGULATOR, f"/network/blocks?since={since}&limit={limit}")
            assert (answer.status_code, cut(answer.content)) == (200, shown[since : since + limit])
        monkeypatch.setattr(following, "BLOCKS_SIZE_BYTES_MAX", len(shown[0]))
        answer = await here.running.get(REGULATOR, "/network/blocks?since=0&limit=999")
        assert cut(answer.content) == shown[:1]  # with its frame it is more than may be sent, and one is always sent
        for limit in ("", "-1", "x", "1000", "%C2%B2"):
            answer = await here.running.get(REGULATOR, f"/network/blocks?since=0&limit={limit}")
            assert answer.json()["name"] == "NOT_UNDERSTOOD"
