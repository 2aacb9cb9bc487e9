"""The state at one final height, read without a lock while later blocks are being committed.

Before a block is committed, the values that it replaces are hung on the moment it ends; a view holds the moment it began in. Whatever a
view finds in the cache or on disk, it then asks the moments since its own whether that row was replaced, and takes the oldest answer. So a
view stays at its height however long it is held, costs nothing to make, and moments that no view holds are freed by themselves (ADR-0052).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from yilian.base.kinds import Writes
from yilian.ledger import Chain, gone

Row = tuple[bytes, bytes]
ROWS_CACHED = 16_384  # in each of two generations: nonce pages, members, parameters, live grants


class _Absent:
    """What a cache does not hold; None is a value: "no such row"."""


_ABSENT: Final = _Absent()


class Cache:
    """Values at the latest final height that were asked for lately: two generations, the older dropped when the younger is full."""

    def __init__(self, rows_max: int = ROWS_CACHED) -> None:
        """Begin empty."""
        self._rows_max = rows_max
        self._young: Writes = {}
        self._old: Writes = {}

    def peek(self, key: bytes) -> bytes | _Absent | None:
        """Return the value, None for a row that is known not to exist, or `_ABSENT`. Any thread may look; only the writing one may
        change.
        """
        value = self._young.get(key, _ABSENT)
        return self._old.get(key, _ABSENT) if value is _ABSENT else value

    def get(self, key: bytes) -> bytes | _Absent | None:
        """Return what `peek` returns and keep it longer."""
        value = self._young.get(key, _ABSENT)
        if value is _ABSENT:
            value = self._old.get(key, _ABSENT)
            if not isinstance(value, _Absent):
                self.put(key, value)
        return value

    def put(self, key: bytes, value: bytes | None) -> None:
        """Remember a value."""
        if len(self._young) >= self._rows_max:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def replace(self, writes: Writes) -> None:
        """Take a block's writes: rows that are held get their new value, rows that are new are remembered too, but none that is gone.

        The first block of a day drops as many rows as there were accesses in one: they would push out all that is asked for.
        """
        for key, value in writes.items():
            if value is not None or key in self._young or key in self._old:
                self.put(key, value)


class Moment:
    """The time between two blocks: once the later one is being committed, `replaced` holds what its writes replace, and `next` follows.

    `is_whole` where not a block but a snapshot follows: `replaced` is then the whole state, and what it lacks was not there.
    """

    __slots__ = ("is_whole", "next", "replaced")

    def __init__(self) -> None:
        """Begin; nothing has been replaced yet."""
        self.replaced: Writes | None = None
        self.next: Moment | None = None
        self.is_whole = False

    def end(self, replaced: Writes, *, is_whole: bool = False) -> Moment:
        """Hang on what the next block replaces and return the moment after it; called before that block is committed."""
        self.next = Moment()
        self.is_whole = is_whole
        self.replaced = replaced
        return self.next


class Present:
    """Which of the rows on the disk are of the state after a block: the disk forgets the tags of a day later than the state does."""

    __slots__ = ("_since", "_until")

    def __init__(self, chain: Chain) -> None:
        """See the state of `chain`."""
        self._since, self._until = gone(chain.time_ms)

    def has(self, key: bytes) -> bool:
        """Say whether a row at `key`, if there is one, is of the state."""
        return key < self._since or key >= self._until

    def among(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield those of the rows that are of the state."""
        return (row for row in rows if self.has(row[0]))


class View:
    """The state at the height of `chain`."""

    __slots__ = ("_cache", "_fetch", "_moment", "_present", "_scan", "chain")

    def __init__(
        self,
        chain: Chain,
        moment: Moment,
        cache: Cache,
        fetch: Callable[[bytes], bytes | None],
        scan: Callable[[bytes], list[Row]],
    ) -> None:
        """See the state of `chain`, which is final while `moment` lasts; `fetch` and `scan` read the disk."""
        self.chain = chain
        self._present = Present(chain)
        self._moment = moment
        self._cache = cache
        self._fetch = fetch
        self._scan = scan

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key`, or None."""
        if not self._present.has(key):
            return None
        found = self._cache.peek(key)
        value = self._fetch(key) if isinstance(found, _Absent) else found
        # Asked after the read: a block that the read may have seen has hung its replaced values on before it was committed.
        moment: Moment | None = self._moment
        while moment is not None and moment.replaced is not None:
            if key in moment.replaced or moment.is_whole:
                return moment.replaced.get(key)
            moment = moment.next
        return value

    def scan(self, prefix: bytes) -> Iterator[Row]:
        """Yield (key, value) for every key that begins with `prefix`, ascending."""
        rows = self._scan(prefix)
        patch: Writes = {}
        moment: Moment | None = self._moment
        while moment is not None and moment.replaced is not None:
            for key, value in moment.replaced.items():
                if key.startswith(prefix):
                    patch.setdefault(key, value)
            if moment.is_whole:
                rows = []
                break
            moment = moment.next
        if patch:
            patched = {**dict(rows), **patch}
            rows = sorted((key, value) for key, value in patched.items() if value is not None)
        yield from self._present.among(rows)


class WriterView:
    """The latest state as the writing thread sees it."""

    __slots__ = ("_cache", "_fetch", "_present", "_scan")

    def __init__(self, chain: Chain, cache: Cache, fetch: Callable[[bytes], bytes | None], scan: Callable[[bytes], Iterator[Row]]) -> None:
        """See the state of `chain`; read through `cache`, then through `fetch`."""
        self._present = Present(chain)
        self._cache = cache
        self._fetch = fetch
        self._scan = scan

    def scan(self, prefix: bytes) -> Iterator[Row]:
        """Yield (key, value) for every key that begins with `prefix`, ascending."""
        return self._present.among(self._scan(prefix))

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key`, or None."""
        if not self._present.has(key):
            return None
        value = self._cache.get(key)
        if isinstance(value, _Absent):
            value = self._fetch(key)
            if value is not None:
                self._cache.put(key, value)
        return value
