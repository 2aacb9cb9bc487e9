"""Anchor: what a transaction may say. Kind numbers are permanent."""

from __future__ import annotations

from dataclasses import dataclass

from yilian.base.codec import encode
from yilian.base.kinds import Digest32, Path, Uint

TICK, CORRECT = 40, 41


@dataclass(frozen=True, slots=True)
class Tick:
    """A holder anchors what it wrote since its last tick; also when that is nothing, so that a tick says only "alive"."""

    records_root: Digest32  # RFC 9162, over `version_leaf` of each version; SHA-256("") for none
    own_care_root: Digest32


@dataclass(frozen=True, slots=True)
class Correct:
    """A version under an earlier tick is amended by another; nothing is overwritten."""

    amended_index: Uint  # log index of the tick
    amended: Digest32  # C of the amended version
    erase_key_digest: Digest32  # SHA-256 of its erase key
    position: Uint  # of its leaf under the tick's records_root
    size: Uint  # leaves under that root
    path: Path
    amending: Digest32  # C of the amending version


def version_leaf(commitment: bytes, erase_key_digest: bytes) -> bytes:
    """Return the leaf of a record version: `CBOR([C, SHA-256(erase_pk)])` (design 03 "anchor")."""
    return encode([commitment, erase_key_digest])
