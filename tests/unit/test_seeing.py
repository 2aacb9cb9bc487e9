"""What a client says of how far it has seen the ledger: its own writes are seen at the next node, and one liar stops no honest one."""

import httpx
import pytest

from yilian.peers import HEIGHT_HEADER
from yilian.sim.software import connected
from yilian.web.heights import AHEAD_MAX


class Network:
    """Nodes by name, each at a height; they refuse what they have not reached. What a node says of itself may be false."""

    def __init__(self, **heights):
        self.heights, self.says, self.asked = heights, {}, []

    async def __call__(self, request):
        node, named = request.url.host, int(request.headers[HEIGHT_HEADER])
        self.asked.append((node, named))
        here = self.heights[node]
        headers = {HEIGHT_HEADER: str(self.says.get(node, here))}
        if named > here and node not in self.says:
            return httpx.Response(503, headers=headers | {"yilian-refusal": "9126 HEIGHT_NOT_REACHED"})
        return httpx.Response(200, headers=headers, content=await request.aread())


def client_of(network, monkeypatch):
    monkeypatch.setattr("httpx._client.AsyncHTTPTransport", lambda **_: httpx.MockTransport(network))
    return connected()


async def status(client, node, content=b"x"):
    answer = await client.post(f"http://{node}/", content=content)
    assert answer.status_code != 200 or answer.content == content
    return answer.status_code


async def test_what_was_entered_at_one_node_is_waited_for_at_the_next(monkeypatch):
    network = Network(a=41, b=41)
    async with client_of(network, monkeypatch) as client:
        for node in "aba":
            await status(client, node)
        network.heights["a"] = 42  # holds what the client submitted
        await status(client, "a")
        network.heights["b"] = 42
        await status(client, "b")
    assert network.asked == [("a", 0), ("b", 41), ("a", 41), ("a", 41), ("b", 42)]


@pytest.mark.parametrize("lie", [10**14, 10**15 - 1, 41 + AHEAD_MAX + 1, 42])
async def test_one_node_that_lies_of_its_height_stops_no_other(monkeypatch, lie):
    network = Network(liar=41, a=41, b=41)
    network.says["liar"] = lie
    async with client_of(network, monkeypatch) as client:
        said = [await status(client, node) for node in ("liar", "a", "b", "liar", "a", "b", "a")]
    assert said == [200] * 7
    # each honest node is told the lie once
    assert [(node, named) for node, named in network.asked if named == lie] == [("a", lie), ("b", lie)]
    assert network.asked[-1] == ("a", 41)


async def test_a_node_that_was_doubted_counts_again_once_another_came_as_far(monkeypatch):
    network = Network(a=50, b=40, c=50)
    async with client_of(network, monkeypatch) as client:
        assert [await status(client, node) for node in "ab"] == [200, 200]  # b hangs behind, and one word against another decides nothing
        assert await status(client, "c") == 200
        assert await status(client, "b") == 503  # two have come so far: it is b that is behind
        network.heights["b"] = 50
        assert await status(client, "b") == 200
    assert network.asked == [("a", 0), ("b", 50), ("b", 0), ("c", 50), ("b", 50), ("b", 50)]


async def test_a_node_that_falsely_says_it_is_behind_lets_nobody_else_answer_from_before(monkeypatch):
    network = Network(a=50, liar=3, b=50)
    async with client_of(network, monkeypatch) as client:
        for node in ("a", "liar", "b"):
            assert await status(client, node) == 200
    assert network.asked[-1] == ("b", 50)


async def test_a_refusal_that_a_node_passes_on_for_another_is_no_ones_lie(monkeypatch):
    async def passing_on(request):
        return httpx.Response(503, headers={HEIGHT_HEADER: "50", "yilian-refusal": "9126 HEIGHT_NOT_REACHED"})

    async with client_of(passing_on, monkeypatch) as client:
        client.heights.learn("other", "50")
        assert await status(client, "a") == 503
        assert client.heights.to_say("a") == 50


@pytest.mark.parametrize("said", ["many", "", "-1", "1e3", "٣", "²", "9" * 16, "9" * 5_000])
async def test_a_height_that_is_no_number_is_none(monkeypatch, said):
    async def answer(request):
        return httpx.Response(200, headers=[(HEIGHT_HEADER, said.encode())])

    async with client_of(answer, monkeypatch) as client:
        assert (await client.get("http://a/")).status_code == 200
        assert client.heights.to_say("b") == 0
