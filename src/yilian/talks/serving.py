"""The end that answers: a Unix socket for this user only, or standard input and output. One request at a time per connection."""

import asyncio
import contextlib
import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from yilian.talks.framing import LENGTH_BYTES, frame

Answer = Callable[[bytes], bytes]
"""A frame's body, whatever its bytes are -> the framed answer."""
_OTHERS_MAY_NOT = 0o077
_NOR_RUN_IT = 0o177  # a socket is no programme: it is born 0600


class SocketTaken(OSError):
    """The path is in use by a living process, or is no socket: it is left alone."""


async def serve_socket(answer: Answer, path: Path, *, size_bytes_max: int, follows_input: bool) -> None:
    """Serve until stopped; with `follows_input`, until standard input ends (who started us is gone). Prints `ready PATH` once.

    Raises   SocketTaken
    """
    _free(path)
    os.umask(_NOR_RUN_IT)
    server = await asyncio.start_unix_server(lambda reader, writer: converse(answer, size_bytes_max, reader, writer), path=str(path))
    os.umask(_OTHERS_MAY_NOT)  # of all that this process makes from here on
    sys.stdout.write(f"ready {path}\n")  # the line that who started us waits for
    sys.stdout.flush()
    try:
        async with server:
            await (_end_of_input() if follows_input else server.serve_forever())
    finally:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - the process is ending


async def serve_stdio(answer: Answer, *, size_bytes_max: int) -> None:
    """Serve the one conversation on standard input and output."""
    os.umask(_OTHERS_MAY_NOT)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    await converse(answer, size_bytes_max, reader, asyncio.StreamWriter(transport, protocol, reader, loop))


async def converse(answer: Answer, size_bytes_max: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer frames until the other side leaves. A frame that is too long ends the talk: what follows could not be told apart."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # the other side left, also in mid-frame
        while True:
            length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
            if length > size_bytes_max:
                writer.write(frame({"no": "BAD_REQUEST", "facts": {"why": "FRAME_TOO_LONG", "bytes_max": size_bytes_max}}))
                await writer.drain()
                break
            writer.write(answer(await reader.readexactly(length)))
            await writer.drain()
    writer.close()


def _free(path: Path) -> None:
    """Remove the socket of a process that died; raise SocketTaken for anything else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketTaken(f"{path} is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise SocketTaken(f"{path} is in use by a running process")


async def _end_of_input() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass
