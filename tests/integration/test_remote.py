"""The engine that follows: every block decided here, nothing believed, and nothing lost when the way is cut."""

import asyncio
import contextlib

import pytest

from tests.engines import Loopback, embedded, genesis, grant
from tests.submissions import Submissions
from tests.waiting import until
from tests.worlds import make_genesis, node_key
from yilian.base.codec import decode, encode
from yilian.base.refusals import Reason
from yilian.engines import AnswerNotKept, AppHashMismatch, BlockOutOfOrder, BlockUnreadable, WrongNetwork, fsck, fsck_folder
from yilian.engines.remote import Backoff, RemoteEngine
from yilian.engines.wire import decode_committed, encode_committed

AT_ONCE = Backoff(0.001, 0.002)
GENESIS = genesis()


@pytest.fixture
async def operator(tmp_path):
    async with embedded(tmp_path / "operator", GENESIS) as engine:
        yield engine


@pytest.fixture
def offer():
    return Submissions(GENESIS.network_id)


@contextlib.asynccontextmanager
async def following(folder, way, of=GENESIS, **options):
    engine = await RemoteEngine.open(folder / "follower", of, way, backoff=AT_ONCE, processes=0, **options)
    try:
        yield engine
    finally:
        await engine.close()


async def test_a_follower_catches_up_and_holds_the_same_ledger(tmp_path, operator, offer):
    await asyncio.gather(*[operator.submit(offer.give(f"grant {n}")) for n in range(40)])
    await operator.submit(offer.revoke("grant 7"))
    async with following(tmp_path, Loopback(operator)) as follower:
        height = operator.read().chain.height
        await follower.reached(height)
        assert follower.read().chain == operator.read().chain
        assert list(follower.read().scan(b"")) == list(operator.read().scan(b""))
        assert [follower.block(n) for n in range(1, height + 1)] == [operator.block(n) for n in range(1, height + 1)]
        assert follower.inclusion(7, 41) == operator.inclusion(7, 41)
        later = await follower.submit(offer.give("by the follower"))
        assert (later, later.index) == (operator.find(later.id), 41)
        assert grant(follower.read(), "by the follower") is not None
        assert fsck(follower.replica).entries == 42


async def test_a_follower_with_a_verifying_process_holds_the_same_ledger(tmp_path, operator, offer):
    for part in range(4):
        await asyncio.gather(*[operator.submit(offer.give(f"grant {part} {n}")) for n in range(100)])
    engine = await RemoteEngine.open(tmp_path / "follower", GENESIS, Loopback(operator), backoff=AT_ONCE, processes=1)
    await engine.reached(operator.read().chain.height)
    assert engine.read().chain == operator.read().chain
    await engine.close()


async def test_an_answer_comes_only_when_this_copy_has_it(tmp_path, operator, offer):
    way = Loopback(operator)
    async with following(tmp_path, way) as follower:
        answers = await asyncio.gather(*[follower.submit(offer.give(f"grant {n}")) for n in range(30)])
        view = follower.read()
        assert all(grant(view, f"grant {n}") is not None for n in range(30))
        assert {answer.index for answer in answers} == set(range(30))


async def test_what_this_copy_knows_is_answered_without_the_operator(tmp_path, operator, offer):
    way = Loopback(operator)
    async with following(tmp_path, way) as follower:
        data = offer.give("a")
        answer = await follower.submit(data)
        way.is_cut = True
        assert await follower.submit(data) == answer
        assert grant(follower.read(), "a") is not None


async def test_a_cut_way_is_tried_again_and_the_stream_goes_on_where_it_stopped(tmp_path, operator, offer):
    way = Loopback(operator)
    async with following(tmp_path, way) as follower:
        await follower.submit(offer.give("a"))
        way.is_cut = True
        calls = way.calls
        await operator.submit(offer.give("b"))
        await operator.submit(offer.give("c"))
        await until(lambda: way.calls > calls + 3)
        assert follower.read().chain.height == 1
        way.is_cut = False
        await follower.reached(3)
        assert follower.read().chain == operator.read().chain


async def test_with_the_way_cut_a_submission_is_refused_a_connection_and_may_be_made_again(tmp_path, operator, offer):
    way = Loopback(operator)
    replica_folder = tmp_path
    async with following(replica_folder, way) as follower:
        follower._patience_s = 0.0
        way.is_cut = True
        data = offer.give("a")
        with pytest.raises(ConnectionRefusedError):
            await follower.submit(data)
        way.is_cut = False
        assert (await follower.submit(data)).index == 0


async def test_a_follower_opens_while_its_operator_is_away(tmp_path, operator, offer):
    way = Loopback(operator)
    async with following(tmp_path, way) as follower:
        await follower.submit(offer.give("a"))
    way.is_cut = True
    async with following(tmp_path, way) as follower:
        assert grant(follower.read(), "a") is not None
        way.is_cut = False
        assert (await follower.submit(offer.give("b"))).index == 1
    assert fsck_folder(tmp_path / "follower", GENESIS).entries == 2


async def test_what_the_operator_refuses_at_its_door_is_passed_on(tmp_path, operator, offer):
    async with following(tmp_path, Loopback(operator)) as follower:
        answer = await follower.submit(offer.give("a", kid=bytes(16)))
        assert (answer.height, answer.reason, answer.facts) == (None, Reason.UNKNOWN_KEY, {"kid": bytes(16)})


def changed(data, position, change):
    parts = decode(data)
    parts[position] = change(parts[position])
    return encode(parts)


def second(alter):
    """Return a change of the second block that passes."""

    def pass_or_alter(data):
        return alter(data) if decode(data)[0] == 2 else data

    return pass_or_alter


def without_its_transaction(body):
    return encode([[], [], decode(body)[2]])


@pytest.mark.parametrize(
    ("alter", "cause", "says"),
    [
        (lambda data: changed(data, 3, lambda _: bytes(32)), AppHashMismatch, "block 2 gives app hash"),
        (lambda data: changed(data, 4, without_its_transaction), AppHashMismatch, "block 2 gives app hash"),
        (lambda data: changed(data, 1, lambda ms: ms + 86_400_000), AppHashMismatch, "block 2 gives app hash"),
        (lambda data: changed(data, 0, lambda height: height + 1), BlockOutOfOrder, "block 3 came where block 2 was due"),
        (lambda data: changed(data, 0, lambda height: height - 1), BlockOutOfOrder, "block 1 came where block 2 was due"),
        (lambda data: data[:-1], BlockUnreadable, "what was served as block 2 is no block"),
        (lambda data: b"", BlockUnreadable, "what was served as block 2 is no block"),
        (lambda data: changed(data, 4, lambda _: b"\xa0"), BlockUnreadable, "what was served as block 2 is no block"),
    ],
    ids=["app hash", "left out", "another day", "skipped", "repeated", "cut", "empty", "body"],
)
async def test_a_forged_block_stops_the_follower_with_a_sentence_and_changes_nothing(tmp_path, operator, offer, alter, cause, says):
    await operator.submit(offer.give("a"))
    async with following(tmp_path, Loopback(operator, second(alter))) as follower:
        await follower.reached(1)
        await operator.submit(offer.give("b"))
        with pytest.raises(cause, match=says):
            await follower.watch()
        with pytest.raises(cause):
            follower.read()
        with pytest.raises(cause):
            await follower.submit(offer.give("c"))
    assert fsck_folder(tmp_path / "follower", GENESIS).entries == 1


async def test_a_transaction_of_the_operator_s_own_making_is_refused_here_as_anywhere(tmp_path, operator, offer):
    forged = offer.give("a", kid=node_key("hospital-1").kid, issuer="hospital-1")  # signed by clinic-1
    await operator.submit(offer.give("b"))

    def smuggle(data):
        return changed(data, 4, lambda body: encode([[*decode(body)[0], forged], [], []]))

    async with following(tmp_path, Loopback(operator, smuggle)) as follower:
        await follower.reached(1)  # a refusal changes no state: the hash is the same, and the forgery did nothing
        assert grant(follower.read(), "a") is None
        assert follower.block(1).results[1].reason == Reason.BAD_SIGNATURE


async def test_an_operator_that_answers_what_its_block_does_not_hold_is_found_out(tmp_path, operator, offer):
    class Liar(Loopback):
        async def submit(self, transaction):
            other = decode_committed(await super().submit(offer.give("something else")))
            return encode_committed(type(other)(self.engine.genesis.network_id, 0, other.height, other.time_ms, 0, {}))

    async with following(tmp_path, Liar(operator)) as follower:
        data = offer.give("a")
        with pytest.raises(AnswerNotKept, match="keep the answer"):
            await follower.submit(data)
        with pytest.raises(AnswerNotKept):
            follower.read()


async def test_an_operator_of_another_network_is_not_followed(tmp_path, operator):
    other = make_genesis()
    async with following(tmp_path, Loopback(operator), of=other) as follower:
        with pytest.raises(WrongNetwork) as stopped:
            await follower.watch()
        assert (stopped.value.expected, stopped.value.found) == (other.network_id, GENESIS.network_id)


def test_the_wait_doubles_up_to_its_most():
    backoff = Backoff(0.05, 5.0)
    assert [backoff.after(failures) for failures in (1, 2, 3, 7, 8, 10_000)] == [0.05, 0.1, 0.2, 3.2, 5.0, 5.0]
