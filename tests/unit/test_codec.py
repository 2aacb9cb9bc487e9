"""The one encoding: what is written, and what is refused that a lenient decoder would take."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yilian.base.codec import DEPTH_MAX, INT_MAX, INT_MIN, Malformed, decode, encode

LEAVES = st.none() | st.booleans() | st.integers(INT_MIN, INT_MAX) | st.binary(max_size=40) | st.text(max_size=40)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.integers(-300, 300) | st.text(max_size=3), inner, max_size=5),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_encoded_decodes_to_itself_and_to_nothing_else(value):
    data = encode(value)
    assert decode(data) == value
    assert encode(decode(data)) == data


@given(VALUES, st.integers(0, 200), st.integers(0, 7))
def test_a_flipped_bit_never_decodes_to_the_same_value(value, position, bit):
    data = bytearray(encode(value))
    data[position % len(data)] ^= 1 << bit
    try:
        other = decode(bytes(data))
    except Malformed:
        return
    assert encode(other) == bytes(data) != encode(value)


@pytest.mark.parametrize(
    ("keys", "ordered"),
    [
        ([-1, 24], [24, -1]),  # bytewise: 0x1818 before 0x20; length-first (RFC 7049) would say the opposite
        ([100, 10, -1], [10, 100, -1]),
        (["b", "aa", "a"], ["a", "b", "aa"]),
        (["a", 1], [1, "a"]),
        ([-70002, 396, 15, 1], [1, 15, 396, -70002]),
    ],
)
def test_map_keys_stand_in_bytewise_order_not_by_length(keys, ordered):
    data = encode(dict.fromkeys(keys, 0))
    assert list(cbor2.loads(data)) == ordered
    assert decode(data) == dict.fromkeys(keys, 0)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("keys by length first", "a22000181800", "KEYS_NOT_IN_ORDER"),
        ("a key twice", "a201000101", "CBORDecodeValueError"),
        ("indefinite array", "9f01ff", "CBORDecodeError"),
        ("indefinite bytes", "5f4101ff", "CBORDecodeError"),
        ("long integer", "1801", "NOT_DETERMINISTIC"),
        ("long length", "580161", "NOT_DETERMINISTIC"),
        ("trailing byte", "0100", "NOT_DETERMINISTIC"),
        ("a float", "f93c00", "TYPE_NOT_ALLOWED"),
        ("not a number", "f97e00", "TYPE_NOT_ALLOWED"),
        ("a bignum tag", "c249010000000000000000", "CBORDecodeError"),
        ("a date tag", "c11a514b67b0", "CBORDecodeError"),
        ("a shared value", "d81c01", "CBORDecodeError"),
        ("a list that holds itself", "d81c81d81d00", "CBORDecodeError"),
        ("a tag in a key", "a1c00000", "CBORDecodeError"),
        ("undefined", "f7", "TYPE_NOT_ALLOWED"),
        ("a simple value", "e5", "TYPE_NOT_ALLOWED"),
        ("a key of bytes", "a1410100", "KEY_TYPE_NOT_ALLOWED"),
        ("a key of null", "a1f600", "KEY_TYPE_NOT_ALLOWED"),
        ("a key of true", "a1f500", "KEY_TYPE_NOT_ALLOWED"),
        ("text that is not UTF-8", "61ff", "CBORDecodeError"),
        ("cut short", "4301", "CBORDecodeEOF"),
        ("nothing", "", "CBORDecodeEOF"),
        ("too deep", "81" * (DEPTH_MAX + 1) + "01", "CBORDecodeError"),
    ],
)
def test_bytes_that_our_encoder_would_write_differently_are_refused(name, data, why):
    with pytest.raises(Malformed) as no:
        decode(bytes.fromhex(data))
    assert str(no.value) in {why, "CBORDecodeError", "CBORDecodeValueError"} if why.startswith("CBOR") else str(no.value) == why, name


@pytest.mark.parametrize("value", [1.5, float("nan"), {b"k": 1}, {None: 1}, {1.0: 2}, 2**64, -(2**64) - 1, object(), {1, 2}, [[1.0]]])
def test_a_value_that_has_no_encoding_is_refused(value):
    with pytest.raises(Malformed):
        encode(value)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_either_decode_to_what_encodes_back_or_are_malformed(data):
    try:
        value = decode(data)
    except Malformed:
        return
    assert encode(value) == data


@pytest.mark.parametrize("inner", [0, [], ["a"], [1, 2], {}, "2000-01-01", b"\x01"])
def test_a_tag_is_refused_before_what_it_holds_is_made_into_anything(inner):
    for number in [*range(300), 1_004, 43_000, 55_799, 2**16, 2**32, 2**64 - 1]:
        tagged = b"\xdb" + number.to_bytes(8, "big") + cbor2.dumps(inner)
        for data in (tagged, b"\x81" + tagged, b"\xa1\x01" + tagged):
            with pytest.raises(Malformed) as no:
                decode(data)
            cause = no.value.__cause__
            assert isinstance(cause, cbor2.CBORDecodeError), number
            assert str(cause.__cause__ or cause.__context__) == "TAG_NOT_ALLOWED", number


def test_shared_values_that_share_shared_values_are_never_walked():
    """Four levels of 60 references each: 13 million steps when walked, 600 bytes on the wire."""
    lists = [b"\xd8\x1c\x98\x3c" + bytes(60)] + [b"\xd8\x1c\x98\x3c" + (b"\xd8\x1d" + bytes([level])) * 60 for level in range(9)]
    data = bytes([0x80 + len(lists)]) + b"".join(lists)
    with pytest.raises(Malformed) as no:
        decode(data)
    assert str(no.value) == "CBORDecodeError"


@given(VALUES, st.integers(0, 30))
def test_a_bound_on_items_counts_elements_keys_and_values_at_any_depth(value, items_max):
    def items(one):
        if isinstance(one, dict):
            return sum(2 + items(inner) for inner in one.values())
        return sum(1 + items(inner) for inner in one) if isinstance(one, list) else 0

    data = encode(value)
    if items(value) <= items_max:
        assert decode(data, items_max) == value
    else:
        with pytest.raises(Malformed) as no:
            decode(data, items_max)
        assert str(no.value) == "TOO_MANY_ITEMS"
