"""ABCI on the wire: each message is its length as an unsigned LEB128 varint, then its protobuf bytes.

Source   CometBFT v0.38.25, spec/abci/abci++_client_server.md "TSP"; libs/protoio.
"""

from __future__ import annotations

from collections.abc import Iterator

from yilian.engines.cometbft.stubs.abci import types_pb2 as abci

MESSAGE_SIZE_BYTES_MAX = 128 * 1024 * 1024  # far above a block or a snapshot chunk: what claims more is no ABCI
_VARINT_SIZE_MAX = 5  # 5 * 7 bits hold any length up to the limit


class NotAbci(ValueError):
    """The other side does not speak ABCI 2.0."""


def framed(message: abci.Response | abci.Request) -> bytes:
    """Return the message with its length before it."""
    body = message.SerializeToString()
    size, head = len(body), bytearray()
    while size > 0x7F:  # noqa: PLR2004 - seven bits a byte
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + body


class Frames:
    """The message bodies in a stream that arrives in pieces of any size."""

    def __init__(self) -> None:
        """Begin with nothing received."""
        self._buffer = bytearray()

    def take(self, piece: bytes | memoryview) -> Iterator[bytes]:
        """Yield the body of each message that is complete now.

        Raises   NotAbci
        """
        self._buffer += piece
        at = 0
        while (found := self._frame(at)) is not None:
            start, end = found
            with memoryview(self._buffer) as whole:  # let go of at once: a buffer that is looked at cannot grow
                body = bytes(whole[start:end])
            yield body
            at = end
        del self._buffer[:at]

    def _frame(self, at: int) -> tuple[int, int] | None:
        """Return where the body that begins at or after `at` starts and ends, if all of it is here."""
        size, buffer = 0, self._buffer
        for place in range(_VARINT_SIZE_MAX):
            if at + place >= len(buffer):
                return None
            byte = buffer[at + place]
            size |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint
                break
        else:
            raise NotAbci("a message's length is no varint")
        if size > MESSAGE_SIZE_BYTES_MAX:
            raise NotAbci(f"a message of {size} bytes was announced, at most {MESSAGE_SIZE_BYTES_MAX} are taken")
        start = at + place + 1
        return (start, start + size) if start + size <= len(buffer) else None
