"""The practitioners of the simulated region, invented, each with a signer process of its own: no node holds or reaches their keys."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
    Practitioner("dr-wu", "hospital-1", "doctor", "吴医生（心内科）", "Dr Wu, cardiology"),
    Practitioner("nurse-shen", "hospital-1", "nurse", "沈护士", "Nurse Shen"),
    Practitioner("dr-zhao", "hospital-2", "doctor", "赵医生（急诊）", "Dr Zhao, emergency"),
    Practitioner("dr-sun", "hospital-2", "doctor", "孙医生（急诊）", "Dr Sun, emergency"),
)


@dataclass(frozen=True, slots=True)
class Seated:
    """A practitioner with an unlocked signer."""

    who: Practitioner
    public_key: bytes
    socket: Path
    signer: SignerClient
    process: Process


@asynccontextmanager
async def seated(home: Path, seed: int) -> AsyncIterator[Mapping[str, Seated]]:
    """Start every practitioner's signer and unlock it; on leaving, each ends because its input does.

    Raises   SignerGone
    """
    folder = home / FOLDER
    folder.mkdir(mode=0o700)
    seats = await asyncio.gather(*(_seat(folder, seed, one) for one in PRACTITIONERS))
    try:
        yield {one.who.name: one for one in seats}
    finally:
        for one in seats:
            await one.signer.close()
            assert one.process.stdin is not None, "asked for when it was started"
            one.process.stdin.close()
        await asyncio.gather(*(one.process.wait() for one in seats))


async def _seat(folder: Path, seed: int, who: Practitioner) -> Seated:
    keys, socket = folder / f"{who.name}.keys", folder / f"{who.name}.sock"
    public = await asyncio.to_thread(create, keys, PASSPHRASE, {who.name: draw(seed, "practitioner", who.name)})
    with (folder / f"{who.name}.log").open("wb") as said:  # what the signer's own terminal would show
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "yilian.signer", "--keys", str(keys), "--socket", str(socket), "--follow-input",
            stdin=PIPE, stdout=PIPE, stderr=said, start_new_session=True,
        )  # fmt: skip
    assert process.stdout is not None, "asked for in the line above"
    if not (await process.stdout.readline()).startswith(b"ready "):
        await process.wait()
        raise SignerGone(f"the signer of {who.name} did not start: see {folder / who.name}.log")
    signer = await SignerClient.connect(socket)
    await signer.unlock(PASSPHRASE)
    return Seated(who, public[who.name], socket, signer, process)
