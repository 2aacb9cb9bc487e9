"""The log: one RFC 9162 tree over every entry ever accepted. What it takes to go on (the frontier), and what it takes to prove.

A node `(level, index)` is the hash of the full subtree over leaves `[index * 2**level, (index + 1) * 2**level)`. Such a node never changes
once it is full, so a store may keep nodes in any way it likes.
Source   RFC 9162 section 2.1.3 and 2.1.4; design 02 "Block".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from yilian.base.codec import Malformed, Value
from yilian.base.digests import DIGEST_SIZE
from yilian.base.merkle import EMPTY_ROOT, node_hash

Node = tuple[int, int, bytes]  # level, index, hash


class NodeStore(Protocol):
    """Where full subtrees are kept."""

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a full subtree that the log has."""


@dataclass(frozen=True, slots=True)
class Frontier:
    """What a log needs to grow: its size, and the full subtrees that its leaves split into, the largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """A frontier has one peak for each bit set in its size."""
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise Malformed("NOT_A_FRONTIER")

    def root(self) -> bytes:
        """Return the log root."""
        if not self.peaks:
            return EMPTY_ROOT
        result = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            result = node_hash(peak, result)
        return result

    def grown(self, leaf_hashes: Iterable[bytes]) -> tuple[Frontier, list[Node]]:
        """Return the frontier after the leaves, and every full node that came to be, leaves included."""
        size, peaks, nodes = self.size, list(self.peaks), []
        for leaf in leaf_hashes:
            level, index, result = 0, size, leaf
            nodes.append((0, index, leaf))
            while index & 1:
                result = node_hash(peaks.pop(), result)
                level, index = level + 1, index >> 1
                nodes.append((level, index, result))
            peaks.append(result)
            size += 1
        return Frontier(size, tuple(peaks)), nodes


def frontier_of(size: int, peaks: Iterable[Value]) -> Frontier:
    """Return the frontier of decoded parts.

    Raises   Malformed
    """
    hashes = tuple(peaks)
    if not all(type(peak) is bytes and len(peak) == DIGEST_SIZE for peak in hashes):
        raise Malformed("NOT_A_FRONTIER")
    return Frontier(size, hashes)


def inclusion(store: NodeStore, index: int, size: int) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of the first `size` leaves, lowest sibling first."""
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of that size")
    return _path(store, index, 0, size)


def consistency(store: NodeStore, old_size: int, new_size: int) -> list[bytes]:
    """Return the proof that the first `new_size` leaves begin with the first `old_size`."""
    if not 0 <= old_size <= new_size:
        raise ValueError("a log does not shrink")
    if old_size in (0, new_size):
        return []
    return _subproof(store, old_size, 0, new_size, is_whole=True)


def root_at(store: NodeStore, size: int) -> bytes:
    """Return the root of the first `size` leaves."""
    return _subtree(store, 0, size) if size else EMPTY_ROOT


def frontier_at(store: NodeStore, size: int) -> Frontier:
    """Return the frontier of the first `size` leaves."""
    peaks, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(store.node(level, start >> level))
            start += 1 << level
    return Frontier(size, tuple(peaks))


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _subtree(store: NodeStore, start: int, size: int) -> bytes:
    """Return the hash over leaves [start, start + size); `start` is a multiple of the subtree's full width."""
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return store.node(level, start >> level)
    left = _split(size)
    return node_hash(_subtree(store, start, left), _subtree(store, start + left, size - left))


def _path(store: NodeStore, index: int, start: int, size: int) -> list[bytes]:
    siblings = []
    while size > 1:
        left = _split(size)
        if index < left:
            siblings.append(_subtree(store, start + left, size - left))
            size = left
        else:
            siblings.append(_subtree(store, start, left))
            index, start, size = index - left, start + left, size - left
    siblings.reverse()
    return siblings


def _subproof(store: NodeStore, old: int, start: int, size: int, *, is_whole: bool) -> list[bytes]:
    """Return SUBPROOF of RFC 9162 section 2.1.4.1."""
    if old == size:
        return [] if is_whole else [_subtree(store, start, size)]
    left = _split(size)
    if old <= left:
        return [*_subproof(store, old, start, left, is_whole=is_whole), _subtree(store, start + left, size - left)]
    return [*_subproof(store, old - left, start + left, size - left, is_whole=False), _subtree(store, start, left)]
