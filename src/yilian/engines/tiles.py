"""The log's nodes on disk: tiles of six levels each, so that a proof in a log of ten million leaves touches four of them.

Shape    Tile (band, number) holds the full nodes of levels 6 * band ... 6 * band + 5 over 64 nodes of its lowest level: 64 + 32 + 16 + 8 +
         4 + 2 = 126 hashes, 4,032 bytes, so that a row fills one SQLite page and a lone entry rewrites one or two pages (ADR-0051).
         A full node never changes, so a full tile never does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from yilian.base.digests import DIGEST_SIZE
from yilian.ledger import Frontier, Node

BAND = 6  # levels in a tile
WIDTH = 1 << BAND
TILE_SIZE_BYTES = (2 * WIDTH - 2) * DIGEST_SIZE
_NUMBER_BITS = 48  # of a tile's key; the band stands above them
_FIRST = tuple(2 * WIDTH - (2 * WIDTH >> level) for level in range(BAND))  # where a level's hashes begin in the tile

TILES_KEPT = 4_096  # 16 MB for each of two generations


def tile_key(band: int, number: int) -> int:
    """Return the row number of a tile."""
    return band << _NUMBER_BITS | number


class Tiles:
    """The nodes of one log: those of the last block are in memory at once, older ones are fetched and remembered.

    One thread grows it; others may ask for nodes of sizes that are final. A tile that is not full is only ever held as the growing thread's
    own copy: what was fetched of it would go stale.
    """

    def __init__(self, fetch: Callable[[int], bytes], size: int) -> None:
        """Begin at a log of `size` leaves; `fetch` returns a stored tile by its key, and raises if it is not there."""
        self._fetch = fetch
        self._young: dict[int, bytes] = {}
        self._old: dict[int, bytes] = {}
        self._growing: dict[int, tuple[int, bytearray]] = {}
        for band in range(_bands(size)):
            number, filled = divmod(size >> BAND * band, WIDTH)
            if filled:
                self._growing[band] = (number, bytearray(self._fetch(tile_key(band, number))))

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a full subtree."""
        band, within = divmod(level, BAND)
        number = index >> (BAND - within)
        start = (_FIRST[within] + (index & (WIDTH >> within) - 1)) * DIGEST_SIZE
        growing = self._growing.get(band)
        if growing is not None and growing[0] == number:
            found = bytes(growing[1][start : start + DIGEST_SIZE])
        else:
            key = tile_key(band, number)
            tile = self._young.get(key)
            if tile is None:
                tile = self._remembered(key)
            found = tile[start : start + DIGEST_SIZE]
        return found

    def grow(self, nodes: Iterable[Node]) -> dict[int, bytes]:
        """Take the nodes of a block and return the tiles to store, by key."""
        changed: dict[int, bytearray] = {}
        for level, index, digest in nodes:
            band, within = divmod(level, BAND)
            number = index >> (BAND - within)
            growing = self._growing.get(band)
            if growing is None or growing[0] != number:
                growing = self._growing[band] = (number, bytearray(TILE_SIZE_BYTES))
            start = (_FIRST[within] + (index & (WIDTH >> within) - 1)) * DIGEST_SIZE
            growing[1][start : start + DIGEST_SIZE] = digest
            changed[tile_key(band, number)] = growing[1]
        return {key: bytes(tile) for key, tile in changed.items()}

    def _remembered(self, key: int) -> bytes:
        tile = self._old.get(key)
        if tile is None:
            tile = self._fetch(key)
            if not _is_full(tile):
                return tile
        if len(self._young) >= TILES_KEPT:
            self._old, self._young = self._young, {}
        self._young[key] = tile
        return tile


def _is_full(tile: bytes) -> bool:
    return tile[-DIGEST_SIZE:] != bytes(DIGEST_SIZE)


def _bands(size: int) -> int:
    return -(-size.bit_length() // BAND)


def joined(one: bytes, other: bytes | None) -> bytes:
    """Return a tile of which each side has some hashes, the same where both have them; what a side has not is zero."""
    return one if other is None else (int.from_bytes(one, "big") | int.from_bytes(other, "big")).to_bytes(len(one), "big")


def peaks(log: Frontier) -> Iterator[Node]:
    """Yield the full subtrees that a log splits into, the largest first."""
    start = 0
    for level, digest in zip([level for level in reversed(range(log.size.bit_length())) if log.size >> level & 1], log.peaks, strict=True):
        yield level, start >> level, digest
        start += 1 << level
