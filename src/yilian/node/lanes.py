"""Lanes: the entries of one grant, in the order of their numbers.

The ledger numbers a grant's entries, and d is derived from the tag of that number; so an offer foretells its number: the grant's next,
after those already offered. An approved offer waits for the ones before it; one whose number passed, or is not next and nothing is on
its way there, is offered anew (ADR-0070). Calls one after another never wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

WAIT_S: Final = 2  # for an approval of an earlier offer; then that one is left behind


@dataclass(slots=True)
class Lane:
    """The open offers of one grant: request id -> foretold number; and which of them have been approved."""

    numbers: dict[bytes, int] = field(default_factory=dict)
    approved: set[bytes] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def foretell(self, request_id: bytes, entries: int) -> int:
        """Return the number that the offer would get: the first from the grant's next on that no other open offer has. It is kept."""
        self.numbers.pop(request_id, None)
        self.approved.discard(request_id)
        taken, number = set(self.numbers.values()), entries
        while number in taken:
            number += 1
        self.numbers[request_id] = number
        return number

    def leave(self, request_id: bytes) -> None:
        """Forget an offer: it was entered, refused or dropped."""
        self.numbers.pop(request_id, None)
        self.approved.discard(request_id)
        self._tell()

    async def turn(self, request_id: bytes, entries: Callable[[], int]) -> bool:
        """Wait until the offer's number is the grant's next; say whether it is. False: it must be offered anew."""
        self.approved.add(request_id)
        self._tell()
        until = asyncio.get_running_loop().time() + WAIT_S
        while True:
            number, next_number = self.numbers.get(request_id), entries()
            if number is None or number <= next_number:
                return number == next_number
            before = [other for other, theirs in self.numbers.items() if theirs < number]
            left_s = until - asyncio.get_running_loop().time()
            if not before:
                return False
            if left_s <= 0:
                for other in before:
                    if other not in self.approved:
                        self.leave(other)
                return False
            await self._change(left_s)

    async def _change(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await self.changed.wait()
        except TimeoutError:
            return

    def _tell(self) -> None:
        """Wake who waits; each looks for himself."""
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()
