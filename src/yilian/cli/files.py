"""Files that a person names: read, with a sentence for each way in which that fails."""

import os
from pathlib import Path
from typing import Final

from yilian.cli.frame import Misused, Unreachable

UNREADABLE: Final = "\N{REPLACEMENT CHARACTER}"  # stands for each byte that is no text


def read_bytes(file: Path) -> bytes:
    """Return what a file holds.

    Raises   Misused, if it is not there or not a file; Unreachable, if it cannot be read
    """
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise Misused(f"there is no file {file}") from error
    except IsADirectoryError as error:
        raise Misused(f"{file} is a folder, not a file") from error
    except OSError as error:
        raise Unreachable(f"{file} cannot be read: {error.strerror}") from error


def read_passphrase(file: Path) -> str:
    """Return the passphrase that a file's first line is. Never an argument: arguments are seen by every user of the machine.

    Raises   Misused, if there is none; Unreachable, if it cannot be read
    """
    lines = read_bytes(file).decode(errors="replace").splitlines()
    if not lines or not lines[0]:
        raise Misused(f"{file} has no passphrase in its first line")
    return lines[0]


def read_new_passphrase(file: Path) -> str:
    """Return the passphrase under which something is to be sealed.

    Raises   Misused, if there is none, or not of text: of other bytes only their number would count; Unreachable, if it cannot be read
    """
    passphrase = read_passphrase(file)
    if UNREADABLE in passphrase:
        raise Misused(f"the first line of {file} is not text in UTF-8: choose a passphrase that can be written down")
    return passphrase


def write_new(file: Path, data: bytes) -> None:
    """Write a file that was not there.

    Raises   Misused, if it is there already; Unreachable, if it cannot be written
    """
    _written(file, data, 0o666)


def write_private(file: Path, data: bytes) -> None:
    """Write a file that was not there, which only its owner can read.

    Raises   Misused, if it is there already; Unreachable, if it cannot be written
    """
    _written(file, data, 0o600)


def _written(file: Path, data: bytes, mode: int) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())  # keys, and what opens a commitment: lost, they cannot be made again
    except FileExistsError as error:
        raise Misused(f"{file} exists already, and is not overwritten") from error
    except OSError as error:
        raise Unreachable(f"{file} cannot be written: {error.strerror}") from error
