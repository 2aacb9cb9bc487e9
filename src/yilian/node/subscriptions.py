"""Id-only notices: a member's software learns that a Task changed, and nothing else; it then reads the Task by its own right.

Payload  a Bundle of type `history`: the status Parameters of the R4 backport of Subscriptions, and one entry with the Task's address only.
Way      between members' nodes it travels in the postbox like every message; the member's own software fetches what was heard.
Source   design 04 "Referral" (rest-hook, id-only payload); Subscriptions R5 Backport IG 1.1, "id-only"; ADR-0088.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

import orjson

from yilian.contracts import directory
from yilian.node.member import Node
from yilian.node.postbox import handles, post
from yilian.node.refusals import No, NodeRefused, demand

KIND: Final = "notice"
FOCUS_LENGTH_MAX: Final = 128
HEARD_MAX: Final = 200
_PROFILE: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription-status-r4"


@dataclass(frozen=True, slots=True)
class Heard:
    """One notice: who sent it, which resource changed, and its number there."""

    number: int
    sender: str
    focus: str
    event: int
    at_s: int


def notify(db: sqlite3.Connection, node: Node, receiver: directory.Member, focus: str, event: int, message_id: bytes) -> None:
    """Write an id-only notice into the outbox, in the transaction of what it tells of."""
    post(db, node, receiver, KIND, message_id, notification(focus, event))


def notification(focus: str, event: int) -> bytes:
    """Return the Bundle that says that `focus` (Type/id) changed for the `event`th time."""
    told = {
        "name": "notification-event",
        "part": [
            {"name": "event-number", "valueString": str(event)},
            {"name": "focus", "valueReference": {"reference": focus}},
        ],
    }
    status = {
        "resourceType": "Parameters",
        "meta": {"profile": [_PROFILE]},
        "parameter": [
            {"name": "subscription", "valueReference": {"identifier": {"system": "urn:yilian:subscription", "value": "referrals"}}},
            {"name": "status", "valueCode": "active"},
            {"name": "type", "valueCode": "event-notification"},
            told,
        ],
    }
    entries: list[dict[str, Any]] = [
        {"resource": status, "request": {"method": "GET", "url": "Subscription/referrals/$status"}, "response": {"status": "200"}},
        {"fullUrl": focus, "request": {"method": "PUT", "url": focus}, "response": {"status": "200"}},
    ]
    return orjson.dumps({"resourceType": "Bundle", "type": "history", "entry": entries})


@handles(KIND)
async def hear(node: Node, sender: str, opened: bytes) -> None:
    """Keep an id-only notice; the same again changes nothing.

    Refuses  NOT_UNDERSTOOD
    """
    try:
        bundle = orjson.loads(opened)
        parts = {part["name"]: part for part in bundle["entry"][0]["resource"]["parameter"][3]["part"]}
        focus, event = str(parts["focus"]["valueReference"]["reference"]), int(parts["event-number"]["valueString"])
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error
    demand(0 < len(focus) <= FOCUS_LENGTH_MAX and 0 <= event < 1 << 31, No.NOT_UNDERSTOOD)
    row = (sender, focus, event, node.members.now_s())
    await node.journal.execute("INSERT INTO heard (sender, focus, event, at_s) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)


def heard(node: Node, after: int = 0) -> tuple[Heard, ...]:
    """Return what was heard after number `after`, ascending."""
    rows = node.journal.all(
        "SELECT number, sender, focus, event, at_s FROM heard WHERE number > ? ORDER BY number LIMIT ?", (after, HEARD_MAX)
    )
    return tuple(Heard(*row) for row in rows)
