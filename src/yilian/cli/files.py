"""Files that a person names: read, with a sentence for each way in which that fails."""

from pathlib import Path

from yilian.cli.frame import Misused, Unreachable


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


def write_new(file: Path, data: bytes) -> None:
    """Write a file that was not there.

    Raises   Misused, if it is there already; Unreachable, if it cannot be written
    """
    try:
        with file.open("xb") as out:
            out.write(data)
    except FileExistsError as error:
        raise Misused(f"{file} exists already, and is not overwritten") from error
    except OSError as error:
        raise Unreachable(f"{file} cannot be written: {error.strerror}") from error
