"""Snapshots: the same bytes everywhere, and a restore that believes nothing it is told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import sha256
from yilian.ledger import lthash, snapshots
from yilian.ledger.chain import Chain
from yilian.ledger.log import Frontier
from yilian.ledger.snapshots import Manifest, Restore, SnapshotRejected, chunks, describe, parse_manifest

ROWS = [(b"a/" + bytes([n]), bytes([n]) * (n + 1)) for n in range(60)]
LANES = lthash.changed(lthash.EMPTY, [], ROWS)
LOG = Frontier().grown([sha256(bytes([n])) for n in range(11)])[0]
CHAIN = Chain(b"n" * 32, 9, 1_800_000_000_000, LOG, LANES)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(snapshots, "CHUNK_SIZE_BYTES", 400)


def restored(manifest, parts, app_hash=CHAIN.app_hash, network=CHAIN.network):
    restore = Restore(manifest, network, app_hash)
    rows = [row for part in parts for row in restore.take(part)]
    return restore.finish(), rows


def offer(rows, chain=CHAIN):
    parts = list(chunks(rows))
    return describe(chain, [sha256(part) for part in parts]), parts


def test_what_was_taken_is_restored_whole():
    manifest, parts = offer(ROWS)
    assert len(parts) > 3
    assert restored(parse_manifest(manifest.encoded()), parts) == (CHAIN, ROWS)


def test_no_chunk_is_larger_than_the_limit_unless_one_row_is():
    _, parts = offer([*ROWS, (b"b", bytes(1_000))])
    assert [len(part) > 400 for part in parts] == [False] * (len(parts) - 1) + [True]
    assert list(chunks([])) == []
    large = [(b"a", bytes(1_000)), (b"b", bytes(1_000))]
    assert [decode(part) for part in chunks(large)] == [[list(row)] for row in large]


def test_every_chunk_holds_as_much_as_the_first():
    rows = [(bytes([n]), bytes(200 - 1 - 11)) for n in range(6)]  # two to a chunk, exactly
    assert [len(decode(part)) for part in chunks(rows)] == [2, 2, 2]


@pytest.mark.parametrize("count", [1, 23, 24, 255, 256, 65_535, 65_536])
def test_a_chunk_is_the_one_encoding_of_the_list_of_its_rows(monkeypatch, count):
    monkeypatch.undo()
    rows = [(number.to_bytes(3, "big"), b"") for number in range(count)]
    assert list(chunks(rows)) == [encode([list(row) for row in rows])]


def test_the_first_row_may_have_any_key_but_the_empty_one():
    rows = [(b"\x00", b"lowest"), (b"a", b"")]
    chain = replace(CHAIN, lanes=lthash.changed(lthash.EMPTY, [], rows))
    assert restored(*offer(rows, chain), app_hash=chain.app_hash) == (chain, rows)


def test_a_chunk_is_closed_before_the_row_that_would_pass_eight_megabytes(monkeypatch):
    monkeypatch.undo()
    fits = [(b"a", bytes(4_000_000 - 1 - 11)), (b"b", bytes(4_000_000 - 1 - 11))]
    assert [len(part) for part in chunks(fits)] == [7_999_993]
    assert len(list(chunks([*fits[:1], (b"b", bytes(4_000_000 - 11))]))) == 2


def test_a_forged_snapshot_with_the_right_digest_string_is_rejected():
    forged = [(key, value if key != b"a/\x07" else b"forged") for key, value in ROWS]
    manifest, parts = offer(forged)  # names its own chunks correctly, and carries the true chain's log
    with pytest.raises(SnapshotRejected, match="not those of the trusted app hash"):
        restored(manifest, parts)


@pytest.mark.parametrize("rows", [ROWS[:-1], ROWS[1:], [*ROWS, (b"z", b"")], [(key, value + b"0") for key, value in ROWS]])
def test_a_row_missing_added_or_altered_is_rejected(rows):
    with pytest.raises(SnapshotRejected, match="trusted app hash"):
        restored(*offer(rows))


def test_a_log_that_is_not_the_trusted_one_is_rejected():
    other = Frontier().grown([sha256(bytes([n])) for n in range(12)])[0]
    manifest, parts = offer(ROWS)
    with pytest.raises(SnapshotRejected, match="trusted app hash"):
        restored(replace(manifest, log=other), parts)


def test_chunks_altered_swapped_missing_or_too_many_are_rejected():
    manifest, parts = offer(ROWS)
    for wrong in (
        [parts[1], parts[0], *parts[2:]],
        [parts[0] + b"\x00", *parts[1:]],
        [*parts, parts[-1]],
    ):
        with pytest.raises(SnapshotRejected, match="not the one that the manifest names"):
            restored(manifest, wrong)
    with pytest.raises(SnapshotRejected, match="only"):
        restored(manifest, parts[:-1])


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (encode([[b"b", b""], [b"a", b""]]), "out of order"),
        (encode([[b"a", b""], [b"a", b""]]), "out of order"),
        (encode([[b"", b""]]), "out of order"),
        (encode({1: 2}), "not a list of rows"),
        (encode({}), "not a list of rows"),
        (encode(5), "not a list of rows"),
        (encode([[b"a"]]), "not a list of rows"),
        (encode([["a", b""]]), "not a list of rows"),
        (b"\xff", "not a list of rows"),
    ],
)
def test_a_chunk_that_is_no_list_of_rows_in_order_is_rejected(part, sentence):
    manifest = describe(CHAIN, [sha256(part)])
    with pytest.raises(SnapshotRejected, match=sentence):
        restored(manifest, [part])


def test_another_networks_snapshot_is_rejected_at_once():
    with pytest.raises(SnapshotRejected, match="another network"):
        Restore(offer(ROWS)[0], b"m" * 32, CHAIN.app_hash)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_manifest_are_malformed(data):
    with pytest.raises(Malformed):
        parse_manifest(data)
    with pytest.raises(Malformed):
        parse_manifest(encode(["yilian-snapshot-1", b"n", 1, 2, 3, [], []]))


def test_a_manifest_reads_back():
    manifest = Manifest(b"n" * 32, 3, 4, LOG, (b"d" * 32,))
    assert parse_manifest(manifest.encoded()) == manifest
    assert decode(manifest.encoded()) == ["yilian-snapshot-1", b"n" * 32, 3, 4, 11, list(LOG.peaks), [b"d" * 32]]


@pytest.mark.parametrize("named", [[1], [b"d" * 32, "d" * 32], [None]])
def test_a_manifest_names_its_chunks_by_digests_only(named):
    with pytest.raises(Malformed, match="NOT_A_MANIFEST"):
        parse_manifest(encode(["yilian-snapshot-1", b"n" * 32, 3, 4, 0, [], named]))
