"""Writes that are not yet in the state: one overlay for a block, on top of the last final state."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge

from yilian.base.kinds import StateView, Writes

_GROUP_SIZE = 4  # bytes of a key: a room's prefix and its table's


class Overlay:
    """The state as it will be after the writes taken so far; remembers what it read, so that a digest need not read again."""

    def __init__(self, base: StateView) -> None:
        """Begin with no writes over `base`."""
        self._base = base
        self._read: dict[bytes, bytes | None] = {}
        self.writes: Writes = {}
        self._ungrouped: list[Writes] = []
        self._groups: dict[bytes, dict[bytes, None]] = {}
        self._forgotten: tuple[bytes, ...] = ()

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key` as written so far."""
        if key in self.writes:
            return self.writes[key]
        return self.before(key)

    def before(self, key: bytes) -> bytes | None:
        """Return the value at `key` before any of the writes."""
        if key in self._read:
            return self._read[key]
        value = self._below(key)
        self._read[key] = value
        return value

    def _below(self, key: bytes) -> bytes | None:
        return None if self._forgotten and key.startswith(self._forgotten) else self._base.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) under `prefix` in ascending key order, as written so far; rows of the base pass through one at a time."""
        fresh = sorted([(key, value) for key in self._written(prefix) if (value := self.writes[key]) is not None])
        base = ((key, value) for key, value in self._base.scan(prefix) if key not in self.writes and not key.startswith(self._forgotten))
        yield from merge(base, fresh)

    def take(self, writes: Writes) -> None:
        """Add the writes of one accepted transaction."""
        self.writes.update(writes)
        self._ungrouped.append(writes)

    def drop(self, prefix: bytes) -> None:
        """Delete every row under `prefix`; each is read once, and what it was is remembered."""
        for key, value in self._base.scan(prefix):
            self._read[key] = value
            self.writes[key] = None
        for key in self._written(prefix):
            self.writes[key] = None

    def forget(self, prefix: bytes) -> None:
        """Take every row of the base under `prefix` for gone, without looking at them; asked before anything else."""
        assert not self._read, "what was read before would still be known"
        self._forgotten = (*self._forgotten, prefix)

    def _written(self, prefix: bytes) -> Iterator[bytes]:
        """Yield the keys under `prefix` that were written; others are not looked at, or a block of n entries that scan takes n * n."""
        for writes in self._ungrouped:
            for key in writes:
                self._groups.setdefault(key[:_GROUP_SIZE], {})[key] = None
        self._ungrouped.clear()
        start = prefix[:_GROUP_SIZE]
        named = [start] if len(start) == _GROUP_SIZE else [group for group in self._groups if group.startswith(start)]
        for group in named:
            yield from [key for key in self._groups.get(group, ()) if key.startswith(prefix)]

    def settled(self) -> tuple[Writes, Writes]:
        """Return (what is different now, what it was before); the last thing that is asked of an overlay, which gives its memory away."""
        replaced: Writes = {}
        same = []
        for key, after in self.writes.items():
            before = self._read.pop(key) if key in self._read else self._below(key)
            if before == after:
                same.append(key)
            else:
                replaced[key] = before
        for key in same:
            del self.writes[key]
        return self.writes, replaced


class Rows:
    """A state held in memory, for a first start and for tests: a dictionary seen as a StateView."""

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        """Hold `rows`."""
        self.rows = dict(rows or {})

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key`, or None."""
        return self.rows.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) under `prefix`, ascending."""
        yield from sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix))

    def take(self, writes: Writes) -> None:
        """Apply writes."""
        for key, value in writes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
