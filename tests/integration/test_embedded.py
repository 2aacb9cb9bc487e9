"""The embedded engine: its groups, its clock, its days, its worker processes, and every way in which it may have to stop."""

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.engines import embedded, genesis, grant
from tests.submissions import Submissions
from tests.waiting import begun, until
from tests.worlds import STARTED_AT_S, key, make_genesis, seed
from yilian.base.digests import key_tag
from yilian.base.merkle import is_included, leaf_hash
from yilian.base.refusals import Reason
from yilian.base.times import DAY_S, day_of
from yilian.contracts import access, consent, directory
from yilian.engines import (
    AppHashMismatch,
    DiskFailed,
    DiskFull,
    EngineStopped,
    RulesMissing,
    StoreCorrupt,
    StoreLocked,
    WrongNetwork,
    fsck,
    fsck_folder,
)
from yilian.engines.embedded import EmbeddedEngine
from yilian.engines.replica import Replica
from yilian.engines.store import FILE, Store
from yilian.engines.verifiers import BATCH_MAX, INLINE_MAX, STARTS_MAX
from yilian.ledger import VersionMissing, access_root, parse_daily_leaf, start

NOT_GIVEN = "of its table {} is not what the transactions give"


class Clock:
    """The machine's clock, set by the test."""

    def __init__(self, s=STARTED_AT_S + 10):
        self.s = s

    def __call__(self):
        return self.s * 1_000


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def offer(clock):
    return Submissions(make_genesis().network_id, now_s=lambda: clock.s)


@pytest.fixture
async def engine(tmp_path, clock):
    async with embedded(tmp_path, make_genesis(), now_ms=clock) as opened:
        yield opened


# -- groups and time


async def test_a_lone_transaction_is_a_block_of_its_own_by_the_operator(engine, offer):
    for n in range(3):
        answer = await engine.submit(offer.give(f"grant {n}"))
        block = engine.block(answer.height)
        assert (block.height, block.proposer, len(block.transactions)) == (n + 1, "clinic-1", 1)


async def test_what_comes_while_a_block_is_committed_is_the_next_group_and_none_exceeds_500(engine, offer):
    load = [offer.give(f"grant {n}") for n in range(1_100)]
    answers = await asyncio.gather(*[engine.submit(data) for data in load])
    sizes = [len(engine.block(height).transactions) for height in range(1, engine.read().chain.height + 1)]
    assert sum(sizes) == len(load) == len({answer.index for answer in answers})
    assert max(sizes) <= 500
    assert len(sizes) < len(load) // 2


async def test_block_time_rises_by_a_millisecond_where_the_clock_stands_or_goes_back(engine, offer, clock):
    first = await engine.submit(offer.give("a"))
    second = await engine.submit(offer.give("b"))
    clock.s -= 5
    third = await engine.submit(offer.give("c"))
    clock.s += 100
    fourth = await engine.submit(offer.give("d"))
    base_ms = (STARTED_AT_S + 10) * 1_000
    assert [each.time_ms for each in (first, second, third, fourth)] == [base_ms, base_ms + 1, base_ms + 2, base_ms + 95_000]


async def test_the_same_bytes_twice_in_one_group_are_one_entry_with_two_answers(engine, offer):
    load = [offer.give(f"grant {n}") for n in range(50)]
    answers = await asyncio.gather(*[engine.submit(data) for data in load + load])
    assert answers[:50] == answers[50:]
    assert engine.read().chain.log.size == 50


async def test_a_final_answer_stands_though_the_carrier_s_key_is_gone(tmp_path, engine, offer):
    data = offer.give("a", carrier="hospital-1")
    answer = await engine.submit(data)
    gone = await engine.submit(offer.transaction("directory.suspend", directory.Suspend("hospital-1", seed("why")), "regulator-1"))
    assert gone.is_accepted, gone
    assert await engine.submit(data) == answer
    fresh = await engine.submit(offer.give("b", carrier="hospital-1"))
    assert (fresh.height, fresh.reason) == (None, Reason.UNKNOWN_KEY)


# -- days


def own_reading(name):
    """Return a patient's own reading under the tag of the key `name`, and that tag."""
    tag = key_tag(key(name).public_key)
    return access.Record(access.Basis.PATIENT, None, None, tag, False, seed(name, "detail"), b""), tag


async def test_a_day_s_tags_are_kept_after_their_rows_are_gone_and_prove_under_the_daily_leaf(engine, offer, clock):
    day = day_of(clock.s)
    tags = []
    for name in ("x", "y", "z"):
        message, tag = own_reading(name)
        tags.append(tag)
        assert (await engine.submit(offer.transaction("access.record", message, approvers=[key(name)]))).is_accepted
    assert engine.access_tags(day) == tuple(sorted(tags))
    assert engine.daily_leaf(day) is None
    clock.s += 3 * DAY_S
    answer = await engine.submit(offer.give("later"))
    assert list(engine.read().scan(access.TAG_PREFIX)) == []
    assert engine.access_tags(day) == tuple(sorted(tags))
    leaves = [parse_daily_leaf(engine.entry(engine.daily_leaf(each)).data) for each in range(day, day + 3)]
    assert [leaf.day for leaf in leaves] == [day, day + 1, day + 2]
    assert leaves[0].access_root == access_root(tuple(sorted(tags)))
    assert [engine.access_tags(each) for each in (day + 1, day + 2, day + 3)] == [(), (), ()]
    assert answer.index == engine.daily_leaf(day + 2) + 1
    size = engine.read().chain.log.size
    leaf = engine.entry(engine.daily_leaf(day))
    assert is_included(leaf_hash(leaf.data), leaf.index, size, engine.inclusion(leaf.index, size), engine.log_root(size))
    assert engine.block(answer.height).system_leaves == tuple(engine.entry(engine.daily_leaf(each)).data for each in range(day, day + 3))


# -- reopening


async def test_reopened_it_is_where_it_was(tmp_path, offer, clock):
    async with embedded(tmp_path, make_genesis(), now_ms=clock) as engine:
        data = [offer.give(f"grant {n}") for n in range(70)]
        answers = [await engine.submit(each) for each in data[:5]] + await asyncio.gather(*[engine.submit(each) for each in data[5:]])
        chain, blocks = engine.read().chain, [engine.block(height) for height in range(1, engine.read().chain.height + 1)]
    async with embedded(tmp_path, make_genesis(), now_ms=clock) as engine:
        assert engine.read().chain == chain
        assert engine.read().chain.keys == chain.keys
        assert [engine.block(height) for height in range(1, chain.height + 1)] == blocks
        assert [await engine.submit(each) for each in data] == answers
        assert (await engine.submit(offer.give("more"))).index == 70
        assert engine.inclusion(3, 70)
    assert fsck_folder(tmp_path, make_genesis()).entries == 71


async def test_a_replay_from_genesis_confirms_a_sound_ledger(tmp_path, engine, offer, clock):
    await asyncio.gather(*[engine.submit(offer.give(f"grant {n}")) for n in range(20)])
    await engine.submit(offer.revoke("grant 3", approver=key("a stranger")))
    clock.s += DAY_S
    await engine.submit(offer.revoke("grant 3"))
    heights = []
    chain = engine.read().chain
    checked = fsck(engine.replica, progress=lambda height, last: heights.append((height, last)))
    assert (checked.height, checked.entries, checked.app_hash) == (chain.height, 22, chain.app_hash)
    assert checked.state_rows == sum(1 for _ in engine.read().scan(b""))
    assert heights == [(n, chain.height) for n in range(1, chain.height + 1)]


# -- damage


@pytest.fixture
async def folder(tmp_path, offer, clock):
    """Return the folder of a closed ledger with 12 grants in as many blocks, and a day."""
    async with embedded(tmp_path / "ledger", make_genesis(), now_ms=clock) as engine:
        for n in range(12):
            await engine.submit(offer.give(f"grant {n}"))
        clock.s += DAY_S
        await engine.submit(offer.give("next day"))
    return tmp_path / "ledger"


def alter(folder, *statements):
    connection = sqlite3.connect(folder / FILE)
    for statement in statements:
        assert connection.execute(statement).rowcount > 0, statement
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE facts SET value = x'00' WHERE name = 'chain'", "its chain row cannot be read"),
        ("UPDATE blocks SET app_hash = zeroblob(32) WHERE height = 13", "its last block and its chain row differ at height 13"),
        ("DELETE FROM blocks WHERE height = 13", "its last block and its chain row differ at height 13"),
        ("UPDATE tiles SET hashes = zeroblob(4032)", "the log's nodes do not give its root"),
        ("DELETE FROM tiles", "tile 0 of the log is missing"),
        ("UPDATE facts SET value = x'00' WHERE name = 'format'", "its format is b'\\x00', this software reads b'yilian-ledger-1'"),
    ],
    ids=["chain row", "app hash", "last block", "log nodes", "log tile", "format"],
)
def test_a_ledger_whose_parts_disagree_is_not_opened(folder, statement, why):
    alter(folder, statement)
    with pytest.raises(StoreCorrupt) as stopped:
        Replica.open(folder, make_genesis())
    assert stopped.value.why == why
    assert "restore the backup" in str(stopped.value)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (
            "UPDATE state SET value = zeroblob(9) WHERE key = (SELECT max(key) FROM state)",
            NOT_GIVEN.format("state"),
        ),
        (
            "DELETE FROM state WHERE key = (SELECT max(key) FROM state WHERE key < x'64')",
            NOT_GIVEN.format("state"),
        ),
        ("INSERT INTO state VALUES(x'ff', x'00')", NOT_GIVEN.format("state")),
        ("DELETE FROM places WHERE prefix = (SELECT max(prefix) FROM places)", NOT_GIVEN.format("places")),
        ("UPDATE days SET tags = zeroblob(16)", NOT_GIVEN.format("days")),
        ("UPDATE blocks SET proposer = 'hospital-1' WHERE height = 5", None),
        ("UPDATE blocks SET log_root = zeroblob(32) WHERE height = 5", "block 5 keeps other results than its transactions have"),
        ("UPDATE blocks SET body = zeroblob(9) WHERE height = 5", "block 5 cannot be read"),
        ("DELETE FROM blocks WHERE height = 5", "block 5 is missing"),
    ],
    ids=["state row", "lost row", "added row", "place", "day", "proposer", "log root", "body", "block"],
)
def test_a_replay_finds_what_was_altered(folder, statement, why):
    alter(folder, statement)
    if why is None:  # who proposed is in no hash: whoever may write the file may say otherwise
        assert fsck_folder(folder, make_genesis()).height == 13
        return
    with pytest.raises(StoreCorrupt) as stopped:
        fsck_folder(folder, make_genesis())
    assert stopped.value.why.endswith(why)


def test_a_replay_finds_a_transaction_that_was_altered(folder):
    store = Store(folder)
    body = store.block(5).body
    store.close()
    at = body.index(b"consent.give") + 40
    changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    connection = sqlite3.connect(folder / FILE)
    connection.execute("UPDATE blocks SET body = ? WHERE height = 5", (changed,))
    connection.commit()
    connection.close()
    with pytest.raises(AppHashMismatch) as stopped:
        fsck_folder(folder, make_genesis())
    assert stopped.value.height == 5
    assert "yilian node check" in str(stopped.value)


@pytest.mark.parametrize("spoil", [lambda data: b"not a database" + data[14:], lambda data: data[: len(data) // 2]], ids=["head", "half"])
def test_a_file_that_is_no_database_any_more_gives_a_sentence(folder, spoil):
    path = folder / FILE
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(StoreCorrupt) as stopped:
        fsck_folder(folder, make_genesis())
    assert str(stopped.value).startswith(f"the ledger in {path} is damaged (")


def test_another_network_s_folder_is_not_opened(folder):
    other = make_genesis(operator="hospital-1")
    with pytest.raises(WrongNetwork) as stopped:
        Replica.open(folder, other)
    assert (stopped.value.expected, stopped.value.found) == (other.network_id, make_genesis().network_id)
    Replica.open(folder, make_genesis()).close()  # the lock was let go


def test_a_folder_is_open_once(folder):
    first = Replica.open(folder, make_genesis())
    with pytest.raises(StoreLocked) as stopped:
        Replica.open(folder, make_genesis())
    assert stopped.value.path == folder
    first.close()
    Replica.open(folder, make_genesis()).close()


# -- the disk


async def fill_the_disk(engine, offer):
    """Submit until the engine stops; return the answers before that and why it stopped."""
    answers = []
    while True:
        try:
            answer = await engine.submit(offer.give(f"more {len(answers)}"))
        except EngineStopped as why:
            return answers, why
        answers.append(answer)


async def test_a_full_disk_stops_it_with_a_sentence_and_loses_nothing_acknowledged(tmp_path, offer, clock):
    engine = EmbeddedEngine.open(tmp_path, make_genesis(), now_ms=clock, processes=0)
    connection = engine.replica._store._writer
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 40}")  # SQLite's own "disk full", at the same places
    answers, why = await fill_the_disk(engine, offer)
    assert (type(why), why.path) == (DiskFull, tmp_path / FILE)
    assert "free some space" in str(why)
    with pytest.raises(DiskFull):
        engine.read()
    with pytest.raises(DiskFull):
        await engine.watch()
    await engine.close()
    async with embedded(tmp_path, make_genesis(), now_ms=clock) as again:
        assert [again.find(answer.id) for answer in answers] == answers
        assert again.read().chain.log.size == len(answers) > 10
        assert (await again.submit(offer.give("there is room"))).index == len(answers)
    assert fsck_folder(tmp_path, make_genesis()).entries == len(answers) + 1


_FILE_SIZE_LIMIT = """
import asyncio, resource, signal, sys
from pathlib import Path
from tests.submissions import Submissions
from tests.worlds import STARTED_AT_S, make_genesis
from yilian.engines import EngineStopped
from yilian.engines.embedded import EmbeddedEngine

async def main(folder):
    engine = EmbeddedEngine.open(folder, make_genesis(), now_ms=lambda: (STARTED_AT_S + 10) * 1000, processes=0)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = (folder / "ledger.sqlite-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300_000, size + 300_000))
    offer = Submissions(make_genesis().network_id, now_s=lambda: STARTED_AT_S + 10)
    try:
        while True:
            answer = await engine.submit(offer.give(f"grant {offer.nonce}"))
            print(answer.id.hex(), answer.index, flush=True)
    except EngineStopped as why:
        print(type(why).__name__, flush=True)
    await engine.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_disk_that_refuses_to_write_stops_it_and_loses_nothing_acknowledged(tmp_path, root):
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}
    ran = subprocess.run(
        [sys.executable, "-c", _FILE_SIZE_LIMIT, tmp_path],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    *acknowledged, cause = ran.stdout.splitlines()
    assert cause in (DiskFailed.__name__, DiskFull.__name__), ran.stderr
    assert len(acknowledged) > 5
    replica = Replica.open(tmp_path, make_genesis())
    for line in acknowledged:
        id_, index = line.split()
        assert replica.find([bytes.fromhex(id_)])[bytes.fromhex(id_)].index == int(index)
    assert fsck(replica).entries == len(acknowledged)
    replica.close()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


async def test_whoever_waits_when_it_stops_is_told_why(tmp_path, offer, clock):
    async with embedded(tmp_path, make_genesis(), now_ms=clock) as engine:
        await engine.submit(offer.give("a"))
        engine.replica._store._writer.execute("PRAGMA max_page_count=1")
        waiting = [asyncio.create_task(engine.submit(offer.give(f"more {n}"))) for n in range(200)]
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(end) for end in ends} == {DiskFull}


async def test_a_defect_stops_it_and_is_told_as_it_is(tmp_path, offer, clock, monkeypatch):
    async with embedded(tmp_path, make_genesis(), now_ms=clock) as engine:
        monkeypatch.setattr(engine.replica, "decide", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await engine.submit(offer.give("a"))
        with pytest.raises(ZeroDivisionError):
            engine.read()


async def test_rules_that_this_software_lacks_stop_it_with_a_sentence(tmp_path, offer, clock, monkeypatch):
    def moved_on(*_):
        raise VersionMissing(2)

    async with embedded(tmp_path, make_genesis(), now_ms=clock) as engine:
        monkeypatch.setattr("yilian.engines.replica.apply", moved_on)
        with pytest.raises(RulesMissing, match=r"the network runs rules version 2, .* install a newer release"):
            await engine.submit(offer.give("a"))


# -- verifying processes


async def test_a_burst_is_verified_elsewhere_and_refusals_find_their_way_back(tmp_path, offer, clock):
    async with embedded(tmp_path, make_genesis(), processes=1, now_ms=clock) as engine:
        await asyncio.gather(*[engine.submit(offer.give(f"early {n}")) for n in range(2 * INLINE_MAX)])
        verifiers = engine._verifiers
        await until(lambda: verifiers._processes and verifiers._processes[0].is_ready)
        good = [offer.give(f"grant {n}") for n in range(3 * BATCH_MAX)]
        bad = [data[:-1] + bytes([data[-1] ^ 1]) for data in (offer.give(f"bad {n}") for n in range(20))]
        answers = await asyncio.gather(*[engine.submit(data) for data in good + bad])
        assert all(answer.is_accepted for answer in answers[: len(good)])
        assert {(answer.height, answer.reason) for answer in answers[len(good) :]} == {(None, int(Reason.BAD_SIGNATURE))}
        child = verifiers._processes[0].child
    assert child.poll() == 0


async def test_a_verifying_process_that_keeps_dying_costs_nobody_an_answer(tmp_path, offer, clock):
    async with embedded(tmp_path, make_genesis(), processes=1, now_ms=clock) as engine:
        verifiers = engine._verifiers
        killed = set()
        for attempt in range(STARTS_MAX):
            await asyncio.gather(*[engine.submit(offer.give(f"early {attempt} {n}")) for n in range(2 * INLINE_MAX)])  # a burst starts one
            await until(lambda: any(each.is_ready and each.child.pid not in killed for each in verifiers._processes))
            batch = [asyncio.create_task(engine.submit(offer.give(f"grant {attempt} {n}"))) for n in range(289)]
            batch.append(await begun(engine.submit(offer.give(f"grant {attempt} last"))))  # and all those before it
            child = verifiers._processes[-1].child
            killed.add(child.pid)
            os.kill(child.pid, signal.SIGKILL)
            assert all(answer.is_accepted for answer in await asyncio.gather(*batch))
        await until(lambda: not verifiers._processes)
        assert len(killed) == STARTS_MAX
        await asyncio.gather(*[engine.submit(offer.give(f"without {n}")) for n in range(50)])
        assert verifiers._processes == []
        assert engine.read().chain.log.size == STARTS_MAX * (290 + 2 * INLINE_MAX) + 50


async def test_a_key_that_was_admitted_a_moment_ago_is_known_to_the_verifying_process(tmp_path, offer, clock):
    async with embedded(tmp_path, make_genesis(), processes=1, now_ms=clock) as engine:
        await asyncio.gather(*[engine.submit(offer.give(f"early {n}")) for n in range(2 * INLINE_MAX)])
        await until(lambda: engine._verifiers._processes and engine._verifiers._processes[0].is_ready)
        suspended = await engine.submit(offer.transaction("directory.suspend", directory.Suspend("hospital-1", seed("why")), "regulator-1"))
        assert suspended.is_accepted
        answers = await asyncio.gather(*[engine.submit(offer.give(f"grant {n}", carrier="hospital-1")) for n in range(4 * INLINE_MAX)])
        assert {answer.reason for answer in answers} == {int(Reason.UNKNOWN_KEY)}
        reinstated = await engine.submit(offer.transaction("directory.reinstate", directory.Reinstate("hospital-1"), "regulator-1"))
        assert reinstated.is_accepted
        answers = await asyncio.gather(*[engine.submit(offer.give(f"later {n}", carrier="hospital-1")) for n in range(4 * INLINE_MAX)])
        assert all(answer.is_accepted for answer in answers)


# -- determinism


_TWIN = """
import sys
from pathlib import Path
from bench.load import CARRIERS, Clock, Load, genesis
from yilian.engines.replica import Replica

clock, replica = Clock(), Replica.open(Path(sys.argv[1]), genesis(), is_durable=False)
load = Load(clock)
for number in range(2):
    clock.ms += 86_400_000
    for carrier, result in enumerate(replica.advance(clock.ms, [load.tick(c, number) for c in range(CARRIERS)]).results):
        load.ticked(result.index, carrier, number)
for _ in range(20):
    block = replica.advance(clock.ms, [load.give() for _ in range(4)] + load.real(20))
    clock.ms += 7_200_000 // 100
    print(block.app_hash.hex(), sum(each.index is not None for each in block.results))
"""


def test_twins_with_other_hash_seeds_agree_on_every_app_hash(tmp_path, root):
    runs = []
    for twin, hash_seed in enumerate(("1", "4242")):
        environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}", "PYTHONHASHSEED": hash_seed}
        ran = subprocess.run(
            [sys.executable, "-c", _TWIN, tmp_path / str(twin)],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        runs.append(ran.stdout.splitlines())
    assert runs[0] == runs[1]
    assert len({line.split()[0] for line in runs[0]}) == 20
    assert all(int(line.split()[1]) == 24 for line in runs[0])


def test_what_genesis_writes_is_what_a_first_start_holds(tmp_path):
    replica = Replica.open(tmp_path, make_genesis())
    chain, writes = start(make_genesis())
    assert replica.chain == chain
    assert dict(replica.read().scan(b"")) == writes
    assert consent.read(replica.read(), seed("nobody")) is None
    assert grant(replica.read(), "nobody") is None
    assert genesis().operator == "clinic-1"
    replica.close()
