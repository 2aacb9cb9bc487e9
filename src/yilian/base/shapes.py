"""What two sides hand each other, declared once: a frozen dataclass is its own form on the wire.

Form     `CBOR([field, field, ...])` in the order of declaration; a field that is itself such a dataclass is a list in the list; a tuple
         is a list; None stands where the type allows it. Deterministic (`codec`), so that bytes can be compared and hashed.
Types    bytes, str, int, bool, `X | None`, `tuple[X, ...]`, and frozen dataclasses of these.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from yilian.base.codec import Malformed, decode, encode

Shape = TypeVar("Shape")
_LEAVES = (bytes, str, int, bool, NoneType)


def pack(value: object) -> bytes:
    """Return the wire form of an instance of such a dataclass."""
    return encode(_plain(value))


def unpack(shape: type[Shape], data: bytes) -> Shape:
    """Return the instance that `data` is. Integers are not negative; what the values mean is for the caller.

    Raises   Malformed
    """
    return cast("Shape", _shaped(shape, decode(data)))


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return [_plain(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@lru_cache(maxsize=256)
def _types(shape: type[Any]) -> tuple[Any, ...]:
    hints = get_type_hints(shape)
    return tuple(hints[field.name] for field in fields(shape) if field.init)


def _shaped(hint: Any, value: object) -> object:  # noqa: ANN401 - a type hint
    if hint in _LEAVES:
        if type(value) is not hint or (hint is int and cast("int", value) < 0):
            raise Malformed("NOT_OF_THIS_SHAPE")
        return value
    if isinstance(hint, UnionType):
        (other,) = [each for each in get_args(hint) if each is not NoneType]
        return None if value is None else _shaped(other, value)
    if type(value) is not list:
        raise Malformed("NOT_OF_THIS_SHAPE")
    if get_origin(hint) is tuple:
        return tuple(_shaped(get_args(hint)[0], item) for item in value)
    types = _types(hint)
    if len(value) != len(types):
        raise Malformed("NOT_OF_THIS_SHAPE")
    return hint(*[_shaped(inner, item) for inner, item in zip(types, value, strict=True)])
