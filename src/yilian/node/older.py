"""What came before the snapshot with which this member joined: fetched from the others in the background, one part after the other.

Whom     the active members in turn, whoever has it; who sends what the log refutes is not asked again while this node runs. After a
         falsehood that may be anybody's (a block's time) all must come from one member alone, so the next one is its own. So each
         failure but the first ends the asking of a liar, and one honest member that is there suffices.
Rate     it rests as long as it worked: at most half of one core, and one answer in flight.
Progress `yilian network status` says how far it is; a restart goes on where it stood (`engines.older`).
Source   design 02 "Snapshot"; ADR-0122.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
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
PATIENCE: Final = 12  # how often one that must send all alone is asked again before the next one is
_LENGTH_BYTES: Final = 4
_OK: Final = 200
_UNKNOWN: Final = ""  # who sent what was there when this node started
_END: Final = object()


class _NothingThere(Exception):
    """This member does not have the next blocks."""


@dataclass(slots=True)
class _Trust:
    """Whose blocks the second copy holds, who is not asked any more, and whether all must come from one."""

    senders: set[str]
    is_alone: bool
    liars: set[str] = field(default_factory=set)
    tired: Counter[str] = field(default_factory=Counter)  # who began alone and then had nothing: asked after the others

    def fails(self, one: str, lie: Lied) -> None:
        """Note a lie, which was found in what a member sent: its own if it could be nobody else's."""
        if lie.is_sender:
            self.liars.add(one)
            return
        if len(self.senders) == 1:
            self.liars |= self.senders
        self.senders.clear()
        self.is_alone = True


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
        progress = older.progress
        trust = _Trust({_UNKNOWN} if progress.height else set(), is_alone=bool(progress.begun_again))
        while not older.is_whole:
            if not await _ask_around(node, older, trust):
                await asyncio.sleep(PAUSE_S)
        steps = older.join()
        while await _in_thread(lambda: next(steps, _END)) is not _END:
            await node.engine.reached(node.engine.began)  # lets others in, and ends where the engine has
    finally:
        await _in_thread(older.close)


async def _ask_around(node: Node, older: Older, trust: _Trust) -> bool:
    """Ask each member for all it has; say whether anybody had anything."""
    is_further = False
    for one in sorted(_others(node), key=lambda one: (trust.tired[one.id], one.id)):
        if one.id in trust.liars:
            continue
        try:
            is_further |= await _all_of(node, older, one, trust)
        except Lied as lie:
            trust.fails(one.id, lie)
            if trust.is_alone:
                return True  # in the order of now
    return is_further


async def _all_of(node: Node, older: Older, one: directory.Member, trust: _Trust) -> bool:
    """Take all that a member has, and wait for it a while if it alone must send the rest; say whether it had anything.

    Raises   Lied
    """
    is_further, waited = False, 0
    while not older.is_whole:
        try:
            await _take_part(node, older, one, trust)
        except (Unreachable, _NothingThere):
            is_its_own = trust.is_alone and one.id in trust.senders
            if not (is_further and is_its_own and waited < PATIENCE):
                trust.tired[one.id] += is_its_own
                return is_further
            waited += 1
            await asyncio.sleep(PAUSE_S)
        else:
            is_further, waited = True, 0
    return is_further


async def _take_part(node: Node, older: Older, one: directory.Member, trust: _Trust) -> None:
    """Take the next blocks from a member, with its proof that they are of our log; then rest as long as that was work.

    Raises   Unreachable, Lied, _NothingThere
    """
    is_anew = trust.is_alone and not trust.senders <= {one.id}  # what others sent is of no use beside it
    asked = f"{one.endpoint}/network/blocks?since={0 if is_anew else older.since_height}&limit={BLOCKS_AT_ONCE}"
    sent = await node.peers.get(asked)
    if sent.status != _OK or not sent.content:
        raise _NothingThere
    frames = _frames(sent.content)
    if is_anew:
        await _in_thread(older.forget)
        trust.senders = {one.id}
    began = time.monotonic()
    part = await _in_thread(lambda: older.read(frames))
    worked_s = time.monotonic() - began
    if not part.blocks:
        raise Lied("no block in the answer", is_sender=True)
    path: list[bytes] = []
    if part.log.size:
        shown = await node.peers.get(f"{one.endpoint}/network/consistency?old={part.log.size}&new={older.progress.entries_all}")
        if shown.status != _OK:
            raise _NothingThere
        path = _path(shown.content)
    trust.senders.add(one.id)
    began = time.monotonic()
    await _in_thread(lambda: older.take(part, path))
    await asyncio.sleep(worked_s + time.monotonic() - began)


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
