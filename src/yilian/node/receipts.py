"""Receipts: who signed the log's root at a height, and what a stranger needs to check an entry without us.

Signed by   the operator of an embedded ledger, or validators of more than two thirds of the votes, as they were before the entry. A node
            that is one signs when asked (the same root gives the same bytes); others' signatures are fetched once and kept. A root
            that is not ours is a split view: kept as evidence, and nothing is handed out under it.
Source      design 02 "Receipt"; ADR-0011, ADR-0085, ADR-0092.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from yilian.base.chartlogs import TAG_ROW_DAYS
from yilian.base.codec import Malformed, load
from yilian.base.kinds import StateView
from yilian.base.times import day_of
from yilian.contracts import access, directory
from yilian.engines import Block, Entry, NotHeld
from yilian.ledger import (
    Checkpoint,
    Consistency,
    Export,
    History,
    Item,
    StateAnswer,
    access_root,
    parse_answer,
    parse_checkpoint,
    receipt,
    sign_checkpoint,
    sign_day,
    transparent,
    validators,
)
from yilian.node.changes import change_indexes, equivocation_in, follow, is_transaction
from yilian.node.housekeeping import duty
from yilian.node.member import Node
from yilian.node.refusals import RETRY_AFTER_S, No, NodeRefused, demand
from yilian.peers import Unreachable

T = TypeVar("T")
CHECKPOINTS: Final = "/network/checkpoints"
DAY_ROOTS: Final = "/network/day-roots"
CHANGES_AT_ONCE: Final = 64  # of a few kilobytes each, with their receipts
CHANGES_KEPT: Final = 4_096  # in memory
_OK: Final = 200


def own_checkpoint(node: Node, height: int) -> Checkpoint:
    """Return this member's signature on the log's root at a height.

    Only of blocks that this copy decided when they were made: of those before its snapshot it has heights and times from others (ADR-0122).

    Refuses  NOT_FINAL_YET, RECEIPT_NOT_AVAILABLE
    """
    block = _block(node, height)
    demand(height > node.engine.began, No.RECEIPT_NOT_AVAILABLE, height=height)
    log = (block.log_size, block.log_root)
    return sign_checkpoint(node.keys.vault.receipt_key, node.id, node.network, log, height, block.time_ms // 1_000)


async def checkpoints(node: Node, height: int) -> tuple[Checkpoint, ...]:
    """Return signatures on the log's root at a height that together suffice (until witnesses sign: the operator's alone).

    Refuses  NOT_FINAL_YET, RECEIPT_NOT_AVAILABLE, SPLIT_VIEW
    """
    return await _checkpoints(node, height, node.members.final().view)


async def statement_with_receipts(node: Node, index: int) -> bytes:
    """Return an entry as a Transparent Statement: its bytes, with receipts against the root of its own block.

    Refuses  NO_SUCH_LEAF, NOT_A_TRANSACTION, RECEIPT_NOT_AVAILABLE, SPLIT_VIEW
    """
    return await _statement(node, index, await _directory_before(node, index))


async def statement_of(node: Node, transaction_id: bytes) -> bytes:
    """Return what `statement_with_receipts` returns, by the entry's id.

    Refuses  NO_SUCH_LEAF, RECEIPT_NOT_AVAILABLE, SPLIT_VIEW
    """
    found = node.engine.find(transaction_id)
    if found is None or found.index is None:
        raise NodeRefused(No.NO_SUCH_LEAF)
    return await statement_with_receipts(node, found.index)


def entry_at(node: Node, index: int) -> Entry:
    """Return the transaction at an index of the log.

    Refuses  NO_SUCH_LEAF, NOT_A_TRANSACTION (a system leaf)
    """
    entry = node.engine.entry(index)
    if entry is None:
        raise NodeRefused(No.NO_SUCH_LEAF)
    demand(is_transaction(entry), No.NOT_A_TRANSACTION)
    return entry


async def export(node: Node, indexes: Sequence[int], pinned_size: int | None = None) -> Export:
    """Return a file that anyone checks offline: genesis, the changes of the directory up to there, the entries, all with receipts.

    `pinned_size` is that of a checkpoint which the reader keeps: the file then proves that its roots and that one are of one log.

    Refuses  NO_SUCH_LEAF, NOT_A_TRANSACTION, NOT_FINAL_YET, RECEIPT_NOT_AVAILABLE, SPLIT_VIEW
    """
    last = max(indexes)
    _exported(node, last)
    wanted = sorted({*indexes, *(index for index in change_indexes(node) if index < last)})
    history, items = History(node.genesis), list[Item]()
    for index in wanted:
        items.append(await _item(node, index, history.state))
        follow(history, _exported(node, index))
    sizes = {_block(node, _exported(node, index).height).log_size for index in wanted}
    return Export(node.genesis.encoded(), tuple(items), _consistency(node, sizes, pinned_size))


async def changes(node: Node, since_index: int) -> Export:
    """Return the next changes of members after an entry, at most CHANGES_AT_ONCE: what who follows the members takes, offline checkable
    by whoever has taken those before. None are left once a file holds none. What a quorum vouched for is put together once.

    Refuses  NOT_FINAL_YET (this copy lacks its beginning still), RECEIPT_NOT_AVAILABLE, SPLIT_VIEW
    """
    every = change_indexes(node)
    wanted = [index for index in every if index > since_index][:CHANGES_AT_ONCE]
    found = {index: node.changes[index] for index in wanted if index in node.changes}
    history = History(node.genesis)
    for index in every if len(found) < len(wanted) else ():
        if index in wanted and index not in found:
            found[index] = await _item(node, index, history.state)
            if len(node.changes) < CHANGES_KEPT:
                node.changes[index] = found[index]  # of the past: it stays as it is
        follow(history, _exported(node, index))
    return Export(node.genesis.encoded(), tuple(found[index] for index in wanted))


def consistency(node: Node, old_size: int, new_size: int) -> list[bytes]:
    """Return the path that shows the log of `old_size` leaves to be the beginning of the one of `new_size`.

    Refuses  NOT_FINAL_YET
    """
    demand(0 <= old_size <= new_size <= node.engine.read().chain.log.size, No.NOT_FINAL_YET, size=new_size)
    try:
        return node.engine.consistency(old_size, new_size)
    except NotHeld as error:  # this copy began with a snapshot and lacks what came before still
        raise NodeRefused(No.NOT_FINAL_YET, size=old_size) from error


def latest(node: Node) -> int:
    """Return the latest final height."""
    return node.engine.read().chain.height


def own_day_answer(node: Node, day: int) -> StateAnswer:
    """Return this member's signed word on the root over a day's tags so far.

    Refuses  NOT_FINAL_YET: a day whose rows have left the state, or one that has not begun
    """
    view = node.engine.read()
    today = day_of(view.chain.time_ms // 1_000)
    demand(today - TAG_ROW_DAYS <= day <= today + TAG_ROW_DAYS, No.NOT_FINAL_YET, day=day)
    at = (view.chain.height, view.chain.time_ms // 1_000)
    tags = tuple(access.tags_of_day(view, day))
    return sign_day(node.keys.vault.receipt_key, node.network, at, day_key(day), access_root(tags))


async def day_answers(node: Node, day: int) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
    """Return (a signed word on the root over an open day's tags, those tags as of the word's height) of members who together suffice.

    Nobody is asked about a tag: the signer says a root, and which tags stand under it follows from our own copy of the ledger (ADR-0086).

    Refuses  RECEIPT_NOT_AVAILABLE, SPLIT_VIEW
    """
    return await _enough(node, node.members.final().view, lambda member: _day_answer_of(node, member, day))


def day_key(day: int) -> bytes:
    """Return `t/ day`: what the rows of a day's tags begin with."""
    return access.TAG_PREFIX + day.to_bytes(4, "big")


def _tags_at(node: Node, day: int, height: int) -> tuple[bytes, ...]:
    """Return a day's tags as they were at a height: those of entries that the log of that height holds. Tags only come to a day."""
    size = _block(node, height).log_size if height else 0
    rows = list(node.engine.read().scan(day_key(day)))
    return tuple(key[len(day_key(day)) :] for key, value in rows if load(value) < size)


async def _reached(node: Node, height: int) -> int:
    """Wait until this node's own copy has a height that another has seen already.

    Refuses  RECEIPT_NOT_AVAILABLE, after as long as one waits for a carrier
    """
    for _ in range(RETRY_AFTER_S * 20):
        if node.engine.read().chain.height >= height:
            return height
        await asyncio.sleep(0.05)
    raise NodeRefused(No.RECEIPT_NOT_AVAILABLE, height=height)


# --- what must not be forgotten


@duty
async def keep_receipts_of_changes(node: Node) -> None:
    """Fetch the receipts of each entry about members once it is final: later, those who validated before it may be gone (ADR-0092).

    Refuses  RECEIPT_NOT_AVAILABLE, SPLIT_VIEW: it is tried again
    """
    if node.genesis.operator:
        return  # an operator signs when it is asked
    row = node.journal.one("SELECT height FROM followed WHERE name = 'receipts'")
    history = History(node.genesis)
    for index in change_indexes(node):
        if row is None or index > row[0]:
            await _item(node, index, history.state)
            await node.journal.execute(
                "INSERT INTO followed VALUES ('receipts', ?) ON CONFLICT DO UPDATE SET height = excluded.height", (index,)
            )
        follow(history, _exported(node, index))


# --- the parts


async def _enough(node: Node, view: StateView, ask: Callable[[directory.Member], Awaitable[T]]) -> tuple[T, ...]:
    """Ask the operator, or validators of a state, ourselves first, until those who answered have more than two thirds of the votes.

    Refuses  RECEIPT_NOT_AVAILABLE, what the operator's asking refuses, and SPLIT_VIEW from anybody's
    """
    if node.genesis.operator:
        return (await ask(node.members.active(view, node.genesis.operator)),)
    votes, reached, found = validators(view), 0, []
    active = [one for one in directory.members(view) if one.id in votes and one.stage is directory.Stage.ACTIVE]
    for one in sorted(active, key=lambda one: (one.id != node.id, -one.power, one.id)):
        try:
            found.append(await ask(one))
        except NodeRefused as no:
            if no.no is No.SPLIT_VIEW:
                raise
            continue
        reached += one.power
        if reached * 3 > sum(votes.values()) * 2:
            return tuple(found)
    raise NodeRefused(No.RECEIPT_NOT_AVAILABLE)


async def _checkpoints(node: Node, height: int, view: StateView) -> tuple[Checkpoint, ...]:
    _block(node, height)
    return await _enough(node, view, lambda member: _checkpoint_of(node, member, height))


async def _statement(node: Node, index: int, view: StateView) -> bytes:
    """Return an entry with receipts of those who could vouch for it in a state of the directory: the one before the entry."""
    entry = entry_at(node, index)
    return transparent(entry.data, await _receipts(node, entry, view))


async def _receipts(node: Node, entry: Entry, view: StateView) -> list[bytes]:
    signed = await _checkpoints(node, entry.height, view)
    return [receipt(one, entry.index, node.engine.inclusion(entry.index, one.size)) for one in signed]


async def _item(node: Node, index: int, view: StateView) -> Item:
    """Return what a file holds of an entry, with receipts of those who could vouch for it in a state of the directory: the one before."""
    entry = _exported(node, index)
    signed = await _receipts(node, entry, view)
    return Item(index, transparent(entry.data, signed)) if is_transaction(entry) else Item(index, entry.data, tuple(signed))


async def _directory_before(node: Node, index: int) -> StateView:
    """Return the directory as it was before an entry, where it may have been another than now's."""
    changes = change_indexes(node)
    if not any(change >= index for change in changes):
        return node.members.final().view
    history = History(node.genesis)
    for change in changes:
        if change < index:
            follow(history, _exported(node, change))
    return history.state


def _exported(node: Node, index: int) -> Entry:
    """Return what an export may hold: a transaction, or the leaf by which the ledger suspended a validator.

    Refuses  NO_SUCH_LEAF, NOT_A_TRANSACTION (another leaf of the ledger itself)
    """
    entry = node.engine.entry(index)
    if entry is None:
        raise NodeRefused(No.NO_SUCH_LEAF)
    demand(is_transaction(entry) or equivocation_in(entry.data) is not None, No.NOT_A_TRANSACTION)
    return entry


async def _day_answer_of(node: Node, member: directory.Member, day: int) -> tuple[bytes, tuple[bytes, ...]]:
    if member.id == node.id:
        said = own_day_answer(node, day)
        return said.encoded(), _tags_at(node, day, said.height)
    try:
        answer = await node.peers.get(f"{member.endpoint}{DAY_ROOTS}/{day}")
        demand(answer.status == _OK, No.RECEIPT_NOT_AVAILABLE)
        said = parse_answer(answer.content)
    except (Unreachable, Malformed) as error:
        raise NodeRefused(No.RECEIPT_NOT_AVAILABLE) from error
    is_theirs = (said.network, said.key) == (node.network, day_key(day)) and said.is_signed_by(member.receipt_key)
    demand(is_theirs, No.RECEIPT_NOT_AVAILABLE)
    tags = _tags_at(node, day, await _reached(node, said.height))
    demand(said.value_digest == access_root(tags), No.SPLIT_VIEW, member=member.id, height=said.height)
    return answer.content, tags


def _block(node: Node, height: int) -> Block:
    block = node.engine.block(height) if height > 0 else None
    if block is None:
        raise NodeRefused(No.NOT_FINAL_YET, height=height)
    return block


def _consistency(node: Node, sizes: set[int], pinned_size: int | None) -> tuple[Consistency, ...]:
    if pinned_size is None:
        return ()
    demand(0 < pinned_size <= node.engine.read().chain.log.size, No.NOT_FINAL_YET, size=pinned_size)
    pairs = sorted({(min(size, pinned_size), max(size, pinned_size)) for size in sizes if size != pinned_size})
    return tuple(Consistency(old, new, tuple(consistency(node, old, new))) for old, new in pairs)


async def _checkpoint_of(node: Node, member: directory.Member, height: int) -> Checkpoint:
    """Return a member's signature: made here if it is us, kept from before, or fetched."""
    if member.id == node.id:
        return own_checkpoint(node, height)
    row = node.journal.one("SELECT signed FROM checkpoints WHERE height = ? AND member = ? AND is_split = 0", (height, member.id))
    if row is not None:
        return parse_checkpoint(row[0])
    try:
        answer = await node.peers.get(f"{_where(node, member)}{CHECKPOINTS}/{height}")
    except Unreachable as error:
        raise NodeRefused(No.RECEIPT_NOT_AVAILABLE, height=height) from error
    demand(answer.status == _OK, No.RECEIPT_NOT_AVAILABLE, height=height)
    return await _taken(node, member, height, answer.content)


def _where(node: Node, member: directory.Member) -> str:
    """Return where a member is reached now: what vouched for an entry of long ago may have moved since."""
    now = directory.member(node.members.final().view, member.id)
    return member.endpoint if now is None else now.endpoint


async def _taken(node: Node, member: directory.Member, height: int, signed: bytes) -> Checkpoint:
    """Keep a checkpoint that a member signed, if it is of our own log; keep it as evidence if it is of another."""
    try:
        checkpoint = parse_checkpoint(signed)
    except Malformed as error:
        raise NodeRefused(No.RECEIPT_NOT_AVAILABLE, height=height) from error
    is_theirs = (checkpoint.member, checkpoint.network, checkpoint.height) == (member.id, node.network, height)
    demand(is_theirs and checkpoint.is_signed_by(member.receipt_key), No.RECEIPT_NOT_AVAILABLE, height=height)
    block = _block(node, height)
    is_ours = (checkpoint.size, checkpoint.root) == (block.log_size, block.log_root)
    await node.journal.execute(
        "INSERT INTO checkpoints VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (height, member.id, signed, int(not is_ours))
    )
    demand(is_ours, No.SPLIT_VIEW, member=member.id, height=height)
    return checkpoint
