"""What a copy of the ledger is made of: tiles of the log, views that stay, the store's one transaction per block, blocks as bytes."""

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yilian.base.codec import Malformed, encode
from yilian.base.digests import sha256
from yilian.base.merkle import inclusion_path, leaf_hash, root
from yilian.base.refusals import Reason, Refused
from yilian.engines import store as store_module
from yilian.engines.faults import DiskFailed, DiskFull, StoreCorrupt, StoreLocked, stopped_by
from yilian.engines.packing import pack, unpack
from yilian.engines.protocol import Block, Committed
from yilian.engines.store import Store
from yilian.engines.tables import BlockRow, Change, DayRow
from yilian.engines.tiles import BAND, TILE_SIZE_BYTES, WIDTH, Tiles
from yilian.engines.verifiers import PROCESSES_MAX, processes_for
from yilian.engines.views import Cache, Moment, View, WriterView
from yilian.engines.wire import decode_block, decode_body, decode_committed, encode_block, encode_body, encode_committed
from yilian.ledger import BlockHeader, Chain, Frontier, Result, consistency, inclusion, root_at

# -- tiles


class Kept:
    """Tiles as a store keeps them, and how often one was fetched."""

    def __init__(self):
        self.rows = {}
        self.fetches = 0

    def fetch(self, key):
        self.fetches += 1
        return self.rows[key]


def leaves(count, start=0):
    return [leaf_hash(n.to_bytes(4, "big")) for n in range(start, start + count)]


@example([WIDTH, 1, WIDTH * WIDTH - WIDTH - 1, 1, 1])
@given(st.lists(st.integers(0, 90), max_size=12))
def test_tiles_give_every_proof_that_the_whole_tree_gives_however_the_log_grew_and_was_reopened(blocks):
    kept, frontier, tiles = Kept(), Frontier(), Tiles(Kept().fetch, 0)
    for count in blocks:
        frontier, nodes = frontier.grown(leaves(count, frontier.size))
        kept.rows.update(tiles.grow(nodes))
        assert root_at(tiles, frontier.size) == frontier.root()
        tiles = Tiles(kept.fetch, frontier.size)  # reopened after each block
    whole = leaves(frontier.size)
    assert root_at(tiles, frontier.size) == root(whole) == frontier.root()
    for index in {0, frontier.size // 3, frontier.size - 1} if whole else ():
        for size in {frontier.size, max(index + 1, frontier.size // 2)}:
            assert inclusion(tiles, index, size) == inclusion_path(whole[:size], index)
    assert consistency(tiles, frontier.size // 2, frontier.size) is not None
    assert all(len(tile) == TILE_SIZE_BYTES for tile in kept.rows.values())


def test_a_lone_entry_rewrites_one_tile_of_each_band_that_it_touches():
    tiles, frontier, touched = Tiles(Kept().fetch, 0), Frontier(), []
    for n in range(WIDTH * 2):
        frontier, nodes = frontier.grown(leaves(1, n))
        touched.append(len(tiles.grow(nodes)))
    assert touched == [2 if (n + 1) % WIDTH == 0 else 1 for n in range(WIDTH * 2)]  # every 64th also begins the band above
    assert BAND == 6


def test_a_full_tile_is_fetched_once_and_one_that_still_grows_is_never_remembered():
    kept, grown = Kept(), Tiles(Kept().fetch, 0)
    frontier, nodes = Frontier().grown(leaves(WIDTH * 3 + 5))
    kept.rows.update(grown.grow(nodes))
    tiles = Tiles(kept.fetch, frontier.size)
    at_start = kept.fetches
    for _ in range(3):
        assert [tiles.node(0, index) for index in range(WIDTH)] == leaves(WIDTH)
    assert kept.fetches == at_start + 1
    after, nodes = frontier.grown(leaves(1, frontier.size))
    kept.rows.update(tiles.grow(nodes))
    assert tiles.node(0, frontier.size) == leaves(1, frontier.size)[0]
    assert root_at(tiles, after.size) == after.root()


# -- views


def chain(height):
    return Chain(bytes(32), height, height, Frontier(), b"")


class Disk:
    """Rows on a disk that the test may change between a view's question and its answer."""

    def __init__(self, rows):
        self.rows = dict(rows)
        self.meanwhile = lambda: None

    def fetch(self, key):
        self.meanwhile()
        return self.rows.get(key)

    def scan(self, prefix):
        self.meanwhile()
        return sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix))


def commit(disk, cache, moment, writes):
    """Do what a replica does: hang on what is replaced, make it durable, then visible."""
    after = moment.end({key: disk.rows.get(key) for key in writes})
    for key, value in writes.items():
        if value is None:
            disk.rows.pop(key, None)
        else:
            disk.rows[key] = value
    cache.replace(writes)
    return after


ALL_KEYS = [b"a/1", b"a/2", b"a/3", b"b/1"]
KEYS = st.sampled_from(ALL_KEYS)
WRITES = st.dictionaries(KEYS, st.none() | st.binary(min_size=1, max_size=2), max_size=4)


@given(st.dictionaries(KEYS, st.binary(min_size=1, max_size=2)), st.lists(WRITES, max_size=6), st.integers(1, 3))
def test_each_view_answers_as_of_its_own_height_whatever_was_committed_since(rows, blocks, rows_cached):
    disk, cache, moment = Disk(rows), Cache(rows_cached), Moment()
    held = []
    for height, writes in enumerate([*blocks, {}]):
        held.append((View(chain(height), moment, cache, disk.fetch, disk.scan), dict(disk.rows)))
        moment = commit(disk, cache, moment, writes)
    for view, expected in held:
        assert {key: view.get(key) for key in (b"a/1", b"a/2", b"a/3", b"b/1")} == {
            key: expected.get(key) for key in (b"a/1", b"a/2", b"a/3", b"b/1")
        }
        assert list(view.scan(b"a/")) == sorted((key, value) for key, value in expected.items() if key.startswith(b"a/"))


@pytest.mark.parametrize("ask", [lambda view: view.get(b"k"), lambda view: dict(view.scan(b"k")).get(b"k")], ids=["get", "scan"])
def test_a_block_committed_while_the_disk_is_read_is_not_seen(ask):
    disk, cache, moment = Disk({b"k": b"old"}), Cache(), Moment()
    view = View(chain(1), moment, cache, disk.fetch, disk.scan)
    disk.meanwhile = lambda: moment.next or commit(disk, cache, moment, {b"k": b"new"})
    assert ask(view) == b"old"
    assert View(chain(2), moment.next, cache, disk.fetch, disk.scan).get(b"k") == b"new"


def test_the_cache_keeps_what_is_asked_for_and_drops_what_is_not():
    cache = Cache(2)
    cache.put(b"hot", b"1")
    for n in range(5):
        cache.put(bytes([n]), b"x")
        assert cache.get(b"hot") == b"1"
    absent = cache.peek(bytes([0]))
    assert not isinstance(absent, bytes)
    assert absent is not None  # None would say that there is no such row
    cache.put(b"gone", None)
    assert cache.peek(b"gone") is None


def test_the_writer_reads_through_the_cache_and_remembers_what_is_there():
    disk, cache = Disk({b"k/1": b"x", b"k/2": b"y"}), Cache()
    view = WriterView(chain(1), cache, disk.fetch, disk.scan)
    assert (view.get(b"k/1"), view.get(b"none"), dict(view.scan(b"k/2"))) == (b"x", None, {b"k/2": b"y"})
    disk.rows.clear()
    assert (view.get(b"k/1"), view.get(b"k/2")) == (b"x", None)


def test_rows_that_go_push_nothing_out_of_the_cache():
    cache = Cache(2)
    cache.put(b"hot", b"1")
    cache.put(b"gone", b"2")
    cache.replace({b"gone": None, **{bytes([n]): None for n in range(50)}})
    assert (cache.peek(b"hot"), cache.peek(b"gone"), isinstance(cache.peek(bytes([7])), bytes)) == (b"1", None, False)
    assert cache.peek(bytes([7])) is not None  # asked for, it is looked for on the disk


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 25])
def test_rows_are_streamed_a_page_at_a_time(store, monkeypatch, count):
    monkeypatch.setattr(store_module, "_PAGE_ROWS", 10)
    rows = [(b"t/" + bytes([n]) * (1 + n % 2), b"v") for n in range(count)]
    store.commit(Change(b"chain", {b"s/": b"before", **dict(rows), b"u": b"after"}))
    sizes, every = [], store._all
    monkeypatch.setattr(store, "_all", lambda *asked: (sizes.append(len(found := every(*asked))), found)[1])
    assert list(store.stream(b"t/")) == sorted(rows)
    assert max(sizes) <= 10
    assert [key for key, _ in store.stream(b"")] == [b"s/", *sorted(key for key, _ in rows), b"u"]


# -- the store


def block_row(height, log_size, body=b"body"):
    return BlockRow(height, height * 10, "m", bytes(32), log_size, sha256(body), body)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path)
    yield opened
    opened.close()


def test_a_change_is_there_as_a_whole(store, tmp_path):
    ids = [sha256(bytes([n])) for n in range(130)]
    writes = {bytes([n]): bytes([n]) * 3 for n in range(200)}
    days = [DayRow(7, 3, b"t" * 32)]
    store.commit(Change(b"chain", writes, block_row(1, 130), ids, {5: bytes(TILE_SIZE_BYTES)}, days), {"genesis": b"g"})
    store.commit(Change(b"chain 2", {b"\x00": None, b"\x01": b"other"}, block_row(2, 131), [ids[0]]))
    with store.at_once() as fetch:
        of_writer = fetch(b"\x02")
    assert (store.get(b"\x00"), store.get(b"\x01"), store.get(b"\x02"), of_writer) == (
        None,
        b"other",
        b"\x02" * 3,
        b"\x02" * 3,
    )
    assert len(store.scan(b"")) == 199
    assert (store.fact("chain"), store.fact("genesis"), store.fact("nothing")) == (b"chain 2", b"g", None)
    assert (store.block(1), store.block(3)) == (block_row(1, 130), None)
    assert store.blocks(0, 9) == [block_row(1, 130), block_row(2, 131)]
    assert [store.block_of_leaf(index).height for index in (0, 129, 130)] == [1, 1, 2]
    assert store.block_of_leaf(131) is None
    assert list(store.places(ids[:1]).values()) == [[1 << 20, 2 << 20]]
    assert list(store.places(ids[129:], is_writer=True).values()) == [[(1 << 20) + 129]]
    assert store.places([b"\xff" * 32]) == {}
    assert (store.day(7), store.day(8)) == (days[0], None)
    assert store.tile(5) == bytes(TILE_SIZE_BYTES)
    with pytest.raises(StoreCorrupt) as stopped:
        store.tile(6)
    assert (stopped.value.path, stopped.value.why) == (tmp_path / "ledger.sqlite", "tile 6 of the log is missing")


@pytest.mark.parametrize(("prefix", "count"), [(b"", 6), (b"a", 2), (b"a/", 1), (b"\xff", 2), (b"\xff\xff", 1), (b"b", 1), (b"z", 0)])
def test_a_scan_gives_what_begins_with_the_prefix_and_no_more(store, prefix, count):
    keys = [b"\x00", b"a", b"a/", b"b", b"\xff", b"\xff\xff\x01"]
    store.commit(Change(b"", dict.fromkeys(keys, b"v")))
    found = [key for key, _ in store.scan(prefix)]
    assert found == sorted(key for key in keys if key.startswith(prefix))
    assert len(found) == count


def test_the_last_log_size_of_a_block_without_entries_does_not_hide_the_block_that_brought_the_leaf(store):
    for height, log_size in ((1, 2), (2, 2), (3, 2), (4, 3)):
        store.commit(Change(b"", {}, block_row(height, log_size), []))
    assert [store.block_of_leaf(index).height for index in (0, 1, 2)] == [1, 1, 4]


def test_readers_in_other_threads_read_while_a_block_is_written(store):
    store.commit(Change(b"", {b"k": b"0"}))
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(store.get(b"k"))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for n in range(50):
            store.commit(Change(b"", {b"k": str(n).encode()}))
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    assert seen <= {str(n).encode() for n in range(50)}
    assert store.get(b"k") == b"49"


def test_the_write_ahead_log_goes_back_into_the_file(store):
    store.commit(Change(b"", {bytes([n]): bytes(3_000) for n in range(200)}))
    before = store.path.stat().st_size
    store.checkpoint()
    assert store.path.stat().st_size > before + 200 * 3_000
    assert store.get(b"\x07") == bytes(3_000)


# -- why it stops


def sqlite_error(code):
    error = sqlite3.OperationalError("said by SQLite")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (sqlite3.SQLITE_FULL, DiskFull),
        (sqlite3.SQLITE_CORRUPT, StoreCorrupt),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreCorrupt),
        (sqlite3.SQLITE_NOTADB, StoreCorrupt),
        (sqlite3.SQLITE_BUSY, StoreLocked),
        (sqlite3.SQLITE_IOERR_WRITE, DiskFailed),
        (sqlite3.SQLITE_IOERR_FSYNC, DiskFailed),
        (sqlite3.SQLITE_READONLY, DiskFailed),
        (sqlite3.SQLITE_CANTOPEN, DiskFailed),
    ],
)
def test_a_sqlite_error_that_the_machine_causes_has_a_class_and_a_sentence(code, cause):
    path = Path("ledger.sqlite")
    stopped = stopped_by(sqlite_error(code), path)
    assert (type(stopped), stopped.path) == (cause, path)
    assert "ledger.sqlite" in str(stopped)


@pytest.mark.parametrize("error", [sqlite_error(sqlite3.SQLITE_ERROR), sqlite3.ProgrammingError("closed")], ids=["wrong SQL", "misuse"])
def test_a_sqlite_error_that_is_our_defect_is_raised_as_it_is(error):
    with pytest.raises(type(error)) as raised:
        stopped_by(error, Path("ledger.sqlite"))
    assert raised.value is error


# -- bytes

RESULTS = (
    Result(leaf_hash(b"x"), 5, 0, {}),
    Result(leaf_hash(b"y"), None, 1012, {"kid": b"k", "at_s": 7, "member": "m"}),
    Result(leaf_hash(b"z"), 6, 0, {}),
)
BLOCK = Block(3, 30, "clinic-1", b"h" * 32, 7, b"r" * 32, (b"x", b"y", b"z"), RESULTS, (b"day",))


def test_a_body_gives_back_what_became_of_each_transaction():
    body = encode_body(BLOCK.transactions, BLOCK.results, BLOCK.system_leaves)
    assert decode_body(body, 7) == (BLOCK.transactions, RESULTS, (b"day",))


def test_a_block_on_the_wire_is_header_hash_and_transactions():
    raw = decode_block(encode_block(BLOCK))
    assert (raw.header, raw.app_hash, raw.transactions) == (BlockHeader(3, 30, "clinic-1"), b"h" * 32, (b"x", b"y", b"z"))


ANSWERS = [
    Committed(b"i" * 32, 5, 3, 30, 0, {}),
    Committed(b"i" * 32, None, 3, 30, 1012, {"kid": b"k", "at_s": 7, "member": "m"}),
    Committed(b"i" * 32, None, None, 30, 4, {}),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=["accepted", "refused", "at the door"])
def test_an_answer_survives_the_wire(answer):
    assert decode_committed(encode_committed(answer)) == answer


GOOD_BODY = encode([[b"x"], [], []])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode([]),
        encode([0, 30, "m", bytes(32), GOOD_BODY]),
        encode([1, -1, "m", bytes(32), GOOD_BODY]),
        encode([1, 30, "m", bytes(32), encode([[b"x"], []])]),
        encode([1, 30, "m", bytes(32), encode([["x"], [], []])]),
        encode([1, 30, "m", bytes(32), encode([[b"x"], [], [7]])]),
        encode([1, 30, "m", bytes(32), encode([[b"x"], [[0, 0, {}]], []])]),
        encode([1, 30, "m", bytes(32), encode([[b"x"], [[1, 5, {}]], []])]),
        encode([1, 30, "m", bytes(32), encode([[b"x"], [[0, 5, {}], [0, 6, {}]], []])]),
        encode([1, 30, "m", bytes(32), encode([[b"x"], [[0, 5, {1: 2}]], []])]),
        encode([1, 30, "m", bytes(32), encode([[b"x"], [[0, 5, {"a": [1]}]], []])]),
        encode([1, 30, "m", bytes(32), GOOD_BODY]) + b"\x00",
    ],
)
def test_what_is_no_block_is_malformed(data):
    with pytest.raises(Malformed):
        decode_block(data)


@pytest.mark.parametrize("data", [b"", encode([]), encode([b"i", "1", None, 0, 0, {}]), encode([b"i", None, None, 0, 0, {1: 1}])])
def test_what_is_no_answer_is_malformed(data):
    with pytest.raises(Malformed):
        decode_committed(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_block_or_malformed(data):
    for read, write in ((decode_block, encode_block), (decode_committed, encode_committed)):
        try:
            taken = read(data)
        except Malformed:
            continue
        assert write(taken) == data  # what is taken says exactly those bytes
    with contextlib.suppress(Malformed):
        assert len(decode_body(data, 3)) == 3


def test_a_refusal_passes_between_processes_whole():
    said = unpack(pack(Refused(Reason.UNKNOWN_KEY, kid=b"k", n=3, name="x")))
    assert (type(said), said.reason, said.facts) == (Refused, Reason.UNKNOWN_KEY, {"kid": b"k", "n": 3, "name": "x"})


def test_the_writer_keeps_a_core_for_itself():
    assert [processes_for(cores) for cores in (1, 2, 4, 64)] == [0, 1, PROCESSES_MAX, PROCESSES_MAX]
