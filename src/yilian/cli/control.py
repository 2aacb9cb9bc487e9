"""The operator's socket of a running process: work on its stores that no other process can do: a key store is open once.

Socket   `control.sock` in the node's folder (or the region's home), mode 0600: who can connect runs as the same user.
Talk     one JSON object a line. `{"op": "import", "member": id, "path": folder}` is answered by any number of `{"progress": ...}` and one
         `{"done": ...}` or `{"no": sentence}`; other ops (`voting`, `suspending`) by one of these two.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yilian.cli.frame import Declined, Unreachable

if TYPE_CHECKING:
    import socket

    from yilian.cli.operating import Act
    from yilian.records import ImportCounts, Issue, RecordStore

SOCKET: Final = "control.sock"
LINE_BYTES_MAX: Final = 1 << 20
PROBLEMS_MAX: Final = 50
_LOG: Final = logging.getLogger(__name__)

Say = Callable[[dict[str, Any]], None]


@asynccontextmanager
async def listening(folder: Path, stores: Mapping[str, "RecordStore"], acts: Mapping[str, "Act"] | None = None) -> AsyncIterator[Path]:
    """Serve the operator's socket in `folder` until the block is left: imports into `stores`, all else by `acts`."""
    path = folder / SOCKET
    path.unlink(missing_ok=True)  # of a process that died: the ledger's lock says that no other one lives
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(
            lambda reader, writer: _converse(stores, acts or {}, reader, writer), path=str(path), limit=LINE_BYTES_MAX
        )
    finally:
        os.umask(before)
    try:
        async with server:
            yield path
    finally:
        path.unlink(missing_ok=True)


async def _converse(
    stores: Mapping[str, "RecordStore"], acts: Mapping[str, "Act"], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()

    def say(said: dict[str, Any]) -> None:
        """Say something from the importing thread."""
        loop.call_soon_threadsafe(writer.write, _line(said))

    try:
        with contextlib.suppress(ConnectionError):  # who asked went away
            writer.write(_line(await _last(stores, acts, reader, say)))  # after all that the thread said: it was scheduled before it ended
            await writer.drain()
    finally:
        writer.close()  # whatever happened here: who asked waits for that


async def _last(stores: Mapping[str, "RecordStore"], acts: Mapping[str, "Act"], reader: asyncio.StreamReader, say: Say) -> dict[str, Any]:
    """Return the last line of the answer; a defect of ours is one too, or who asked would wait for ever."""
    from yilian.node import noted

    try:
        asked = json.loads(await reader.readline())
    except ValueError:  # longer than a line may be, or no JSON
        return {"no": "what was asked is no request"}
    try:
        member = str(asked.get("member"))
        store, act = stores.get(member), acts.get(member)
        if asked.get("op") != "import" and act is not None:
            return {"done": await act(asked)}
        if asked.get("op") != "import" or store is None:
            return {"no": f"there is no member {asked.get('member')!r} here"}
        return await asyncio.to_thread(_import, store, str(asked.get("path")), say)
    except Exception as error:  # noqa: BLE001 - nothing is hidden: it stands in the node's log, under the number that is answered
        case = noted(error, "the operator's socket", _LOG)
        return {"no": f"the node that runs failed at this, which is our mistake, not yours: defect {case} in its log says where"}


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"


def _import(store: "RecordStore", path: str, say: Say) -> dict[str, Any]:
    from yilian.records import SqliteStore, StoreUnavailable, import_folder

    if not isinstance(store, SqliteStore):
        return {"no": "this member's records lie in a server of its own: import them there"}
    try:
        counts = import_folder(store, path, lambda at: say({"progress": [at.files_done, at.files_total, at.resources]}))
    except StoreUnavailable as fault:
        return {"no": f"the record store cannot write: {fault}"}
    return {"done": told(counts)}


def told(counts: "ImportCounts") -> dict[str, Any]:
    """Return an import's counts; what was refused is named by place and kind of fault, never by content."""
    return {
        "files": counts.files,
        "found": sum(counts.found.values()),
        "created": sum(counts.created.values()),
        "updated": sum(counts.updated.values()),
        "unchanged": sum(counts.unchanged.values()),
        "refused": sum(counts.refused.values()),
        "by_type": dict(sorted(counts.found.items())),
        "problems": [
            {"file": one.file, "line": one.line, "issues": [_told_of(issue) for issue in one.issues]}
            for one in counts.problems[:PROBLEMS_MAX]
        ],
    }


def _told_of(issue: "Issue") -> str:
    where = f" at {issue.expression}" if issue.expression else ""
    return f"{issue.code}{where}: {issue.diagnostics.rstrip('.')}"  # a sentence of ours: it names elements and rules, and quotes no value


def ask(folder: Path, request: dict[str, Any], wait_s: float | None = None) -> Iterator[dict[str, Any]]:
    """Yield the answers of the process that listens in `folder`, the last of which is `done`. `wait_s`: how long for each, if not for ever.

    Raises   Unreachable, Declined
    """
    import socket

    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(str(folder / SOCKET))
        except OSError as error:
            raise Unreachable(f"no running node listens in {folder}: start it with `yilian node run --home DIR`") from error
        line.settimeout(wait_s)
        line.sendall(json.dumps(request).encode() + b"\n")
        for answer in _lines(line, wait_s):
            said = json.loads(answer)
            if "no" in said:
                raise Declined(str(said["no"]))
            yield said
            if "done" in said:
                return
    raise Unreachable("the node went away before it was done: what it had done stays, and it may be asked again; nothing is stored twice")


def _lines(line: "socket.socket", wait_s: float | None) -> Iterator[bytes]:
    try:
        yield from line.makefile("rb")
    except TimeoutError as error:
        raise Unreachable(f"the node that runs does not answer within {wait_s:g} s") from error
