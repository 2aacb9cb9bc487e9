"""What goes over the wire: frames around maps.

Frame    u32 big-endian length, then deterministic CBOR of a map with text keys.
Request  {"op": name, ...named fields}. Answer  {"ok": {...}} or {"no": reason, "facts": {...}}.
"""

from typing import Final, TypeAlias

from yilian.base.codec import Malformed, Value, decode, encode

LENGTH_BYTES: Final = 4

Fields: TypeAlias = "dict[str, Value]"


class NotAMessage(ValueError):
    """A frame's body is not what our encoder would write, or not a map with text keys."""


def frame(message: Fields) -> bytes:
    """Return the message as it goes over the wire."""
    body = encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def unframed(body: bytes) -> Fields:
    """Return the message in a frame's body.

    Raises   NotAMessage
    """
    try:
        message = decode(body)
    except Malformed as error:
        raise NotAMessage(str(error)) from error
    if not isinstance(message, dict) or not all(isinstance(name, str) for name in message):
        raise NotAMessage("NOT_A_MAP")
    return message  # every key was just seen to be text
