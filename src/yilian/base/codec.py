"""Deterministic CBOR: the only encoding that is hashed, signed or stored as state.

Source   RFC 8949 section 4.2.1 (core deterministic encoding, bytewise key order). `cbor2`'s `canonical=True` is *not* it: that orders
         keys by length first (RFC 7049), so we order the maps ourselves and let `cbor2` write them as they stand.
Values   None, bool, int in [-2**64, 2**64), bytes, str, list, and dict with int or str keys. No floats, no tags.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeAlias

import cbor2

Value: TypeAlias = Any  # None, bool, int, bytes, str, list or dict: what a pattern or a shape check takes apart

INT_MIN, INT_MAX = -(2**64), 2**64 - 1  # RFC 8949 section 3.1: what major types 0 and 1 hold without a bignum tag
DEPTH_MAX = 16  # deeper than any shape of ours (the deepest, a voucher's, has 7); a bound so that hostile nesting costs nothing

_LEAVES = frozenset({bytes, str, bool, type(None)})
_DECODED_LEAVES = _LEAVES | {int}  # what was decoded is in range
_TAGS_BUILT_IN = (*range(64), 100, 256, 258, 260, 261, 1004, 43_000, 55_799)  # at least all that `cbor2` decodes by itself


class Malformed(ValueError):
    """Bytes that are not what our encoder would write, or a value that has no encoding."""


def _refuse_tag(*_: object) -> Value:
    raise Malformed("TAG_NOT_ALLOWED")


# A tag is refused where it stands, never decoded first: six bytes of shared values (tags 28, 29) make a list that holds itself, 600 make
# one that takes seconds to walk, and a decimal (4, 5) of 64 KiB takes one.
_TAG_DECODERS = dict.fromkeys(_TAGS_BUILT_IN, _refuse_tag)


def encode(value: Value) -> bytes:
    """Return the one encoding of `value`.

    Raises   Malformed, if it has none (a float, a tag, a key that is neither int nor str, an integer out of range).
    """
    if type(value) is bytes or (type(value) is list and _is_flat(value)):
        return cbor2.dumps(value)  # what most rows are: nothing in it to order
    return cbor2.dumps(_ordered(value, DEPTH_MAX))


def _is_flat(items: list[Value]) -> bool:
    """Say whether a list has only leaves that `cbor2` writes as we would (an IntEnum as its number); others take the slower way."""
    for item in items:  # noqa: SIM110 - a generator costs a third more, and this is every row that is written
        if type(item) not in _LEAVES and not (isinstance(item, int) and -1 <= item <= INT_MAX):
            return False
    return True


def load(data: bytes) -> Value:
    """Return the value of bytes that `encode` wrote here, such as a row of the state. Never for bytes from outside: nothing is checked."""
    return cbor2.loads(data)


def decode(data: bytes, items_max: int | None = None) -> Value:
    """Return the value that `data` encodes, if and only if `encode` would write exactly `data`.

    Refuses duplicate keys, unordered keys, indefinite lengths, long integers, tags, floats and trailing bytes: all of which
    `cbor2.loads` accepts; and, if `items_max` is given, a value of more items, before any time is spent on them.

    Raises   Malformed
    """
    value = _loaded(data)
    if items_max is not None and len(data) > items_max and _has_more_items(value, items_max):  # an item takes a byte or more
        raise Malformed("TOO_MANY_ITEMS")
    _check(value)
    if cbor2.dumps(value) != data:
        raise Malformed("NOT_DETERMINISTIC")
    return value


def decode_to_compare(data: bytes) -> Value:
    """Return what `data` seems to encode: for a caller that encodes anew what it found there and compares the bytes, which checks all.

    Raises   Malformed
    """
    return _loaded(data)


def _loaded(data: bytes) -> Value:
    try:
        return cbor2.loads(
            data,
            max_depth=DEPTH_MAX,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_TAG_DECODERS,
            tag_hook=_refuse_tag,
        )
    except (cbor2.CBORDecodeError, TypeError, ValueError, OverflowError) as error:
        raise Malformed(type(error).__name__) from error


def _has_more_items(value: Value, items_max: int) -> bool:
    """Say whether lists and maps in `value` hold more than `items_max` items together, keys included."""
    items, left = 0, [value]
    while left:
        one = left.pop()
        kind = type(one)
        if kind is list:
            items += len(one)
        elif kind is dict:
            items += 2 * len(one)
            one = one.values()
        else:
            continue
        if items > items_max:
            return True
        left.extend(one)
    return False


def _check(value: Value) -> None:
    """Raise Malformed unless `value` is of our types and every map stands in order."""
    kind = type(value)
    if kind in _DECODED_LEAVES:
        return
    if kind is dict:
        _check_order(value)
    elif kind is not list:
        raise Malformed("TYPE_NOT_ALLOWED")
    for item in value if kind is list else value.values():
        if type(item) not in _DECODED_LEAVES:
            _check(item)


def _check_order(mapping: dict[object, object]) -> None:
    last = -1
    for key in mapping:  # the common case: small non-negative integers, whose bytewise order is their own
        if type(key) is not int or key <= last or key > INT_MAX:
            break
        last = key
    else:
        return
    keys = [_key_bytes(key) for key in mapping]
    if any(a >= b for a, b in pairwise(keys)):
        raise Malformed("KEYS_NOT_IN_ORDER")


def _key_bytes(key: object) -> bytes:
    if type(key) is int and INT_MIN <= key <= INT_MAX:
        return cbor2.dumps(key)
    if type(key) is str:
        return cbor2.dumps(key)
    raise Malformed("KEY_TYPE_NOT_ALLOWED")


def _ordered(value: Value, depth: int) -> Value:
    """Return `value` with every map in bytewise key order, checked on the way."""
    kind = type(value)
    if kind in _LEAVES:
        return value
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:
            raise Malformed("INTEGER_OUT_OF_RANGE")
        return value
    if depth == 0:
        raise Malformed("TOO_DEEP")
    if kind is list or kind is tuple:
        return [_ordered(item, depth - 1) for item in value]
    if kind is dict:
        pairs = sorted((_key_bytes(key), key) for key in value)
        return {key: _ordered(value[key], depth - 1) for _, key in pairs}
    if isinstance(value, int):  # IntEnum members are written as the number they stand for
        return _ordered(int(value), depth)
    if isinstance(value, bytes):
        return bytes(value)
    raise Malformed("TYPE_NOT_ALLOWED")
