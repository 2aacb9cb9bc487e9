"""The process around the desk: a Unix socket for this user only, or standard input and output. One request at a time per connection."""

import asyncio
import contextlib
import os
import socket
import stat
import sys
from pathlib import Path

from yilian.wallet.desk import Desk
from yilian.wallet.protocol import FRAME_BYTES_MAX, LENGTH_BYTES, frame
from yilian.wallet.refusals import No


class SocketTaken(OSError):
    """The path is in use by a living process, or is no socket: it is left alone."""


async def converse(desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer frames until the other side leaves. A frame that is too long ends the talk: what follows could not be told apart."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # the other side left, also in mid-frame
        while True:
            length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
            if length > FRAME_BYTES_MAX:
                writer.write(frame({"no": No.BAD_REQUEST.value, "facts": {"why": "FRAME_TOO_LONG"}}))
                await writer.drain()
                break
            writer.write(desk.answer(await reader.readexactly(length)))
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
    raise SocketTaken(f"{path} is in use by a running wallet")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _end_of_input() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass


async def serve_socket(desk: Desk, path: Path, *, follows_input: bool) -> None:
    """Serve until stopped; with `follows_input`, until standard input ends (who started us is gone). Prints `ready PATH` once."""
    _free(path)
    os.umask(0o077)
    server = await asyncio.start_unix_server(lambda reader, writer: converse(desk, reader, writer), path=str(path))
    print(f"ready {path}", flush=True)  # noqa: T201 - the line that who started us waits for
    try:
        async with server:
            await (_end_of_input() if follows_input else server.serve_forever())
    finally:
        _remove(path)


async def serve_stdio(desk: Desk) -> None:
    """Serve the one conversation on standard input and output."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    await converse(desk, reader, asyncio.StreamWriter(transport, protocol, reader, loop))
