"""Replay windows against a witness that remembers every nonce ever spent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yilian.base.refusals import Reason, Refused
from yilian.ledger.nonces import PAGE_BITS, PREFIX, RESTART_SKIP, WINDOW, Windows, highest_spent
from yilian.ledger.overlay import Rows

KID, OTHER = b"k" * 16, b"o" * 16


def spend(rows, *nonces, kid=KID):
    """Spend in one block; return the refusals in order, None for each that was taken."""
    windows, answers = Windows(rows), []
    for nonce in nonces:
        try:
            windows.spend(kid, nonce)
            answers.append(None)
        except Refused as no:
            answers.append((no.reason, no.facts))
    rows.take(windows.writes())
    return answers


@given(st.lists(st.lists(st.integers(0, 300) | st.integers(0, 4 * WINDOW), min_size=1, max_size=6), max_size=12))
def test_each_nonce_is_spent_once_and_only_within_the_window(blocks):
    rows, spent = Rows(), set()
    for block in blocks:
        for nonce, answer in zip(block, spend(rows, *block), strict=True):
            highest = max(spent, default=0)
            if nonce <= highest - 65_536:
                assert answer == (Reason.NONCE_TOO_OLD, {"highest": highest})
            elif nonce > highest + 65_536:
                assert answer == (Reason.NONCE_TOO_FAR, {"highest": highest})
            elif nonce in spent:
                assert answer == (Reason.REPLAYED, {"nonce": nonce})
            else:
                assert answer is None
                spent.add(nonce)
        assert highest_spent(rows, KID) == max(spent, default=0)
    kept = {1_024 * int.from_bytes(key[len(PREFIX) + 16 :], "big") for key, _ in rows.scan(PREFIX + KID) if len(key) > len(PREFIX) + 16}
    inside = {nonce - nonce % 1_024 for nonce in spent if nonce > max(spent) - 65_536}
    assert inside <= kept <= {nonce - nonce % 1_024 for nonce in spent}
    assert all(start + 1_024 > max(spent) - 65_535 for start in kept)


@pytest.mark.parametrize(
    ("first", "then", "answer"),
    [
        (WINDOW, 0, (Reason.NONCE_TOO_OLD, {"highest": WINDOW})),
        (WINDOW, 1, None),
        (5, 5 + WINDOW, None),
        (5, 6 + WINDOW, (Reason.NONCE_TOO_FAR, {"highest": 5})),
        (5, 5, (Reason.REPLAYED, {"nonce": 5})),
        (0, 0, (Reason.REPLAYED, {"nonce": 0})),
        (PAGE_BITS - 1, PAGE_BITS, None),
    ],
)
def test_the_first_and_the_last_nonce_inside_and_outside(first, then, answer):
    apart, together = Rows(), Rows()
    assert spend(apart, first) == [None]
    assert spend(apart, then) == [answer]
    assert spend(together, first, then) == [None, answer]
    assert apart.rows == together.rows


def test_a_node_that_starts_again_skips_4096_nonces_and_stays_inside_the_window():
    rows = Rows()
    assert spend(rows, 5, 5 + RESTART_SKIP) == [None, None]
    assert highest_spent(rows, KID) == 4_101


def test_a_key_that_spent_nothing_leaves_no_row_and_keys_do_not_touch_each_other():
    rows = Rows()
    assert spend(rows, WINDOW + 1) == [(Reason.NONCE_TOO_FAR, {"highest": 0})]
    assert rows.rows == {}
    assert spend(rows, 7) == [None]
    assert spend(rows, 7, kid=OTHER) == [None]
    assert rows.rows == {
        PREFIX + KID: (7).to_bytes(8, "big"),
        PREFIX + KID + bytes(8): bytes([128]) + bytes(127),
        PREFIX + OTHER: (7).to_bytes(8, "big"),
        PREFIX + OTHER + bytes(8): bytes([128]) + bytes(127),
    }


def test_rows_stand_under_their_own_prefix_and_a_page_goes_with_its_last_nonce():
    rows = Rows()
    spend(rows, 5, PAGE_BITS)
    assert sorted(rows.rows) == [b"n/" + KID, b"n/" + KID + bytes(8), b"n/" + KID + (1).to_bytes(8, "big")]
    spend(rows, WINDOW + PAGE_BITS - 2)  # the window begins at PAGE_BITS - 1: the first page holds one nonce of it
    assert b"n/" + KID + bytes(8) in rows.rows
    spend(rows, WINDOW + PAGE_BITS - 1)
    assert b"n/" + KID + bytes(8) not in rows.rows
    assert b"n/" + KID + (1).to_bytes(8, "big") in rows.rows


def test_a_page_that_leaves_within_one_block_is_not_written_back():
    rows = Rows()
    spend(rows, 5, WINDOW, WINDOW + PAGE_BITS - 1)
    assert b"n/" + KID + bytes(8) not in rows.rows


def test_a_page_whose_last_nonce_is_still_inside_is_written_back_in_the_same_block():
    rows = Rows()
    assert spend(rows, 5, WINDOW, WINDOW + PAGE_BITS - 2) == [None, None, None]
    assert rows.rows[b"n/" + KID + bytes(8)] == bytes([32]) + bytes(127)


def test_a_page_is_deleted_once():
    rows = Rows()
    spend(rows, 5)
    spend(rows, WINDOW)
    for nonce, deleted in ((WINDOW + PAGE_BITS - 1, [b"n/" + KID + bytes(8)]), (WINDOW + PAGE_BITS, [])):
        windows = Windows(rows)
        windows.spend(KID, nonce)
        assert [key for key, value in windows.writes().items() if value is None] == deleted
        rows.take(windows.writes())


def test_pages_that_left_the_window_are_deleted():
    rows = Rows()
    for nonce in range(0, 5 * WINDOW, PAGE_BITS // 2):
        assert spend(rows, nonce) == [None]
    assert len(rows.rows) <= 1 + WINDOW // PAGE_BITS + 1
