"""Which entries changed who the members are, as this copy of the log has them: found once, and remembered.

Source   design 02 "Receipt"; ADR-0092, ADR-0120.
"""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from typing import Final

from yilian.base.codec import Malformed
from yilian.base.cose import SIGN1_HEAD
from yilian.base.transaction import parse
from yilian.engines import Entry
from yilian.ledger import MEMBERSHIP, Equivocation, History, parse_equivocation
from yilian.node.member import Node
from yilian.node.refusals import No, NodeRefused

_BLOCKS_AT_ONCE: Final = 1_000  # looked through in one step of a thread


async def change_indexes(node: Node) -> list[int]:
    """Return the indexes of all entries and leaves that changed who the members are, ascending. What was looked through is remembered."""
    row = node.journal.one("SELECT height FROM followed WHERE name = 'changes'")
    since, until = (0 if row is None else row[0]), node.engine.read().chain.height
    while since < until:
        reach = min(since + _BLOCKS_AT_ONCE, until)
        found = await asyncio.to_thread(_changes_in, node, range(since + 1, reach + 1))
        await node.journal.write(partial(_note, found=found, reach=reach))
        since = reach
    return [index for (index,) in node.journal.all("SELECT entry_index FROM directory_entries ORDER BY entry_index")]


def _note(db: sqlite3.Connection, found: list[int], reach: int) -> None:
    db.executemany("INSERT INTO directory_entries VALUES (?) ON CONFLICT DO NOTHING", [(index,) for index in found])
    db.execute("INSERT INTO followed VALUES ('changes', ?) ON CONFLICT DO UPDATE SET height = max(height, excluded.height)", (reach,))


def _changes_in(node: Node, heights: range) -> list[int]:
    found = []
    for height in heights:
        block = node.engine.block(height)
        if block is None:
            raise NodeRefused(No.NOT_FINAL_YET, height=height)
        first = block.log_size - len(block.system_leaves) - sum(result.index is not None for result in block.results)
        found += [first + place for place, leaf in enumerate(block.system_leaves) if equivocation_in(leaf) is not None]
        for data, result in zip(block.transactions, block.results, strict=True):
            # the kind's name stands in the header as it is: what does not hold the text is not one
            if result.index is not None and MEMBERSHIP.encode() in data and parse(data).header.subject.startswith(MEMBERSHIP):
                found.append(result.index)
    return found


def follow(history: History, entry: Entry) -> None:
    """Let an entry, or a leaf by which the ledger suspended a validator, change the directory as it did on the ledger."""
    said = equivocation_in(entry.data)
    if said is not None:
        history.suspend(said)
    elif is_transaction(entry):
        history.follow(parse(entry.data), entry.index, entry.height, entry.time_ms // 1_000)


def is_transaction(entry: Entry) -> bool:
    """Say whether an entry is a transaction: not a leaf of the ledger itself."""
    return entry.data[: len(SIGN1_HEAD)] == SIGN1_HEAD


def equivocation_in(leaf: bytes) -> Equivocation | None:
    """Return whom a leaf suspends for signing two blocks of one height; None for any other leaf."""
    try:
        return parse_equivocation(leaf)
    except Malformed:
        return None
