"""Transactions from whoever connects: bounded in number, and what no member signed goes no further than the door."""

import asyncio

from tests.alliance_worlds import alliance, seed
from tests.engines import embedded, genesis
from tests.submissions import Submissions
from yilian.base.keys import SigningKey
from yilian.base.refusals import Reason
from yilian.base.transaction import TRANSACTION_SIZE_BYTES_MAX, Header, sign
from yilian.contracts import consent
from yilian.engines import TooManyWaiting, decode_committed
from yilian.engines import embedded as embedded_room
from yilian.engines.embedded import EmbeddedEngine
from yilian.node import limits
from yilian.node.limits import Limit

REGULATOR, PATH = "regulator-1", "/network/transactions"


def strangers(running, number=1):
    """Return a transaction that is well formed and signed with a key that no member has."""
    pair, clock_s = SigningKey(seed("stranger")), running.clock.now_ms // 1_000
    header = Header(running.genesis.network_id, pair.kid, REGULATOR, "consent.revoke", clock_s + 60, number)
    return pair, sign(pair, header, consent.REVOKE, {1: seed("grant")}, ())


async def test_what_no_member_signed_reaches_neither_the_queue_nor_the_operator(tmp_path, monkeypatch):
    submitted, submit = [], EmbeddedEngine.submit

    async def noted(engine, transaction):
        submitted.append(transaction)
        return await submit(engine, transaction)

    monkeypatch.setattr(EmbeddedEngine, "submit", noted)
    async with alliance(tmp_path, opens=[REGULATOR]) as running:
        pair, transaction = strangers(running)
        said = decode_committed((await running.post(REGULATOR, PATH, transaction)).content)
        assert (said.index, said.height, said.reason, said.facts) == (None, None, Reason.UNKNOWN_KEY, {"kid": pair.kid})
        none = decode_committed((await running.post(REGULATOR, PATH, b"no transaction")).content)
        assert (none.index, none.height, none.reason, none.facts) == (None, None, Reason.BAD_BYTES, {})
        assert transaction not in submitted
        assert b"no transaction" not in submitted
        large = await running.post(REGULATOR, PATH, bytes(TRANSACTION_SIZE_BYTES_MAX + 1))
        assert (large.status_code, large.json()["facts"]) == (400, {"size_bytes_max": TRANSACTION_SIZE_BYTES_MAX})


async def test_one_address_does_not_submit_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "TRANSACTIONS", Limit("transactions", 2, 100))
    async with alliance(tmp_path, opens=[REGULATOR]) as running:
        answers = [await running.post(REGULATOR, PATH, strangers(running, number)[1]) for number in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]


async def test_a_full_queue_is_told_and_takes_again_once_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_room, "WAITING_MAX", 3)
    network = genesis()
    offer = Submissions(network.network_id)
    async with embedded(tmp_path, network) as engine:
        load = [offer.give(f"grant {number}") for number in range(5)]
        said = await asyncio.gather(*[engine.submit(data) for data in load], return_exceptions=True)
        assert [type(one) for one in said[3:]] == [TooManyWaiting] * 2
        assert [one.is_accepted for one in said[:3]] == [True] * 3
        assert (await engine.submit(load[3])).is_accepted
        refused = [offer.give("grant 4", carrier="clinic-1", issuer="hospital-1") for _ in range(5)]
        for data in refused:  # each is refused at the door and leaves its place
            assert (await engine.submit(data)).reason == Reason.WRONG_ISSUER


async def test_a_node_with_a_full_queue_says_when_to_ask_again(tmp_path, monkeypatch):
    async with alliance(tmp_path, opens=[REGULATOR]) as running:

        async def full(_engine, _transaction):
            raise TooManyWaiting(3)

        node = running.nodes[REGULATOR]
        header = Header(node.network, node.keys.node_key.kid, REGULATOR, "consent.revoke", 2**31, 1)
        signed = sign(node.keys.node_key, header, consent.REVOKE, {1: seed("grant")}, ())
        monkeypatch.setattr(EmbeddedEngine, "submit", full)
        answer = await running.post(REGULATOR, PATH, signed)
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["content-type"]) == (503, "5", "application/problem+json")
        assert (answer.headers["yilian-refusal"], answer.json()["facts"]) == ("9125 TOO_MANY_WAITING", {"waiting_max": 3})
