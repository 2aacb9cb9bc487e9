"""What came before a snapshot: fetched in parts, proven, decided again, joined; a liar is named, a crash costs nothing that was proven."""

import itertools
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from tests.ledgers import AFTER, HEIGHT, Source, changed_block, follow, grown_source, restored
from yilian.base.merkle import is_included
from yilian.engines import Lied, NotHeld, Older, StoreCorrupt, fsck, fsck_folder, progress_in
from yilian.engines.older import BEGUN_AGAIN, FOLDER
from yilian.engines.replica import Replica
from yilian.engines.served import Served
from yilian.engines.store import FILE
from yilian.ledger import frontier_at, lanes_over


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A source at the end, and its snapshot of HEIGHT."""
    with grown_source(tmp_path_factory.mktemp("source")) as both:
        yield both


@pytest.fixture
def joined(grown, tmp_path):
    source, snapshot = grown
    replica = restored(tmp_path / "ledger", source, snapshot)
    yield replica
    replica.close()


def fetched(older, source, parts=10**6):
    """Take parts from an honest sender until all is here, or so many were taken."""
    for _ in range(parts):
        if older.is_whole:
            break
        part = older.read(source.frames(older.since_height))
        older.take(part, source.proof(part.log.size, older.progress.entries_all))
    return older


def finished(older):
    for _ in older.join():
        pass


def lied(act, *arguments):
    with pytest.raises(Lied) as no:
        act(*arguments)
    return str(no.value), no.value.is_sender


def same_everywhere(one, other):
    tables = {"state": "key, value", "places": "prefix, place", "tiles": "key, hashes", "days": "day, leaf, tags", "blocks": "height, *"}
    tables["changes"] = "entry, height"
    for table, columns in tables.items():
        for ours, theirs in itertools.zip_longest(one.dump(table, columns), other.dump(table, columns)):
            assert ours == theirs, table
    return True


def test_what_came_before_is_fetched_proven_and_joined_and_then_the_copy_is_as_if_it_had_been_there(grown, joined):
    source, _ = grown
    follow(joined, source, HEIGHT + AFTER // 2)
    older = fetched(Older(joined), source)
    assert (older.progress.entries, older.progress.height) == (older.progress.entries_all, older.progress.height_all)
    follow(joined, source)  # blocks come meanwhile
    finished(older)
    assert (joined.missing, joined.began, (joined.path.parent / FOLDER).exists()) == (0, HEIGHT, False)
    assert same_everywhere(joined, source.replica)
    checked = fsck(joined)
    assert (checked.height, checked.missing, checked.app_hash) == (HEIGHT + AFTER, 0, source.replica.chain.app_hash)
    size = joined.chain.log.size
    for index in range(size):
        entry = joined.entry(index)
        assert entry == source.replica.entry(index)
        assert is_included(entry.id, index, size, joined.inclusion(index, size), joined.chain.log.root())
    assert [block.height for block in joined.blocks(0)] == list(range(1, 17))


@pytest.mark.parametrize("height", [1, 2, 8, 33, HEIGHT - 1, HEIGHT])
def test_a_snapshot_of_any_height_is_completed_while_blocks_come(tmp_path, height):
    source = Source(tmp_path / "source")
    source.grow(height)
    replica = restored(tmp_path / "ledger", source, source.snapshot())
    source.grow(height + 5)
    follow(replica, source, height + 2)
    older = fetched(Older(replica), source)
    for step, _ in enumerate(older.join()):
        if step == 1:
            follow(replica, source, height + 4)  # between two steps
    follow(replica, source)
    assert same_everywhere(replica, source.replica)
    assert fsck(replica).missing == 0
    assert replica.member_changes() == source.replica.member_changes()
    replica.close()
    source.replica.close()


def test_until_then_nothing_of_it_is_shown_and_proofs_say_that_it_is_not_here(grown, joined):
    source, _ = grown
    follow(joined, source)
    size = joined.missing
    older = fetched(Older(joined), source, parts=3)
    assert 0 < older.progress.entries < older.progress.entries_all == size
    for index in (0, size - 1):
        assert joined.entry(index) is None
        with pytest.raises(NotHeld):
            joined.inclusion(index, joined.chain.log.size)
    with pytest.raises(NotHeld):
        joined.consistency(size - 1, size)
    assert joined.block(HEIGHT - 1) is None
    assert joined.blocks(0)[0].height == HEIGHT + 1
    assert joined.entry(size) == source.replica.entry(size)
    assert joined.inclusion(size, joined.chain.log.size) == source.replica.inclusion(size, joined.chain.log.size)
    older.close()


def test_the_check_says_what_is_missing_and_checks_the_rest(grown, joined):
    source, _ = grown
    follow(joined, source)
    told = []
    checked = fsck(joined, progress=lambda at, last: told.append((at, last)))
    assert (checked.height, checked.entries, checked.missing) == (HEIGHT + AFTER, joined.chain.log.size, joined.missing)
    assert checked.state_rows == len(list(joined.read().scan(b"")))
    assert told == [(height, HEIGHT + AFTER) for height in range(HEIGHT + 1, HEIGHT + AFTER + 1)]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            "UPDATE state SET value = CAST(value || x'00' AS BLOB) WHERE key = (SELECT min(key) FROM state)",
            "its state or its log is not that of",
        ),
        ("DELETE FROM blocks WHERE height = 100", "block 100 is missing"),
        ("UPDATE blocks SET log_root = zeroblob(32) WHERE height = 101", "block 101 is missing, or its leaves do not give"),
        (
            "UPDATE tiles SET hashes = zeroblob(4032) WHERE key = (SELECT max(key) - 1 FROM tiles WHERE key < 1 << 48)",
            "the log's nodes are",
        ),
    ],
)
def test_the_check_of_a_copy_that_lacks_its_beginning_finds_what_is_wrong_with_the_rest(grown, tmp_path, damage, sentence):
    source, snapshot = grown
    replica = restored(tmp_path / "ledger", source, snapshot)
    follow(replica, source)
    replica.close()
    with closing(sqlite3.connect(tmp_path / "ledger" / FILE)) as connection:
        assert connection.execute(damage).rowcount == 1
        connection.commit()
    with pytest.raises(StoreCorrupt, match=sentence):
        fsck_folder(tmp_path / "ledger", source.genesis)


# a crash


@pytest.mark.parametrize("parts", [0, 1, 4])
def test_after_a_crash_it_goes_on_where_it_stood(grown, tmp_path, parts):
    source, snapshot = grown
    replica = restored(tmp_path / "ledger", source, snapshot)
    older = fetched(Older(replica), source, parts)
    stood = older.progress
    older.close()
    replica.close()
    again = Replica.open(tmp_path / "ledger", source.genesis)
    assert progress_in(tmp_path / "ledger") == stood
    older = Older(again)
    assert older.progress == stood
    finished(fetched(older, source))
    assert progress_in(tmp_path / "ledger") is None
    follow(again, source)
    assert same_everywhere(again, source.replica)
    again.close()


def test_a_crash_while_joining_joins_again(grown, tmp_path):
    source, snapshot = grown
    replica = restored(tmp_path / "ledger", source, snapshot)
    for steps in range(4):
        older = fetched(Older(replica), source)
        joining = older.join()
        for _ in range(steps):
            next(joining)
        joining.close()
        older.close()
        replica.close()
        replica = Replica.open(tmp_path / "ledger", source.genesis)
        assert (replica.missing > 0, replica.block(HEIGHT - 1), replica.entry(0)) == (True, None, None)
    finished(fetched(Older(replica), source))
    follow(replica, source)
    assert same_everywhere(replica, source.replica)
    replica.close()


def test_killed_at_any_step_what_lies_on_the_disk_goes_on(grown, tmp_path):
    """A copy of the files while all of them are open is what a killed process leaves."""
    source, snapshot = grown
    replica = restored(tmp_path / "ledger", source, snapshot)
    older, moments = Older(replica), []

    def killed():
        moments.append(shutil.copytree(tmp_path / "ledger", tmp_path / f"killed-{len(moments)}"))

    while not older.is_whole:
        fetched(older, source, parts=1)
        killed()
    for _ in older.join():
        killed()
    killed()
    replica.close()
    assert len(moments) > 9
    for folder in moments:
        again = Replica.open(folder, source.genesis, is_durable=False)
        if again.missing:
            finished(fetched(Older(again), source))
        follow(again, source)
        assert same_everywhere(again, source.replica)
        again.close()


def killed_when(monkeypatch, act):
    """Do something that removes the second copy, and die once the first file of it is gone."""

    class Killed(BaseException):
        pass

    def rmtree(folder):
        min(path for path in folder.iterdir() if path.is_file()).unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", rmtree)
        with pytest.raises(Killed):
            act()


def test_killed_when_all_was_joined_nothing_of_the_second_copy_stays(grown, tmp_path, monkeypatch):
    source, snapshot = grown
    replica = restored(tmp_path / "ledger", source, snapshot)
    (tmp_path / "ledger" / BEGUN_AGAIN).write_text("why\n")
    killed_when(monkeypatch, lambda: finished(fetched(Older(replica), source)))
    replica.close()
    again = Replica.open(tmp_path / "ledger", source.genesis)
    assert again.missing == 0
    assert Served(again).missing == 0
    left = {path.name for path in (tmp_path / "ledger").iterdir()}
    again.close()
    replica = restored(tmp_path / "other", source, snapshot)
    assert left == {path.name for path in (tmp_path / "other").iterdir()}
    replica.close()


def test_killed_between_the_last_step_and_the_removing_nothing_of_the_second_copy_stays(grown, tmp_path, monkeypatch):
    source, snapshot = grown
    replica = restored(tmp_path / "ledger", source, snapshot)
    with monkeypatch.context() as patch:
        patch.setattr("yilian.engines.older.remove_leftovers", lambda _: None)
        finished(fetched(Older(replica), source))
    replica.close()
    assert (tmp_path / "ledger" / FOLDER).exists()
    again = Replica.open(tmp_path / "ledger", source.genesis)
    Served(again)
    assert not (tmp_path / "ledger" / FOLDER).exists()
    again.close()


def test_killed_while_it_is_thrown_away_it_begins_anew(grown, tmp_path, monkeypatch):
    source, snapshot = grown
    replica = restored(tmp_path / "ledger", source, snapshot)
    older = fetched(Older(replica), source, parts=2)
    killed_when(monkeypatch, older.forget)
    replica.close()
    again = Replica.open(tmp_path / "ledger", source.genesis)
    older = Served(again).older()
    assert older.since_height == 0
    older.forget()  # nothing lies in the way of another time
    finished(fetched(older, source))
    assert {path.name for path in (tmp_path / "ledger").iterdir()}.isdisjoint({FOLDER, f"{FOLDER}.away"})
    follow(again, source)
    assert same_everywhere(again, source.replica)
    again.close()


def test_how_far_it_is_is_read_from_the_folder_by_whoever_looks(grown, joined, tmp_path):
    source, _ = grown
    assert progress_in(tmp_path / "nothing") is None
    whole = (joined.missing, HEIGHT)
    found = progress_in(tmp_path / "ledger")
    assert (found.entries, found.entries_all, found.height, found.height_all) == (0, whole[0], 0, whole[1])
    older = fetched(Older(joined), source, parts=2)
    assert progress_in(tmp_path / "ledger") == older.progress
    older.close()


# a sender that lies


def test_frames_that_are_no_blocks_or_not_the_next_are_refused(grown, joined):
    source, _ = grown
    older = Older(joined)
    said, is_sender = lied(older.read, [b"no block"])
    assert (said.startswith("block 1 cannot be read ("), is_sender) == (True, True)
    assert lied(older.read, source.frames(1)) == ("block 2 is not the next", True)
    first, second, third, *_ = source.frames(0)
    assert lied(older.read, [first, third]) == ("block 3 is not the next", True)
    assert len(older.read([first, second]).blocks) == 2
    older.close()


def test_what_is_beyond_the_snapshot_is_passed_over(grown, joined):
    source, _ = grown
    older = fetched(Older(joined), source, parts=HEIGHT // 13)
    part = older.read(source.frames(older.since_height, 50))
    assert part.blocks[-1].header.height == HEIGHT
    assert part.log.size == joined.missing
    older.close()


def dropped(block):
    """Leave out an accepted transaction."""
    return replace(block, transactions=block.transactions[1:], results=block.results[1:])


def claimed(block):
    """Say that a refused transaction was accepted."""
    return replace(block, results=tuple(each._replace(index=1, reason=0, facts={}) for each in block.results))


def leafless(block):
    return replace(block, system_leaves=())


@pytest.mark.parametrize(("height", "change"), [(1, dropped), (1, claimed), (20, leafless), (25, dropped)])
def test_other_leaves_are_refused_at_once_and_nothing_is_kept_of_them(grown, joined, height, change):
    source, _ = grown
    older = Older(joined)
    while older.since_height + 13 < height:
        fetched(older, source, parts=1)
    stood = older.progress
    frames = source.frames(older.since_height)
    frames[height - older.since_height - 1] = changed_block(source, height, change)
    part = older.read(frames)
    size = part.log.size
    for proof in (source.proof(min(size, joined.missing), joined.missing), []):
        assert lied(older.take, part, proof) == (f"the log of {size} entries is not the beginning of the one of {joined.missing}", True)
    assert older.progress == stood
    finished(fetched(older, source))
    assert fsck(joined).missing == 0


def test_no_proof_no_part(grown, joined):
    source, _ = grown
    older = Older(joined)
    part = older.read(source.frames(0))
    good = source.proof(part.log.size, joined.missing)
    for proof in ([], good[:-1], [*good, bytes(32)], [bytes(32), *good[1:]]):
        assert lied(older.take, part, proof)[1] is True
    assert older.since_height == 0
    older.take(part, good)
    assert older.since_height == 13
    older.close()


def test_a_false_time_that_changes_a_verdict_is_found_and_all_is_begun_again(grown, joined):
    source, _ = grown
    older = fetched(Older(joined), source, parts=1)
    frames = source.frames(13)
    frames[2] = changed_block(source, 16, lambda block: replace(block, time_ms=block.time_ms + 50 * 86_400_000))
    part = older.read(frames)
    sentence = "block 16 was decided otherwise: its time, or an earlier one's, is false"
    assert progress_in(joined.path.parent).begun_again == ()
    assert lied(older.take, part, source.proof(part.log.size, joined.missing)) == (sentence, False)
    assert older.progress.begun_again == progress_in(joined.path.parent).begun_again == (sentence,)
    assert (older.since_height, older.progress.entries) == (0, 0)
    finished(fetched(older, source))
    assert fsck(joined).missing == 0


def test_a_false_time_that_changes_a_row_only_is_found_by_the_next_days_leaf(grown, joined):
    """Grant rows hold no instant; ticks do. A day's leaf holds the digest of the state before it."""
    source, _ = grown
    older = Older(joined)
    heights = range(1, HEIGHT)
    closing = next(height for height in heights if height != 20 and source.replica.block(height).system_leaves)
    last = max(
        height for height in heights if height < closing and source.replica.block(height).transactions
    )  # every such block has a tick
    frames = source.frames(0, closing)
    frames[last - 1] = changed_block(source, last, lambda block: replace(block, time_ms=block.time_ms + 20_000))
    part = older.read(frames)
    sentence = f"block {closing} was decided otherwise: its time, or an earlier one's, is false"
    assert lied(older.take, part, source.proof(part.log.size, joined.missing)) == (sentence, False)
    older.close()


def test_a_false_time_of_the_last_block_is_found_at_the_end(grown, joined):
    source, _ = grown
    older = fetched(Older(joined), source, parts=HEIGHT // 13)
    frames = source.frames(older.since_height)
    place = HEIGHT - older.since_height - 1
    frames[place] = changed_block(source, HEIGHT, lambda block: replace(block, time_ms=block.time_ms + 1))
    part = older.read(frames)
    sentence = "the blocks lead to another state than the snapshot's: the time of one of them is false"
    assert lied(older.take, part, source.proof(part.log.size, joined.missing)) == (sentence, False)
    assert older.since_height == 0
    older.close()


# the parts


def test_the_frontier_of_a_log_is_that_of_its_beginning(grown):
    source, _ = grown
    for height in (1, 20, HEIGHT):
        block = source.replica.block(height)
        assert frontier_at(source.replica, block.log_size).root() == block.log_root
    assert frontier_at(source.replica, 0).size == 0


def test_the_digest_of_a_whole_state_is_the_chains(grown):
    source, _ = grown
    assert lanes_over(source.replica.read().scan(b"")) == source.replica.chain.lanes
