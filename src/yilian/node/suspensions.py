"""Who is suspended, since when and by whom, as this copy of the log has it. The state says only that a member is.

Source   design 03 "directory"; ADR-0013 (the ledger's own word on a double signature), ADR-0149 (a regulator's reason).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from yilian.base.transaction import parse
from yilian.contracts import directory
from yilian.engines import Entry
from yilian.node.changes import equivocation_in, is_transaction
from yilian.node.member import Node


@dataclass(frozen=True, slots=True)
class Suspension:
    """An entry that suspended a member. `by` is the regulator; empty where the ledger did, for a validator that signed twice."""

    member: str
    index: int
    height: int
    time_s: int
    by: str
    commitment: bytes  # to the regulator's reason; empty where the ledger itself suspended


def suspended(node: Node) -> list[tuple[str, Suspension | None]]:
    """Return each member that is suspended now, ascending, with what suspended it; None where that lies before the copy's snapshot."""
    members = directory.members(node.engine.read())
    names = [one.id for one in members if one.stage is directory.Stage.SUSPENDED]
    latest: dict[str, Suspension] = {}
    for each in suspensions(node) if names else ():
        latest.setdefault(each.member, each)
        if all(name in latest for name in names):
            break
    return [(name, latest.get(name)) for name in names]


def with_commitment(node: Node, member: str, commitment: bytes) -> Suspension | None:
    """Return the suspension of a member, ended or not, whose reason has this commitment."""
    return next((each for each in suspensions(node) if (each.member, each.commitment) == (member, commitment)), None)


def suspensions(node: Node) -> Iterator[Suspension]:
    """Yield every suspension that this copy of the log has, the latest first."""
    for index in reversed(node.engine.member_changes()):
        entry = node.engine.entry(index)
        found = None if entry is None else _in(entry)
        if found is not None:
            yield found


def _in(entry: Entry) -> Suspension | None:
    time_s = entry.time_ms // 1_000
    if is_transaction(entry):
        transaction = parse(entry.data)
        if transaction.kind != directory.SUSPEND:
            return None
        member, commitment = transaction.body[1], transaction.body[2]
        return Suspension(member, entry.index, entry.height, time_s, transaction.header.issuer, commitment)
    said = equivocation_in(entry.data)
    return None if said is None else Suspension(said.member, entry.index, entry.height, time_s, "", b"")
