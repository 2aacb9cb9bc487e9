"""The state's digest: a homomorphic sum over all live rows, so that it is a function of the state alone and costs one step per write.

Shape    LtHash with 1,024 lanes of 16 bits; an element is SHAKE-128 (2,048 bytes, little-endian lanes) of `CBOR([key, value])`; the
         digest is SHA-256 of the lanes.
Source   design 02 "Block"; Lewi, Kim, Maykov, Weis, "Securing Update Propagation with Homomorphic Hashing", 2019 (lthash16).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import cbor2
import numpy as np

from yilian.base.digests import sha256

LANES = 1_024
LANES_SIZE_BYTES = 2 * LANES
EMPTY = bytes(LANES_SIZE_BYTES)

Row = tuple[bytes, bytes]
_LANE = np.dtype("<u2")


def changed(lanes: bytes, removed: Iterable[Row], added: Iterable[Row]) -> bytes:
    """Return the lanes after some rows went and others came; order does not matter."""
    total = np.frombuffer(lanes, dtype=_LANE).copy()
    for row in added:
        total += _element(row)
    for row in removed:
        total -= _element(row)
    return total.tobytes()


def digest(lanes: bytes) -> bytes:
    """Return the 32-byte state digest."""
    return sha256(lanes)


def _element(row: Row) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    return np.frombuffer(hashlib.shake_128(cbor2.dumps(row)).digest(LANES_SIZE_BYTES), dtype=_LANE)
