"""How a simulated region is founded: a data folder with keys for each member, and the genesis that names them all.

The same seed, instant and ports give the same keys and the same network id. Such keys are for simulated regions only: a real member's seed
is drawn by `yilian node init`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import shake_256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yilian.ledger import Founder, Genesis
from yilian.node import Settings, found, join
from yilian.sim.members import MEMBERS, Member

if TYPE_CHECKING:
    from yilian.engines.consortium import Seat

OPERATOR: Final = "regulator-1"  # orders the region's embedded ledger: the one member that neither holds nor asks for records
PARAMETERS: Final = {"memo_size": 0}  # the simulated region has no memo policy; every other parameter has the directory's default


@dataclass(frozen=True, slots=True)
class Founded:
    """A founded region: its first word, and each member's folder and address."""

    genesis: Genesis
    folders: Mapping[str, Path]
    endpoints: Mapping[str, str]
    seats: Mapping[str, "Seat"] = field(default_factory=dict)  # of the members that validate; none where one operator orders


def draw(seed: int, *names: object) -> bytes:
    """Return 32 bytes that follow from the region's seed and a name."""
    return shake_256("\x1f".join(["yilian region", str(seed), *map(str, names)]).encode()).digest(32)


def found_region(home: Path, seed: int, started_at_s: int, ports: Mapping[str, int], seats: Mapping[str, "Seat"] | None = None) -> Founded:
    """Make each member's folder, and return the region. With `seats`, their members validate and have all the votes; nobody operates.

    Raises   VaultExists, FileExistsError, if the home holds a region already
    """
    folders = {one.id: home / one.id for one in MEMBERS}
    seats = seats or {}
    settings = {one.id: _settings(one, ports[one.id], is_seated=one.id in seats) for one in MEMBERS}
    for folder in folders.values():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    founders = tuple(_founder(one, folders[one.id], settings[one.id], seed, seats) for one in MEMBERS)
    genesis = Genesis(started_at_s, "" if seats else OPERATOR, founders, dict(PARAMETERS))
    for folder in folders.values():
        join(folder, genesis)
    return Founded(genesis, folders, {member: one.endpoint for member, one in settings.items()}, seats)


def _settings(one: Member, port: int, *, is_seated: bool) -> Settings:
    return Settings(one.id, f"http://127.0.0.1:{port}", port=port, engine="consortium" if is_seated else "embedded")


def _founder(one: Member, folder: Path, settings: Settings, seed: int, seats: Mapping[str, "Seat"]) -> Founder:
    """Return a member as genesis names it. Where members validate, who does not has no votes."""
    power = one.power if not seats or one.id in seats else 0
    founder = found(folder, settings, kinds=(one.kind,), name=one.name_zh, power=power, seed=draw(seed, "member", one.id))
    return replace(founder, consensus_key=seats[one.id].consensus_key) if one.id in seats else founder
