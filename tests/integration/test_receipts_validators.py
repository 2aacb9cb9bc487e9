"""Receipts over real validators: a file with a quorum before and after one of them is suspended, and that one's word refused."""

import asyncio
import json

import pytest

from tests.consortium import needs_cometbft
from yilian.cli import main
from yilian.contracts import directory
from yilian.ledger import Export, Item, NotProven, parse_export, receipt, split_transparent, transparent, verify
from yilian.node import carriage, receipts
from yilian.sim.region import choose_ports, running
from yilian.sim.validators import validating


async def entered(region, member, kind, message):
    """Have a member carry an act of its own; return the entry's index once every node has it."""
    node = region.nodes[member]
    answer = await node.carriage.submit(node.carriage.enveloped(node.carriage.header(kind), carriage.act_of(kind, message), []))
    assert (answer.reason, answer.facts) == (0, {})
    for each in region.nodes.values():
        async for _block in each.engine.blocks(answer.height - 1):
            break
    return answer.index


def registered(region, name):
    until_s = (region.nodes["clinic-1"].members.final().now_s // 86_400 + 30) * 86_400
    return entered(region, "clinic-1", "practitioner.register", directory.Register(name.encode().ljust(32, b"."), "physician", until_s))


@pytest.mark.slow
@needs_cometbft
@pytest.mark.xdist_group("cometbft")
async def test_a_file_has_a_quorum_before_and_after_a_suspension_and_the_suspended_ones_receipt_is_refused(tmp_path, capsys):
    async with running(tmp_path / "region", 3, choose_ports(None), validating(4, 3)) as region:
        clinic = region.nodes["clinic-1"]
        early = await registered(region, "early")
        suspension = await entered(region, "regulator-1", "directory.suspend", directory.Suspend("hospital-2", bytes(32)))
        late = await registered(region, "late")

        before = verify((await receipts.export(clinic, [early])).encoded(), network=region.network)
        assert [(entry.index, entry.is_quorum) for entry in before.entries] == [(early, True)]
        made = (await receipts.export(clinic, [late])).encoded()
        after = verify(made, network=region.network)
        told = [(suspension, "directory.suspend"), (late, "practitioner.register")]
        assert [(entry.index, entry.kind) for entry in after.entries] == told
        assert after.entries[-1].signers == ("clinic-1", "hospital-1", "regulator-1")
        assert [entry.is_quorum for entry in after.entries] == [True, True]
        await receipts.keep_receipts_of_changes(clinic)
        assert clinic.journal.one("SELECT height FROM followed WHERE name = 'receipts'") == (suspension,)

        signed = receipts.own_checkpoint(region.nodes["hospital-2"], clinic.engine.entry(late).height)
        export = parse_export(made)
        statement, theirs = split_transparent(export.items[-1].statement)
        its_own = receipt(signed, late, clinic.engine.inclusion(late, signed.size))
        with_it = Item(late, transparent(statement, [*theirs, its_own]))
        with pytest.raises(NotProven, match=f"entry {late}: the receipt of hospital-2 is refused: it was suspended by then"):
            verify(Export(export.genesis, (*export.items[:-1], with_it)).encoded())

    file = tmp_path / "late.yilian"
    file.write_bytes(made)
    assert await asyncio.to_thread(main, ["verify", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_quorum"] is True
