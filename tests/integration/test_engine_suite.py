"""What every engine promises, whichever way it orders: the same sentences for all of them."""

import asyncio

import pytest

from tests.engines import every_engine, genesis, grant
from tests.submissions import Submissions
from tests.waiting import begun
from tests.worlds import key
from yilian.base.merkle import EMPTY_ROOT, is_consistent, is_included, leaf_hash
from yilian.base.refusals import Reason
from yilian.contracts.consent import State
from yilian.engines import Committed, EngineClosed
from yilian.ledger import screen


@pytest.fixture(params=every_engine())
async def engine(request, tmp_path):
    async with request.param(tmp_path, genesis()) as opened:
        yield opened


@pytest.fixture
def offer(engine):
    return Submissions(engine.genesis.network_id)


async def test_an_accepted_transaction_is_final_visible_and_an_entry_at_its_index(engine, offer):
    data = offer.give("a")
    answer = await engine.submit(data)
    assert answer == Committed(leaf_hash(data), 0, answer.height, answer.time_ms, 0, {})
    assert grant(engine.read(), "a").state is State.GIVEN
    entry = engine.entry(0)
    assert (entry.index, entry.id, entry.data, entry.height, entry.time_ms) == (0, answer.id, data, answer.height, answer.time_ms)
    assert engine.find(answer.id) == answer
    chain = engine.read().chain
    assert chain.height >= answer.height
    assert is_included(leaf_hash(data), 0, chain.log.size, engine.inclusion(0, chain.log.size), chain.log.root())


async def test_the_same_bytes_get_the_same_answer_now_and_later(engine, offer):
    data = offer.give("a")
    first, second = await asyncio.gather(engine.submit(data), engine.submit(data))
    await engine.submit(offer.give("b"))
    assert first == second == await engine.submit(data)
    assert engine.read().chain.log.size == 2


async def test_a_rule_s_refusal_is_final_and_is_answered_again(engine, offer):
    await engine.submit(offer.give("a"))
    data = offer.revoke("a", approver=key("a stranger"))
    answer = await engine.submit(data)
    expected = Committed(leaf_hash(data), None, answer.height, answer.time_ms, int(Reason.NOT_APPROVED_BY_CONTROL_KEY), {})
    assert answer == expected
    assert (answer.is_accepted, answer.height is None) == (False, False)
    assert await engine.submit(data) == answer
    assert engine.read().chain.log.size == 1


async def test_facts_of_a_refusal_arrive_whole(engine, offer):
    nonce = offer.nonce
    await engine.submit(offer.give("a"))
    replayed = await engine.submit(offer.give("b", nonce=nonce))
    assert (replayed.reason, replayed.facts) == (Reason.REPLAYED, {"nonce": nonce})
    expired = await engine.submit(offer.give("c", exp_s=1))
    assert (expired.reason, expired.facts) == (Reason.EXPIRED, {"exp_s": 1})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: b"", Reason.BAD_BYTES),
        (lambda data: data + b"\x00", Reason.BAD_BYTES),
        (lambda data: bytes(70_000), Reason.TOO_LARGE),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), Reason.BAD_SIGNATURE),
    ],
    ids=["nothing", "trailing byte", "too large", "flipped bit"],
)
async def test_what_is_refused_at_the_door_is_in_no_block(engine, offer, spoil, reason):
    data = spoil(offer.give("a"))
    answer = await engine.submit(data)
    assert (answer.id, answer.index, answer.height, answer.reason) == (leaf_hash(data), None, None, reason)
    assert engine.read().chain.log.size == 0
    assert engine.find(answer.id) is None


async def test_another_network_s_transaction_and_a_stranger_s_are_refused_at_the_door(engine, offer):
    elsewhere = await engine.submit(offer.give("a", network=bytes(32)))
    assert (elsewhere.height, elsewhere.reason, elsewhere.facts) == (None, Reason.WRONG_NETWORK, {})
    stranger = await engine.submit(offer.give("a", kid=bytes(16)))
    assert (stranger.height, stranger.reason, stranger.facts) == (None, Reason.UNKNOWN_KEY, {"kid": bytes(16)})


async def test_a_view_stays_at_its_height_however_long_it_is_held(engine, offer):
    await engine.submit(offer.give("a"))
    early = engine.read()
    rows = list(early.scan(b"c/"))
    await engine.submit(offer.revoke("a"))
    await engine.submit(offer.give("b"))
    assert (grant(early, "a").state, grant(early, "b")) == (State.GIVEN, None)
    assert list(early.scan(b"c/")) == rows
    late = engine.read()
    assert (grant(late, "a").state, grant(late, "b").state) == (State.REVOKED, State.GIVEN)
    assert len(list(late.scan(b"c/"))) == 2
    assert late.chain.height > early.chain.height


async def test_of_a_burst_each_gets_its_own_index_and_the_log_has_no_gap(engine, offer):
    names = [f"grant {n}" for n in range(60)]
    load = [offer.give(name, carrier=("clinic-1", "hospital-1", "hospital-2")[n % 3]) for n, name in enumerate(names)]
    answers = await asyncio.gather(*[engine.submit(data) for data in load])
    assert sorted(answer.index for answer in answers) == list(range(60))
    for answer, data in zip(answers, load, strict=True):
        assert engine.entry(answer.index).data == data
    view = engine.read()
    assert all(grant(view, name) is not None for name in names)
    assert engine.entry(60) is None


async def test_every_entry_is_proven_at_every_size_and_every_size_extends_every_earlier_one(engine, offer):
    for n in range(9):
        await engine.submit(offer.give(f"grant {n}"))
    roots = [engine.log_root(size) for size in range(10)]
    assert roots[0] == EMPTY_ROOT
    assert roots[9] == engine.read().chain.log.root()
    for size in range(1, 10):
        for index in range(size):
            assert is_included(engine.entry(index).id, index, size, engine.inclusion(index, size), roots[size])
        for old in range(size + 1):
            assert is_consistent(old, roots[old], size, roots[size], engine.consistency(old, size))


async def test_no_proof_is_given_of_a_log_that_is_not_final_yet(engine, offer):
    await engine.submit(offer.give("a"))
    for ask in (lambda: engine.inclusion(0, 2), lambda: engine.consistency(1, 2), lambda: engine.log_root(2)):
        with pytest.raises(ValueError, match="the final log has 1 leaves, not 2"):
            ask()


async def take(stream, count):
    found = []
    async for block in stream:
        found.append(block)
        if len(found) == count:
            break
    await stream.aclose()
    return found


async def first_that_is_not_empty(stream):
    async for block in stream:
        if block.transactions:
            return block
    raise AssertionError("the stream ends only with the engine")


async def test_the_stream_of_blocks_is_whole_in_order_resumable_and_goes_on(engine, offer):
    last = [await engine.submit(offer.give(name)) for name in ("a", "b", "c")][-1]
    blocks = await take(engine.blocks(0), last.height)
    assert [block.height for block in blocks] == list(range(1, last.height + 1))
    assert blocks[-1] == engine.block(last.height)
    assert blocks[-1].app_hash == engine.read().chain.app_hash
    assert (blocks[-1].log_size, blocks[-1].log_root) == (3, engine.log_root(3))
    assert await take(engine.blocks(1), last.height - 1) == blocks[1:]
    following = asyncio.create_task(first_that_is_not_empty(engine.blocks(last.height)))
    answer = await engine.submit(offer.give("d"))
    block = await following
    assert (block.height, block.transactions[0], block.results[0].index) == (answer.height, engine.entry(3).data, answer.index)
    assert engine.block(10_000) is None


async def test_what_is_screened_elsewhere_is_screened_alike(engine, offer):
    data = offer.give("a")
    assert screen(engine.genesis.network_id, engine.read().chain.keys, data).carrier == "clinic-1"
    assert (await engine.submit(data)).is_accepted


async def test_a_caller_who_gives_up_changes_nothing_for_the_others(engine, offer):
    impatient = await begun(engine.submit(offer.give("a")))
    impatient.cancel()
    answer = await engine.submit(offer.give("b"))
    assert answer.is_accepted
    assert grant(engine.read(), "b") is not None


async def test_a_closed_engine_says_so_to_whoever_asks_waits_or_watches(engine, offer):
    watching = await begun(engine.watch())
    following = await begun(take(engine.blocks(0), 1))
    await engine.close()
    for ask in (engine.read, lambda: engine.entry(0), lambda: engine.block(1)):
        with pytest.raises(EngineClosed):
            ask()
    with pytest.raises(EngineClosed):
        await engine.submit(offer.give("a"))
    for task in (watching, following):
        with pytest.raises(EngineClosed):
            await task


async def test_answers_do_not_depend_on_who_carried(engine, offer):
    data = [offer.give(f"grant {n}", carrier=carrier) for n, carrier in enumerate(("clinic-1", "regulator-1"))]
    first, second = [await engine.submit(each) for each in data]
    assert first._replace(id=b"", index=0, height=0, time_ms=0) == second._replace(id=b"", index=0, height=0, time_ms=0)
