"""The state's digest: a homomorphic sum over all live rows, so that it is a function of the state alone and costs one step per write.

Shape    LtHash with 1,024 lanes of 16 bits; an element is SHAKE-128 (2,048 bytes, little-endian lanes) of `CBOR([key, value])`; the
         digest is SHA-256 of the lanes.
Source   design 02 "Block"; Lewi, Kim, Maykov, Weis, "Securing Update Propagation with Homomorphic Hashing", 2019 (lthash16).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import shake_128
from itertools import islice

import cbor2
import numpy as np

from yilian.base.digests import sha256

LANES = 1_024
LANES_SIZE_BYTES = 2 * LANES
EMPTY = bytes(LANES_SIZE_BYTES)

Row = tuple[bytes, bytes]
_LANE = np.dtype("<u2")
_Lanes = np.ndarray[tuple[int], np.dtype[np.uint16]]
_ROWS_AT_ONCE = 64  # added up at once: their elements, 128 KiB, stay in a core's cache; row by row the sum would cost 0.7 us each


def changed(lanes: bytes, removed: Iterable[Row], added: Iterable[Row]) -> bytes:
    """Return the lanes after some rows went and others came; order does not matter."""
    return (np.frombuffer(lanes, dtype=_LANE) + _sum(added) - _sum(removed)).tobytes()


def lanes_over(rows: Iterable[Row]) -> bytes:
    """Return the lanes of a whole state, of which only a few rows are in memory at once."""
    return changed(EMPTY, [], rows)


def combined(lanes: bytes, plus: Iterable[bytes] = (), minus: Iterable[bytes] = ()) -> bytes:
    """Return the lanes after some sets of rows came and others went, each known by its own lanes."""
    total = np.frombuffer(lanes, dtype=_LANE).copy()
    for each in plus:
        total += np.frombuffer(each, dtype=_LANE)
    for each in minus:
        total -= np.frombuffer(each, dtype=_LANE)
    return total.tobytes()


def digest(lanes: bytes) -> bytes:
    """Return the 32-byte state digest."""
    return sha256(lanes)


def _sum(rows: Iterable[Row]) -> _Lanes:
    """Return the sum of the rows' elements, each lane modulo 2**16."""
    total, left = np.zeros(LANES, dtype=_LANE), iter(rows)
    while part := list(islice(left, _ROWS_AT_ONCE)):
        elements = b"".join([_element(row) for row in part])
        total += np.frombuffer(elements, dtype=_LANE).reshape(-1, LANES).sum(axis=0, dtype=_LANE)
    return total


def _element(row: Row) -> bytes:
    return shake_128(cbor2.dumps(row)).digest(LANES_SIZE_BYTES)
