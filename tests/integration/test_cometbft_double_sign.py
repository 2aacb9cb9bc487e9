"""A validator's key runs in two processes, the usual way to sign twice: its own signatures convict it, before the eyes of everybody."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from tests.consortium import needs_cometbft, within
from tests.ports import free_ports
from yilian.base.codec import decode
from yilian.cli import control, main, network
from yilian.contracts import directory
from yilian.engines.cometbft import CometBftEngine, Rpc, write_home
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.ledger import Export, Item, NotProven, parse_export, receipt, split_transparent, transparent, verify
from yilian.node import carriage, receipts
from yilian.sim.region import LEDGER, Ordering, choose_ports, running
from yilian.sim.validators import SEATED, validating

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]

GUILTY, WITNESS = "hospital-2", "clinic-1"
ENTRIES_MAX = 100  # before the conviction, each of a block of its own: the twin signs at every height, and a few suffice
FOUR = SEATED[:4]
HONEST = tuple(sorted(set(FOUR) - {GUILTY}))


@asynccontextmanager
async def apart(_, founded):
    """Start the validators; the guilty one and the witness hear of each other only through the two others, so a twin can take its place."""
    engines = {}
    async with AsyncExitStack() as stack:
        for member, seat in founded.seats.items():
            unheard = {GUILTY: WITNESS, WITNESS: GUILTY}.get(member)
            peers = [other.peer for other in founded.seats.values() if other.member not in (member, unheard)]
            folder = founded.folders[member] / LEDGER
            write_home(folder, founded.genesis, seat, peers)
            engines[member] = await asyncio.to_thread(CometBftEngine.open, folder, founded.genesis)
            stack.push_async_callback(engines[member].close)
        yield {member: engines.get(member, engines["regulator-1"]) for member in founded.folders}


@asynccontextmanager
async def twin(folder, region):
    """Run a copy of the guilty member's validator that remembers no vote, connected to the witness; what it proposes is empty."""
    seat = region.founded.seats[GUILTY]
    p2p_port, rpc_port = free_ports(2)
    write_home(folder, region.genesis, replace(seat, p2p_port=p2p_port, rpc_port=rpc_port), [region.founded.seats[WITNESS].peer])
    engine = await asyncio.to_thread(CometBftEngine.open, folder, region.genesis)
    engine._server._methods["prepare_proposal"] = lambda _: abci.ResponsePrepareProposal()
    try:
        yield engine
    finally:
        await engine.close()


async def registered(region, number, member="regulator-1"):
    """Have a member register a practitioner; return the committed answer once every copy has it."""
    until_s = (region.nodes[member].members.final().now_s // 86_400 + 30) * 86_400
    message = directory.Register(str(number).encode().ljust(32, b"."), "physician", until_s)
    return await entered(region, member, "practitioner.register", message)


async def entered(region, member, kind, message):
    """Have a member carry an act of its own; return the committed answer once every copy has it."""
    node = region.nodes[member]
    answer = await node.carriage.submit(node.carriage.enveloped(node.carriage.header(kind), carriage.act_of(kind, message), []))
    assert (answer.reason, answer.facts) == (0, {})
    for engine in region.engines.values():
        async for _block in engine.blocks(answer.height - 1):
            break
    return answer


async def commanded(region, capsys, *words):
    """Run `yilian network` at the regulator, whose node answers the operator's socket meanwhile; return what it prints."""
    folder, node = region.founded.folders["regulator-1"], region.nodes["regulator-1"]
    async with control.listening(folder, {}, {node.id: network.acting(node)}):
        capsys.readouterr()
        code = await asyncio.to_thread(main, ["network", *words, "--home", str(folder), "--json"])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    return json.loads(said.out)


async def reinstated(region, capsys, index):
    """Have the regulator's operator see who was convicted by which entry, and reinstate it; return once every copy has that."""
    stands = await commanded(region, capsys, "status")
    assert [(one["member"], one["entry"], one["by"]) for one in stands["suspended"]] == [(GUILTY, index, None)]
    assert tuple(stands["validators"]) == HONEST
    height = (await commanded(region, capsys, "reinstate", GUILTY))["height"]
    await asyncio.gather(*[engine.reached(height) for engine in region.engines.values()])


def convictions(engine):
    """Return (index, member) of each leaf by which the ledger suspended a validator."""
    found, size = [], 0
    for height in range(1, engine.read().chain.height + 1):
        block = engine.block(height)
        found += [(size + n, decode(leaf)) for n, leaf in enumerate(block.system_leaves)]
        size = block.log_size
    return [(index, said[2]) for index, said in found if said[0] == "equivocation"]


async def test_a_validator_whose_key_runs_twice_is_convicted_suspended_and_unseated_and_its_word_is_refused(tmp_path, capsys):
    ordering = Ordering(validating(4, 3).seats, apart)
    async with running(tmp_path / "region", 3, choose_ports(None), ordering) as region:
        early = await within(registered(region, "early"))
        async with twin(tmp_path / "twin", region):
            number = 0
            while not convictions(region.engines[WITNESS]):
                number += 1
                assert number <= ENTRIES_MAX, f"{ENTRIES_MAX} entries, and nobody is convicted"
                await within(registered(region, number))
        engines = {member: region.engines[member] for member in FOUR}
        late = await within(registered(region, "late", "clinic-1"))
        after = await within(registered(region, "after", "clinic-1"))
        await within(registered(region, "and after", "clinic-1"))

        ((index, convicted),) = convictions(engines[WITNESS])
        assert convicted == GUILTY
        for engine in engines.values():  # the guilty one's own copy too
            assert convictions(engine) == [(index, GUILTY)]
            assert directory.member(engine.read(), GUILTY).stage is directory.Stage.SUSPENDED
            assert [engine.block(n).app_hash for n in range(1, after.height + 1)] == [
                engines[WITNESS].block(n).app_hash for n in range(1, after.height + 1)
            ]
        seated = await asyncio.to_thread(Rpc(region.founded.seats[WITNESS].rpc_port).validators)
        assert set(seated) == {region.founded.seats[member].consensus_key for member in HONEST}

        clinic = region.nodes["clinic-1"]
        before = verify((await receipts.export(clinic, [early.index])).encoded(), network=region.network)
        assert [(entry.index, entry.is_quorum) for entry in before.entries] == [(early.index, True)]
        made = (await receipts.export(clinic, [late.index])).encoded()
        report = verify(made, network=region.network)
        assert [entry.index for entry in report.entries] == [index, late.index]
        assert (report.entries[-1].signers, report.entries[-1].is_quorum) == (HONEST, True)
        signed = receipts.own_checkpoint(region.nodes[GUILTY], late.height)
        export = parse_export(made)
        last = export.items[-1]
        statement, theirs = split_transparent(last.statement)
        its_own = receipt(signed, late.index, clinic.engine.inclusion(late.index, signed.size))
        with_it = Item(late.index, transparent(statement, [*theirs, its_own]))
        with pytest.raises(NotProven, match=f"entry {late.index}: the receipt of {GUILTY} is refused: it was suspended by then"):
            verify(Export(export.genesis, (*export.items[:-1], with_it)).encoded())

        await within(reinstated(region, capsys, index))
        again = await within(registered(region, "again", "clinic-1"))
        whole = (await receipts.export(clinic, [again.index])).encoded()
        report = verify(whole, network=region.network)
        assert [entry.kind for entry in report.entries] == ["equivocation", "directory.reinstate", "practitioner.register"]
        assert [entry.suspends for entry in report.entries] == [GUILTY, "", ""]
        assert all(entry.is_quorum for entry in report.entries)
        hidden = parse_export(whole)
        with pytest.raises(NotProven, match="an entry before it that changed the directory is missing"):
            verify(Export(hidden.genesis, hidden.items[1:]).encoded())
        statement, theirs = split_transparent(hidden.items[-1].statement)
        signed = receipts.own_checkpoint(region.nodes[GUILTY], again.height)
        with_it = transparent(statement, [*theirs, receipt(signed, again.index, clinic.engine.inclusion(again.index, signed.size))])
        report = verify(Export(hidden.genesis, (*hidden.items[:-1], Item(again.index, with_it))).encoded())
        assert GUILTY in report.entries[-1].signers
