"""After the story: what it came to, where the region can be found, and what to try next."""

import os
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any

from yilian.sim import whereabouts
from yilian.sim.practitioners import FOLDER, PASSPHRASE
from yilian.sim.settling import Town, socket_of
from yilian.sim.story.tale import CLINIC, HOSPITAL, KNOWN, Tale
from yilian.sim.whereabouts import FILE, NOTE, Seat, Whereabouts


def note(town: Town, seed: int, state_folder: Path) -> Whereabouts:
    """Write down where the region runs, for commands in another terminal."""
    region = town.region
    where = Whereabouts(
        home=str(region.home.resolve()),
        network=region.network.hex(),
        seed=seed,
        patients=len(town.people),
        pid=os.getpid(),
        nodes=dict(region.urls),
        folders={member: str(folder.resolve()) for member, folder in region.founded.folders.items()},
        wallets=str(socket_of(region.home).resolve()),
        seats={
            name: Seat(seat.who.member, name, str((region.home / FOLDER / f"{seat.who.member}.sock").resolve()), PASSPHRASE)
            for name, seat in town.seats.items()
        },
    )
    whereabouts.write(where, state_folder)
    return where


def forget(where: Whereabouts, state_folder: Path) -> None:
    """Take the notes away: the region has ended."""
    (Path(where.home) / FILE).unlink(missing_ok=True)
    file = state_folder / NOTE
    if file.exists() and file.read_text().rstrip("\n") == where.home:
        file.unlink()


def memory_mb() -> float:
    """Return the memory of all processes of the region, in MB: proportional set size, which counts a shared page once."""
    pids = [os.getpid(), *_children(os.getpid())]
    return sum(_pss_kb(pid) for pid in pids) / 1_024


def totals(tale: Tale, elapsed_ms: float) -> dict[str, Any]:
    """Say what the story came to, and return it."""
    chain = tale.town.region.nodes[CLINIC].engine.read().chain
    ledger = tale.town.region.engines[CLINIC]
    size_bytes = sum(len(entry.data) for entry in map(ledger.entry, range(chain.log.size)) if entry is not None)
    facts = {
        "seconds": round(elapsed_ms / 1_000, 1),
        "patients": len(tale.town.people),
        "height": chain.height,
        "entries": chain.log.size,
        "ledger_bytes": size_bytes,
        "releases": len(tale.releases),
        "release_ms_p50": round(median(tale.elapsed_ms), 1),
        "released_bytes": sum(len(one.body) for one in tale.releases),
        "refusals": [str(no) for no in tale.refusals],
        "memory_mb": round(memory_mb()),
    }
    tell = tale.tell
    tell.scene("合计", "Totals")
    tell.fact(
        "ledger",
        f"{chain.log.size} entries in {chain.height} blocks, {size_bytes:,} bytes; no name, number, date or code of a patient in them",
    )
    tell.fact(
        "releases", f"{facts['releases']}, {facts['released_bytes']:,} bytes, {facts['release_ms_p50']} ms each (median, asked to received)"
    )
    tell.fact("refusals", f"{len(tale.refusals)}, and no byte for any of them")
    tell.fact("memory", f"{facts['memory_mb']} MB in all processes")
    tell.fact("time", f"{facts['seconds']} s from nothing to here")
    return facts


def try_next(tale: Tale, where: Whereabouts, *, is_temporary: bool) -> None:
    """Print commands that work against the region as it stands. A temporary home goes with the region."""
    tell, release = tale.tell, tale.releases[0]
    grant = tale.grants[CLINIC, HOSPITAL].control_key.hex()
    record = "{resourceType}/{id}".format_map(release.resources[0])
    beside = Path(sys.executable).parent
    tell.scene("接下来可以试试（另一个终端）", "What to try next, in another terminal")
    if shutil.which("yilian") != str(beside / "yilian"):
        tell.command(f'export PATH="{beside}:$PATH"   # so that the terminal knows yilian')
    tell.command("yilian log --patient lin")
    tell.command(f"yilian show entry {release.entry_index}; yilian show grant {grant[:8]}")
    tell.command(f"yilian log --patient lin --export {release.entry_index} --out entry.yilian && yilian verify entry.yilian")
    tell.command(f"yilian record-proof --member {CLINIC} {record} --out record && yilian verify-record record")
    tell.command(f"yilian grant --patient he --holder {HOSPITAL} --requester {KNOWN} --days 7 --uses 5")
    tell.command(f"yilian read --as dr-wu --holder {HOSPITAL} --patient he --present Observation")
    tell.command("yilian grant --patient he --list")
    tell.command("yilian revoke --patient he GRANT   # its first digits, as that list has them; then read once more")
    tell.command(f"yilian read --as dr-feng --holder {KNOWN} --patient lin Observation   # refused: no grant")
    tell.command(f"yilian show member {KNOWN}; curl -s {where.nodes[KNOWN]}/ready")
    if tale.town.region.founded.seats:
        tell.command(f"yilian network status --home {where.folders[HOSPITAL]}")
    tell.fact("home", where.home + (" (temporary: it is removed at the end; --home DIR keeps it)" if is_temporary else ""))
    tell.fact("end", "Ctrl-C")


def ends(tale: Tale, where: Whereabouts, *, is_temporary: bool) -> None:
    """Say what goes on after Ctrl-C: stopping takes a few seconds."""
    left, kept = ("删除", "is removed") if is_temporary else ("保留", "is kept")
    tale.tell.say(f"正在停止各节点；{where.home} 将{left}……", f"Stopping the nodes; {where.home} {kept} ...")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_children(int(child))]
    return found


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
