"""Members come, go and change their keys: a patient's wallet follows over HTTP, files stay provable, a log is checked as before."""

import json
from dataclasses import replace

import pytest

from tests.alliance_worlds import seed
from tests.integration.test_patient_view import answers, checked, read_by_grant
from tests.release_worlds import HOLDER, REQUESTER
from tests.worlds import founder
from yilian.base.keys import SigningKey
from yilian.cli import main
from yilian.contracts import directory
from yilian.ledger import Export, parse_export, verify, verify_record
from yilian.node import anchoring, limits, receipts
from yilian.node.refusals import No
from yilian.wallet import Fault, WalletRefused


async def carried(here, change):
    """Let members vote a change until it is carried."""
    proposal = here.entries()
    members = [one.id for one in directory.members(here.engine.read()) if one.power and one.id in here.running.nodes]
    await here.running.act(members[0], "directory.propose", directory.propose_change(change))
    for member in members[1:]:
        if directory.proposal(here.engine.read(), proposal).is_passed:
            break
        await here.running.act(member, "directory.vote", directory.Vote(proposal, True))
    assert directory.proposal(here.engine.read(), proposal).is_passed


def admit(member):
    one = founder(member)
    keys = (one.node_key, one.sealing_key, one.receipt_key, None)
    return directory.Admit(one.id, list(one.kinds), one.name, "http://127.0.0.1:9", *keys, 0)


async def served(here, member, since=None):
    path = "/network/changes" if since is None else f"/network/changes?since={since}"
    answer = await here.running.get(member, path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/cbor")
    return answer.content


async def follow(here, patient, member=HOLDER):
    """Let the wallet follow what a member's node serves, as a phone does."""
    members = patient.wallet.members
    since = None if members.last_index < 0 else members.last_index
    patient.wallet = replace(patient.wallet, members=members.following(await served(here, member, since)))


async def test_who_came_later_is_known_who_left_is_not_asked_and_the_log_is_whole(here, lan, tmp_path, capsys):
    used = await here.give(lan)
    await read_by_grant(here, lan, used)
    await carried(here, admit("exchange-1"))
    assert "exchange-1" not in lan.wallet.members.keys
    await follow(here, lan)
    assert lan.wallet.members.active("exchange-1").receipt_key == founder("exchange-1").receipt_key
    await carried(here, directory.Remove("exchange-1"))
    await read_by_grant(here, lan, used)
    await follow(here, lan, REQUESTER)  # any node serves the changes
    with pytest.raises(WalletRefused, match="MEMBER_NOT_ACTIVE"):
        lan.wallet.members.active("exchange-1")
    found, lines = await checked(here, lan)
    assert (found, len(lines)) == ([], 2)

    here.clock.go(60)
    await anchoring.tick(here.holder)
    proof = await here.client.get(f"{here.running.urls[HOLDER]}/records/Patient/{lan.id}/1/proof", headers=await here.own(HOLDER))
    assert "directory.vote" in {entry.kind for entry in verify_record(proof.content, network=here.network).report.entries}
    file = tmp_path / "record.yilian"
    file.write_bytes(proof.content)
    assert main(["verify-record", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == lan.id
    made = await receipts.export(here.holder, [lines[-1].index])
    assert verify(made.encoded(), network=here.network).entries[-1].index == lines[-1].index


async def test_changes_are_served_from_an_index_on_and_none_are_left_at_the_end(here, lan):
    await carried(here, admit("exchange-1"))
    every = parse_export(await served(here, HOLDER))
    indexes = [item.index for item in every.items]
    assert indexes == sorted(indexes)
    assert len(indexes) > 1
    assert parse_export(await served(here, HOLDER, indexes[0])).items == every.items[1:]
    assert parse_export(await served(here, HOLDER, indexes[-1])) == Export(here.running.genesis.encoded(), ())
    answer = await here.running.get(HOLDER, "/network/changes?since=-1")
    assert answer.json()["number"] == No.NOT_UNDERSTOOD


async def test_more_changes_than_one_answer_holds_are_followed_in_order(here, lan, monkeypatch):
    monkeypatch.setattr(receipts, "CHANGES_AT_ONCE", 2)
    await carried(here, admit("exchange-1"))
    steps = 0
    while True:
        before = lan.wallet.members.last_index
        await follow(here, lan)
        if lan.wallet.members.last_index == before:
            break
        steps += 1
    assert (steps > 1, "exchange-1" in lan.wallet.members.keys) == (True, True)


async def test_what_was_put_together_once_is_served_as_it_was(here, lan, monkeypatch):
    await carried(here, admit("exchange-1"))
    made, item = [], receipts._item

    async def counted(node, index, view):
        made.append((node.id, index))
        return await item(node, index, view)

    monkeypatch.setattr(receipts, "_item", counted)
    first = await served(here, REQUESTER)
    indexes = [each.index for each in parse_export(first).items]
    assert made == [(REQUESTER, index) for index in indexes]
    assert await served(here, REQUESTER) == first
    assert parse_export(await served(here, REQUESTER, indexes[0])).items == parse_export(first).items[1:]
    assert len(made) == len(indexes)
    await carried(here, directory.Remove("exchange-1"))
    after = parse_export(await served(here, REQUESTER)).items
    assert after[: len(indexes)] == parse_export(first).items
    assert made == [(REQUESTER, each.index) for each in after]
    assert verify(await served(here, REQUESTER), network=here.network).entries[-1].index == after[-1].index


async def test_no_more_are_kept_in_memory_than_fit(here, lan, monkeypatch):
    monkeypatch.setattr(receipts, "CHANGES_KEPT", 1)
    await carried(here, admit("exchange-1"))
    first = await served(here, HOLDER)
    assert await served(here, HOLDER) == first
    assert list(here.holder.changes) == [parse_export(first).items[0].index]


async def test_a_stranger_asks_for_changes_so_often_and_no_oftener(here, lan, monkeypatch):
    monkeypatch.setattr(limits, "CHANGES", replace(limits.CHANGES, per_minute=2))
    for _ in range(2):
        await served(here, HOLDER)
    answer = await here.running.get(HOLDER, "/network/changes")
    assert (answer.status_code, answer.json()["number"]) == (429, No.TOO_MANY_REQUESTS)
    here.clock.go(60)
    await served(here, HOLDER)


async def test_a_holder_with_a_new_node_key_signs_with_it_for_who_followed(here, lan):
    """The node still signs with the key of before: who follows does not take that for the holder's word any more."""
    assert (await checked(here, lan))[0] == []
    new = SigningKey(seed("new node key"))
    await carried(here, directory.Rotate(HOLDER, directory.KeyUse.NODE, new.public_key))
    shown = await answers(here, lan)
    await follow(here, lan)
    found, _ = await checked(here, lan, shown)
    assert [fault for fault, _ in found] == [Fault.HEAD_NOT_SIGNED]


async def test_a_node_that_makes_changes_up_is_not_followed(here, lan):
    await carried(here, admit("exchange-1"))
    true = parse_export(await served(here, HOLDER))
    before = lan.wallet.members
    for lie in (
        Export(true.genesis, true.items[1:]),
        Export(true.genesis, (replace(true.items[0], index=0), *true.items[1:])),
        Export(true.genesis, (*true.items[:-1], replace(true.items[-1], statement=true.items[0].statement))),
    ):
        with pytest.raises(WalletRefused, match="CHANGES_NOT_PROVEN"):
            before.following(lie.encoded())
    assert before.following(Export(true.genesis, true.items[:-1]).encoded()).last_index == true.items[-2].index  # held back, not false
