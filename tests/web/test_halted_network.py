"""A network that makes no blocks now: who asks is told so, and when to ask again."""

import json

import pytest
from starlette.requests import Request

from tests.alliance_worlds import alliance, seed
from tests.release_worlds import ward
from yilian.base.codec import encode
from yilian.base.keys import SigningKey
from yilian.base.transaction import act_bytes, approve
from yilian.contracts import consent
from yilian.engines import NotOrdering
from yilian.engines.embedded import EmbeddedEngine
from yilian.node import No, NodeRefused
from yilian.web.errors import refused


async def submit(_engine, _transaction):
    """Answer as an engine of validators does that has seen no block for 17 s."""
    raise NotOrdering(17)


async def test_a_wallet_is_told_that_nothing_is_ordered_and_when_to_ask_again(tmp_path, monkeypatch):
    async with alliance(tmp_path, opens=["regulator-1"]) as running:
        monkeypatch.setattr(EmbeddedEngine, "submit", submit)
        header = (await running.post("regulator-1", "/network/header", encode("consent.revoke"))).content
        patient = SigningKey(seed("patient"))
        act = act_bytes(consent.REVOKE, {1: patient.public_key})
        body = encode([header, act, [list(approve(patient, header, act))]])
        answer = await running.post("regulator-1", "/network/submit", body)
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["content-type"]) == (503, "5", "application/problem+json")
        assert answer.headers["yilian-refusal"] == "9124 NETWORK_MAKES_NO_BLOCKS"
        assert answer.json() == {
            "type": "urn:yilian:refusal:NETWORK_MAKES_NO_BLOCKS",
            "title": "9124 NETWORK_MAKES_NO_BLOCKS(since_s=17)",
            "status": 503,
            "number": 9124,
            "name": "NETWORK_MAKES_NO_BLOCKS",
            "facts": {"since_s": 17},
        }
        with pytest.raises(NodeRefused) as no:
            await running.nodes["regulator-1"].carriage.submit(b"")
        assert (no.value.no, no.value.facts) == (No.NETWORK_MAKES_NO_BLOCKS, {"since_s": 17})


async def test_of_a_reading_no_byte_leaves_and_the_same_request_is_answered_later(tmp_path, monkeypatch):
    async with ward(tmp_path) as here:
        ann = here.person("ann")
        await here.enrol(ann)
        control_key = await here.give(ann)
        reading, before = here.signed("/fhir/Observation", control_key, presence=await here.present(ann)), here.entries()
        with monkeypatch.context() as patch:
            patch.setattr(EmbeddedEngine, "submit", submit)
            received = await here.ask(reading)
        assert (received.status, received.refusal, received.entry_index) == (503, "9124 NETWORK_MAKES_NO_BLOCKS", None)
        assert json.loads(received.body)["facts"] == {"since_s": 17}
        assert here.entries() == before
        again = await here.ask(reading)
        assert (again.status, here.entries()) == (200, before + 1)


async def test_where_fhir_is_spoken_the_answer_is_an_operation_outcome():
    request = Request({"type": "http", "method": "POST", "path": "/fhir/Task", "headers": [], "query_string": b""})
    answer = await refused(request, NodeRefused(No.NETWORK_MAKES_NO_BLOCKS, since_s=17))
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["content-type"]) == (503, "5", "application/fhir+json")
    (issue,) = json.loads(answer.body)["issue"]
    assert (issue["severity"], issue["code"], issue["diagnostics"]) == ("error", "transient", "9124 NETWORK_MAKES_NO_BLOCKS(since_s=17)")
