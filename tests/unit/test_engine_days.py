"""A day's tags leave the state at once and the disk later: the digest is the same as row by row, and no reader sees the difference."""

import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledgers import restored
from tests.submissions import Submissions
from tests.worlds import STARTED_AT_S, World, key, make_genesis
from yilian.base.codec import encode
from yilian.base.digests import key_tag
from yilian.base.times import DAY_S
from yilian.contracts import access
from yilian.engines import StoreCorrupt, days, fsck, fsck_folder
from yilian.engines.replica import Replica
from yilian.engines.store import FILE
from yilian.ledger import (
    BlockHeader,
    Overlay,
    Restore,
    Rows,
    SnapshotRejected,
    apply,
    chunks,
    describe,
    lanes_over,
    parse_manifest,
    tagged_at,
)
from yilian.ledger.versions import decide

TODAY = STARTED_AT_S // DAY_S


class Ledger:
    """A copy on which tags are spent, a block at a time; `times` says when."""

    def __init__(self, folder):
        self.genesis = make_genesis()
        self.folder = folder
        self.now_s = STARTED_AT_S
        self.made = Submissions(self.genesis.network_id, now_s=lambda: self.now_s)
        self.open()

    def open(self):
        self.replica = Replica.open(self.folder, self.genesis, is_durable=False)

    def again(self):
        self.replica.close()
        self.open()

    def block(self, *names, later_s=0):
        """Spend a tag for each name in one block, so much later than the last."""
        self.now_s += later_s
        keys = [key(name, "tag") for name in names]
        spent = [self.made.transaction("access.skip", access.Skip(key_tag(one.public_key)), approvers=[one]) for one in keys]
        block = self.replica.advance(self.now_s * 1_000, spent)
        assert [each.reason for each in block.results] == [0] * len(names)

    def on_disk(self):
        with closing(sqlite3.connect(self.replica.path)) as store:
            return store.execute("SELECT count(*) FROM state WHERE key >= x'742f' AND key < x'7430'").fetchone()[0]

    def seen(self, view=None):
        """Return the days of the tags that a view has, one for each tag."""
        view = view or self.replica.read()
        found = [row_key for row_key, _ in view.scan(access.TAG_PREFIX)]
        assert all(view.get(row_key) is not None for row_key in found)
        return [int.from_bytes(row_key[2:6], "big") - TODAY for row_key in found]


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setattr(days, "FORGOTTEN_AT_ONCE", 2)
    made = Ledger(tmp_path / "ledger")
    yield made
    made.replica.close()


def two_days(ledger):
    """Five tags of the first day, three of the second, one of the third: the third day's first block takes the first day's."""
    ledger.block("a1", "a2", "a3", "a4", "a5")
    ledger.block("b1", "b2", "b3", later_s=DAY_S)
    before = ledger.replica.read()
    ledger.block("c1", later_s=DAY_S)
    return before


def test_the_tags_of_a_day_leave_the_state_at_once_and_the_disk_some_with_each_block_after(ledger):
    two_days(ledger)
    assert (ledger.seen(), ledger.on_disk()) == ([1, 1, 1, 2], 9)
    left = []
    for _ in range(4):
        ledger.block()
        left.append(ledger.on_disk())
        assert ledger.seen() == [1, 1, 1, 2]
    assert left == [7, 5, 4, 4]


def test_the_digest_is_that_of_the_rows_that_are_seen(ledger):
    two_days(ledger)
    for _ in range(4):
        view = ledger.replica.read()
        assert lanes_over(view.scan(b"")) == view.chain.lanes
        with ledger.replica.at_one_moment() as (_, rows):
            assert list(rows) == list(view.scan(b""))
        ledger.block()


def test_a_day_goes_with_a_block_that_holds_nothing_else(ledger):
    ledger.block("a1", later_s=DAY_S)
    ledger.block(later_s=2 * DAY_S)
    view = ledger.replica.read()
    assert (ledger.seen(), ledger.on_disk(), lanes_over(view.scan(b""))) == ([], 1, view.chain.lanes)


@pytest.mark.parametrize("are_lanes_known", [True, False])
def test_a_rule_in_the_block_with_which_a_day_goes_sees_it_no_more(monkeypatch, are_lanes_known):
    """Or replicas that know the lanes and replicas that do not would judge differently."""
    world = World()
    world.rows.take(tag_rows([(1, 0), (2, 1)]))
    lanes = {TODAY + day: lanes_over(world.rows.scan(access.day_prefix(TODAY + day))) for day in (0, 1)}
    chain = replace(world.chain, time_ms=(world.now_s + DAY_S) * 1_000, lanes=lanes_over(world.rows.scan(b"")))
    world.now_s += 2 * DAY_S
    one, seen = key("3", "tag"), []

    def looking(rules, view, *facts):
        seen.append([int.from_bytes(row_key[2:6], "big") - TODAY for row_key, _ in view.scan(access.TAG_PREFIX)])
        return decide(rules, view, *facts)

    monkeypatch.setattr(sys.modules["yilian.ledger.apply"], "decide", looking)
    spent = world.transaction("access.skip", access.Skip(key_tag(one.public_key)), approvers=[one])
    header = BlockHeader(1, world.now_s * 1_000, world.genesis.operator)
    applied = apply(world.rows, chain, header, [spent], None, lanes if are_lanes_known else None)
    assert ([each.reason for each in applied.results], seen) == ([0], [[1]])


def test_a_view_of_before_sees_the_day_however_much_of_it_the_disk_has_forgotten(ledger):
    before = two_days(ledger)
    rows = dict(before.scan(b""))
    assert lanes_over(rows.items()) == before.chain.lanes
    for _ in range(4):
        assert ledger.seen(before) == [0] * 5 + [1] * 3
        assert dict(before.scan(b"")) == rows
        ledger.block()
    assert ledger.on_disk() == 4


def test_what_the_disk_has_left_is_forgotten_after_a_restart(ledger):
    two_days(ledger)
    ledger.block()
    ledger.again()
    assert (ledger.seen(), ledger.on_disk()) == ([1, 1, 1, 2], 7)
    for _ in range(3):
        ledger.block()
    assert ledger.on_disk() == 4


def test_a_key_of_a_day_that_is_over_reads_as_absent_whether_or_not_the_disk_has_it(ledger):
    two_days(ledger)
    gone = access.day_prefix(TODAY) + key_tag(key("a1", "tag").public_key)
    with closing(sqlite3.connect(ledger.replica.path)) as store:
        assert store.execute("SELECT count(*) FROM state WHERE key = ?", (gone,)).fetchone() == (1,)
    assert ledger.replica.read().get(gone) is None
    ledger.block("a1")  # spent two days ago: may be spent again
    assert ledger.replica.access_tags(TODAY) == tuple(sorted(key_tag(key(f"a{n}", "tag").public_key) for n in range(1, 6)))


def test_a_check_finds_the_copy_sound_while_the_disk_forgets(ledger, tmp_path):
    two_days(ledger)
    ledger.block()
    assert fsck(ledger.replica, tmp_path).state_rows == sum(1 for _ in ledger.replica.read().scan(b""))


def set_row(ledger, row):
    ledger.replica.close()
    with closing(sqlite3.connect(ledger.folder / FILE)) as store:
        store.execute("UPDATE facts SET value = ? WHERE name = 'tagged'", (row,))
        store.commit()


@pytest.mark.parametrize("row", [b"", b"\xff", encode(7), encode([7]), encode([[1, b"short"]]), encode([["1", bytes(2_048)]])])
def test_lanes_that_cannot_be_read_are_a_damaged_ledger(ledger, row):
    ledger.block("a1")
    set_row(ledger, row)
    with pytest.raises(StoreCorrupt, match="days' lanes cannot be read"):
        ledger.open()
    set_row(ledger, encode([]))
    ledger.open()


def test_a_check_finds_lanes_that_are_not_those_of_their_tags(ledger, tmp_path):
    ledger.block("a1")
    set_row(ledger, encode([[TODAY, bytes(2_048)]]))
    with pytest.raises(StoreCorrupt, match="days' lanes are not those of their tags"):
        fsck_folder(ledger.folder, ledger.genesis, tmp_path)
    ledger.open()


def test_a_copy_that_is_older_than_the_lanes_comes_to_the_same_app_hashes(ledger, tmp_path):
    other = Ledger(tmp_path / "other")
    hashes = []
    for each in (ledger, other):
        each.block("a1", "a2")
        if each is other:
            set_row(other, encode([]))
            other.open()
        assert set(each.replica.days.tagged) == (set() if each is other else {TODAY - 1, TODAY})
        found = []
        for number in range(1, 5):
            each.block(f"b{number}", f"c{number}", later_s=DAY_S)
            found.append((each.replica.chain.app_hash, each.seen()))
        hashes.append(found)
    assert hashes[0] == hashes[1]
    assert set(other.replica.days.tagged) == {TODAY + 3, TODAY + 4}
    other.replica.close()


def snapshot(replica):
    rows = list(replica.read().scan(b""))
    cut = list(chunks(rows))
    manifest = describe(replica.chain, [sha256(chunk).digest() for chunk in cut])
    return manifest.encoded(), cut, replica.chain.app_hash


def test_a_snapshot_brings_the_lanes_of_its_days(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr("yilian.ledger.snapshots.CHUNK_SIZE_BYTES", 200)  # a day's tags are in several chunks
    two_days(ledger)
    joined = restored(tmp_path / "joined", ledger, snapshot(ledger.replica))
    assert joined.days.tagged == ledger.replica.days.tagged
    assert set(joined.days.tagged) == {TODAY + 1, TODAY + 2}
    for later_s in (0, DAY_S, DAY_S):
        ledger.block(f"d{later_s}{ledger.now_s}", later_s=later_s)
        block = ledger.replica.block(ledger.replica.chain.height)
        done = joined.commit(joined.decide(BlockHeader(block.height, block.time_ms, block.proposer), block.transactions))
        assert done.app_hash == block.app_hash
    assert joined.days.tagged == ledger.replica.days.tagged
    joined.close()


@pytest.mark.parametrize("stray", [b"t/", b"t/\x00", access.day_prefix(TODAY) + bytes(16), access.day_prefix(TODAY + 9) + bytes(16)])
def test_a_tag_of_another_day_does_not_come_in_with_a_snapshot(ledger, stray):
    two_days(ledger)
    rows = sorted([*ledger.replica.read().scan(b""), (stray, b"")])
    cut = list(chunks(rows))
    manifest = describe(ledger.replica.chain, [sha256(chunk).digest() for chunk in cut])
    restore = Restore(parse_manifest(manifest.encoded()), ledger.genesis.network_id, ledger.replica.chain.app_hash)
    for chunk in cut:
        restore.take(chunk)
    with pytest.raises(SnapshotRejected, match="trusted app hash"):
        restore.finish()


def tag_rows(days_since):
    return {access.day_prefix(TODAY + day) + key_tag(key(str(number), "tag").public_key): encode(number) for number, day in days_since}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 0, 1, 600, DAY_S, 2 * DAY_S, 5 * DAY_S]), st.integers(0, 3)), min_size=1, max_size=8),
    st.just(set()) | st.sets(st.integers(0, 9)),
)
def test_a_day_that_goes_as_one_leaves_the_digest_that_its_rows_would(blocks, forgetful):
    """`forgetful`: before which blocks the lanes are lost, as in a copy that is older than they are."""
    world, number = World(), 0
    tagged = tagged_at(world.chain.time_ms, {})
    for at, (later_s, count) in enumerate(blocks):
        world.now_s += later_s
        keys = [key(str(number + n), "tag") for n in range(count)]
        number += count
        spent = [world.transaction("access.skip", access.Skip(key_tag(one.public_key)), approvers=[one]) for one in keys]
        header = BlockHeader(world.chain.height + 1, world.now_s * 1_000, world.genesis.operator)
        at_once = apply(world.rows, world.chain, header, spent, None, {} if at in forgetful else tagged)
        by_rows = world.commit(*spent)
        assert (at_once.app_hash, at_once.results, at_once.leaves) == (by_rows.app_hash, by_rows.results, by_rows.leaves)
        tagged = at_once.tagged
        for day, lanes in tagged.items():
            assert lanes == lanes_over(world.rows.scan(access.day_prefix(day)))
        missing = by_rows.writes.keys() - at_once.writes.keys()
        assert missing <= {row_key for row_key, value in by_rows.writes.items() if value is None}
        assert at_once.writes == {row_key: value for row_key, value in by_rows.writes.items() if row_key not in missing}


@pytest.mark.parametrize("prefix", [b"", b"t/", access.day_prefix(TODAY), access.day_prefix(TODAY + 1), b"u"])
def test_what_an_overlay_forgets_is_gone_for_all_that_is_asked_of_it(prefix):
    rows = {b"s": b"", b"u": b"", **tag_rows([(1, 0), (2, 0), (3, 1)])}
    overlay = Overlay(Rows(rows))
    overlay.forget(access.day_prefix(TODAY))
    left = {row_key: value for row_key, value in rows.items() if not row_key.startswith(access.day_prefix(TODAY))}
    assert dict(overlay.scan(prefix)) == {row_key: value for row_key, value in left.items() if row_key.startswith(prefix)}
    assert {row_key: overlay.get(row_key) for row_key in rows} == {row_key: left.get(row_key) for row_key in rows}
    assert overlay.settled() == ({}, {})


def test_what_is_written_where_an_overlay_forgot_replaces_nothing():
    (forgotten,) = tag_rows([(1, 0)])
    overlay = Overlay(Rows({forgotten: b"old"}))
    overlay.forget(access.day_prefix(TODAY))
    overlay.take({forgotten: b"new"})
    assert (overlay.get(forgotten), overlay.settled()) == (b"new", ({forgotten: b"new"}, {forgotten: None}))
