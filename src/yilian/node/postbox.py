"""Messages from member to member: sealed to the receiver, signed by the sender's node key, posted until acknowledged, taken once.

Outbox   a row is written in the transaction of what the message tells of; the duty posts it, and again after a pause while the receiver
         cannot be reached or is not yet where we are. What it refuses for good is kept with the refusal, and is not posted again.
Inbox    by message id: the same bytes again are acknowledged again and do nothing; other bytes under the same id are refused.
Source   design 04 "Referral" (the hospital's inbox); ADR-0088.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import orjson

from yilian.base import labels
from yilian.base.codec import Malformed
from yilian.base.digests import labelled, sha256
from yilian.base.keys import is_signed
from yilian.base.seal import Unopened, open_as_member, seal_to_member
from yilian.base.shapes import pack, unpack
from yilian.contracts import directory
from yilian.node.housekeeping import duty
from yilian.node.member import Node
from yilian.node.refusals import No, NodeRefused, demand
from yilian.peers import Unreachable

INBOX: Final = "/network/inbox"
MESSAGE_ID_SIZE: Final = 16
_OK: Final = 200
_LATER: Final = (404, 429)  # besides 5xx: the receiver's own copy of the ledger may lag, or it is busy
_POSTED_AT_ONCE: Final = 16

Handler = Callable[["Node", str, bytes], Awaitable[None]]
HANDLERS: Final[dict[str, Handler]] = {}
"""What is done with a message of each kind: (node, sender, opened bytes). It refuses, or what it wrote is durable when it returns."""


def handles(kind: str) -> Callable[[Handler], Handler]:
    """Add the handler of a kind of message. It must do nothing when the same message comes again."""

    def add(handler: Handler) -> Handler:
        HANDLERS[kind] = handler
        return handler

    return add


@dataclass(frozen=True, slots=True)
class Message:
    """What is posted. The signature is by the sender's node key over everything else."""

    message_id: bytes
    sender: str
    receiver: str
    kind: str
    sealed: bytes
    signature: bytes

    def is_genuine(self, network: bytes, node_key: bytes) -> bool:
        """Say whether the sender's node key made the signature."""
        return is_signed(node_key, _statement(network, self), self.signature)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The receiver's signed word that it has the message, durably."""

    message_id: bytes
    signature: bytes

    def is_genuine(self, network: bytes, node_key: bytes, message: Message) -> bool:
        """Say whether the receiver's node key made the signature, for this very message."""
        return self.message_id == message.message_id and is_signed(node_key, _received(network, message), self.signature)


# --- sending


def post(db: sqlite3.Connection, node: Node, receiver: directory.Member, kind: str, message_id: bytes, opened: bytes) -> None:
    """Write a message into the outbox, in the transaction of what it tells of. The same message id again changes nothing."""
    sealed = seal_to_member(receiver.sealing_key, _info(node.network, node.id, receiver.id, message_id), opened)
    row = (message_id, receiver.id, kind, sealed, node.members.now_s())
    db.execute("INSERT INTO outbox (message_id, peer, kind, sealed, made_at_s) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)


@duty
async def deliver(node: Node) -> None:
    """Post what waits, in the order in which it was written; who cannot be reached does not hold up the others.

    Refuses  HOLDER_UNREACHABLE, if any must wait: it is tried again
    """
    rows = node.journal.all(
        "SELECT message_id, peer, kind, sealed FROM outbox WHERE acknowledged IS NULL AND refused IS NULL ORDER BY made_at_s LIMIT ?",
        (_POSTED_AT_ONCE,),
    )
    by_peer: dict[str, list[Message]] = {}
    for message_id, peer, kind, sealed in rows:
        unsigned = Message(message_id, node.id, peer, kind, sealed, b"")
        signature = node.keys.node_key.sign(_statement(node.network, unsigned))
        by_peer.setdefault(peer, []).append(Message(message_id, node.id, peer, kind, sealed, signature))
    are_done = await asyncio.gather(*(_deliver_to(node, peer, messages) for peer, messages in by_peer.items()))
    demand(all(are_done), No.HOLDER_UNREACHABLE)
    if len(rows) == _POSTED_AT_ONCE:
        node.housekeeping.wake()


async def _deliver_to(node: Node, peer: str, messages: list[Message]) -> bool:
    """Post to one member until it has all, or must wait; say whether it has (or refused) all."""
    for message in messages:
        if not await _delivered(node, peer, message):
            return False
    return True


async def _delivered(node: Node, peer: str, message: Message) -> bool:
    receiver = directory.member(node.engine.read(), peer)
    if receiver is None:
        return False
    try:
        answer = await node.peers.post(receiver.endpoint + INBOX, pack(message), {"Content-Type": "application/cbor"})
    except Unreachable:
        return False
    if answer.status == _OK:
        try:
            said = unpack(Acknowledgement, answer.content)
        except Malformed:
            return False
        if not said.is_genuine(node.network, receiver.node_key, message):
            return False
        await node.journal.execute(
            "UPDATE outbox SET acknowledged = ?, sealed = x'' WHERE message_id = ?", (said.signature, message.message_id)
        )
        return True
    if answer.status >= 500 or answer.status in _LATER:  # noqa: PLR2004 - HTTP server errors
        return False
    await node.journal.execute("UPDATE outbox SET refused = ? WHERE message_id = ?", (_refusal(answer.content), message.message_id))
    return True


def _refusal(content: bytes) -> str:
    """Return the name of a refusal in a problem+json, or what stands for none."""
    try:
        said = orjson.loads(content)
        return str(said["name"])[:64]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "NOT_SAID"


# --- receiving


async def take(message: Message, node: Node) -> Acknowledgement:
    """Take a message of another member and acknowledge it, once what it says is durable here.

    Refuses  NOT_UNDERSTOOD, NOT_SENT_BY_THAT_MEMBER, MEMBER_NOT_ACTIVE, MESSAGE_ID_USED, MESSAGE_NOT_OPENED, and what its handler refuses
    """
    demand(len(message.message_id) == MESSAGE_ID_SIZE and message.kind in HANDLERS, No.NOT_UNDERSTOOD)
    sender = node.members.active(node.members.final().view, message.sender)
    is_theirs = message.receiver == node.id and message.is_genuine(node.network, sender.node_key)
    demand(is_theirs and message.sender != node.id, No.NOT_SENT_BY_THAT_MEMBER)
    digest = sha256(message.sealed)
    taken = node.journal.one("SELECT digest FROM inbox WHERE sender = ? AND message_id = ?", (message.sender, message.message_id))
    if taken is None:
        opened = await asyncio.to_thread(_opened, message, node)
        await HANDLERS[message.kind](node, message.sender, opened)
        row = (message.sender, message.message_id, digest, node.members.now_s())
        await node.journal.execute("INSERT INTO inbox VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
    else:
        demand(taken == (digest,), No.MESSAGE_ID_USED)
    return Acknowledgement(message.message_id, node.keys.node_key.sign(_received(node.network, message)))


def _opened(message: Message, node: Node) -> bytes:
    try:
        info = _info(node.network, message.sender, node.id, message.message_id)
        return open_as_member(node.keys.vault.sealing_seed, info, message.sealed)
    except Unopened as error:
        raise NodeRefused(No.MESSAGE_NOT_OPENED) from error


def _info(network: bytes, sender: str, receiver: str, message_id: bytes) -> bytes:
    return labelled(labels.MESSAGE, network, sender, receiver, message_id)


def _statement(network: bytes, message: Message) -> bytes:
    return labelled(labels.INBOX, network, message.message_id, message.sender, message.receiver, message.kind, sha256(message.sealed))


def _received(network: bytes, message: Message) -> bytes:
    return labelled(labels.RECEIVED, network, message.message_id, message.sender, message.receiver, sha256(message.sealed))
