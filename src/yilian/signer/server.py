"""The process around the desk: it talks as `talks` does, and looks now and then whether the sitting is over."""

import asyncio
import time
from pathlib import Path
from typing import Final

from yilian import talks
from yilian.signer.desk import Desk
from yilian.signer.protocol import FRAME_BYTES_MAX

_LOOK_S: Final = 1.0  # how late a sitting may be found to have ended; every request looks for itself


async def serve(desk: Desk, socket_path: Path | None, *, follows_input: bool) -> None:
    """Serve a socket, or standard input and output where there is none.

    Raises   SocketTaken
    """

    def answer(body: bytes) -> bytes:
        return desk.answer(body, time.monotonic())

    looking = asyncio.create_task(_keep_looking(desk))
    try:
        if socket_path is None:
            await talks.serve_stdio(answer, size_bytes_max=FRAME_BYTES_MAX)
        else:
            await talks.serve_socket(answer, socket_path, size_bytes_max=FRAME_BYTES_MAX, follows_input=follows_input)
    finally:
        looking.cancel()


async def _keep_looking(desk: Desk) -> None:
    while True:
        await asyncio.sleep(_LOOK_S)
        desk.lock_if_idle(time.monotonic())
