"""How a founded region comes to life: practitioners are registered, charts imported at their holders, patients enrolled at the desks."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from yilian.contracts import directory
from yilian.node import Node, carriage
from yilian.sim.founding import draw
from yilian.sim.members import CARE_MEMBERS
from yilian.sim.phones import Phone
from yilian.sim.population import HE_NUMBER, LIN_NUMBER, Person, chart_bundle
from yilian.sim.practitioners import PRACTITIONERS, Seated
from yilian.sim.region import Region
from yilian.sim.software import Software, connected
from yilian.wallet import WalletClient

CREDENTIAL_DAYS: Final = 365
WALLETS: Final = "wallets"
SOCKET: Final = "wallets.sock"
AT_ONCE: Final = 4  # desks work side by side, people in a queue stand one behind the other
DAY_S: Final = 86_400

Progress = Callable[[str, int, int], None]  # what, done, of how many


@dataclass(frozen=True, slots=True)
class Town:
    """Everybody in the region who is not a node: software at desks, practitioners, patients' phones."""

    region: Region
    software: Mapping[str, Software]
    seats: Mapping[str, Seated]
    wallets: WalletClient
    wallet_process: Process
    people: Sequence[Person]
    patient_ids: Mapping[tuple[int, str], str]  # (person's number, member) -> id of the Patient there
    client: httpx.AsyncClient

    def phone(self, person: Person) -> Phone:
        """Return a person's phone."""
        return Phone(wallet_name(person.number), self.wallets, self.region.urls, self.client)

    def staff(self, member: str) -> tuple[Seated, Seated]:
        """Return the two of a member who sit at its desk."""
        first, second = [self.seats[one.name] for one in PRACTITIONERS if one.member == member]
        return first, second


def wallet_name(number: int) -> str:
    """Return the name of a simulated person's wallet: short for the two whom the story tells of, a number for the others."""
    return {LIN_NUMBER: "lin", HE_NUMBER: "he"}.get(number, f"patient-{number}")


@asynccontextmanager
async def settled(
    region: Region, seats: Mapping[str, Seated], people: Sequence[Person], seed: int, progress: Progress
) -> AsyncIterator[Town]:
    """Bring a region to life; it stays so until the block is left."""
    arrivals = asyncio.Queue[Person | None]()
    patient_ids: dict[tuple[int, str], str] = {}
    loop = asyncio.get_running_loop()

    def arrive(person: Person | None) -> None:
        loop.call_soon_threadsafe(arrivals.put_nowait, person)

    importing = asyncio.create_task(asyncio.to_thread(_import, region, people, patient_ids, arrive, progress))
    await _register(region, seats)
    async with _wallets(region) as (process, wallets), connected() as client:
        software = {one: Software(one, region.urls[one], region.founded.folders[one], region.network, client) for one in region.nodes}
        town = Town(region, software, seats, wallets, process, people, patient_ids, client)
        await asyncio.gather(importing, _enrol(town, arrivals, seed, progress))
        yield town


async def _register(region: Region, seats: Mapping[str, Seated]) -> None:
    """Enter each practitioner's credential, as the member itself."""
    for seat in seats.values():
        node = region.nodes[seat.who.member]
        until_s = (node.members.final().now_s // DAY_S + CREDENTIAL_DAYS) * DAY_S
        await _enter(node, "practitioner.register", directory.Register(seat.public_key, seat.who.role, until_s))


async def _enter(node: Node, kind: str, message: object) -> None:
    answer = await node.carriage.submit(node.carriage.enveloped(node.carriage.header(kind), carriage.act_of(kind, message), []))
    assert answer.is_accepted, f"{kind} of a simulated member is refused: {answer.reason} {answer.facts}"


def _import(
    region: Region,
    people: Sequence[Person],
    patient_ids: dict[tuple[int, str], str],
    arrive: Callable[[Person | None], None],
    progress: Progress,
) -> None:
    """Store every chart at its holder, note where each person's Patient is, and let the person go to the desks."""
    try:
        for number, person in enumerate(people, 1):
            for member in person.charts:
                bundle = json.dumps(chart_bundle(person, member), ensure_ascii=False).encode()
                first = region.nodes[member].store.process(bundle).entries[0].stored
                assert first is not None and first.type == "Patient", "a chart's bundle begins with its Patient"  # noqa: PT018 - one fact
                patient_ids[person.number, member] = first.id
            arrive(person)
            progress("charts", number, len(people))
    finally:
        for _ in range(AT_ONCE):
            arrive(None)  # one for each window: it closes


@asynccontextmanager
async def _wallets(region: Region) -> AsyncIterator[tuple[Process, WalletClient]]:
    home, socket = region.home / WALLETS, region.home / SOCKET
    genesis = region.founded.folders[CARE_MEMBERS[0].id] / "genesis.cbor"
    with (region.home / "wallets.log").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "yilian.wallet", "--home", str(home), "--genesis", str(genesis), "--socket", str(socket),
            "--follow-input", "--unsealed", stdin=PIPE, stdout=PIPE, stderr=said, start_new_session=True,
        )  # fmt: skip
    assert process.stdout is not None and process.stdin is not None, "asked for in the line above"  # noqa: PT018 - one fact
    if not (await process.stdout.readline()).startswith(b"ready "):
        await process.wait()
        raise RuntimeError(f"the wallets did not start: see {region.home / 'wallets.log'}")
    wallets = await WalletClient.connect(socket)
    try:
        yield process, wallets
    finally:
        await wallets.close()
        process.stdin.close()
        await process.wait()


async def _enrol(town: Town, arrivals: "asyncio.Queue[Person | None]", seed: int, progress: Progress) -> None:
    """Let everybody go to the desks of their holders, as a queue with some windows."""
    done = 0

    async def window() -> None:
        nonlocal done
        while (person := await arrivals.get()) is not None:
            await town.wallets.create(wallet_name(person.number), draw(seed, "wallet", person.number))
            for member in person.charts:
                patient_id = town.patient_ids[person.number, member]
                await town.phone(person).enrol(town.software[member], patient_id, town.staff(member))
            done += 1
            progress("enrolled", done, len(town.people))

    await asyncio.gather(*(window() for _ in range(AT_ONCE)))


def socket_of(home: Path) -> Path:
    """Return where the wallets of a region listen."""
    return home / SOCKET
