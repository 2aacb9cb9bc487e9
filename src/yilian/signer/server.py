"""The process around the desk: a Unix socket for this user only, or standard input and output. One request at a time per connection."""

import asyncio
import contextlib
import os
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Final

from yilian.signer.desk import Desk
from yilian.signer.protocol import FRAME_BYTES_MAX, LENGTH_BYTES, Fields, No, frame

_LOOK_S: Final = 1.0  # how late a sitting may be found to have ended; every request looks for itself


class SocketTaken(OSError):
    """The path is in use by a living signer, or is no socket: it is left alone."""


async def converse(desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer frames until the other side leaves. A frame that is too long ends the talk: what follows could not be told apart."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # the other side left, also in mid-frame
        while True:
            length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
            if length > FRAME_BYTES_MAX:
                facts: Fields = {"why": "FRAME_TOO_LONG", "bytes_max": FRAME_BYTES_MAX}
                writer.write(frame({"no": No.BAD_REQUEST.value, "facts": facts}))
                await writer.drain()
                break
            writer.write(desk.answer(await reader.readexactly(length), time.monotonic()))
            await writer.drain()
    writer.close()


async def _keep_looking(desk: Desk) -> None:
    while True:
        await asyncio.sleep(_LOOK_S)
        desk.lock_if_idle(time.monotonic())


def _free(path: Path) -> None:
    """Remove the socket of a signer that died; raise SocketTaken for anything else."""
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
    raise SocketTaken(f"{path} is in use by a running signer")


async def _end_of_input() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass


async def serve_socket(desk: Desk, path: Path, *, follows_input: bool) -> None:
    """Serve until stopped; with `follows_input`, until standard input ends (who started us is gone). Prints `ready PATH` once."""
    _free(path)
    os.umask(0o177)  # the socket is born 0600: nobody else of this machine may ask
    server = await asyncio.start_unix_server(lambda reader, writer: converse(desk, reader, writer), path=str(path))
    looking = asyncio.create_task(_keep_looking(desk))
    sys.stdout.write(f"ready {path}\n")  # the line that who started us waits for
    sys.stdout.flush()
    try:
        async with server:
            await (_end_of_input() if follows_input else server.serve_forever())
    finally:
        looking.cancel()
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - the process is ending


async def serve_stdio(desk: Desk) -> None:
    """Serve the one conversation on standard input and output."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    looking = asyncio.create_task(_keep_looking(desk))
    try:
        await converse(desk, reader, asyncio.StreamWriter(transport, protocol, reader, loop))
    finally:
        looking.cancel()
