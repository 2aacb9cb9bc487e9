"""The end that asks: one connection to the process that keeps the keys, and how such a process is started."""

import asyncio
import contextlib
import sys
from abc import abstractmethod
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

from yilian.base.codec import Value
from yilian.talks.framing import LENGTH_BYTES, frame, unframed


class Gone(ConnectionError):
    """The process did not start, ended, or closed the connection."""


class Asking:
    """One connection; calls from several tasks wait for each other. A subclass says whom it talks with and what a no is."""

    who: ClassVar[str]  # "the wallet": for a sentence
    gone: ClassVar[type[Gone]]

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use `connect`."""
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()

    @classmethod
    async def connect(cls, socket_path: Path) -> Self:
        """Connect to the process that serves this socket; FileNotFoundError or ConnectionRefusedError if there is none."""
        return cls(*await asyncio.open_unix_connection(str(socket_path)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave; the process goes on."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    @abstractmethod
    def _refused(self, no: str, facts: dict[str, str | int]) -> Exception:
        """Return the refusal that the other side said."""

    async def _ask(self, operation: str, **fields: Value) -> dict[str, Any]:
        async with self._turn:
            try:
                self._writer.write(frame({"op": operation, **fields}))
                await self._writer.drain()
                length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
                answer = unframed(await self._reader.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise self.gone(f"{self.who} closed the connection") from error
        if "no" in answer:
            raise self._refused(str(answer["no"]), cast("dict[str, str | int]", answer["facts"]))
        return cast("dict[str, Any]", answer["ok"])


Talk = TypeVar("Talk", bound=Asking)


async def spawn(
    room: str, options: Sequence[str], socket_path: Path, talk: type[Talk], first_line: bytes | None = None
) -> tuple[Process, Talk]:
    """Start `python -m room` that lives as long as we do, and connect to it. End it by closing `process.stdin`, then `process.wait()`.

    Raises   the talk's own Gone, if it did not start (its own sentence is on standard error)
    """
    every = [*options, "--socket", str(socket_path), "--follow-input"]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", room, *every, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None, "asked for above"
    assert process.stdin is not None, "asked for above"
    if first_line is not None:
        process.stdin.write(first_line + b"\n")
    if not (await process.stdout.readline()).startswith(b"ready "):
        await process.wait()
        raise talk.gone(f"{talk.who} did not start")
    return process, await talk.connect(socket_path)
