"""State answers: a member's signed word on one key, at one height, for five minutes."""

from dataclasses import replace

import pytest

from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import labelled, sha256
from yilian.base.keys import SigningKey, is_signed
from yilian.ledger import parse_answer, sign_answer
from yilian.ledger.answers import StateAnswer, sign_day

KEY, OTHER, NETWORK = SigningKey(b"r" * 32), SigningKey(b"o" * 32), b"n" * 32
PRESENT = sign_answer(KEY, NETWORK, (9, 1_000), (b"c/key", b"value"))
ABSENT = sign_answer(KEY, NETWORK, (9, 1_000), (b"c/key", None))


def test_an_answer_says_what_is_there_or_that_nothing_is():
    assert (PRESENT.height, PRESENT.time_s, PRESENT.key, PRESENT.value_digest) == (9, 1_000, b"c/key", sha256(b"value"))
    assert ABSENT.value_digest is None
    assert sign_answer(KEY, NETWORK, (9, 1_000), (b"c/key", b"")).value_digest == sha256(b"")


def test_what_is_signed_is_exactly_the_designs_list():
    message = labelled("state-answer", NETWORK, 9, 1_000, b"c/key", sha256(b"value"))
    assert message == encode(["state-answer", NETWORK, 9, 1_000, b"c/key", sha256(b"value")])
    assert is_signed(KEY.public_key, message, PRESENT.signature)


@pytest.mark.parametrize(
    "change",
    [
        {"network": b"m" * 32},
        {"height": 10},
        {"time_s": 1_001},
        {"key": b"c/kez"},
        {"value_digest": sha256(b"other")},
        {"value_digest": None},
        {"kid": OTHER.kid},
        {"signature": bytes(64)},
    ],
)
def test_everything_in_an_answer_is_signed(change):
    assert PRESENT.is_signed_by(KEY.public_key)
    assert ABSENT.is_signed_by(KEY.public_key)
    assert not PRESENT.is_signed_by(OTHER.public_key)
    assert not replace(PRESENT, **change).is_signed_by(KEY.public_key)


@pytest.mark.parametrize(("now_s", "is_fresh"), [(699, False), (700, True), (1_000, True), (1_300, True), (1_301, False)])
def test_an_answer_is_fresh_for_five_minutes_either_way(now_s, is_fresh):
    assert PRESENT.is_fresh(now_s) is is_fresh


def test_an_answer_reads_back_and_other_bytes_do_not():
    assert parse_answer(PRESENT.encoded()) == PRESENT
    assert parse_answer(ABSENT.encoded()) == ABSENT
    for position, wrong in [(0, "n"), (1, None), (2, "t"), (3, 3), (4, 4), (5, None), (6, None)]:
        parts = decode(PRESENT.encoded())
        parts[position] = wrong
        with pytest.raises(Malformed):
            parse_answer(encode(parts))


def test_an_answer_about_a_day_carries_the_root_over_its_tags_as_it_is():
    day_key, digest = b"t/\x00\x00\x50\x00", sha256(b"tags")
    day = sign_day(KEY, NETWORK, (9, 1_000), day_key, digest)
    assert day == StateAnswer(NETWORK, 9, 1_000, day_key, digest, KEY.kid, day.signature)
    assert day.is_signed_by(KEY.public_key)
    assert parse_answer(day.encoded()) == day
