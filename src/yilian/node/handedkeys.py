"""One-time keys that were handed to whoever asked: kept while a grant may still come that names them, then destroyed unless one did.

A stranger may ask for a key without showing anything, and each is a row in the vault. A key that a grant or a referral on the ledger names
is kept for ever: what was entered under it is marked, skipped and answered with it.
Looks    at the grants of one final state, and before each step at what was entered since.
Steps    at most BATCH keys and one 256th of the ledger's grants at a time; the event loop serves others in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from yilian.base.keys import SigningKey
from yilian.base.refusals import Refused
from yilian.base.transaction import AHEAD_S_MAX, parse
from yilian.contracts import consent, referral
from yilian.engines import FinalView
from yilian.node.housekeeping import duty
from yilian.node.member import Node

ROUND_S: Final = 3_600  # ends are whole hours: one pass over the ledger's grants an hour at most
KEPT_AFTER_S: Final = 2 * AHEAD_S_MAX  # a header that is asked for while the key is offered lasts an hour; as long again for who is slow
BATCH: Final = 10_000  # keys in one pass
PAUSE_S: Final = 60
DESTROYED_AT_ONCE: Final = 500  # in one transaction of the vault


async def note(key: SigningKey, until_s: int, node: Node) -> None:
    """Write down that a key was handed out, offered until `until_s`."""
    end_s = -(-(until_s + KEPT_AFTER_S) // ROUND_S) * ROUND_S
    await node.journal.execute("INSERT INTO handed_keys VALUES (?, ?)", (key.public_key, end_s))
    node.housekeeping.wake_in(end_s - node.members.now_s() + 1)


@duty
async def sweep(node: Node) -> None:
    """Destroy the handed keys whose end a block has passed and that nothing on the ledger names. A clock alone ends none: the copy of the
    ledger may be behind, with a grant in a block that it has not seen.
    """
    view = node.engine.read()
    bound = (view.chain.time_ms // 1_000, BATCH)
    ended = {key for (key,) in node.journal.all("SELECT key FROM handed_keys WHERE end_s <= ? ORDER BY end_s LIMIT ?", bound)}
    if ended:
        await _swept(ended, view, node)
    (next_s,) = node.journal.one("SELECT min(end_s) FROM handed_keys")
    if next_s is not None:  # a block past the end may be late: the node's own ticks make one each minute
        node.housekeeping.wake_in(max(PAUSE_S, next_s - node.members.now_s() + 1))


async def _swept(ended: set[bytes], view: FinalView, node: Node) -> None:
    unused, height = ended - await _named(ended, view), view.chain.height
    unsure: set[bytes] = set()  # named by what was entered while we looked: the next pass finds whether it stands
    for at in range(0, len(ended), DESTROYED_AT_ONCE):
        while height < node.engine.read().chain.height:  # nothing is awaited between the last look and the step
            height += 1
            unsure |= unused & _said_at(height, node)
            await asyncio.sleep(0)
        some = [key for key in sorted(ended)[at : at + DESTROYED_AT_ONCE] if key not in unsure]
        await node.keys.destroy_grant_keys([key for key in some if key in unused])
        await node.journal.write(_without(some))


def _said_at(height: int, node: Node) -> set[bytes]:
    """Return every text of bytes that a transaction of a final block names by itself: the keys of grants and referrals are among them."""
    block = node.engine.block(height)
    assert block is not None, "final, and above the height at which this copy began"
    said: set[bytes] = set()
    for transaction in block.transactions:
        with contextlib.suppress(Refused):  # bytes that are none say nothing
            said.update(value for value in parse(transaction).body.values() if isinstance(value, bytes))
    return said


def _without(keys: Sequence[bytes]) -> Callable[[sqlite3.Connection], None]:
    def delete(db: sqlite3.Connection) -> None:
        db.executemany("DELETE FROM handed_keys WHERE key = ?", [(key,) for key in keys])

    return delete


async def _named(keys: set[bytes], view: FinalView) -> set[bytes]:
    """Return those of the keys that a grant or a referral names."""
    named: set[bytes] = set()
    for first in range(256):
        beginning = bytes([first])
        for key, value in view.scan(consent.PREFIX + beginning):
            grant = consent.grant_of(key[len(consent.PREFIX) :], value)
            named.update(keys.intersection((grant.holder_key, grant.requester_key)))
        for row in referral.beginning(view, beginning):
            named.update(keys.intersection((row.from_key, row.to_key)))
        await asyncio.sleep(0)
    return named
