"""The practitioners of the simulated region, invented. Their keys are in signer processes, one per member: no node holds or reaches them.

A real signer holds one person's keys (ADR-0033); here the staff of one member share a process, which saves memory and changes no check.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yilian.base.artefacts import ReadRequest
from yilian.signer import SignerClient, SignerGone, create
from yilian.sim.founding import draw

PASSPHRASE: Final = "simulated region"  # noqa: S105 - opens simulated keys only, and stands in the region's own file
FOLDER: Final = "signers"


@dataclass(frozen=True, slots=True)
class Practitioner:
    """Who acts for which member; `role` is a word of `directory`'s credentials."""

    name: str
    member: str
    role: str
    name_zh: str
    name_en: str


PRACTITIONERS: Final = (
    Practitioner("dr-chen", "clinic-1", "doctor", "陈医生（全科）", "Dr Chen, general practice"),
    Practitioner("nurse-qian", "clinic-1", "nurse", "钱护士", "Nurse Qian"),
    Practitioner("dr-feng", "clinic-2", "doctor", "冯医生（全科）", "Dr Feng, general practice"),
    Practitioner("nurse-jin", "clinic-2", "nurse", "金护士", "Nurse Jin"),
    Practitioner("dr-wu", "hospital-1", "doctor", "吴医生（急诊）", "Dr Wu, emergency"),
    Practitioner("nurse-shen", "hospital-1", "nurse", "沈护士", "Nurse Shen"),
    Practitioner("dr-zhao", "hospital-2", "doctor", "赵医生（心内科）", "Dr Zhao, cardiology"),
    Practitioner("nurse-sun", "hospital-2", "nurse", "孙护士", "Nurse Sun"),
)


@dataclass(frozen=True, slots=True)
class Seated:
    """A practitioner with an unlocked signer."""

    who: Practitioner
    public_key: bytes
    socket: Path
    signer: SignerClient

    async def sign_read(self, network: bytes, request: ReadRequest) -> bytes:
        """Return this person's signature for one read."""
        return await self.signer.sign_read(network, request, self.who.name)

    async def sign_intent(self, network: bytes, act: str, facts: list[bytes | str | int]) -> bytes:
        """Return this person's signature for another act of their own."""
        return await self.signer.sign_intent(network, self.who.member, act, facts, self.who.name)


@asynccontextmanager
async def seated(home: Path, seed: int) -> AsyncIterator[Mapping[str, Seated]]:
    """Start the signers and unlock them; on leaving, each ends because its input does.

    Raises   SignerGone
    """
    folder = home / FOLDER
    folder.mkdir(mode=0o700)
    members = sorted({one.member for one in PRACTITIONERS})
    rooms = await asyncio.gather(*(_start(folder, seed, member) for member in members))
    try:
        yield {one.who.name: one for _, staff in rooms for one in staff}
    finally:
        for process, staff in rooms:
            await staff[0].signer.close()
            assert process.stdin is not None, "asked for when it was started"
            process.stdin.close()
        await asyncio.gather(*(process.wait() for process, _ in rooms))


async def _start(folder: Path, seed: int, member: str) -> tuple[Process, list[Seated]]:
    keys, socket = folder / f"{member}.keys", folder / f"{member}.sock"
    staff = [one for one in PRACTITIONERS if one.member == member]
    seeds = {one.name: draw(seed, "practitioner", one.name) for one in staff}
    public = await asyncio.to_thread(create, keys, PASSPHRASE, seeds)
    with (folder / f"{member}.log").open("wb") as said:  # what the signer's own terminal would show
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "yilian.signer", "--keys", str(keys), "--socket", str(socket), "--follow-input",
            stdin=PIPE, stdout=PIPE, stderr=said, start_new_session=True,
        )  # fmt: skip
    assert process.stdout is not None, "asked for in the line above"
    if not (await process.stdout.readline()).startswith(b"ready "):
        await process.wait()
        raise SignerGone(f"the signer of {member} did not start: see {folder / member}.log")
    signer = await SignerClient.connect(socket)
    await signer.unlock(PASSPHRASE)
    return process, [Seated(one, public[one.name], socket, signer) for one in staff]


async def at_socket(name: str, socket: Path, signer: SignerClient) -> Seated:
    """Return a practitioner whose signer is running and unlocked; StopIteration if nobody has that name."""
    who = next(one for one in PRACTITIONERS if one.name == name)
    return Seated(who, await signer.public_key(name), socket, signer)
