"""The overlay: a block's own writes are seen by its later entries, and looking costs what is looked for."""

from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import World, seed
from yilian.contracts import directory
from yilian.ledger import Overlay, Rows, apply
from yilian.ledger.chain import BlockHeader

KEYS = st.sampled_from(
    [b"a/", b"a/e/1", b"a/e/2", b"a/f/1", b"d/v", b"d/m/x", b"d/m/y", b"d", b"t/\x00\x00\x00\x01x", b"t/\x00\x00\x01\x00x"]
)
VALUES = st.none() | st.sampled_from([b"1", b"2"])
PREFIXES = st.sampled_from([b"", b"a", b"a/", b"a/e", b"a/e/", b"a/e/1", b"d/", b"d/m/", b"t/", b"t/\x00\x00\x00\x01", b"zz"])
STEPS = st.lists(st.tuples(st.dictionaries(KEYS, VALUES, max_size=4), PREFIXES), max_size=8)


@given(st.dictionaries(KEYS, st.sampled_from([b"0", b"1"])), STEPS)
def test_a_scan_shows_the_rows_as_written_so_far_in_order(base, steps):
    overlay, rows = Overlay(Rows(base)), Rows(base)
    for writes, prefix in steps:
        overlay.take(writes)
        rows.take(writes)
        assert list(overlay.scan(prefix)) == list(rows.scan(prefix))
        assert {key: overlay.get(key) for key in writes} == {key: rows.get(key) for key in writes}
    changed = [key for key in set(base) | set(rows.rows) if base.get(key) != rows.get(key)]
    assert overlay.settled() == ({key: rows.get(key) for key in changed}, {key: base.get(key) for key in changed})


@given(st.dictionaries(KEYS, st.sampled_from([b"0", b"1"])), st.dictionaries(KEYS, VALUES), PREFIXES, PREFIXES)
def test_what_is_dropped_is_gone_whoever_wrote_it(base, writes, dropped, prefix):
    overlay, rows = Overlay(Rows(base)), Rows(base)
    overlay.take(writes)
    rows.take(writes)
    overlay.drop(dropped)
    rows.take(dict.fromkeys([key for key in rows.rows if key.startswith(dropped)]))
    assert list(overlay.scan(prefix)) == list(rows.scan(prefix))
    changed = [key for key in set(base) | set(rows.rows) if base.get(key) != rows.get(key)]
    assert overlay.settled() == ({key: rows.get(key) for key in changed}, {key: base.get(key) for key in changed})


class Watched(Rows):
    """Counts the scans."""

    scans = 0

    def scan(self, prefix):
        self.scans += 1
        return super().scan(prefix)


class Walked(dict):
    """Counts how often its keys are walked."""

    walks = 0

    def __iter__(self):
        self.walks += 1
        return super().__iter__()


def test_writes_are_sorted_into_groups_once_however_often_is_scanned():
    overlay, writes = Overlay(Rows()), Walked({b"a/e/1": b"1"})
    overlay.take(writes)
    assert [list(overlay.scan(b"a/e/")) for _ in range(3)] == [[(b"a/e/1", b"1")]] * 3
    assert writes.walks == 1


def test_a_block_full_of_registered_practitioners_reads_the_members_once():
    """Reading them after each made a block of 5,000 take 4 s, one of 20,000 more than a minute: any one member could stop the network."""
    world, scans = World(), []
    for many in (1, 40):
        rows = Watched(world.rows.rows)
        messages = [directory.Register(seed("practitioner", number), "doctor", world.now_s + 60) for number in range(many)]
        data = [world.transaction("practitioner.register", message) for message in messages]
        applied = apply(rows, world.chain, BlockHeader(1, world.now_s * 1_000, "clinic-1"), data)
        assert [result.reason for result in applied.results] == [0] * many
        scans.append(rows.scans)
    assert scans[0] == scans[1]
