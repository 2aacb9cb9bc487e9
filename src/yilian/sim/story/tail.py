"""The story's tail on real records: FHIR bundles are imported into a hospital, and one of their patients is met like any other."""

import asyncio
from pathlib import Path

from yilian.records import SqliteStore, import_folder
from yilian.sim.phones import Phone
from yilian.sim.settling import wallet_name
from yilian.sim.story.tale import CARRIER, HOSPITAL, KNOWN, StoryBroken, Tale
from yilian.wallet import Wish

PROBLEMS_SHOWN = 5


async def told_of_records(tale: Tale, folder: Path) -> None:
    """Import a folder into the First Hospital, and let one of its patients grant the other hospital a look. What is refused is named.

    Raises   StoryBroken, if a resource is lost on the way
    """
    tell, town = tale.tell, tale.town
    tell.scene("真实格式的病历", "Real FHIR records")
    store = town.region.nodes[KNOWN].store
    assert isinstance(store, SqliteStore), "the simulated region's stores are embedded"
    before = {one["id"] for one in await tale.software(KNOWN).search("Patient?_count=500")}
    counts, elapsed_ms = await tale.timed(asyncio.to_thread(import_folder, store, folder))
    found = sum(counts.found.values())
    refused = sum(counts.refused.values())
    if counts.stored + refused != found:
        raise StoryBroken(f"{found - counts.stored - refused} of {found} resources did not arrive, and nothing says why")
    tell.say(
        f"读入 {counts.files} 个文件，{found:,} 份资源，入库 {counts.stored:,} 份。",
        f"{counts.files} files are read: {found:,} resources, {counts.stored:,} of them stored.",
    )
    tell.fact("imported", f"in {elapsed_ms / 1_000:.1f} s, {found / elapsed_ms * 1_000:,.0f}/s; {refused or 'none'} refused")
    for problem in counts.problems[:PROBLEMS_SHOWN]:
        tell.fact("refused", f"{problem.file}{f':{problem.line}' if problem.line else ''}: {problem.issues[0].diagnostics}")
    if len(counts.problems) > PROBLEMS_SHOWN:
        tell.fact("refused", f"and {len(counts.problems) - PROBLEMS_SHOWN} files or lines more")
    fresh = sorted({one["id"] for one in await tale.software(KNOWN).search("Patient?_count=500")} - before)
    if not fresh:
        tell.say("文件里没有新的患者。", "There is no new patient in the files.")
        return
    await _met(tale, fresh[0])


async def _met(tale: Tale, patient_id: str) -> None:
    """Enrol the imported patient, give a grant, and read it all at the other hospital."""
    town, number = tale.town, len(tale.town.people)
    phone = Phone(wallet_name(number), town.wallets, town.region.urls, town.client)
    await town.wallets.create(phone.name)
    await phone.enrol(town.software[KNOWN], patient_id, town.staff(KNOWN))
    given = await phone.give(Wish(KNOWN, HOSPITAL, "TREAT", 8, 5), CARRIER)
    doctor = town.seats["dr-zhao"]
    shown = await town.software[HOSPITAL].challenge(doctor)
    proofs = await phone.be_present(shown, [KNOWN], HOSPITAL)
    reading = town.software[HOSPITAL].read(
        KNOWN, f"Patient/{patient_id}/$everything", doctor, grant=given.control_key, presence=(shown, proofs[KNOWN])
    )
    release, elapsed_ms = await tale.timed(reading)
    tale.tell.say(
        "其中一位患者到窗口登记、授权，心血管病医院经放行闸读到他的全部病历：",
        "One of their patients enrols and grants; the other hospital reads the whole chart through the gate:",
    )
    tale.show(f"{KNOWN} -> {HOSPITAL}", "resources", release, elapsed_ms)
