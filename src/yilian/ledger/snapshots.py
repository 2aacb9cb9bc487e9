"""Snapshots: the whole state at a height, in chunks that are the same bytes on every replica, and a restore that trusts none of them.

Shape    A chunk is `CBOR([[key, value], ...])`, rows in ascending key order, closed before the row that would pass 8 MB. The manifest is
         `CBOR(["yilian-snapshot-1", network id, height, time_ms, log size, [peaks], [SHA-256 of each chunk]])`.
Restore  recomputes the state digest from the rows and the log root from the peaks, and compares both with an app hash that the restoring
         side has from elsewhere (a signed daily leaf, a light client): the offer's own word counts for nothing.
Source   design 02 "Block", "Snapshot".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import sha256
from yilian.ledger import daily, lthash
from yilian.ledger.chain import Chain
from yilian.ledger.log import Frontier, frontier_of

FORM = "yilian-snapshot-1"
CHUNK_SIZE_BYTES = 8_000_000  # design 02: chunks of 8 MB
ROW_OVERHEAD_BYTES = 11  # the most that CBOR adds to a row: an array head and two byte-string heads of up to 5 bytes


class SnapshotRejected(ValueError):
    """What was offered is not the state that the app hash stands for."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot says it is."""

    network: bytes
    height: int
    time_ms: int
    log: Frontier
    chunks: tuple[bytes, ...]  # SHA-256 of each

    def encoded(self) -> bytes:
        """Return the bytes to offer."""
        return encode([FORM, self.network, self.height, self.time_ms, self.log.size, list(self.log.peaks), list(self.chunks)])


def chunks(rows: Iterable[lthash.Row]) -> Iterator[bytes]:
    """Yield the chunks of `rows`, which come in ascending key order."""
    encoded, count, size_bytes = bytearray(), 0, 0  # one block of memory, which goes back whole, and not sixty thousand rows
    for key, value in rows:
        row_size_bytes = len(key) + len(value) + ROW_OVERHEAD_BYTES
        if count and size_bytes + row_size_bytes > CHUNK_SIZE_BYTES:
            yield _head(count) + encoded
            encoded, count, size_bytes = bytearray(), 0, 0
        encoded += encode([key, value])
        count += 1
        size_bytes += row_size_bytes
    if count:
        yield _head(count) + encoded


def describe(chain: Chain, chunk_digests: Iterable[bytes]) -> Manifest:
    """Return the manifest of a snapshot of `chain`."""
    return Manifest(chain.network, chain.height, chain.time_ms, chain.log, tuple(chunk_digests))


def parse_manifest(data: bytes) -> Manifest:
    """Return the manifest that `data` is.

    Raises   Malformed
    """
    match decode(data):
        case [str(form), bytes(network), int(height), int(time_ms), int(size), [*peaks], [*named]] if form == FORM:
            digests = tuple([digest for digest in named if isinstance(digest, bytes)])
            if len(digests) != len(named):
                raise Malformed("NOT_A_MANIFEST")
            return Manifest(network, height, time_ms, frontier_of(size, peaks), digests)
        case _:
            raise Malformed("NOT_A_MANIFEST")


class Restore:
    """A restore in progress: chunks are taken in order, each checked; the end is checked against the app hash."""

    def __init__(self, manifest: Manifest, network: bytes, app_hash: bytes) -> None:
        """Begin; `app_hash` comes from elsewhere than the offer.

        Raises   SnapshotRejected, if it is another network's
        """
        if manifest.network != network:
            raise SnapshotRejected("the snapshot is of another network")
        self._manifest = manifest
        self._app_hash = app_hash
        self._lanes = lthash.EMPTY
        self._tagged: daily.Tagged = {}
        self._taken = 0
        self._last_key = b""

    def take(self, chunk: bytes) -> list[lthash.Row]:
        """Return the rows of the next chunk.

        Raises   SnapshotRejected, if it is not the chunk that the manifest names, or its rows are not in order
        """
        if self._taken >= len(self._manifest.chunks) or sha256(chunk) != self._manifest.chunks[self._taken]:
            raise SnapshotRejected(f"chunk {self._taken} is not the one that the manifest names")
        try:
            rows = [_row(item) for item in _list(decode(chunk))]
        except Malformed as error:
            raise SnapshotRejected(f"chunk {self._taken} is not a list of rows") from error
        for key, _ in rows:
            if key <= self._last_key:
                raise SnapshotRejected(f"chunk {self._taken} has rows out of order")
            self._last_key = key
        tags = [row for row in rows if daily.is_tag(row[0])]
        self._lanes = lthash.changed(self._lanes, [], (row for row in rows if not daily.is_tag(row[0])))
        self._tagged = daily.tagged_with(self._tagged, tags)
        self._taken += 1
        return rows

    def finish(self) -> Chain:
        """Return the chain to go on from.

        Raises   SnapshotRejected, unless all chunks were taken and state and log are those of the app hash
        """
        if self._taken != len(self._manifest.chunks):
            raise SnapshotRejected(f"only {self._taken} of {len(self._manifest.chunks)} chunks were taken")
        manifest = self._manifest
        lanes = lthash.combined(self._lanes, plus=self._tagged.values())  # of every tag that came, whatever its day
        chain = Chain(manifest.network, manifest.height, manifest.time_ms, manifest.log, lanes)
        if chain.app_hash != self._app_hash:
            raise SnapshotRejected("its rows and log are not those of the trusted app hash")
        return chain

    @property
    def tagged(self) -> daily.Tagged:
        """The lanes over the tags of each day that the state has; asked once all chunks were taken."""
        return daily.tagged_at(self._manifest.time_ms, self._tagged)


def _head(count: int) -> bytes:
    """Return how the encoding of a list of so many items begins; the items' own follow."""
    return encode([0] * count)[:-count]  # a 0 is one byte


def _list(value: object) -> list[object]:
    if type(value) is not list:
        raise Malformed("NOT_A_CHUNK")
    return value


def _row(item: object) -> lthash.Row:
    match item:
        case [bytes(key), bytes(value)]:
            return key, value
        case _:
            raise Malformed("NOT_A_ROW")
