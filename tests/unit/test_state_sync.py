"""State sync with large states: rows pass through one chunk at a time, and a restore that is broken off leaves the copy as it began."""

import random
import shutil
import sqlite3
import tracemalloc

import pytest

from tests.consortium import NAMES, consortium_genesis
from tests.ledgers import told
from tests.sim.story import Story
from yilian.base.codec import decode, encode
from yilian.base.digests import sha256
from yilian.engines import store
from yilian.engines.cometbft.snapshots import NEW, Retention, Snapshots
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.faults import DiskFailed
from yilian.engines.protocol import Block
from yilian.engines.recent import Recent
from yilian.engines.replica import Replica
from yilian.engines.store import Store
from yilian.ledger import Frontier, chunks, describe, lthash, parse_manifest, snapshots
from yilian.ledger.chain import Chain

DAY_MS = 86_400_000
HEIGHT = 3
ACCEPT = abci.ResponseApplySnapshotChunk.ACCEPT


def raised(error):
    raise error


@pytest.fixture(scope="module")
def genesis():
    return consortium_genesis()


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(snapshots, "CHUNK_SIZE_BYTES", 2_000)


def opened(folder, genesis):
    return Replica.open(folder, genesis, is_durable=False)


def rows_of(replica):
    return dict(replica.read().scan(b""))


@pytest.fixture
def giver(genesis, tmp_path):
    with told(tmp_path / "giver", genesis, HEIGHT) as replica:
        yield replica


@pytest.fixture
def offered(giver, small_chunks, tmp_path):
    """The snapshot of it, and its chunks."""
    made = Snapshots(tmp_path / "given", giver, raised, every=1)
    made.after(HEIGHT)
    made.close()
    (snapshot,) = made.listed()
    assert snapshot.chunks > 4
    return snapshot, [made.chunk(HEIGHT, 1, number) for number in range(snapshot.chunks)]


def taker(replica, folder):
    return Snapshots(folder, replica, raised, made_at=lambda chain, _: chain.time_ms)


def taken(taking, snapshot, parts, app_hash):
    assert taking.offered(snapshot, app_hash).result == abci.ResponseOfferSnapshot.ACCEPT
    return [taking.applied(number, part, "peer").result for number, part in enumerate(parts)]


# -- given


def test_a_chunk_is_written_before_the_rows_after_it_are_read(monkeypatch):
    monkeypatch.setattr(snapshots, "CHUNK_SIZE_BYTES", 500)
    read = 0

    def rows():
        nonlocal read
        for number in range(400):
            read += 1
            yield number.to_bytes(2, "big"), bytes(50)

    written = 0
    for chunk in chunks(rows()):
        written += len(decode(chunk))
        assert read - written <= 1  # the row that did not fit any more
    assert (read, written) == (400, 400)


def test_what_a_killed_process_left_of_a_snapshot_is_removed_and_what_is_whole_is_kept(giver, offered, tmp_path):
    unfinished = tmp_path / "given" / f"7{NEW}"
    unfinished.mkdir()
    (unfinished / "0").write_bytes(b"half a chunk")
    again = Snapshots(tmp_path / "given", giver, raised)
    assert not unfinished.exists()
    assert [each.height for each in again.listed()] == [HEIGHT]


# -- taken


def test_what_was_given_is_taken_whole_and_goes_on_after_a_restart(giver, offered, genesis, tmp_path):
    copy = opened(tmp_path / "copy", genesis)
    assert set(taken(taker(copy, tmp_path / "none"), *offered, giver.chain.app_hash)) == {ACCEPT}
    assert (copy.chain, rows_of(copy), copy.days.tagged) == (giver.chain, rows_of(giver), giver.days.tagged)
    assert len(giver.days.tagged) == 2
    copy.close()
    copy = opened(tmp_path / "copy", genesis)
    assert (copy.chain, rows_of(copy), copy.entry(0)) == (giver.chain, rows_of(giver), None)
    now_s = genesis.started_at_s + 60
    load = [Story(genesis.network_id, NAMES, random.Random(2)).tick(now_s)]
    assert copy.advance(now_s * 1_000, load).app_hash == giver.advance(now_s * 1_000, load).app_hash
    copy.close()


def test_rows_wait_on_the_disk_one_chunk_at_a_time(giver, offered, genesis, tmp_path, monkeypatch):
    staged = []
    stage = Store.stage
    monkeypatch.setattr(Store, "stage", lambda store, rows: (staged.append(len(rows)), stage(store, rows)))
    copy = opened(tmp_path / "copy", genesis)
    taken(taker(copy, tmp_path / "none"), *offered, giver.chain.app_hash)
    assert staged == [len(decode(part)) for part in offered[1]]
    copy.close()


def test_a_state_ten_times_as_large_takes_no_more_memory_to_restore(genesis, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "CHUNK_SIZE_BYTES", 20_000)

    def peak_bytes(count):
        copy = opened(tmp_path / str(count), genesis)
        rows = [*copy.read().scan(b""), *[(b"z/" + n.to_bytes(4, "big"), bytes(400)) for n in range(count)]]
        parts = list(chunks(rows))
        chain = Chain(genesis.network_id, 9, genesis.started_at_s * 1_000, Frontier(), lthash.changed(lthash.EMPTY, [], rows))
        manifest = describe(chain, [sha256(part) for part in parts]).encoded()
        snapshot = abci.Snapshot(height=9, format=1, chunks=len(parts), hash=sha256(manifest), metadata=manifest)
        taking = taker(copy, tmp_path / "none")
        tracemalloc.start()
        try:
            assert set(taken(taking, snapshot, parts, chain.app_hash)) == {ACCEPT}
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            assert copy.chain == chain
            copy.close()

    small, large = peak_bytes(1_000), peak_bytes(10_000)
    assert large < small + 500_000  # the nine thousand rows that are more have 3.6 MB


def killed(folder, to):
    """Return what a copy's folder holds if the process is killed now: the files as they are."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("lock"))
    return to


def test_a_restore_that_is_killed_after_any_chunk_leaves_the_copy_as_it_began(giver, offered, genesis, tmp_path):
    snapshot, parts = offered
    copy = opened(tmp_path / "copy", genesis)
    began, taking = (copy.chain, rows_of(copy)), taker(copy, tmp_path / "none")
    taking.offered(snapshot, giver.chain.app_hash)
    for number, part in enumerate(parts):
        left = opened(killed(tmp_path / "copy", tmp_path / f"left-{number}"), genesis)
        assert (left.chain, rows_of(left), list(left.dump("sqlite_schema", "name, 1"))) == (*began, list(copy_tables(genesis, tmp_path)))
        assert set(taken(taker(left, tmp_path / "none"), snapshot, parts, giver.chain.app_hash)) == {ACCEPT}
        assert rows_of(left) == rows_of(giver)
        left.close()
        assert taking.applied(number, part, "peer").result == ACCEPT
    whole = opened(killed(tmp_path / "copy", tmp_path / "whole"), genesis)
    assert (whole.chain, rows_of(whole)) == (giver.chain, rows_of(giver))
    whole.close()
    copy.close()


def copy_tables(genesis, tmp_path):
    """Return what a fresh store has in its schema."""
    fresh = opened(tmp_path / "fresh", genesis)
    try:
        return list(fresh.dump("sqlite_schema", "name, 1"))
    finally:
        fresh.close()


def test_a_disk_that_fails_while_the_state_is_exchanged_leaves_the_copy_as_it_began(giver, offered, genesis, tmp_path, monkeypatch):
    snapshot, parts = offered
    copy = opened(tmp_path / "copy", genesis)
    began, taking = (copy.chain, rows_of(copy)), taker(copy, tmp_path / "none")
    taking.offered(snapshot, giver.chain.app_hash)
    for number, part in enumerate(parts[:-1]):
        taking.applied(number, part, "peer")

    def fail(store, change):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    monkeypatch.setattr(Store, "_write", fail)  # after the tables were exchanged, before the commit
    with pytest.raises(DiskFailed):
        taking.applied(len(parts) - 1, parts[-1], "peer")
    copy.close()
    copy = opened(tmp_path / "copy", genesis)
    assert (copy.chain, rows_of(copy)) == began
    copy.close()


def test_a_snapshot_that_is_seen_through_or_given_up_leaves_nothing_behind(giver, offered, genesis, tmp_path):
    snapshot, parts = offered
    rows = decode(parts[-1])
    rows[-1][1] += b"x"
    lie = [*parts[:-1], encode(rows)]
    described = describe(giver.chain, [sha256(part) for part in lie]).encoded()
    forged = abci.Snapshot(height=HEIGHT, format=1, chunks=len(lie), hash=sha256(described), metadata=described)
    assert parse_manifest(described).log == giver.chain.log
    copy = opened(tmp_path / "copy", genesis)
    began, taking = (copy.chain, rows_of(copy)), taker(copy, tmp_path / "none")
    assert taken(taking, forged, lie, giver.chain.app_hash)[-1] == abci.ResponseApplySnapshotChunk.REJECT_SNAPSHOT
    assert (copy.chain, rows_of(copy), taking.rejected) == (*began, 1)
    assert list(copy.dump("sqlite_schema", "name, 1")) == copy_tables(genesis, tmp_path)
    taken(taking, snapshot, parts[:2], giver.chain.app_hash)  # a second offer is broken off by a third
    assert set(taken(taking, snapshot, parts, giver.chain.app_hash)) == {ACCEPT}
    assert rows_of(copy) == rows_of(giver)
    copy.close()


def test_a_view_of_the_beginning_stays_there_whatever_was_restored(giver, offered, genesis, tmp_path):
    copy = opened(tmp_path / "copy", genesis)
    view, began = copy.read(), rows_of(copy)
    taken(taker(copy, tmp_path / "none"), *offered, giver.chain.app_hash)
    assert dict(view.scan(b"")) == began
    assert {key: view.get(key) for key in rows_of(giver)} == {key: began.get(key) for key in rows_of(giver)}
    assert rows_of(giver) != began
    copy.close()


# -- what CometBFT may forget


def grown(genesis, folder, times_s):
    """Return a copy with an empty block at each time since genesis."""
    replica = opened(folder, genesis)
    for time_s in times_s:
        replica.advance((genesis.started_at_s + time_s) * 1_000, [])
    return replica


@pytest.mark.parametrize(
    ("blocks", "time_s", "heights", "at", "expected"),
    [
        (0, 0, (4, 8), 12, 4),  # all since the older of the two snapshots
        (0, 0, (8, 12), 12, 8),
        (0, 0, (8,), 12, 0),  # one alone: nothing
        (0, 0, (4, 8), 11, 0),  # asked between two snapshots: nothing changes
        (9, 0, (4, 8), 12, 3),  # evidence may name block 3
        (12, 0, (4, 8), 12, 0),
        (99, 0, (4, 8), 12, 0),
        (0, 90, (4, 8), 12, 3),  # blocks 1 and 2 are of 10 s and 20 s, the last of 120 s: 30 s is not older than 90 s
        (0, 119, (4, 8), 12, 1),
        (0, 1_000, (4, 8), 12, 1),
    ],
)
def test_blocks_are_kept_for_snapshots_evidence_and_those_who_were_away(genesis, tmp_path, blocks, time_s, heights, at, expected):
    replica = grown(genesis, tmp_path / "ledger", range(10, 121, 10))
    for height in heights:
        (tmp_path / "snapshots" / str(height)).mkdir(parents=True)
    made = Snapshots(tmp_path / "snapshots", replica, raised, every=4, retention=Retention(blocks, time_s))
    assert made.retain_height(at) == expected
    replica.close()


def test_without_another_word_two_weeks_are_kept_and_a_hundred_thousand_blocks(genesis, tmp_path):
    assert (Retention().blocks, Retention().time_s) == (100_000, 1_209_600)
    replica = grown(genesis, tmp_path / "ledger", [1, 2, 3, 4])
    for height in (1, 2):
        (tmp_path / "snapshots" / str(height)).mkdir(parents=True)
    assert Snapshots(tmp_path / "snapshots", replica, raised, every=4).retain_height(4) == 0
    replica.close()


def test_the_last_block_before_a_time_is_found_though_the_first_blocks_are_not_here(giver, offered, genesis, tmp_path):
    copy = opened(tmp_path / "copy", genesis)
    taken(taker(copy, tmp_path / "none"), *offered, giver.chain.app_hash)
    for time_s in (10, 20, 30):
        copy.advance((genesis.started_at_s + time_s) * 1_000, [])
    at = [(genesis.started_at_s + time_s) * 1_000 for time_s in (3, 4, 11, 20, 31)]
    assert [copy.last_before(time_ms, copy.chain.height) for time_ms in at] == [0, 3, 4, 4, 6]
    copy.close()


# -- what a running validator holds


def test_the_write_ahead_log_that_a_long_reader_let_grow_is_cut_again(giver, genesis, monkeypatch):
    monkeypatch.setattr(store, "WAL_SIZE_BYTES_KEPT", 100_000)
    monkeypatch.setattr(store, "_WAL_PAGES_MAX", 10)
    folder = giver.path.parent
    giver.close()
    again = opened(folder, genesis)
    log, number = giver.path.with_name("ledger.sqlite-wal"), 0

    def go_on():
        nonlocal number
        number += 1
        now_s = genesis.started_at_s + 100 + number
        again.advance(now_s * 1_000, [Story(genesis.network_id, NAMES, random.Random(number)).register(now_s)])

    with again.at_one_moment():
        while log.stat().st_size < 300_000:
            go_on()
    for _ in range(8):  # enough for a checkpoint, and for the log to begin anew
        go_on()
    assert log.stat().st_size <= 100_000
    again.close()


def of_size(height, count):
    return Block(height, 0, "", b"", 0, b"", (b"t",) * count, (), ())


def test_recent_blocks_are_bounded_by_number_and_by_what_they_hold():
    many, large = Recent(), Recent()
    for height in range(1, 41):
        assert many.keep(of_size(height, 1)).height == height
        large.keep(of_size(height, 4_000))
    assert [height for height in range(1, 41) if many.get(height)] == list(range(25, 41))
    assert [height for height in range(1, 41) if large.get(height)] == [38, 39, 40]
    large.keep(of_size(40, 4_000))  # again: counted once
    assert [height for height in range(1, 41) if large.get(height)] == [38, 39, 40]
    large.keep(of_size(41, 50_000))  # larger than all that may be: alone
    assert [height for height in range(1, 42) if large.get(height)] == [41]
    large.keep(of_size(42, 1))
    assert [height for height in range(1, 43) if large.get(height)] == [42]


def test_a_follower_that_is_behind_is_read_few_large_blocks_at_a_time(giver, monkeypatch):
    sizes = [len(row.body) for row in giver._store.blocks(0, HEIGHT)]
    giver._recent = Recent()
    assert [block.height for block in giver.blocks(0)] == [1, 2, 3]
    monkeypatch.setattr(store, "BLOCKS_SIZE_BYTES", sizes[0] + 1)
    assert [block.height for block in giver.blocks(0)] == [1, 2]
    monkeypatch.setattr(store, "BLOCKS_SIZE_BYTES", 1)
    assert [[block.height for block in giver.blocks(since)] for since in range(4)] == [[1], [2], [3], []]
