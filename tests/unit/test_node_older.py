"""Older blocks: what a member answers is taken apart with care, and one honest member suffices whatever the others send, and when."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ledgers import HEIGHT, Source, changed_block, restored
from yilian.base.codec import encode
from yilian.contracts import directory
from yilian.engines import Lied, Older
from yilian.node import older
from yilian.peers import Unreachable

US, FIRST, SECOND, THIRD = "regulator-1", "clinic-1", "hospital-1", "hospital-2"  # in the order in which they are asked
LATE = 34  # the last block of the first day: shown later than it was, its leaves are the same, but not the digest that closes the day


def framed(*blocks):
    return b"".join(len(block).to_bytes(4, "big") + block for block in blocks)


def lied(act, content):
    with pytest.raises(Lied) as no:
        act(content)
    return str(no.value), no.value.is_sender


def test_frames_are_cut_where_they_end():
    assert older._frames(b"") == []
    assert older._frames(framed(b"one", b"", b"three")) == [b"one", b"", b"three"]


@pytest.mark.parametrize("left_out", range(1, 12))
def test_an_answer_that_ends_within_a_frame_is_refused_wherever_it_ends(left_out):
    content = framed(b"one", b"three")[:-left_out]
    if len(content) == len(framed(b"one")):
        assert older._frames(content) == [b"one"]
    else:
        assert lied(older._frames, content) == ("the answer ends within a block", True)


def test_a_proof_is_a_list_of_hashes():
    assert older._path(encode([b"a" * 32, b"b" * 32])) == [b"a" * 32, b"b" * 32]
    assert older._path(encode([])) == []
    assert lied(older._path, b"\xff") == ("the proof cannot be read", True)
    for wrong in (encode({}), encode([1]), encode(b"a"), encode(None)):
        assert lied(older._path, wrong) == ("the proof is no list of hashes", True)


# whose blocks are taken


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    made = Source(tmp_path_factory.mktemp("source"))
    made.grow(HEIGHT)
    yield made
    made.replica.close()


class Region:
    """The members of the source, each behind its address; a node that began with a snapshot asks them."""

    def __init__(self, replica, source):
        self.source, self.replica, self.asked = source, replica, []
        self.serves = dict.fromkeys((FIRST, SECOND, THIRD), lambda since: [])
        self.id, self.peers = US, self
        self.engine = SimpleNamespace(older=lambda: Older(replica), read=replica.read, reached=self._reached, began=HEIGHT)

    async def _reached(self, height):
        assert self.replica.chain.height >= height

    async def get(self, url):
        where = urlsplit(url)
        asked = {name: int(each) for name, (each,) in parse_qs(where.query).items()}
        if where.path.endswith("/consistency"):
            return SimpleNamespace(status=200, content=encode(list(self.source.proof(asked["old"], asked["new"]))))
        self.asked.append((where.netloc, asked["since"]))
        return SimpleNamespace(status=200, content=framed(*self.serves[where.netloc](asked["since"])))

    def honest(self, since):
        return self.source.frames(since, 30)

    def late(self, since):
        """Show one block later than it was."""
        heights = range(since + 1, HEIGHT + 1)[:30]
        shift = {LATE: lambda block: replace(block, time_ms=block.time_ms + 20_000)}
        return [changed_block(self.source, height, shift.get(height, lambda block: block)) for height in heights]

    def begins(self, since):
        """Show one block later than it was, and nothing after it."""
        return self.late(since)[: LATE - since] if since < LATE else []


@pytest.fixture
def region(source, tmp_path, monkeypatch):
    replica = restored(tmp_path / "ledger", source, source.snapshot())
    made = Region(replica, source)
    monkeypatch.setattr(older, "PAUSE_S", 0)
    members = [replace(one, endpoint=f"http://{one.id}") for one in directory.members(replica.read()) if one.id != US]
    monkeypatch.setattr(older, "_others", lambda _: members)  # the founders of this network have no addresses
    yield made
    replica.close()


async def fetched(region):
    """Let the node fetch all; return who was asked from the beginning, in that order."""
    async with asyncio.timeout(60):
        await older.fetch(region)
    assert region.replica.missing == 0
    assert [region.replica.block(height) for height in (1, LATE)] == [region.source.replica.block(height) for height in (1, LATE)]
    return [member for member, since in region.asked if since == 0]


async def test_of_honest_members_each_goes_on_where_the_last_one_ended(region):
    region.serves = {FIRST: lambda since: region.honest(since) if since < 30 else [], SECOND: region.honest, THIRD: region.honest}
    assert await fetched(region) == [FIRST]
    assert {member for member, _ in region.asked} == {FIRST, SECOND}


async def test_who_begins_falsely_and_then_has_nothing_does_not_stop_the_others_for_ever(region):
    """Mixed with an honest member's the first attempt fails; in the second all must come from one."""
    region.serves |= {FIRST: region.begins, SECOND: region.honest}
    assert await fetched(region) == [FIRST, FIRST, SECOND]
    assert [since for member, since in region.asked if member == FIRST] == [0, 30, LATE, 0, 30, *[LATE] * (older.PATIENCE + 1)]


async def test_who_sent_all_of_an_attempt_that_failed_is_not_asked_again(region):
    region.serves |= {FIRST: region.late, SECOND: region.late, THIRD: region.honest}
    assert await fetched(region) == [FIRST, SECOND, THIRD]


async def test_who_is_away_for_a_moment_goes_on_where_it_stood(region):
    away = []

    def flaky(since):
        if since and since not in away:
            away.append(since)
            raise Unreachable("away")
        return region.honest(since)

    region.serves |= {FIRST: region.late, SECOND: flaky}
    assert await fetched(region) == [FIRST, SECOND]
    assert away == [30, 60]


async def test_what_was_there_before_a_restart_is_nobodys(region):
    """The liar's beginning is there already: who completes it honestly is not taken for the liar."""
    begun = Older(region.replica)
    while begun.since_height < LATE:
        part = begun.read(region.begins(begun.since_height))
        begun.take(part, region.source.proof(part.log.size, region.replica.missing))
    begun.close()
    region.serves |= {FIRST: region.honest}
    assert await fetched(region) == [FIRST]
    assert region.asked[0] == (FIRST, LATE)
