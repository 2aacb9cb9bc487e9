"""What a validator proposes in its turn: when, in which order, and how much of it.

When     CometBFT asks for the next proposal 200 ms after it saw the last block's votes, of which deciding that block took a part. What was
         submitted upon it is being checked then; a proposal without it would be an empty block and cost as long as a full one.
Order    What waits here in the order in which it came. What CometBFT offers and there was no room for here takes turns with it, so that
         under overload neither waits for all of the other.
Source   ADR-0116, ADR-0157, ADR-0091 (limits of a block).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from yilian.base.refusals import Refused

BLOCK_TRANSACTIONS_MAX = 4_000  # so that deciding a block takes well under `timeout_propose` on a slow core (ADR-0091)
BUSY_TRANSACTIONS = 100  # a block of as many says that the network is busy: then a proposal waits for what is being checked (ADR-0116)
LOOK_S = 0.01  # between two looks at what has been admitted
LOOKS_MAX = 20  # 0.2 s: leaves 0.5 s of `timeout_propose`
CALM_LOOKS = 5  # as many looks at which nothing new had come: nothing more is on its way


class Proposed(NamedTuple):
    """The items of a proposal, and those looked at that hold no longer."""

    items: list[bytes]
    refused: list[bytes]


def await_admissions(wanted: int, count: Callable[[], int], is_checking: Callable[[], bool], pause: Callable[[float], None]) -> None:
    """Wait, after busy blocks, until as many as `wanted` have been admitted, or nothing is checked and no more comes, or 0.2 s are over."""
    seen, calm_looks = -1, 0
    for _ in range(LOOKS_MAX):
        here = count()
        calm_looks = calm_looks + 1 if here == seen > 0 and not is_checking() else 0
        seen = here
        if wanted < BUSY_TRANSACTIONS or here >= wanted or calm_looks == CALM_LOOKS:
            return
        pause(LOOK_S)


def proposed(waiting: Sequence[bytes], offered: Sequence[bytes], admit: Callable[[bytes], int], size_bytes_max: int) -> Proposed:
    """Return the items that hold, until the block is full; `admit` returns how many transactions one has, or refuses it."""
    known = frozenset(waiting)
    others = [each for each in offered if each not in known]
    said, size_bytes, count = Proposed([], []), 0, 0
    for item in [each for pair in zip_longest(waiting, others) for each in pair if each is not None]:
        try:
            inside = admit(item)
        except Refused:
            said.refused.append(item)
            continue
        cost_bytes = len(item) + _overhead_bytes(len(item))
        if size_bytes + cost_bytes > size_bytes_max or count + inside > BLOCK_TRANSACTIONS_MAX:
            break
        said.items.append(item)
        size_bytes, count = size_bytes + cost_bytes, count + inside
    return said


def _overhead_bytes(size_bytes: int) -> int:
    """Return what protobuf adds to one item of a block: its field's tag and its length."""
    return 1 + (size_bytes.bit_length() + 6) // 7
