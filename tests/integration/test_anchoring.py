"""Ticks, proofs of records, receipts and exports between members over HTTP: what a stranger can check, and what fails closed."""

import pytest

from tests.alliance_worlds import OPERATOR, PATIENT, alliance
from yilian.base.codec import decode, encode
from yilian.base.merkle import EMPTY_ROOT, is_consistent
from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import transaction_id
from yilian.contracts import anchor
from yilian.ledger import NotAnchored, NotProven, open_receipt, parse_checkpoint, split_transparent, verify, verify_record
from yilian.node import NodeRefused, anchoring, receipts
from yilian.node.refusals import No

MEMBER = "clinic-1"


@pytest.fixture
async def here(tmp_path):
    async with alliance(tmp_path, (MEMBER, OPERATOR)) as running:
        await first_ticks(running)
        yield running


async def first_ticks(here):
    """Wait until each node has ticked as it does on start; its next comes when a test says so."""
    async for _block in here.engine.blocks(0):
        if all(anchor.last_tick(here.engine.read(), member) for member in here.nodes):
            return


def tick_at(here, index):
    return anchor.tick(here.engine.read(), index)


async def next_window(here, member=MEMBER):
    here.clock.go(60)
    return await anchoring.tick(here.nodes[member])


async def test_a_member_ticks_once_in_each_window_also_when_nothing_was_written(here):
    node = here.nodes[MEMBER]
    first = await next_window(here)
    assert tick_at(here, first) == anchor.Ticked(MEMBER, EMPTY_ROOT, EMPTY_ROOT)
    assert await anchoring.tick(node) is None
    assert await next_window(here) == first + 1


async def test_after_an_outage_one_tick_covers_all_that_was_written(here):
    node = here.nodes[MEMBER]
    await next_window(here)
    for n in range(5):
        node.store.update("Patient", f"p{n}", PATIENT.replace(b'"p1"', b'"p%d"' % n))
    here.clock.go(7 * 60)
    index = await anchoring.tick(node)
    proofs = [node.store.proof("Patient", f"p{n}", "1") for n in range(5)]
    assert {(one.is_anchored, one.tick_index, one.size) for one in proofs} == {(True, index, 5)}


async def test_a_tick_that_came_too_early_is_no_error_and_nothing_is_marked(here):
    node = here.nodes[MEMBER]
    await next_window(here)
    node.store.update("Patient", "p1", PATIENT)
    number, transaction = await anchoring._built(node)
    committed = await node.carriage.submit(transaction)
    assert Reason(committed.reason) is Reason.TICKED_ALREADY
    await anchoring._settled(node, number, committed)
    assert not node.store.proof("Patient", "p1", "1").is_anchored
    assert node.journal.all("SELECT * FROM ticks WHERE entry_index IS NULL") == []


async def test_a_tick_whose_answer_was_lost_is_found_again_with_what_it_covered(here):
    node = here.nodes[MEMBER]
    await next_window(here)
    node.store.update("Patient", "p1", PATIENT)
    here.clock.go(60)
    _, transaction = await anchoring._built(node)
    committed = await node.carriage.submit(transaction)  # and here the process ended
    node.store.update("Patient", "p2", PATIENT.replace(b'"p1"', b'"p2"'))
    assert await anchoring.tick(node) is None
    assert node.store.proof("Patient", "p1", "1").tick_index == committed.index
    assert not node.store.proof("Patient", "p2", "1").is_anchored


async def test_a_stranger_checks_a_record_offline_and_not_before_its_tick(here):
    node = here.nodes[MEMBER]
    await here.doctor(MEMBER)
    node.store.update("Patient", "p1", PATIENT)
    before = await anchoring.record_proof(node, "Patient", "p1", "1")
    with pytest.raises(NotAnchored, match="not yet anchored"):
        verify_record(before.encoded())
    index = await next_window(here)
    file = (await anchoring.record_proof(node, "Patient", "p1", "1")).encoded()
    found = verify_record(file, network=node.network)
    assert (found.proof.received, found.tick.index, found.tick.carrier, found.tick.signers) == (PATIENT, index, MEMBER, (OPERATOR,))
    with pytest.raises(NotProven):
        verify_record(file.replace(b"female", b"femble"))


async def test_a_correction_is_linked_once_and_only_of_what_was_anchored(here):
    node = here.nodes[MEMBER]
    node.store.update("Patient", "p1", PATIENT)
    amended = PATIENT.replace(b"1960-01-01", b"1961-01-01")
    node.store.update("Patient", "p1", amended)
    with pytest.raises(NodeRefused) as no:
        await anchoring.correct(node, "Patient", "p1", "1", "2")
    assert (no.value.no, no.value.facts) == (No.NOT_ANCHORED, {})
    tick = await next_window(here)
    index = await anchoring.correct(node, "Patient", "p1", "1", "2")
    assert index == tick + 1
    linked = anchor.correction(here.engine.read(), tick, node.store.proof("Patient", "p1", "1").commitment)
    assert linked.amending == node.store.proof("Patient", "p1", "2").commitment
    assert await anchoring.correct(node, "Patient", "p1", "1", "2") is None
    node.store.update("Patient", "p1", amended.replace(b"1961", b"1962"))
    with pytest.raises(Refused) as again:
        await anchoring.correct(node, "Patient", "p1", "1", "3")
    assert (again.value.reason, again.value.facts) == (Reason.ALREADY_CORRECTED, {})


async def test_receipts_are_the_operators_also_from_a_member_that_is_not(here):
    index = await next_window(here)
    entry = here.engine.entry(index)
    answer = await here.get(MEMBER, f"/network/receipts/{entry.id.hex()}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/cose")
    statement, (one,) = split_transparent(answer.content)
    assert transaction_id(statement) == entry.id
    proven = open_receipt(one, entry.id)
    operator = here.genesis.founder(OPERATOR)
    assert (proven.index, proven.checkpoint.member) == (index, OPERATOR)
    assert proven.checkpoint.is_signed_by(operator.receipt_key)
    assert (await here.get(MEMBER, f"/network/entries/{index}")).content == answer.content


async def test_an_export_is_proven_offline_and_for_a_checkpoint_that_was_kept(here):
    pinned = (
        parse_checkpoint((await here.get(OPERATOR, "/network/checkpoints/latest")).content) if await next_window(here) is not None else None
    )
    index = await next_window(here)
    answer = await here.get(MEMBER, f"/network/exports/{index}?pinned={pinned.size}")
    report = verify(answer.content, pinned, here.genesis.network_id)
    assert ([one.index for one in report.entries], report.is_pinned) == ([index], True)
    with pytest.raises(NotProven):
        verify((await here.get(MEMBER, f"/network/exports/{index}")).content, pinned)


async def test_an_export_holds_the_changes_of_the_directory_before_the_entry(here):
    from yilian.contracts import directory

    proposed = await here.act(OPERATOR, "directory.propose", directory.propose_change(directory.SetParameter("emergency_cap", 9)))
    await here.doctor(MEMBER)  # practitioners are no changes that a receipt depends on
    index = await next_window(here)
    report = verify((await receipts.export(here.nodes[MEMBER], [index])).encoded())
    assert [one.index for one in report.entries] == [proposed, index]


async def test_logs_are_shown_to_be_one(here):
    await next_window(here)
    old = parse_checkpoint((await here.get(OPERATOR, "/network/checkpoints/latest")).content)
    await next_window(here)
    new = parse_checkpoint((await here.get(OPERATOR, "/network/checkpoints/latest")).content)
    path = decode((await here.get(MEMBER, f"/network/consistency?old={old.size}&new={new.size}")).content)
    assert is_consistent(old.size, old.root, new.size, new.root, path)


@pytest.mark.parametrize(
    ("path", "status", "name"),
    [
        ("/network/entries/99999", 404, "NO_SUCH_LEAF"),
        ("/network/receipts/" + "00" * 32, 404, "NO_SUCH_LEAF"),
        ("/network/receipts/xyz", 400, "NOT_UNDERSTOOD"),
        ("/network/checkpoints/99999", 404, "NOT_FINAL_YET"),
        ("/network/checkpoints/0", 404, "NOT_FINAL_YET"),
        ("/network/checkpoints/-1", 400, "NOT_UNDERSTOOD"),
        ("/network/day-roots/1", 404, "NOT_FINAL_YET"),
        ("/network/consistency?old=5&new=4", 404, "NOT_FINAL_YET"),
        ("/network/exports/0?pinned=99999", 404, "NOT_FINAL_YET"),
    ],
)
async def test_what_there_is_not_is_said_plainly(here, path, status, name):
    await next_window(here)
    answer = await here.get(MEMBER, path)
    assert (answer.status_code, answer.json()["name"]) == (status, name)


async def test_a_system_leaf_has_no_statement(here):
    await next_window(here)
    here.clock.go(86_400)
    await next_window(here)
    from yilian.base.times import day_of

    leaf = here.engine.daily_leaf(day_of(here.clock.now_ms // 1_000) - 1)
    answer = await here.get(MEMBER, f"/network/entries/{leaf}")
    assert (answer.status_code, answer.json()["name"]) == (404, "NOT_A_TRANSACTION")


async def test_without_the_operator_there_is_no_receipt_and_nothing_else_is_claimed(tmp_path):
    async with alliance(tmp_path, (MEMBER, OPERATOR), opens=(MEMBER,)) as here:
        await first_ticks(here)
        index = await next_window(here)
        answer = await here.get(MEMBER, f"/network/entries/{index}")
        assert (answer.status_code, answer.json()["name"]) == (503, "RECEIPT_NOT_AVAILABLE")


async def test_a_root_that_the_operator_signed_and_that_is_not_ours_is_a_split_view_and_is_kept(here):
    index = await next_window(here)
    node, operator = here.nodes[MEMBER], here.nodes[OPERATOR]
    height = here.engine.entry(index).height
    from yilian.ledger import sign_checkpoint

    block = here.engine.block(height)
    lie = sign_checkpoint(operator.keys.vault.receipt_key, OPERATOR, node.network, (block.log_size, b"x" * 32), height, 1).encoded()
    member = node.members.active(here.engine.read(), OPERATOR)
    with pytest.raises(NodeRefused) as no:
        await receipts._taken(node, member, height, lie)
    assert (no.value.no, no.value.facts) == (No.SPLIT_VIEW, {"member": OPERATOR, "height": height})
    assert node.journal.all("SELECT member, signed FROM checkpoints WHERE is_split = 1") == [(OPERATOR, lie)]
    assert (await here.get(MEMBER, f"/network/entries/{index}")).status_code == 200  # the true root still comes from the operator


@pytest.mark.parametrize("signed", [b"", encode([1]), b"\xd2\x84"])
async def test_what_is_no_checkpoint_is_no_receipt(here, signed):
    await next_window(here)
    node = here.nodes[MEMBER]
    member = node.members.active(here.engine.read(), OPERATOR)
    with pytest.raises(NodeRefused) as no:
        await receipts._taken(node, member, 1, signed)
    assert (no.value.no, no.value.facts) == (No.RECEIPT_NOT_AVAILABLE, {"height": 1})
