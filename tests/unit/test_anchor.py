"""Anchor, sentence by sentence: one tick a window, and corrections of what provably stands under one."""

from dataclasses import replace
from hashlib import sha256

import pytest

import contract_tables
from tests.rooms import INDEX, NOW, View, act, key, kinds, refusal
from yilian.base.codec import encode
from yilian.base.merkle import inclusion_path, leaf_hash, root
from yilian.base.refusals import Reason
from yilian.contracts import anchor
from yilian.contracts.anchor import Correct, Correction, LastTick, Tick, Ticked

RECORDS, OWN = key("records root"), key("own care root")
TICK = Tick(RECORDS, OWN)
INTERVAL_S = 60
MINUTE = NOW - NOW % 60


def last(index, at_s, member=b"clinic-1"):
    return {b"k/l/" + member: encode([index, at_s])}


def ticked(index=INDEX, member="clinic-1", records=RECORDS, own=OWN):
    return {b"k/t/" + index.to_bytes(8, "big"): encode([member, records, own])}


# tick


def test_a_tick_keeps_both_roots_under_its_own_index():
    writes = anchor.tick_writes(View(), TICK, act(), INTERVAL_S)
    assert writes == last(INDEX, NOW) | ticked()
    view = View(writes)
    assert (anchor.last_tick(view, "clinic-1"), anchor.tick(view, INDEX)) == (LastTick(INDEX, NOW), Ticked("clinic-1", RECORDS, OWN))
    assert (anchor.last_tick(view, "hospital-1"), anchor.tick(view, INDEX + 1)) == (None, None)


@pytest.mark.parametrize(
    ("before_s", "now_s", "is_taken"),
    [
        (MINUTE, MINUTE, False),
        (MINUTE, MINUTE + 59, False),
        (MINUTE + 59, MINUTE + 59, False),
        (MINUTE, MINUTE + 60, True),
        (MINUTE + 59, MINUTE + 60, True),  # a window is of the clock, not of the member
        (MINUTE + 59, MINUTE + 61, True),
        (MINUTE, MINUTE + 99_999, True),  # after an outage one tick covers all
    ],
)
def test_one_tick_in_each_window_of_the_clock(before_s, now_s, is_taken):
    view = View(last(5, before_s))
    if is_taken:
        assert anchor.tick_writes(view, TICK, act(now_s=now_s), INTERVAL_S) == last(INDEX, now_s) | ticked()
    else:
        answer = refusal(anchor.tick_writes, view, TICK, act(now_s=now_s), INTERVAL_S)
        assert answer == (Reason.TICKED_ALREADY, {"next_s": MINUTE + 60})


def test_the_window_is_as_long_as_the_network_says():
    hour = NOW - NOW % 3_600
    view = View(last(5, hour + 10))
    assert refusal(anchor.tick_writes, view, TICK, act(now_s=hour + 3_599), 3_600) == (Reason.TICKED_ALREADY, {"next_s": hour + 3_600})
    assert anchor.tick_writes(view, TICK, act(now_s=hour + 11), 1)


def test_members_tick_apart_from_each_other():
    writes = anchor.tick_writes(View(last(5, NOW)), TICK, act(carrier="hospital-1"), INTERVAL_S)
    assert writes == last(INDEX, NOW, b"hospital-1") | ticked(member="hospital-1")


# correct


ERASE = sha256(key("erase key")).digest()
LEAVES = [encode([key(f"version {n}"), ERASE]) for n in range(5)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
TREE = Ticked("clinic-1", root(HASHES), OWN)
CORRECT = Correct(7, key("version 3"), ERASE, 3, 5, inclusion_path(HASHES, 3), key("amending"))
DECIDE = kinds(anchor)["anchor.correct"].decide
WITH_TICK = ticked(7, records=root(HASHES))


def test_a_version_that_stands_under_the_members_own_tick_is_corrected():
    writes = DECIDE(View(WITH_TICK), CORRECT, act())
    assert writes == {b"k/c/" + (7).to_bytes(8, "big") + key("version 3"): encode(key("amending"))}
    assert anchor.correction(View(writes), 7, key("version 3")) == Correction(key("amending"))
    assert anchor.correction(View(writes), 8, key("version 3")) is None
    assert anchor.correction(View(writes), 7, key("version 2")) is None


@pytest.mark.parametrize("place", range(5))
def test_any_version_of_a_tick_may_be_corrected(place):
    message = replace(CORRECT, amended=key(f"version {place}"), position=place, path=inclusion_path(HASHES, place))
    assert len(DECIDE(View(WITH_TICK), message, act())) == 1


@pytest.mark.parametrize(
    ("changes", "rows", "carrier", "reason", "facts"),
    [
        ({"amending": key("version 3")}, WITH_TICK, "clinic-1", Reason.BAD_SHAPE, {"field": 7}),
        ({}, {}, "clinic-1", Reason.NO_SUCH_TICK, {"index": 7}),
        ({"amended_index": 8}, WITH_TICK, "clinic-1", Reason.NO_SUCH_TICK, {"index": 8}),
        ({}, WITH_TICK, "hospital-1", Reason.NOT_THE_TICK_MEMBER, {"member": "clinic-1"}),
        ({"amended": key("version 2")}, WITH_TICK, "clinic-1", Reason.NOT_UNDER_ROOT, {}),
        ({"erase_key_digest": OWN}, WITH_TICK, "clinic-1", Reason.NOT_UNDER_ROOT, {}),
        ({"position": 2}, WITH_TICK, "clinic-1", Reason.NOT_UNDER_ROOT, {}),
        ({"position": 5}, WITH_TICK, "clinic-1", Reason.NOT_UNDER_ROOT, {}),
        ({"size": 9}, WITH_TICK, "clinic-1", Reason.NOT_UNDER_ROOT, {}),
        ({"size": 0}, WITH_TICK, "clinic-1", Reason.NOT_UNDER_ROOT, {}),
        ({"path": []}, WITH_TICK, "clinic-1", Reason.NOT_UNDER_ROOT, {}),
        ({}, ticked(7), "clinic-1", Reason.NOT_UNDER_ROOT, {}),
    ],
)
def test_nothing_else_is_corrected_and_by_nobody_else(changes, rows, carrier, reason, facts):
    assert refusal(DECIDE, View(rows), replace(CORRECT, **changes), act(carrier=carrier)) == (reason, facts)


def test_a_version_is_corrected_once_and_the_correction_may_be_corrected():
    view = View(WITH_TICK)
    view.take(DECIDE(view, CORRECT, act()))
    assert refusal(DECIDE, view, CORRECT, act()) == (Reason.ALREADY_CORRECTED, {})
    assert refusal(DECIDE, view, replace(CORRECT, amending=key("other")), act()) == (Reason.ALREADY_CORRECTED, {})
    amending = leaf_hash(encode([key("amending"), ERASE]))
    view.take(ticked(9, records=amending))
    again = Correct(9, key("amending"), ERASE, 0, 1, [], key("third"))
    assert DECIDE(view, again, act()) == {b"k/c/" + (9).to_bytes(8, "big") + key("amending"): encode(key("third"))}


def test_the_leaf_of_a_version_binds_its_erase_key():
    assert anchor.version_leaf(key("c"), ERASE) == b"\x82\x58\x20" + key("c") + b"\x58\x20" + ERASE


def test_numbers_and_fields_are_permanent():
    shown = [(kind.number, kind.name, kind.approved_by, kind.decide is None, kind.asks_members) for kind in anchor.KINDS]
    assert shown == [
        (40, "anchor.tick", "the member itself (carrier)", True, False),
        (41, "anchor.correct", "the member of the tick (carrier)", False, False),
    ]
    assert anchor.KINDS[0].body(TICK) == {1: RECORDS, 2: OWN}
    body = {1: 7, 2: key("version 3"), 3: ERASE, 4: 3, 5: 5, 6: inclusion_path(HASHES, 3), 7: key("amending")}
    assert anchor.KINDS[1].body(CORRECT) == body
    assert anchor.KINDS[1].read(body) == CORRECT
    assert [each.prefix for each in anchor.STATE] == [b"k/l/", b"k/t/", b"k/c/"]


def test_the_page_of_the_contract_says_what_the_code_says(root):
    page = (root / "src/yilian/contracts/anchor/README.md").read_text()
    assert contract_tables.with_tables(page, contract_tables.tables_of(root / "src/yilian/contracts/anchor")) == page
    assert anchor.PREFIX == b"k/"
