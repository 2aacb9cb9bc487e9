"""CometBFT's log of what it heard and voted (`data/cs.wal`), trimmed before a start to what a start can need.

Why      At its start CometBFT 0.38 looks for the end of the last height. It writes "end of height 0" into a head that is empty, which it is
         just after a rotation; its search then takes every file for too new and reads each again with all that follow: 12 GB for a log of
         520 MB, 36 s in which the validator takes no part. Only what came after the last end of a height is ever replayed.
Source   CometBFT v0.38.25, consensus/wal.go (OnStart, SearchForEndHeight, WALEncoder), proto/tendermint/consensus/wal.proto; ADR-0126.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = "data/cs.wal"
HEAD = "wal"  # the others are wal.000, wal.001 ... by age
_END_SIZE_BYTES_MAX = 64  # of an end of a height: two times, a tag and a number
_PREFIX_SIZE = 8  # CRC-32C and length of a record, 4 bytes each, big-endian


def trim(home: Path) -> int:
    """Remove the files before the one that precedes the last end of a height, the oldest first; return how many those were.

    CometBFT must not be running on `home`.
    """
    folder = home / FOLDER
    turned = sorted((path for path in folder.glob(f"{HEAD}.*") if path.suffix[1:].isdigit()), key=lambda path: int(path.suffix[1:]))
    last = next((at for at in reversed(range(len(turned) + 1)) if _ends_a_height([*turned, folder / HEAD][at])), 0)
    unneeded = turned[: max(0, last - 1)]
    for path in unneeded:
        path.unlink()
    return len(unneeded)


def _ends_a_height(path: Path) -> bool:
    """Say whether a file of the log has the end of a height above 0. What cannot be read has none."""
    data = path.read_bytes() if path.exists() else b""
    at = 0
    while at + _PREFIX_SIZE <= len(data):
        start = at + _PREFIX_SIZE
        at = start + int.from_bytes(data[start - 4 : start], "big")
        if at - start <= _END_SIZE_BYTES_MAX and at <= len(data) and _is_end(data[start:at]):
            return True
    return False


def _is_end(record: bytes) -> bool:
    """Say whether a TimedWALMessage is an EndHeight with a height: {1: time, 2: {4: {1: height}}}, each length below 128."""
    after_time = 2 + record[1] if record[:1] == b"\x0a" and len(record) > 1 else len(record)
    message = record[after_time:]
    return len(message) > 3 and (message[0], message[2]) == (0x12, 0x22) and message[3] > 0  # noqa: PLR2004 - two tags and two lengths
