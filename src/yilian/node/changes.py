"""Which entries changed who the members are, as this copy of the log has them: noted as each block is committed.

Source   design 02 "Receipt"; ADR-0092, ADR-0120.
"""

from __future__ import annotations

from yilian.base.codec import Malformed
from yilian.base.cose import SIGN1_HEAD
from yilian.base.transaction import parse
from yilian.engines import Entry
from yilian.ledger import Equivocation, History, parse_equivocation
from yilian.node.member import Node
from yilian.node.refusals import No, demand


def change_indexes(node: Node) -> list[int]:
    """Return the indexes of all entries and leaves that changed who the members are, ascending.

    Refuses  NOT_FINAL_YET, while this copy lacks what came before its snapshot
    """
    demand(not node.engine.missing, No.NOT_FINAL_YET, height=1)
    return node.engine.member_changes()


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
