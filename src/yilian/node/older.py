"""What came before the snapshot with which this member joined: fetched from the others in the background, one part after the other.

Whom     the active members in turn, whoever has it; who sends what the log refutes is not asked again while this node runs; after a
         falsehood that may be anybody's (a block's time) those who sent before it are asked last.
Rate     it rests as long as it worked: at most half of one core, and one answer in flight.
Progress `yilian network status` says how far it is; a restart goes on where it stood (`engines.older`).
Source   design 02 "Snapshot"; ADR-0122.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar

from yilian.base.codec import Malformed, decode
from yilian.contracts import directory
from yilian.engines import EngineStopped, Lied, Older
from yilian.node.housekeeping import alongside
from yilian.node.member import Node
from yilian.peers import Unreachable

T = TypeVar("T")
BLOCKS_AT_ONCE: Final = 64
PAUSE_S: Final = 5  # before those are asked again who did not answer or had nothing
PAUSE_S_MAX: Final = 3_600  # `yilian network status` says meanwhile what is wrong
_PROVEN_LIE: Final = 1_000
_LENGTH_BYTES: Final = 4
_OK: Final = 200
_END: Final = object()


class _NothingThere(Exception):
    """This member does not have the next blocks."""


@alongside
async def complete(node: Node) -> None:
    """Fetch and join all that is missing, once this member has begun; nothing for most."""
    try:
        await node.engine.reached(1)  # a member that joins has no block before its snapshot is restored
        if node.engine.missing:
            await fetch(node)
    except EngineStopped:
        return  # whoever watches the engine says why


async def fetch(node: Node) -> None:
    """Fetch and join all that is missing.

    Raises   EngineStopped
    """
    older = await _in_thread(node.engine.older)
    try:
        doubts: Counter[str] = Counter()
        senders: set[str] = set()
        while not older.is_whole:
            if not await _ask_around(node, older, doubts, senders):
                await asyncio.sleep(PAUSE_S)
        steps = older.join()
        while await _in_thread(lambda: next(steps, _END)) is not _END:
            await node.engine.reached(node.engine.began)  # lets others in, and ends where the engine has
    finally:
        await _in_thread(older.close)


async def _ask_around(node: Node, older: Older, doubts: Counter[str], senders: set[str]) -> bool:
    """Ask each member for all it has; say whether anybody had anything."""
    is_further = False
    for one in sorted(_others(node), key=lambda one: (doubts[one.id], one.id)):
        if doubts[one.id] >= _PROVEN_LIE:
            continue
        try:
            while not older.is_whole:
                await _take_part(node, older, one, senders)
                is_further = True
        except (Unreachable, _NothingThere):
            continue
        except Lied as lie:
            doubts.update({one.id: _PROVEN_LIE} if lie.is_sender else dict.fromkeys(senders, 1))
            if not lie.is_sender:
                senders.clear()
                await asyncio.sleep(_rest_s(len(older.progress.begun_again)))
    return is_further


async def _take_part(node: Node, older: Older, one: directory.Member, senders: set[str]) -> None:
    """Take the next blocks from a member, with its proof that they are of our log; then rest as long as that was work.

    Raises   Unreachable, Lied, _NothingThere
    """
    asked = f"{one.endpoint}/network/blocks?since={older.since_height}&limit={BLOCKS_AT_ONCE}"
    sent = await node.peers.get(asked)
    if sent.status != _OK or not sent.content:
        raise _NothingThere
    began = time.monotonic()
    part = await _in_thread(lambda: older.read(_frames(sent.content)))
    worked_s = time.monotonic() - began
    if not part.blocks:
        raise Lied("no block in the answer", is_sender=True)
    path: list[bytes] = []
    if part.log.size:
        shown = await node.peers.get(f"{one.endpoint}/network/consistency?old={part.log.size}&new={older.progress.entries_all}")
        if shown.status != _OK:
            raise _NothingThere
        path = _path(shown.content)
    senders.add(one.id)
    began = time.monotonic()
    await _in_thread(lambda: older.take(part, path))
    await asyncio.sleep(worked_s + time.monotonic() - began)


def _rest_s(times: int) -> int:
    """Return how long to rest after all that was fetched has been thrown away so many times: at once to the next, then ever seldomer."""
    return 0 if times < 2 else min(PAUSE_S << times, PAUSE_S_MAX)  # noqa: PLR2004 - the second time


def _others(node: Node) -> list[directory.Member]:
    members = directory.members(node.engine.read())
    return [one for one in members if one.id != node.id and one.stage is directory.Stage.ACTIVE and one.endpoint]


def _frames(content: bytes) -> list[bytes]:
    frames, at = [], 0
    while at < len(content):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(content[at:start], "big")
        if at > len(content):
            raise Lied("the answer ends within a block", is_sender=True)
        frames.append(content[start:at])
    return frames


def _path(content: bytes) -> list[bytes]:
    try:
        said: Any = decode(content)
    except Malformed as error:
        raise Lied("the proof cannot be read", is_sender=True) from error
    if not isinstance(said, list) or not all(isinstance(each, bytes) for each in said):
        raise Lied("the proof is no list of hashes", is_sender=True)
    return said


async def _in_thread(work: Callable[[], T]) -> T:
    """Run work in a thread; who is cancelled waits until it has ended, because the files it works on will be closed."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
