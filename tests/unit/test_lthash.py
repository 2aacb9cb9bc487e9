"""The state digest is a function of the set of rows alone."""

import hashlib

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from yilian.ledger import lthash

ROWS = st.dictionaries(st.binary(min_size=1, max_size=8), st.binary(max_size=30), max_size=12)


def naive(rows):
    lanes = [0] * 1024
    for key, value in rows.items():
        stream = hashlib.shake_128(cbor2.dumps([key, value])).digest(2048)
        for lane in range(1024):
            lanes[lane] = (lanes[lane] + int.from_bytes(stream[2 * lane : 2 * lane + 2], "little")) % 65_536
    return b"".join(lane.to_bytes(2, "little") for lane in lanes)


@given(ROWS, ROWS)
def test_any_way_from_one_set_of_rows_to_another_gives_the_naive_sum(before, after):
    start = lthash.changed(lthash.EMPTY, [], before.items())
    assert start == naive(before)
    end = lthash.changed(start, before.items(), after.items())
    assert end == naive(after)
    assert (lthash.digest(start) == lthash.digest(end)) == (before == after)


def test_nothing_sums_to_nothing():
    assert lthash.changed(lthash.EMPTY, [], []) == lthash.EMPTY == bytes(2048)
    assert lthash.digest(lthash.EMPTY) == hashlib.sha256(bytes(2048)).digest()
