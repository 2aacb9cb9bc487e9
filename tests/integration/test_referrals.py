"""A referral between two members over HTTP: up with the patient's grants, taken, and back down; and what may go wrong on the way."""

import json
from dataclasses import replace

import pytest

from tests.release_worlds import HOLDER, REQUESTER, a_request_id, ward
from tests.waiting import until
from yilian.base.refusals import Reason, Refused
from yilian.base.shapes import pack
from yilian.base.transaction import transaction_id
from yilian.contracts import referral
from yilian.contracts.referral import Stage
from yilian.node import NodeRefused, postbox, referral_book, referral_inbox, referral_statistics, referring, subscriptions
from yilian.node.postbox import Message
from yilian.node.referral_papers import HandedGrant, RequestMessage, StepMessage, request_statement, step_statement
from yilian.node.referring import Ask, StepAsk
from yilian.node.refusals import No
from yilian.peers import Unreachable

SENDER, RECEIVER = HOLDER, REQUESTER  # the ward's patient has a chart and a wallet at HOLDER
ORDER = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "code": {"text": "cardiology"},
    "subject": {"reference": "Patient/lan"},
}
SUMMARY = {
    "resourceType": "Composition",
    "status": "final",
    "type": {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]},
    "date": "2027-01-20",
    "author": [{"display": "hospital"}],
    "title": "Discharge summary",
}


class Desk:
    """Both sides of a referral as their software drives them."""

    def __init__(self, here, patient):
        self.here, self.patient = here, patient
        self.sender, self.receiver = here.running.nodes[SENDER], here.running.nodes[RECEIVER]
        self.order = json.dumps(ORDER).encode()

    async def grants(self, count=1):
        keys = [await self.here.give(self.patient, hand_over=False) for _ in range(count)]
        return tuple(HandedGrant(key, self.patient.wallet.bundle(self.patient.state, key, RECEIVER)) for key in keys)

    async def ask(self, grants=None, doctor=None, **changes):
        doctor = doctor or self.here.ward_doctor
        asked = Ask(a_request_id(), self.patient.id, RECEIVER, self.order, await self.grants() if grants is None else grants, b"", b"")
        asked = replace(asked, **changes)
        statement = request_statement(self.here.network, SENDER, asked.referral_id, asked.receiver, asked.service_request)
        return replace(asked, practitioner=doctor.public_key, signature=doctor.sign(statement))

    async def refer(self, **how):
        row = await referring.request(await self.ask(**how), self.sender)
        await self.delivered()
        return row.from_key

    async def delivered(self):
        for node in (self.sender, self.receiver):
            await postbox.deliver(node)
            await referring.settle_referrals(node)

    def step_ask(self, act, from_key, doctor=None, member=RECEIVER, document=None, patient_id=None):
        doctor = doctor or self.here.doctor
        return StepAsk(
            doctor.public_key, doctor.sign(step_statement(self.here.network, member, act, from_key, document)), document, patient_id
        )

    async def step(self, act, from_key, **how):
        node = self.here.running.nodes[how.get("member", RECEIVER)]
        row = await referring.step(act, from_key, self.step_ask(act, from_key, **how), node)
        await self.delivered()
        return row

    def ledger(self, from_key):
        row = referral.read(self.here.engine.read(), from_key)
        return None if row is None else row.stage

    def task(self, node, from_key):
        return json.loads(node.store.read("Task", referral_book.row(node, from_key).referral_id.hex()).body)


@pytest.fixture
async def desk(tmp_path):
    async with ward(tmp_path) as here:
        patient = here.person("lan")
        await here.enrol(patient)
        yield Desk(here, patient)


async def test_a_patient_goes_up_is_treated_and_comes_back_down_and_both_sides_have_the_papers(desk):
    from_key = await desk.refer()
    assert desk.ledger(from_key) is Stage.REQUESTED
    await until(lambda: desk.task(desk.sender, from_key)["status"] == "received")  # by its own housekeeping, if that delivers just now
    assert referral_book.row(desk.receiver, from_key).is_received == 1
    row = await desk.step("accept", from_key)
    assert [desk.task(node, from_key)["status"] for node in (desk.sender, desk.receiver)] == ["accepted", "accepted"]
    await desk.step("start", from_key)
    summary = json.dumps(SUMMARY | {"subject": {"reference": f"Patient/{row.patient_id}"}}).encode()
    await desk.step("complete", from_key, document=summary)
    await desk.step("down", from_key)
    assert desk.ledger(from_key) is Stage.DOWN
    for node, patient_id in ((desk.sender, "lan"), (desk.receiver, row.patient_id)):
        task, name = desk.task(node, from_key), row.referral_id.hex()
        assert (task["status"], task["businessStatus"]["text"]) == ("completed", "下转")
        assert task["output"][0]["valueReference"] == {"reference": f"Composition/{name}"}
        for kind in ("Composition", "ServiceRequest"):
            assert json.loads(node.store.read(kind, name).body)["subject"] == {"reference": f"Patient/{patient_id}"}
    closing = referral_book.step(desk.sender, from_key, Stage.COMPLETED)
    assert referral_book.document_of(desk.sender, closing) == summary  # the very bytes that the hospital's doctor signed


async def test_the_hospital_reads_the_history_by_the_grant_that_came_with_the_referral(desk):
    grants = await desk.grants()
    await desk.refer(grants=grants)
    received = await desk.here.read("/fhir/Observation?patient=lan", grants[0].control_key, patient=desk.patient)
    assert received.status == 200


async def test_nothing_is_requested_while_a_grant_is_not_final(desk):
    (grant,) = await desk.grants()
    entries = desk.here.entries()
    for control_key in (b"n" * 32, grant.control_key):
        if control_key == grant.control_key:
            await desk.here.revoke(desk.patient, control_key)
            entries = desk.here.entries()
        with pytest.raises(NodeRefused) as no:
            await referring.request(await desk.ask(grants=(HandedGrant(control_key, b""),)), desk.sender)
        assert (no.value.no, no.value.facts) == (No.GRANT_NOT_FINAL, {"control_key": control_key})
    assert (desk.here.entries(), referral_book.rows(desk.sender)) == (entries, [])


async def test_the_same_ask_is_one_referral_and_another_under_its_id_is_refused(desk):
    asked = await desk.ask()
    first = await referring.request(asked, desk.sender)
    again = await referring.request(asked, desk.sender)
    assert (first.from_key, again.stage) == (again.from_key, Stage.REQUESTED)
    other = await desk.ask(referral_id=asked.referral_id, grants=())
    with pytest.raises(NodeRefused) as no:
        await referring.request(other, desk.sender)
    assert (no.value.no, no.value.facts) == (No.REQUEST_ID_USED, {})


async def test_a_hospital_that_cannot_be_reached_gets_the_message_later_and_once(desk, monkeypatch):
    asked = await desk.ask()
    original = type(desk.sender.peers).post

    async def unreachable(self, url, content, headers=None):
        if url.endswith(postbox.INBOX):
            raise Unreachable("no road")
        return await original(self, url, content, headers)

    monkeypatch.setattr(type(desk.sender.peers), "post", unreachable)
    row = await referring.request(asked, desk.sender)
    with pytest.raises(NodeRefused) as no:
        await postbox.deliver(desk.sender)
    assert (no.value.no, referral_book.rows(desk.receiver)) == (No.HOLDER_UNREACHABLE, [])
    monkeypatch.undo()
    await desk.delivered()
    assert [one.from_key for one in referral_book.rows(desk.receiver)] == [row.from_key]
    assert desk.sender.journal.all("SELECT refused FROM outbox WHERE acknowledged IS NULL") == []


async def test_a_hospital_without_a_key_for_it_is_not_referred_to(desk, monkeypatch):
    asked = await desk.ask()

    async def unreachable(self, url, content, headers=None):
        raise Unreachable("no road")

    monkeypatch.setattr(type(desk.sender.peers), "post", unreachable)
    with pytest.raises(NodeRefused) as no:
        await referring.request(asked, desk.sender)
    assert (no.value.no, referral_book.rows(desk.sender)) == (No.HOLDER_UNREACHABLE, [])


def posted(desk, opened, kind="referral.request", sender=None, receiver=None, message_id=None, signer=None):
    """Return a message as a member would post it."""
    sender, receiver = sender or desk.sender, receiver or desk.receiver
    from yilian.base.seal import seal_to_member

    message_id = message_id or a_request_id()
    sealed = seal_to_member(receiver.keys.vault.sealing_key, postbox._info(sender.network, sender.id, receiver.id, message_id), opened)
    unsigned = Message(message_id, sender.id, receiver.id, kind, sealed, b"")
    return replace(unsigned, signature=(signer or sender.keys.node_key).sign(postbox._statement(sender.network, unsigned)))


async def test_a_message_delivered_twice_is_acknowledged_twice_and_taken_once(desk):
    from_key = await desk.refer()
    package = referral_book.package_of(desk.sender, referral_book.row(desk.sender, from_key))
    message = posted(desk, pack(RequestMessage(desk.sender.keys.consent_key(from_key), package)))
    first, second = await postbox.take(message, desk.receiver), await postbox.take(message, desk.receiver)
    assert first == second
    assert first.is_genuine(desk.here.network, desk.receiver.keys.node_key.public_key, message)
    assert len(referral_book.rows(desk.receiver)) == 1
    other = posted(desk, pack(RequestMessage(b"k" * 32, package)), message_id=message.message_id)
    with pytest.raises(NodeRefused) as no:
        await postbox.take(other, desk.receiver)
    assert (no.value.no, no.value.facts) == (No.MESSAGE_ID_USED, {})


async def test_a_forged_sender_a_wrong_receiver_and_a_seal_for_another_are_refused(desk):
    from_key = await desk.refer()
    package = referral_book.package_of(desk.sender, referral_book.row(desk.sender, from_key))
    genuine = posted(desk, pack(RequestMessage(b"k" * 32, package)))
    regulator = desk.here.running.nodes["regulator-1"]
    for message, no in (
        (replace(genuine, signature=regulator.keys.node_key.sign(b"x")), No.NOT_SENT_BY_THAT_MEMBER),
        (replace(genuine, sender="regulator-1"), No.NOT_SENT_BY_THAT_MEMBER),
        (replace(genuine, receiver="regulator-1"), No.NOT_SENT_BY_THAT_MEMBER),
        (replace(genuine, sender="nobody"), No.MEMBER_NOT_ACTIVE),
        (replace(genuine, kind="referral.unheard"), No.NOT_UNDERSTOOD),
        (posted(desk, b"x", receiver=replace_receiver(desk, regulator)), No.MESSAGE_NOT_OPENED),
        (posted(desk, b"x"), No.NOT_UNDERSTOOD),
    ):
        answer = await desk.here.running.post(RECEIVER, postbox.INBOX, pack(message))
        assert answer.json()["name"] == no.name


def replace_receiver(desk, sealed_to):
    """Return a stand-in that names the receiver and has another's sealing key."""

    class Named:
        id = desk.receiver.id
        keys = sealed_to.keys

    return Named


async def test_a_package_that_the_ledger_does_not_hold_is_not_taken(desk):
    asked = await desk.ask()
    row = await referring.request(asked, desk.sender)
    package = referral_book.package_of(desk.sender, row)
    k = desk.sender.keys.consent_key(row.from_key)
    for changed, no in (
        (RequestMessage(b"k" * 32, package), No.REFERRAL_NOT_COMMITTED),  # the wrong k
        (RequestMessage(k, replace(package, patient=b'{"resourceType":"Patient"}')), No.REFERRAL_NOT_COMMITTED),
        (RequestMessage(k, replace(package, from_key=b"f" * 32)), No.NOT_FINAL_YET),
        (RequestMessage(k, replace(package, sender="regulator-1")), No.NOT_UNDERSTOOD),
    ):
        with pytest.raises(NodeRefused) as refused:
            await referral_inbox.take_request(desk.receiver, SENDER, pack(changed))
        assert refused.value.no is no


async def test_only_the_hospitals_own_doctor_takes_its_steps_and_only_in_their_order(desk):
    from_key = await desk.refer()
    other = desk.here.ward_doctor  # of the sending side
    with pytest.raises(NodeRefused) as no:
        await referring.step("accept", from_key, desk.step_ask("accept", from_key, doctor=other), desk.receiver)
    assert no.value.no is No.CREDENTIAL_NOT_LIVE
    forged = replace(desk.step_ask("accept", from_key), signature=b"s" * 64)
    with pytest.raises(NodeRefused) as no:
        await referring.step("accept", from_key, forged, desk.receiver)
    assert no.value.no is No.PRACTITIONER_DID_NOT_SIGN
    with pytest.raises(NodeRefused) as no:
        await referring.step("start", from_key, desk.step_ask("start", from_key), desk.receiver)
    assert (no.value.no, no.value.facts) == (No.REFERRAL_STAGE_WRONG, {"stage": Stage.REQUESTED})
    with pytest.raises(NodeRefused) as no:
        await referring.step("accept", from_key, desk.step_ask("accept", from_key, doctor=other, member=SENDER), desk.sender)
    assert no.value.no is No.NOT_THIS_SIDE
    with pytest.raises(NodeRefused) as no:
        await referring.step("accept", b"f" * 32, desk.step_ask("accept", b"f" * 32), desk.receiver)
    assert no.value.no is No.NO_SUCH_REFERRAL_HERE
    assert desk.ledger(from_key) is Stage.REQUESTED


async def test_completed_twice_is_one_completion_and_needs_its_summary(desk):
    from_key = await desk.refer()
    await desk.step("accept", from_key)
    await desk.step("start", from_key)
    with pytest.raises(NodeRefused) as no:
        await referring.step("complete", from_key, desk.step_ask("complete", from_key), desk.receiver)
    assert no.value.no is No.SUMMARY_MISSING
    summary, other = json.dumps(SUMMARY).encode(), json.dumps(SUMMARY | {"title": "Another"}).encode()
    asked = desk.step_ask("complete", from_key, document=summary)
    entries = desk.here.entries()
    first = await referring.step("complete", from_key, asked, desk.receiver)
    assert await referring.step("complete", from_key, asked, desk.receiver) == first
    assert desk.here.entries() == entries + 1
    with pytest.raises(NodeRefused) as no:
        await referring.step("complete", from_key, desk.step_ask("complete", from_key, document=other), desk.receiver)
    assert (no.value.no, no.value.facts) == (No.REFERRAL_STAGE_WRONG, {"stage": Stage.COMPLETED})


@pytest.mark.parametrize("member", [SENDER, RECEIVER])
async def test_either_side_calls_it_off_and_the_other_learns_it(desk, member):
    from_key = await desk.refer()
    doctor = desk.here.ward_doctor if member == SENDER else desk.here.doctor
    await desk.step("cancel", from_key, doctor=doctor, member=member)
    assert desk.ledger(from_key) is Stage.CANCELLED
    assert [Stage(referral_book.row(node, from_key).stage) for node in (desk.sender, desk.receiver)] == [Stage.CANCELLED] * 2
    assert desk.task(desk.sender, from_key)["status"] == "cancelled"
    with pytest.raises(NodeRefused) as no:
        await referring.step("accept", from_key, desk.step_ask("accept", from_key), desk.receiver)
    assert no.value.facts == {"stage": Stage.CANCELLED}


async def test_a_rejected_referral_leaves_no_patient_at_the_hospital(desk):
    before = desk.receiver.store.search(_query("Patient")).matches
    from_key = await desk.refer()
    await desk.step("reject", from_key)
    assert (desk.task(desk.sender, from_key)["status"], desk.ledger(from_key)) == ("rejected", Stage.REJECTED)
    assert len(desk.receiver.store.search(_query("Patient")).matches) == len(before)


def _query(kind):
    from yilian.records import parse_query

    return parse_query(kind, "")


async def test_a_step_that_the_ledger_does_not_hold_is_not_believed(desk):
    from_key = await desk.refer()
    doctor = desk.here.doctor
    signature = doctor.sign(step_statement(desk.here.network, RECEIVER, "accept", from_key, None))
    size = desk.here.entries()
    for index, no in ((size + 50, No.NOT_FINAL_YET), (referral_book.row(desk.sender, from_key).entry_index, No.REFERRAL_NOT_COMMITTED)):
        message = StepMessage(from_key, Stage.ACCEPTED, index, doctor.public_key, signature, None)
        with pytest.raises(NodeRefused) as refused:
            await referral_inbox.take_step(desk.sender, RECEIVER, pack(message))
        assert refused.value.no is no
    with pytest.raises(NodeRefused) as refused:
        await referral_inbox.take_step(desk.sender, "regulator-1", pack(message))
    assert refused.value.no is No.NOT_SENT_BY_THAT_MEMBER
    assert referral_book.row(desk.sender, from_key).stage == Stage.REQUESTED


async def test_a_step_whose_answer_was_lost_is_finished_after_the_restart(desk):
    from_key = await desk.refer()
    row, asked = referral_book.row(desk.receiver, from_key), desk.step_ask("accept", from_key)
    one = await referring._step_written(Stage.ACCEPTED, row, asked, b"d" * 32, desk.receiver)
    committed = await desk.receiver.carriage.submit(one.tx)  # and here the process ended
    assert transaction_id(one.tx) == committed.id
    await referring.settle_referrals(desk.receiver)
    await desk.delivered()
    assert [referral_book.step(node, from_key, Stage.ACCEPTED).entry_index for node in (desk.receiver, desk.sender)] == [
        committed.index
    ] * 2


async def test_a_request_that_was_never_submitted_and_has_ended_is_taken_back(desk):
    asked = await desk.ask()
    statement = request_statement(desk.here.network, SENDER, asked.referral_id, asked.receiver, asked.service_request)
    row = await referring._written(asked, statement, b"d" * 32, desk.sender)
    desk.here.clock.go(row.exp_s - desk.here.now_s)
    with pytest.raises(Refused) as no:
        await referring._requested(row, desk.sender)
    assert (no.value.reason, referral_book.rows(desk.sender)) == (Reason.EXPIRED, [])


async def test_both_sides_software_learns_by_id_only_that_the_task_changed(desk):
    from_key = await desk.refer()
    await desk.step("accept", from_key)
    focus = f"Task/{referral_book.row(desk.sender, from_key).referral_id.hex()}"
    heard = {node.id: [(one.sender, one.focus, one.event) for one in subscriptions.heard(node)] for node in (desk.sender, desk.receiver)}
    assert heard == {RECEIVER: [(SENDER, focus, Stage.REQUESTED)], SENDER: [(RECEIVER, focus, Stage.ACCEPTED)]}
    bundle = json.loads(subscriptions.notification(focus, 2))
    assert [entry.get("resource", {}).get("resourceType") for entry in bundle["entry"]] == ["Parameters", None]
    answer = await desk.here.client.get(
        desk.here.running.urls[SENDER] + "/subscriptions/events?after=0", headers=await desk.here.own(SENDER)
    )
    assert [one["focus"] for one in answer.json()["events"]] == [focus]
    with pytest.raises(NodeRefused) as no:
        await subscriptions.hear(desk.sender, RECEIVER, b"{}")
    assert no.value.no is No.NOT_UNDERSTOOD


async def test_the_patient_is_told_of_each_step(desk):
    from_key = await desk.refer()
    await desk.step("accept", from_key)
    chart = desk.sender.charts.of_patient("lan")
    from yilian.node import notices

    said = [one.en for one in notices.notices(desk.sender, chart) if one.kind == "referral"]
    assert said == ["A referral to name of clinic-1 was requested for you.", "name of clinic-1 has accepted your referral."]


async def test_the_networks_statistics_are_read_off_the_ledger(desk):
    from_key = await desk.refer()
    desk.here.clock.go(600)
    await desk.step("accept", from_key)
    await desk.refer()
    assert referral_statistics.statistics(desk.sender) == {
        "referrals": 2,
        "standing": {"accepted": 1, "requested": 1},
        "transitions": [{"from": "requested", "to": "accepted", "count": 1, "median_s": 600, "longest_s": 600}],
    }


async def test_the_members_own_software_drives_it_over_http_and_nobody_else(desk):
    here, asked = desk.here, await desk.ask()
    url = here.running.urls[SENDER]
    assert (await here.client.post(url + "/referrals", content=pack(asked))).status_code == 401
    answer = await here.client.post(url + "/referrals", content=pack(asked), headers=await here.own(SENDER))
    assert (answer.status_code, answer.json()["status"]) == (200, "requested")
    await desk.delivered()
    other, from_key = here.running.urls[RECEIVER], answer.json()["from_key"]
    (listed,) = (await here.client.get(other + "/referrals?side=received", headers=await here.own(RECEIVER))).json()["referrals"]
    assert (listed["from_key"], listed["status"], listed["peer"]) == (from_key, "received", SENDER)
    shown = (await here.client.get(f"{other}/referrals/{from_key}", headers=await here.own(RECEIVER))).json()
    assert (shown["service_request"], shown["patient"]["id"]) == (ORDER, "lan")
    step = desk.step_ask("accept", bytes.fromhex(from_key))
    answer = await here.client.post(f"{other}/referrals/{from_key}/accept", content=pack(step), headers=await here.own(RECEIVER))
    assert (answer.status_code, answer.json()["status"], [one["step"] for one in answer.json()["steps"]]) == (200, "accepted", ["accepted"])
    assert (await here.client.get(url + "/statistics/referrals", headers=await here.own(SENDER))).json()["referrals"] == 1
