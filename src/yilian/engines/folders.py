"""The folder of a ledger: one process or engine has it at a time, and its file names are as durable as what is in them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

from yilian.engines.faults import StoreLocked

LOCK = "lock"


def hold(folder: Path) -> TextIO:
    """Return the lock of a folder, held until it is closed.

    Raises   StoreLocked, if another process or engine has it
    """
    file = (folder / LOCK).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StoreLocked(folder) from error
    return file


def sync_folder(folder: Path) -> None:
    """Make the file names themselves durable: SQLite does so for its log, not for a new file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
