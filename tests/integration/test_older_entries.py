"""A member that joined by a snapshot: its node fetches what came before over HTTP, sees through liars, and is then whole."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from tests.engines import Loopback
from tests.waiting import until
from yilian.base.digests import sha256
from yilian.base.transaction import Header, sign
from yilian.cli import main
from yilian.contracts import directory
from yilian.engines import fsck_folder, progress_in
from yilian.engines.embedded import EmbeddedEngine
from yilian.engines.remote import RemoteEngine
from yilian.engines.replica import Replica
from yilian.ledger import Restore, chunks, parse_export, parse_manifest, verify
from yilian.ledger.snapshots import describe
from yilian.node import No, NodeRefused, receipts
from yilian.sim.region import LEDGER, Ordering, choose_ports, running
from yilian.vault import Vault

JOINED, LIAR, BLOCKS = "pharmacy-1", "clinic-1", 150
SUSPENDS = 5


class Lying:
    """A member whose copy shows one block otherwise to whoever asks; everything else it does is in order."""

    def __init__(self, engine, height, change):
        self._engine, self._height, self._change = engine, height, change
        self.asked = 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def block(self, height):
        found = self._engine.block(height)
        if height != self._height or found is None:
            return found
        self.asked += 1
        return self._change(found)


def without_its_first(block):
    return replace(block, transactions=block.transactions[1:], results=block.results[1:])


def a_second_later(block):
    return replace(block, time_ms=block.time_ms + 1_000)


def joined_folder(folder, source):
    """Restore the source's state of now into a folder, as state sync does."""
    cut = list(chunks(source.read().scan(b"")))
    chain = source.read().chain
    manifest = describe(chain, [sha256(chunk) for chunk in cut])
    replica = Replica.open(folder, source.genesis)
    restore = Restore(parse_manifest(manifest.encoded()), source.genesis.network_id, chain.app_hash)
    for chunk in cut:
        replica.stage(restore.take(chunk))
    replica.restore(restore.finish(), restore.tagged)
    return replica


async def fill(engine, founded):
    """Enter a change of members and so many blocks."""
    kinds = {kind.name: kind for kind in directory.KINDS}
    with Vault.open(founded.folders["hospital-2"]) as hospital, Vault.open(founded.folders["regulator-1"]) as regulator:
        for nonce in range(1, BLOCKS + 1):
            name, message = "directory.move", directory.Move(f"http://127.0.0.1:{nonce}")  # it is reached nowhere from then on
            member, vault = "hospital-2", hospital
            if nonce == SUSPENDS:
                name, message, member, vault = "directory.suspend", directory.Suspend("maker-1", bytes(32)), "regulator-1", regulator
            kind, exp_s = kinds[name], engine.read().chain.time_ms // 1_000 + 60
            header = Header(founded.genesis.network_id, vault.node_key.kid, member, name, exp_s, nonce)
            answer = await engine.submit(sign(vault.node_key, header, kind.number, kind.body(message)))
            assert (answer.reason, answer.facts) == (0, {})


def ordering(liars, opened):
    """Return a region's ordering: everybody on one operator's copy, but JOINED on its own, which began with a snapshot."""

    @asynccontextmanager
    async def engines(home, founded):
        source = await asyncio.to_thread(EmbeddedEngine.open, home / LEDGER, founded.genesis, processes=0)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(source.close)
            await fill(source, founded)
            replica = joined_folder(founded.folders[JOINED] / LEDGER, source)
            follower = RemoteEngine(replica, Loopback(source), processes=0)
            stack.push_async_callback(follower.close)
            members = dict.fromkeys((one.id for one in founded.genesis.members), source)
            opened.update({"source": source, **{name: Lying(source, *how) for name, how in liars.items()}})
            yield members | {name: opened[name] for name in liars} | {JOINED: follower}

    return Ordering({}, engines)


async def whole(node):
    """Wait until the node has what came before it, and serves its first block."""
    await until(lambda: not node.engine.missing)
    assert (await node.peers.get(f"{node.settings.endpoint}/network/blocks?since=0&limit=1")).status == 200


async def refused(work):
    with pytest.raises(NodeRefused) as no:
        await work
    return no.value.no


async def test_a_node_that_began_with_a_snapshot_becomes_whole_and_serves_what_it_could_not(tmp_path, capsys):
    opened = {}
    async with running(tmp_path / "r", 3, choose_ports(None), ordering({}, opened)) as region:
        node, source = region.nodes[JOINED], opened["source"]
        began = node.engine.began
        assert began == BLOCKS
        await whole(node)
        size = node.engine.read().chain.log.size
        assert [node.engine.entry(index) for index in range(size)] == [source.entry(index) for index in range(size)]
        made = await receipts.changes(node, -1)
        assert verify(made.encoded(), network=region.network).entries[SUSPENDS - 1].kind == "directory.suspend"
        assert len(parse_export(made.encoded()).items) == receipts.CHANGES_AT_ONCE
        with pytest.raises(NodeRefused) as no:
            receipts.own_checkpoint(node, began)
        assert (no.value.no, no.value.facts) == (No.RECEIPT_NOT_AVAILABLE, {"height": began})
        home = region.founded.folders[JOINED]
        assert progress_in(home / LEDGER) is None
    final = node.engine.replica.chain.log.size  # the nodes' own ticks came meanwhile
    assert await asyncio.to_thread(main, ["node", "check", "--home", str(home), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["missing"], said["entries"]) == (0, final)
    assert final >= size


@pytest.mark.parametrize(("height", "change"), [(40, without_its_first), (BLOCKS, a_second_later)])
async def test_who_lies_is_seen_through_and_the_next_is_asked(tmp_path, height, change):
    """Asked in the order of their ids, the liar comes first; what it left behind is fetched again from another."""
    opened = {}
    async with running(tmp_path / "r", 3, choose_ports(None), ordering({LIAR: (height, change)}, opened)) as region:
        node = region.nodes[JOINED]
        await whole(node)
        assert opened[LIAR].asked >= 1
        home = region.founded.folders[JOINED]
        genesis = region.genesis
    assert fsck_folder(home / LEDGER, genesis).missing == 0


async def test_until_it_is_whole_the_check_says_what_is_missing_and_its_backup_is_declined(tmp_path, capsys):
    opened = {}
    everybody = {one: (1, lambda _: None) for one in ("clinic-1", "clinic-2", "exchange-1", "hospital-1", "hospital-2", "regulator-1")}
    async with running(tmp_path / "r", 3, choose_ports(None), ordering(everybody, opened)) as region:
        node = region.nodes[JOINED]
        assert await refused(receipts.export(node, [0])) is No.NO_SUCH_LEAF
        assert await refused(receipts.changes(node, -1)) is No.NOT_FINAL_YET
        with pytest.raises(NodeRefused) as no:
            receipts.consistency(node, 1, node.engine.missing)
        assert no.value.no is No.NOT_FINAL_YET
        home = region.founded.folders[JOINED]
        whole_size = node.engine.missing
        assert whole_size
    assert await asyncio.to_thread(main, ["node", "check", "--home", str(home)]) == 0
    said = capsys.readouterr().out
    assert f"missing: the first {whole_size} entries, which the node fetches from the others while it runs" in said
    assert await asyncio.to_thread(main, ["snapshot", "take", "--home", str(home), "--out", str(tmp_path / "s")]) == 3
    assert f"has 0 of the {whole_size} entries before it so far" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
