"""Where a region runs: one file in its home, written when everything serves, so that commands in another terminal find it.

File     HOME/region.json, mode 0600. A note of the newest region's home lies in the user's state folder, so that `--home` can be left out.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FILE: Final = "region.json"
NOTE: Final = "region"
HOME_VARIABLE: Final = "YILIAN_HOME"


class NotThere(Exception):
    """No region is where it was looked for; the sentence says where, and what to do."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A practitioner: whose, the credential's name in the signer, and the signer's socket. `passphrase` is a simulated region's own."""

    member: str
    name: str
    socket: str
    passphrase: str


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A running region. `nodes` and `folders` by member id; `seats` by the practitioner's name; `wallets` is the wallets' socket."""

    home: str
    network: str
    seed: int
    patients: int
    pid: int
    nodes: Mapping[str, str]
    folders: Mapping[str, str]
    wallets: str
    seats: Mapping[str, Seat]

    @property
    def is_running(self) -> bool:
        """Say whether the process that serves the region is alive."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def write(where: Whereabouts, state_folder: Path) -> None:
    """Write the region's file, whole or not at all, and the note of its home."""
    _replace(Path(where.home) / FILE, json.dumps(asdict(where), ensure_ascii=False, indent=1))
    state_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(state_folder / NOTE, where.home + "\n")


def find(home: Path | None, state_folder: Path) -> Whereabouts:
    """Return where the region in `home` runs; without a home, the one that $YILIAN_HOME names, else the newest.

    Raises   NotThere
    """
    folder = home or _noted(state_folder)
    try:
        said = json.loads((folder / FILE).read_text())
        seats = {name: Seat(**seat) for name, seat in said.pop("seats").items()}
        return Whereabouts(**said, seats=seats)
    except FileNotFoundError as error:
        raise NotThere(f"no region runs in {folder}: start one with `yilian demo`, or name its folder with --home") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotThere(f"{folder / FILE} is not a region's file of this version: start the region again") from error


def _noted(state_folder: Path) -> Path:
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named)
    try:
        return Path((state_folder / NOTE).read_text().rstrip("\n"))
    except FileNotFoundError as error:
        raise NotThere("no region runs here: start one with `yilian demo`, or name its folder with --home") from error


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    fresh.replace(path)
