"""How a simulated region is founded: a data folder with keys for each member, and the genesis that names them all.

The same seed, instant and ports give the same keys and the same network id. Such keys are for simulated regions only: a real member's seed
is drawn by `yilian node init`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import shake_256
from pathlib import Path
from typing import Final

from yilian.ledger import Genesis
from yilian.node import Settings, found, join
from yilian.sim.members import MEMBERS

OPERATOR: Final = "regulator-1"  # orders the region's embedded ledger: the one member that neither holds nor asks for records
PARAMETERS: Final = {"memo_size": 0}  # the simulated region has no memo policy; every other parameter has the directory's default


@dataclass(frozen=True, slots=True)
class Founded:
    """A founded region: its first word, and each member's folder and address."""

    genesis: Genesis
    folders: Mapping[str, Path]
    endpoints: Mapping[str, str]


def draw(seed: int, *names: object) -> bytes:
    """Return 32 bytes that follow from the region's seed and a name."""
    return shake_256("\x1f".join(["yilian region", str(seed), *map(str, names)]).encode()).digest(32)


def found_region(home: Path, seed: int, started_at_s: int, ports: Mapping[str, int]) -> Founded:
    """Make each member's folder, and return the region.

    Raises   VaultExists, FileExistsError, if the home holds a region already
    """
    folders = {one.id: home / one.id for one in MEMBERS}
    settings = {one.id: Settings(one.id, f"http://127.0.0.1:{ports[one.id]}", port=ports[one.id]) for one in MEMBERS}
    for folder in folders.values():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    founders = tuple(
        found(folders[one.id], settings[one.id], kinds=(one.kind,), name=one.name_zh, power=one.power, seed=draw(seed, "member", one.id))
        for one in MEMBERS
    )
    genesis = Genesis(started_at_s, OPERATOR, founders, dict(PARAMETERS))
    for folder in folders.values():
        join(folder, genesis)
    return Founded(genesis, folders, {member: one.endpoint for member, one in settings.items()})
