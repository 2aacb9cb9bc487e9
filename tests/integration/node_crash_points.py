"""Kill a holder's node under load, again and again: the driver behind `test_node_crash.py`, in a process of its own because it forks.

Usage    python tests/integration/node_crash_points.py FOLDER POINTS SEED
Who      the ledger and the requester's node (with its doctor's reads and patients' own reads) live in this process and never die: they are
         the witnesses. The holder's node, with its own copy of the ledger, lives in a child, which is sent SIGKILL.
A point  readers ask without pause; at a random moment after the first answer (sometimes while the child still starts) it is killed. Its
         tables are looked at as it left them; sometimes time passes; it starts again, and before it is asked anything more:
         - what was answered has its entry, final when the bytes came, and is SENDING, with one notice; never marked unsent;
         - an entry in the log has one release, SENDING, UNSENT (told to the ledger) or FINAL with time left; nothing stays PREPARED or
           SUBMITTED; what was refused or dropped has no entry; every chart's numbers are recorded, skipped or still owed a skip.
         Readers then ask again, with the same request ids, for what got no answer and for some of what did: the same bytes, the same entry.
Ends     each region after 100 points: nothing open, and each patient's wallet finds its log whole, with every answered entry in it.
Prints   one JSON object: counts of all of these.
"""

import asyncio
import json
import multiprocessing
import shutil
import sqlite3
import sys
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import httpx

from tests.alliance_worlds import OPERATOR, Clock, standing
from tests.holder_process import hold
from tests.release_worlds import HOLDER, REQUESTER, SYSTEM, Ward, a_request_id, ward
from yilian.base.chartlogs import LogAnswer
from yilian.base.refusals import Refused
from yilian.base.shapes import pack, unpack
from yilian.base.transaction import parse, transaction_id
from yilian.contracts import access
from yilian.node import No, NodeRefused
from yilian.node.schema import Stage

POINTS_PER_REGION = 100
PATIENTS = ("ann", "bo", "chen")
READERS = 6
WAIT_S_MAX = 0.06  # after the first answer: some ten releases
START_S_MAX = 0.4  # of a start that is cut short
WITHIN_S = 60  # a bound on what must happen; never waited for
LATER_S = (31, 130)  # past the 30 s in which bytes may leave; past the end of an envelope
REFUSED = {
    "PRESENCE_REQUIRED",
    "RELEASE_TOO_LATE",
    "REQUEST_TOO_OLD",
    "EXPIRED",
    "STATEMENT_ENDED",
    "EMERGENCY_QUOTA",
    "TOO_MANY_REQUESTS",
    "LEDGER_UNREACHABLE",
    "NOT_PREPARED",
    "ENTRY_NOT_FINAL",
}
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.holder_process"])  # paid once, not per life


# --- the witnesses


class SharedClock(Clock):
    """The network's time, which the child sees too."""

    def __init__(self):
        self.shared = PROCESSES.RawValue("q")
        super().__init__()

    @property
    def now_ms(self):
        return self.shared.value

    @now_ms.setter
    def now_ms(self, value):
        self.shared.value = value


class Life:
    """One life of the child."""

    def __init__(self, region, height=0):
        self.hears, said = PROCESSES.Pipe(duplex=False)
        arguments = (region.folder, region.genesis.encoded(), region.urls[REQUESTER], region.clock.shared, height, said)
        self.process = PROCESSES.Process(target=hold, args=arguments, daemon=True)
        self.process.start()
        said.close()

    async def up(self):
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.hears.fileno(), heard.set)
        try:
            async with asyncio.timeout(WITHIN_S):
                await heard.wait()
        finally:
            loop.remove_reader(self.hears.fileno())
        assert self.hears.recv() == "up", "the holder ended before it answered"

    async def kill(self):
        self.process.kill()
        await asyncio.to_thread(self.process.join)
        assert self.process.exitcode == -9, f"the holder ended by itself: {self.process.exitcode}"
        self.hears.close()


class Asked:
    """One read: the same bytes whenever it is sent."""

    def __init__(self, patient, send):
        self.patient, self.send, self.told = patient, send, None


class Load:
    """Readers who ask without pause while the holder is up, and remember what they were told."""

    def __init__(self, here, grants, draw, counts):
        self.here, self.grants, self.draw, self.counts = here, grants, draw, counts
        self.unanswered, self.answered = [], []
        self.is_up, self.first, self.idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.busy = 0

    async def presence(self, patient):
        return await self.here.present(patient)

    def by_grant(self, patient, presence=None):
        target = f"/fhir/Observation?patient={patient.id}"
        return self.by_requester(patient, self.here.signed(target, self.grants[patient.id], presence=presence))

    def by_requester(self, patient, reading):
        async def send():
            received = await self.here.ask(reading)
            if received.status in (409, 503) or received.refusal is not None:
                return received.refusal or str(received.status)
            return received.status, received.body, received.entry_index, received.entry_id

        return Asked(patient, send)

    def in_emergency(self, patient):
        handle = f"/fhir/Patient/$emergency?identifier={SYSTEM}%7C{patient.number}"
        return self.by_requester(patient, self.here.signed(handle, None, purpose="ETREAT", reason="unconscious"))

    def by_patient(self, patient):
        content = pack(patient.wallet.read_own(patient.state, HOLDER, f"/fhir/Patient/{patient.id}", self.here.now_s, a_request_id()))

        async def send():
            answer = await self.here.client.post(self.here.running.urls[HOLDER] + "/patient/read", content=content)
            if answer.status_code != 200:
                return answer.headers.get("yilian-refusal", str(answer.status_code))
            index, entry_id = int(answer.headers["yilian-entry-index"]), bytes.fromhex(answer.headers["yilian-entry-id"])
            return answer.status_code, answer.content, index, entry_id

        return Asked(patient, send)

    def next_asked(self):
        if self.unanswered and self.draw.random() < 0.5:
            return self.unanswered.pop()
        if self.answered and self.draw.random() < 0.05:
            return self.answered[-1]
        patient, way = self.here.patients[self.draw.choice(PATIENTS)], self.draw.random()
        if way < 0.2 and patient.id == PATIENTS[0]:
            return self.in_emergency(patient)
        return self.by_patient(patient) if way < 0.4 else self.by_grant(patient)

    async def read(self):
        while True:
            await self.is_up.wait()
            self.busy += 1
            self.idle.clear()
            try:
                await self.ask_one(self.next_asked())
            finally:
                self.busy -= 1
                if not self.busy:
                    self.idle.set()

    async def ask_one(self, asked):
        try:
            told = await asked.send()
        except (NodeRefused, httpx.HTTPError) as error:
            self.counts["cut off"] += 1
            if isinstance(error, NodeRefused) and error.no is not No.HOLDER_UNREACHABLE:
                raise
            self.unanswered.append(asked)
            return
        if isinstance(told, str):
            await self.refused(asked, told)
            return
        status, _, index, entry_id = told
        entry = self.here.engine.entry(index)  # this process orders: what is not here now was not final when the bytes came
        assert (status, entry is not None and entry.id) == (200, entry_id), "bytes came and there is no final entry"
        if asked.told is None:
            asked.told = told
            self.answered.append(asked)
            self.counts["answered"] += 1
        else:
            assert asked.told == told, "the same call got another answer"
            self.counts["answered again"] += 1
        self.first.set()

    async def refused(self, asked, refusal):
        """Take a no. What was answered before may be too late to be answered again; what was not may be over."""
        self.counts[f"refused: {refusal}"] += 1
        assert refusal.split()[-1] in REFUSED, refusal
        if "PRESENCE_REQUIRED" in refusal:
            self.unanswered.append(self.by_grant(asked.patient, await self.presence(asked.patient)))

    async def stop(self):
        self.is_up.clear()
        if self.busy:
            async with asyncio.timeout(WITHIN_S):
                await self.idle.wait()


# --- what must be so


RELEASES = (
    """SELECT request_id, stage, basis, chart, month, n, tx, entry_index, entry_id, block_ms, body_sealed IS NOT NULL FROM releases"""
)


class Tables:
    """The holder's node.db, read from outside."""

    def __init__(self, path):
        self.db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def all(self, statement):
        return self.db.execute(statement).fetchall()


def as_left(region, scratch, counts):
    """Count what the kill interrupted, from a copy of the tables as they are on the disk."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for file in (region.folder / HOLDER).glob("node.db*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, scratch / file.name)
    db = sqlite3.connect(scratch / "node.db")
    for stage, tx in db.execute("SELECT stage, tx FROM releases WHERE stage IN (1, 2, 3)"):
        name = Stage(stage).name.lower()
        if stage == Stage.SUBMITTED:
            name += " and final" if region.engine.find(transaction_id(tx)) is not None else " and not entered"
        counts[f"left {name}"] += 1
    db.close()


class Witness:
    """What the ledger says, read on as it grows."""

    def __init__(self, region):
        self.engine, self.size = region.engine, 0
        self.records = {}  # id -> index of the holder's access entries

    def read_on(self):
        size = self.engine.read().chain.log.size
        for index in range(self.size, size):
            entry = self.engine.entry(index)
            if entry.id is None or not entry.data:
                continue
            if is_record(entry.data):
                self.records[entry.id] = index
        self.size = size


def is_record(data):
    try:
        entered = parse(data)
    except Refused:
        return False  # a system leaf
    return entered.header.subject == "access.record" and entered.header.issuer == HOLDER


def check(region, load, witness):
    """Compare the holder's tables with the log and with what was answered. It has just started and was asked nothing yet."""
    tables, view = Tables(region.folder / HOLDER / "node.db"), region.engine.read()
    witness.read_on()
    rows = {row[0]: row for row in tables.all(RELEASES)}
    notices = Counter(index for (index,) in tables.all("SELECT entry_index FROM notices WHERE kind = 'access'"))
    unsents = dict(tables.all("SELECT entry_index, mark_index FROM unsents"))
    skips = {(chart, month, n) for chart, month, n in tables.all("SELECT chart, month, n FROM skips")}
    released = {}
    for _, stage, basis, chart, month, n, tx, index, entry_id, block_ms, has_body in rows.values():
        known = None if tx is None else witness.records.get(transaction_id(tx))
        assert stage not in (Stage.PREPARED, Stage.SUBMITTED), "a release was left half done"
        if stage in (Stage.DROPPED, Stage.REFUSED):
            assert known is None, f"{Stage(stage).name} is on the ledger"
            assert not has_body
            assert basis == access.Basis.GRANT or (chart, month, n) in skips
            continue
        assert known == index is not None, f"{Stage(stage).name} is not on the ledger"
        assert region.engine.entry(index).id == entry_id
        released[index] = stage
        assert notices[index] == (stage == Stage.SENDING)
        if stage == Stage.UNSENT:
            assert index in unsents
        else:
            assert index not in unsents
            assert access.entry(view, index).unsent is None
        assert stage != Stage.FINAL or region.clock.now_ms <= block_ms + 30_000, "FINAL and too late, and not marked"
    assert sorted(released) == sorted(witness.records.values()), "an entry without its release"
    for asked in load.answered:
        assert released[asked.told[2]] == Stage.SENDING, "answered, and not SENDING"
    numbers = {(row[3], row[4], row[5]) for row in rows.values() if row[2] != access.Basis.GRANT} | skips
    for chart, month, next_n in tables.all("SELECT chart, month, next_n FROM months"):
        assert all((chart, month, n) in numbers for n in range(next_n)), "a number that is neither used nor skipped"
    tables.db.close()


async def settled(region):
    """Wait until the holder has told the ledger all that it owes; no release is open then."""
    tables = Tables(region.folder / HOLDER / "node.db")
    owed = (
        "SELECT count(*) FROM skips WHERE entry_index IS NULL",
        "SELECT count(*) FROM unsents WHERE mark_index IS NULL",
        "SELECT count(*) FROM releases WHERE stage IN (1, 2, 3)",
        "SELECT count(*) FROM outbox WHERE acknowledged IS NULL AND refused IS NULL",
    )
    async with asyncio.timeout(WITHIN_S):
        while any(tables.all(one) != [(0,)] for one in owed):
            height = region.engine.read().chain.height
            try:
                async with asyncio.timeout(0.2):  # the next block, or a look anyway
                    await anext(aiter(region.engine.blocks(height)))
            except TimeoutError:
                continue
    view = region.engine.read()
    for (index,) in tables.all("SELECT entry_index FROM unsents"):
        assert access.entry(view, index).unsent is not None, "nothing was sent and the ledger was not told"
    counts = {"unsent": len(tables.all("SELECT 1 FROM unsents")), "skipped": len(tables.all("SELECT 1 FROM skips"))}
    tables.db.close()
    return counts


async def logs_are_whole(here, load):
    """Let each wallet check its log; every answered entry is in it."""
    for name in PATIENTS:
        patient = here.patients[name]
        shown = []
        for month in patient.wallet.months_due(patient.state, HOLDER, here.now_s):
            request = patient.wallet.ask_log(patient.state, HOLDER, month, here.now_s, b"z" * 32)
            answer = await here.client.post(here.running.urls[HOLDER] + "/patient/log", content=pack(request))
            assert answer.status_code == 200, answer.text
            shown.append(unpack(LogAnswer, answer.content))
        patient.state, report = patient.wallet.check(patient.state, HOLDER, tuple(shown), here.now_s)
        assert report.findings == (), report.findings
        indexes = {line.index for line in report.lines}
        missing = [asked.told[2] for asked in load.answered if asked.patient is patient and asked.told[2] not in indexes]
        assert missing == [], f"answered, and not in the log of {name}: {missing}"


# --- the run


@asynccontextmanager
async def founded(folder, clock):
    """Yield (ward, grants) of a region whose holder runs elsewhere; what it needs was prepared while all nodes ran here."""
    async with ward(folder, clock=clock) as here:
        grants = {}
        for name in PATIENTS:
            patient = here.person(name)
            await here.enrol(patient)
            grants[name] = await here.give(patient, uses_max=24)
        genesis = here.running.genesis
    async with standing(folder, genesis, clock, [REQUESTER, OPERATOR]) as running:
        again = Ward(running)
        again.patients, again.doctor = here.patients, here.doctor
        try:
            yield again, grants
        finally:
            await again.client.aclose()


async def one_region(folder, points, draw, counts):
    clock = SharedClock()
    async with AsyncExitStack() as stack:
        here, grants = await stack.enter_async_context(founded(folder, clock))
        region, load = here.running, Load(here, grants, draw, counts)
        witness = Witness(region)
        life = Life(region, height=region.engine.read().chain.height)
        await life.up()
        for name in PATIENTS:
            load.unanswered.append(load.by_grant(here.patients[name], await load.presence(here.patients[name])))
        readers = [asyncio.ensure_future(load.read()) for _ in range(READERS)]
        try:
            for _ in range(points):
                life = await one_point(life, region, load, witness, folder / "as-left")
            clock.go(LATER_S[-1])
            await life.kill()
            life = Life(region)
            await life.up()
            counts.update(await settled(region))
            check(region, load, witness)
            await logs_are_whole(here, load)
            counts["entries"] += len(witness.records)
        finally:
            for reader in readers:
                reader.cancel()
            done = await asyncio.gather(*readers, return_exceptions=True)
            life.process.kill()
            for one in done:
                if isinstance(one, Exception):
                    raise one


async def one_point(life, region, load, witness, scratch):
    """Load, kill, look, start again, check; return the new life."""
    draw, counts = load.draw, load.counts
    load.first.clear()
    load.is_up.set()
    async with asyncio.timeout(WITHIN_S):
        await load.first.wait()
    await asyncio.sleep(draw.random() * WAIT_S_MAX)
    await life.kill()
    await load.stop()
    counts["points"] += 1
    as_left(region, scratch, counts)
    if draw.random() < 0.15:
        region.clock.go(draw.choice(LATER_S))
        counts["time passed"] += 1
    region.clock.go(2)
    life = Life(region)
    if draw.random() < 0.1:  # a start, too, may be cut short
        await asyncio.sleep(draw.random() * START_S_MAX)
        await life.kill()
        counts["points"] += 1
        counts["killed while starting"] += 1
        life = Life(region)
    await life.up()
    check(region, load, witness)
    return life


async def run(folder, points, seed):
    draw, counts = Random(seed), Counter()
    regions = 0
    while counts["points"] < points:
        await one_region(folder / str(regions), min(POINTS_PER_REGION, points - counts["points"]), draw, counts)
        regions += 1
    print(json.dumps(counts))  # noqa: T201 - the driver's answer


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
