"""Something remembered by bytes, bounded in bytes: what it takes in memory, not how many there are (ADR-0115)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

HeldT = TypeVar("HeldT")


class Held(dict[bytes, HeldT], Generic[HeldT]):
    """What is remembered by bytes, the oldest forgotten where it would be more than `size_bytes_max`; whoever changes it holds a lock."""

    def __init__(self, size_bytes_max: int, cost_bytes: Callable[[bytes], int]) -> None:
        """Begin empty; `cost_bytes` says what a key and what is remembered under it take."""
        super().__init__()
        self._size_bytes_max = size_bytes_max
        self._cost_bytes = cost_bytes
        self.size_bytes = 0

    def has_room(self, key: bytes) -> bool:
        """Say whether one more can be held and nothing is forgotten for it."""
        return self.size_bytes + self._cost_bytes(key) <= self._size_bytes_max

    def hold(self, key: bytes, value: HeldT) -> None:
        """Remember a value."""
        if key not in self:
            self.size_bytes += self._cost_bytes(key)
        self[key] = value
        while self.size_bytes > self._size_bytes_max:
            self.forget(next(iter(self)))

    def forget(self, key: bytes) -> None:
        """Forget a value, if it is here."""
        if key in self:
            del self[key]
            self.size_bytes -= self._cost_bytes(key)
