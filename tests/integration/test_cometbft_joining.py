"""Members that join real validators, or come back to them, by state sync."""

import asyncio
import json
import shutil
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from tests.consortium import NAMES, grant, hashes_agree, needs_cometbft, persistently, seated, seats, within
from tests.worlds import founder
from yilian.base.codec import decode, encode
from yilian.base.digests import sha256
from yilian.contracts import directory
from yilian.engines import StoreCorrupt, StoreLocked
from yilian.engines.cometbft import CometBftEngine, Trust, begin_again, write_home
from yilian.engines.consortium import standing
from yilian.engines.folders import hold
from yilian.ledger import parse_manifest

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]

BLOCKS_MAX = 40  # ten turns to propose, of four members


async def grown(consortium, height, **options):
    """Start the founders, let them speak, and return once all are above `height` with a snapshot each."""
    consortium.start(*NAMES, snapshot_every=5, **options)
    engine = consortium.engines["hospital-1"]
    for number in range(1, height + 2):  # one after another: each is of a later block
        await within(engine.submit(grant(consortium, number, "hospital-1")[0]))
        if engine.read().chain.height > height:
            return
    raise AssertionError(f"{height + 1} blocks with a grant each, and the chain is at {engine.read().chain.height}")


async def trust(consortium):
    """Return two servers to ask, and a block that the newcomer knows to be the network's."""
    ports = [consortium.seats[name].rpc_port for name in NAMES[:2]]
    block_hash = await asyncio.get_running_loop().run_in_executor(None, consortium.rpc("hospital-1").block_hash, 3)
    return Trust(tuple(f"127.0.0.1:{port}" for port in ports), 3, block_hash)


async def joined(consortium):
    newcomer = consortium.folders["pharmacy-1"]
    peers = [consortium.seats[name].peer for name in NAMES]
    write_home(newcomer, consortium.genesis, consortium.seats["pharmacy-1"], peers, await trust(consortium))
    consortium.start("pharmacy-1")
    said = await within(consortium.engines["hospital-1"].submit(grant(consortium, "last", "hospital-1")[0]))
    await hashes_agree(consortium, said.height + 1)
    return consortium.engines["pharmacy-1"]


async def test_a_fifth_member_joins_by_state_sync_and_orders_with_the_others(founded):
    consortium = founded(observers=("pharmacy-1",))
    await grown(consortium, 12)
    newcomer = await joined(consortium)
    assert newcomer.entry(0) is None  # it began with a snapshot, not with the first block
    said = await within(newcomer.submit(grant(consortium, "its own", "pharmacy-1")[0]))
    assert said.is_accepted
    entry = newcomer.entry(said.index)
    await hashes_agree(consortium, said.height)  # the other member's own copy may be a block behind
    size = newcomer.read().chain.log.size
    assert newcomer.inclusion(entry.index, size) == consortium.engines["hospital-1"].inclusion(entry.index, size)
    await consortium.stop("pharmacy-1")
    consortium.start("pharmacy-1")
    again = await within(consortium.engines["pharmacy-1"].submit(consortium.tick("pharmacy-1")))
    await hashes_agree(consortium, again.height)
    await consortium.stop()


async def test_a_peer_that_offers_a_forged_snapshot_is_seen_through(founded):
    consortium = founded(observers=("pharmacy-1",))
    await grown(consortium, 12)
    forger = consortium.engines["hospital-2"]
    listed = forger.application._snapshots.listed()
    for snapshot in listed:  # every snapshot that it offers has one more row than the state, and digests that fit
        folder = consortium.folders["hospital-2"] / "snapshots" / str(snapshot.height)
        chunk = encode([*decode((folder / "0").read_bytes()), [b"zz", b"forged"]])
        (folder / "0").write_bytes(chunk)
        (folder / "manifest").write_bytes(replace(parse_manifest(snapshot.metadata), chunks=(sha256(chunk),)).encoded())
    assert forger.application._snapshots.listed() != listed
    for name in ("hospital-1", "clinic-1", "regulator-1"):  # nobody else has its newest, so the newcomer tries that first
        shutil.rmtree(consortium.folders[name] / "snapshots" / str(listed[0].height))
    newcomer = await joined(consortium)
    assert newcomer.application._snapshots.rejected > 0
    assert newcomer.read().get(b"zz") is None
    await consortium.stop()


async def test_a_damaged_ledger_is_told_and_begins_again_by_state_sync_on_its_own_seat(consortium):
    await grown(consortium, 12)
    await consortium.stop("clinic-1")
    folder = consortium.folders["clinic-1"]
    with (folder / "ledger.sqlite").open("r+b") as file:
        file.write(bytes(100))  # the header that every SQLite file begins with
    with pytest.raises(StoreCorrupt, match="in a consortium `yilian network repair` fetches the ledger from the others"):
        consortium.start("clinic-1")
    votes = json.loads((folder / "validator/data/priv_validator_state.json").read_text())
    with pytest.raises(StoreLocked, match="another process has the ledger"), closing(hold(folder)):
        begin_again(folder, await trust(consortium))
    aside = begin_again(folder, await trust(consortium))
    assert sorted(path.name for path in aside.iterdir() if path.name.startswith("ledger.sqlite")) != []
    kept = json.loads((folder / "validator/data/priv_validator_state.json").read_text())
    assert kept == {"height": votes["height"], "round": 2**31 - 1, "step": 3}  # no vote of that height is given any more
    consortium.start("clinic-1")
    said = await persistently(consortium.engines["clinic-1"], grant(consortium, "again", "clinic-1")[0])
    assert said.is_accepted
    await hashes_agree(consortium, said.height)
    assert consortium.engines["clinic-1"].entry(0) is None  # it began with a snapshot
    proposers = Counter()
    while "clinic-1" not in proposers:  # it validates again, above the votes that it had given before
        assert proposers.total() < BLOCKS_MAX, f"none of {BLOCKS_MAX} blocks is clinic-1's: {proposers}"
        answer = await within(consortium.engines["hospital-1"].submit(grant(consortium, f"after {proposers.total()}", "hospital-1")[0]))
        assert answer.is_accepted
        proposers[consortium.engines["hospital-1"].block(answer.height).proposer] += 1
    await consortium.stop()


async def test_whom_no_member_is_known_by_cannot_connect_and_once_admitted_it_follows(consortium, tmp_path):
    consortium.start()
    seat = seats(["pharmacy-1"])[0]
    folder = tmp_path / "pharmacy-1"
    write_home(folder, consortium.genesis, seat, [consortium.seats[name].peer for name in NAMES])
    engine = CometBftEngine.open(folder, consortium.genesis)
    try:
        first = await within(consortium.engines["hospital-1"].submit(grant(consortium, "first", "hospital-1")[0]))
        await within(consortium.all_at(first.height + 2))  # two heartbeats: it dials every second meanwhile
        assert engine.read().chain.height == 0
        assert (await asyncio.to_thread(standing, folder)).is_seated is False
        for name in NAMES:
            assert seat.peer.partition("@")[0] not in await connected(consortium, name)

        one = seated(founder("pharmacy-1", ("pharmacy",)))
        keys = (one.node_key, one.sealing_key, one.receipt_key, one.consensus_key)
        admit = directory.Admit(one.id, list(one.kinds), one.name, one.endpoint, *keys, 0)
        proposal = consortium.transaction("hospital-1", "directory.propose", directory.propose_change(admit))
        number = (await within(consortium.engines["hospital-1"].submit(proposal))).index
        for voter in ("hospital-2", "clinic-1"):
            vote = consortium.transaction(voter, "directory.vote", directory.Vote(number, yes=True))
            said = await within(consortium.engines["hospital-1"].submit(vote))
        consortium.engines["pharmacy-1"] = engine
        await hashes_agree(consortium, said.height)
        waits_no_more = await asyncio.to_thread(standing, folder)
        assert (waits_no_more.is_seated, waits_no_more.peers > 0) == (True, True)
    finally:
        consortium.engines["pharmacy-1"] = engine
        await consortium.stop()


async def connected(consortium, name):
    """Return the ids of a member's peers."""
    listed = await asyncio.to_thread(consortium.rpc(name)._ask, "net_info")
    return {peer["node_info"]["id"] for peer in listed["peers"]}
