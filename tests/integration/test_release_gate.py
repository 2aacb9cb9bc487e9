"""What the gate opens, to whom, and how much of it: each a defect seen in real systems (design 04, "Tests that must exist")."""

import json
from dataclasses import replace

import pytest

from tests.alliance_worlds import seed
from tests.release_worlds import HOLDER, REQUESTER, SYSTEM, a_request_id, altered, ids, ward
from yilian.base import artefacts
from yilian.base.consents import build, parse
from yilian.base.handovers import EnrolAsk, GrantBundle, open_bundle, seal_bundle
from yilian.base.keys import SigningKey, kid_of
from yilian.base.refusals import Reason, Refused
from yilian.base.shapes import pack, unpack
from yilian.base.transaction import act_bytes, approve
from yilian.contracts import access, consent, directory
from yilian.node import No, NodeRefused, release, releases
from yilian.node.asking import ReleaseCall
from yilian.node.carriage import act_of
from yilian.node.tokens import Asker

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("release")]
OBSERVATIONS = "/fhir/Observation"
ALL_OF_ANN = [
    "AllergyIntolerance/ann-allergy",
    "Condition/ann-condition",
    "Observation/ann-new",
    "Observation/ann-old",
    "Patient/ann",
]


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        running.ann = running.person("ann")
        await running.enrol(running.ann)
        yield running


def refusal(received):
    return received.status, received.refusal


def asker(here, control_key=None, doctor=None, purpose="TREAT", member=REQUESTER):
    return Asker(member, (doctor or here.doctor).public_key, purpose, control_key, is_own=False, thumbprint="", until_s=here.now_s + 300)


async def prepare(here, reading, artefact=None, **who):
    """Make call (a) at the holder itself, past every check that an honest requester's node makes."""
    call = ReleaseCall(reading.read, reading.practitioner, reading.signature, artefact, reading.presence, reading.reason)
    return await release.prepare(call, asker(here, reading.read.control_key, purpose=reading.read.purpose, **who), here.holder)


def rows(here, table):
    return here.holder.journal.all(f"SELECT * FROM {table}")  # noqa: S608 - a table of ours


# --- by what right


async def test_a_grant_opens_what_it_says_and_the_entry_comes_first(here):
    control_key = await here.give(here.ann)
    before = here.entries()
    received = await here.read(OBSERVATIONS, control_key, patient=here.ann)
    assert (received.status, ids(received.body)) == (200, ["Observation/ann-new", "Observation/ann-old"])
    entry = here.engine.entry(received.entry_index)
    assert (entry.index, entry.id) == (before, received.entry_id)
    row = consent.read(here.engine.read(), control_key)
    assert (row.uses, row.entries) == (1, 1)


async def test_one_consultation_of_many_calls_is_one_use(here):
    control_key = await here.give(here.ann, uses_max=1)
    await here.read(OBSERVATIONS, control_key, patient=here.ann)
    for _ in range(3):
        assert (await here.read(OBSERVATIONS, control_key)).status == 200
    row = consent.read(here.engine.read(), control_key)
    assert (row.uses, row.entries) == (1, 4)
    here.clock.go(1_800)
    received = await here.read(OBSERVATIONS, control_key, patient=here.ann)
    assert refusal(received) == (403, "1012 USES_EXHAUSTED")


@pytest.mark.parametrize(("tell", "enter", "said"), [(True, False, "9026 REVOKED_DIRECTLY"), (False, True, "1009 GRANT_REVOKED")])
async def test_a_revoked_grant_is_served_no_more(here, tell, enter, said):
    control_key = await here.give(here.ann)
    assert (await here.read(OBSERVATIONS, control_key, patient=here.ann)).status == 200
    await here.revoke(here.ann, control_key, tell=tell, enter=enter)
    size = here.entries()
    assert refusal(await here.read(OBSERVATIONS, control_key)) == (403, said)
    assert refusal(await here.read(OBSERVATIONS, control_key, patient=here.ann)) == (403, said)
    assert here.entries() == size


async def test_a_grant_that_has_ended_opens_nothing(here):
    control_key = await here.give(here.ann, days=2)
    here.clock.go(2 * 86_400)
    received = await here.read(OBSERVATIONS, control_key, patient=here.ann)
    assert refusal(received) == (403, "1010 GRANT_ENDED")


async def test_no_grant_opens_nothing(here):
    size = here.entries()
    received = await here.ask(here.signed(OBSERVATIONS, None))
    assert refusal(received) == (403, "9020 NO_GRANT")
    with pytest.raises(Refused) as no:
        await here.ask(here.signed(OBSERVATIONS, seed("no grant")))
    assert (no.value.reason, no.value.facts) == (Reason.NO_SUCH_GRANT, {})
    assert here.entries() == size


def evidence_of(here, control_key):
    grant = here.ann.state.grant(control_key)
    return GrantBundle(grant.consent, grant.key, grant.signature)


def sealed(here, control_key, bundle):
    return seal_bundle(here.holder.keys.vault.sealing_key, here.network, HOLDER, control_key, bundle)


async def first_call(here, control_key, bundle):
    presence = await here.present(here.ann)
    return await prepare(here, here.signed(OBSERVATIONS, control_key, presence=presence), sealed(here, control_key, bundle))


async def test_a_forged_signature_on_the_artefact_opens_nothing(here):
    control_key = await here.give(here.ann)
    bundle = evidence_of(here, control_key)
    stranger = SigningKey(seed("stranger"))
    forged = replace(bundle, signature=stranger.sign(artefacts.consent_statement(here.network, bundle.consent)))
    with pytest.raises(NodeRefused) as no:
        await first_call(here, control_key, forged)
    assert (no.value.no, no.value.facts) == (No.CONSENT_NOT_SIGNED, {})
    assert (rows(here, "consents"), rows(here, "releases")) == ([], [])
    await first_call(here, control_key, bundle)  # the true one opens


async def test_a_consent_that_the_row_does_not_commit_to_opens_nothing(here):
    control_key = await here.give(here.ann, resource_types=("Condition",))
    bundle = evidence_of(here, control_key)
    wider = build(replace(parse(bundle.consent), resource_types=()))
    for altered_bundle in (replace(bundle, consent=wider), replace(bundle, key=seed("another k"))):
        with pytest.raises(NodeRefused) as no:
            await first_call(here, control_key, altered_bundle)
        assert (no.value.no, no.value.facts) == (No.CONSENT_NOT_COMMITTED, {})


async def test_a_key_enrolled_by_the_requester_opens_nothing(here):
    """The clinic makes a wallet of its own and a grant by it: its key stands on no chart of the hospital's."""
    from yilian.wallet import Members, Wallet, WalletState

    mallory = replace_patient(here.ann, Wallet.of(seed("mallory"), Members.of(here.running.genesis)), WalletState())
    mallory.state, _ = mallory.wallet.enrol(mallory.state, EnrolAsk(here.network, HOLDER, 0, seed("nonce")), here.now_s)
    control_key = await here.give(mallory)
    presence = await here.present(here.ann)
    reading = here.signed(OBSERVATIONS, control_key, presence=presence)
    received = await here.ask(reading)
    assert refusal(received) == (403, "9025 KEY_NOT_ENROLLED")


def replace_patient(patient, wallet, state):
    from copy import copy

    other = copy(patient)
    other.wallet, other.state = wallet, state
    return other


async def test_an_introduction_by_another_member_attaches_no_key(here):
    bob = here.person("bob")
    answer, _ = await here.desk(bob, member=REQUESTER)
    assert (answer.status_code, answer.json()["name"]) == (401, "TOKEN_NOT_VALID")
    assert rows(here, "offers") == [] or all(row[1] != "bob" for row in rows(here, "offers"))


async def test_nobody_but_two_staff_at_level_two_opens_the_desk(here):
    bob = here.person("bob")
    one = here.clerks[:1]
    for clerks, level, said in (
        (one, 2, "NOT_TWO_STAFF"),
        (one * 2, 2, "NOT_TWO_STAFF"),
        (here.clerks, 1, "LEVEL_TOO_LOW"),
        ([here.doctor, *one], 2, "CREDENTIAL_NOT_LIVE"),
    ):
        answer, _ = await here.desk(bob, clerks, level)
        assert (answer.status_code, answer.json()["name"]) == (403, said)


async def test_a_second_enrolment_over_a_live_key_is_refused(here):
    answer, _ = await here.desk(here.ann)
    assert (answer.status_code, answer.json()["name"]) == (409, "KEY_IS_LIVE")
    chart = here.holder.charts.of_patient("ann")
    assert chart.r_key == here.ann.wallet.relationship_key(here.ann.state, HOLDER)


async def test_two_desks_open_at_once_enrol_one_key(here):
    from yilian.wallet import Members, Wallet, WalletState

    bob = here.person("bob")
    (first, nonce_1), (second, nonce_2) = await here.desk(bob), await here.desk(bob)
    answers = []
    for answer, nonce, name in ((first, nonce_1, "bob"), (second, nonce_2, "mallory")):
        wallet = Wallet.of(seed("wallet", name), Members.of(here.running.genesis))
        _, said = wallet.enrol(WalletState(), unpack(EnrolAsk, answer.content), here.now_s)
        url = f"{here.running.urls[HOLDER]}/desk/enrolment/{nonce.hex()}"
        answers.append((await here.client.post(url, content=pack(said)), url, said))
    (done, url, said), (no, _, _) = answers
    assert (done.status_code, no.status_code, no.json()["name"]) == (200, 409, "KEY_IS_LIVE")
    again = await here.client.post(url, content=pack(said))
    assert again.content == done.content


async def test_a_wallet_that_does_not_hold_the_key_it_names_is_not_enrolled(here):
    bob = here.person("bob")
    answer, nonce = await here.desk(bob)
    _, said = bob.wallet.enrol(bob.state, unpack(EnrolAsk, answer.content), here.now_s)
    url = f"{here.running.urls[HOLDER]}/desk/enrolment/{nonce.hex()}"
    stolen = replace(said, relationship_key=here.ann.wallet.relationship_key(here.ann.state, HOLDER))
    refused = await here.client.post(url, content=pack(stolen))
    assert (refused.status_code, refused.json()["name"]) == (403, "POSSESSION_NOT_SHOWN")


async def test_one_key_stands_on_one_chart_only(here):
    bob = here.person("bob")
    bob.wallet = here.ann.wallet
    answer, nonce = await here.desk(bob)
    _, said = here.ann.wallet.enrol(here.ann.state.__class__(), unpack(EnrolAsk, answer.content), here.now_s)
    refused = await here.client.post(f"{here.running.urls[HOLDER]}/desk/enrolment/{nonce.hex()}", content=pack(said))
    assert (refused.status_code, refused.json()["name"]) == (409, "KEY_OF_ANOTHER")


# --- who asks


async def test_an_expired_credential_opens_nothing(here):
    control_key = await here.give(here.ann)
    await here.running.act(REQUESTER, "practitioner.end", directory.End(here.doctor.public_key))
    here.clock.go(1)
    presence = None
    reading = here.signed(OBSERVATIONS, control_key, presence=presence)
    for attempt in (here.ask(reading), prepare(here, reading)):
        with pytest.raises(NodeRefused) as no:
            await attempt
        assert (no.value.no, no.value.facts) == (No.CREDENTIAL_NOT_LIVE, {})


async def test_a_practitioner_of_another_member_opens_nothing(here):
    control_key = await here.give(here.ann)
    reading = here.signed(OBSERVATIONS, control_key, doctor=here.ward_doctor, presence=await here.present(here.ann))
    with pytest.raises(NodeRefused) as no:
        await prepare(here, reading, doctor=here.ward_doctor)
    assert (no.value.no, no.value.facts) == (No.CREDENTIAL_NOT_LIVE, {})


@pytest.mark.parametrize(
    "altered_read",
    [{"target": "/fhir/Condition"}, {"method": "POST"}, {"body": b"x"}, {"holder": REQUESTER}, {"request_id": bytes(16)}],
)
async def test_a_practitioners_signature_is_for_one_request_only(here, altered_read):
    control_key = await here.give(here.ann)
    signed = here.signed(OBSERVATIONS, control_key, presence=await here.present(here.ann))
    with pytest.raises(NodeRefused) as no:
        await prepare(here, replace(signed, read=replace(signed.read, **altered_read)))
    assert (no.value.no, no.value.facts) == (No.PRACTITIONER_DID_NOT_SIGN, {})


async def test_a_grant_for_one_doctor_or_one_role_opens_for_no_other(here):
    mine = await here.give(here.ann, practitioner=here.doctor.public_key)
    nurses = await here.give(here.ann, role="nurse")
    presence = await here.present(here.ann, here.second)
    received = await here.ask(here.signed(OBSERVATIONS, mine, doctor=here.second, presence=presence))
    assert refusal(received) == (403, "9024 CONSENT_SAYS_ANOTHER")
    assert refusal(await here.read(OBSERVATIONS, nurses, patient=here.ann)) == (403, "9024 CONSENT_SAYS_ANOTHER")
    assert (await here.read(OBSERVATIONS, mine, patient=here.ann)).status == 200


async def test_a_grant_for_treatment_opens_for_no_other_purpose(here):
    control_key = await here.give(here.ann)
    presence = await here.present(here.ann, purpose="HRESCH")
    received = await here.ask(here.signed(OBSERVATIONS, control_key, purpose="HRESCH", presence=presence))
    assert refusal(received) == (403, "9024 CONSENT_SAYS_ANOTHER")


# --- presence


async def test_without_presence_no_session_opens(here):
    control_key = await here.give(here.ann)
    assert refusal(await here.read(OBSERVATIONS, control_key)) == (403, "9040 PRESENCE_REQUIRED")
    assert consent.read(here.engine.read(), control_key).entries == 0


async def test_a_standing_grant_opens_without_presence_but_not_more_often_than_it_says(here):
    control_key = await here.give(here.ann, days=31, uses_max=24, interval_s=43_200)
    assert (await here.read(OBSERVATIONS, control_key)).status == 200
    here.clock.go(1_800)
    assert refusal(await here.read(OBSERVATIONS, control_key)) == (403, "1013 INTERVAL_NOT_OVER")
    here.clock.go(43_200)
    assert (await here.read(OBSERVATIONS, control_key)).status == 200


async def test_an_offer_made_anew_after_the_session_opens_no_other_without_presence(here):
    """An offer of a session's last minute needs no presence; asked for again when the session is over, it must not open one."""
    control_key = await here.give(here.ann)
    await here.read(OBSERVATIONS, control_key, patient=here.ann)
    here.clock.go(1_800 - 30)
    reading = here.signed(OBSERVATIONS, control_key)
    await prepare(here, reading)
    here.clock.go(87)  # the envelope ends, and the session has
    before = consent.read(here.engine.read(), control_key)
    with pytest.raises(NodeRefused) as no:
        await prepare(here, reading)
    assert (no.value.no, no.value.facts) == (No.PRESENCE_REQUIRED, {})
    after = consent.read(here.engine.read(), control_key)
    assert (after.uses, after.entries) == (before.uses, before.entries) == (1, 1)


async def test_presence_replayed_for_another_request_is_refused(here):
    control_key, other = await here.give(here.ann), await here.give(here.ann)
    presence = await here.present(here.ann)
    assert (await here.ask(here.signed(OBSERVATIONS, control_key, presence=presence))).status == 200
    received = await here.ask(here.signed(OBSERVATIONS, other, presence=presence))
    assert refusal(received) == (409, "9043 PRESENCE_USED")
    assert consent.read(here.engine.read(), other).entries == 0


async def test_presence_replayed_at_another_requester_or_holder_or_by_another_doctor_is_refused(here):
    control_key = await here.give(here.ann)
    presence = await here.present(here.ann)
    elsewhere = replace(presence, asked=replace(presence.asked, challenge=replace(presence.asked.challenge, requester=HOLDER)))
    bob = here.person("bob")
    await here.enrol(bob)
    theirs = await here.present(bob)
    for shown in (elsewhere, altered(presence, holder=REQUESTER), altered(presence, until_s=presence.proof.until_s - 1), theirs):
        received = await here.ask(here.signed(OBSERVATIONS, control_key, presence=shown))
        assert refusal(received) == (403, "9041 PRESENCE_NOT_VALID")
    received = await here.ask(here.signed(OBSERVATIONS, control_key, doctor=here.second, presence=presence))
    assert refusal(received) == (403, "9041 PRESENCE_NOT_VALID")
    assert (await here.ask(here.signed(OBSERVATIONS, control_key, presence=presence))).status == 200


async def test_presence_of_five_minutes_ago_is_refused(here):
    control_key = await here.give(here.ann)
    presence = await here.present(here.ann)
    here.clock.go(300)
    received = await here.ask(here.signed(OBSERVATIONS, control_key, presence=presence))
    assert refusal(received) == (403, "9042 PRESENCE_ENDED")


# --- how much of it


async def test_wider_dates_in_the_request_than_in_the_grant_give_the_grants(here):
    from_s = 1_735_689_600  # 2025-01-01
    control_key = await here.give(here.ann, data_from_s=from_s)
    received = await here.read(OBSERVATIONS + "?date=ge1900-01-01&_total=accurate", control_key, patient=here.ann)
    assert (ids(received.body), json.loads(received.body)["total"]) == (["Observation/ann-new"], 1)
    assert (await here.read(OBSERVATIONS + "/ann-old", control_key)).status == 404
    assert (await here.read(OBSERVATIONS + "/ann-new", control_key)).status == 200


async def test_an_extra_type_gives_nothing(here):
    control_key = await here.give(here.ann, resource_types=("Condition",))
    received = await here.read("/fhir/Condition", control_key, patient=here.ann)
    assert ids(received.body) == ["Condition/ann-condition"]
    received = await here.read(OBSERVATIONS, control_key)
    assert (received.status, ids(received.body), json.loads(received.body)["total"]) == (200, [], 0)
    assert (await here.read(OBSERVATIONS + "/ann-new", control_key)).status == 404


async def test_labels_open_only_where_the_grant_names_them(here):
    control_key, closed = await here.give(here.ann), await here.give(here.ann, labels_allowed=("R",))
    assert "Observation/ann-closed" not in ids((await here.read(OBSERVATIONS, control_key, patient=here.ann)).body)
    assert "Observation/ann-closed" in ids((await here.read(OBSERVATIONS, closed, patient=here.ann)).body)


async def test_totals_includes_history_and_export_leak_nothing_past_the_grant(here):
    bob = here.person("bob")
    control_key = await here.give(here.ann, resource_types=("Condition",))
    await here.read("/fhir/Condition", control_key, patient=here.ann)
    seen = {}
    for target in (
        "/fhir/Condition?_revinclude=Observation:subject&_include=Condition:subject",
        "/fhir/Condition?_include=*&_revinclude=*",
        "/fhir/Condition?subject:Patient.identifier=" + SYSTEM + "%7C" + bob.number,
        "/fhir/Patient?_has:Observation:subject:code=2339-0&_total=accurate",
        "/fhir/Observation?_summary=count",
        "/fhir/Observation/_history",
        "/fhir/Observation/ann-new/_history",
        "/fhir/_history",
        "/fhir/Patient/ann/$everything",
        "/fhir/Patient/bob/$everything",
        "/fhir/$export",
        "/fhir/Patient/$export",
    ):
        received = await here.read(target, control_key)
        seen[target] = received.status
        body = received.body.decode()
        for hidden in ("ann-new", "ann-old"):
            assert hidden not in body, target
        assert "bob" not in body.replace(bob.number, ""), target
        assert "5.1" not in body, target
        if received.status == 200 and body.startswith("{"):
            assert json.loads(body).get("total", 0) <= 2, target
    assert set(seen.values()) == {200, 404}
    assert received.entry_index is not None


async def test_one_foreign_context_among_many_gives_only_ones_own(here):
    here.person("bob")
    control_key = await here.give(here.ann)
    received = await here.read(OBSERVATIONS + "?patient=ann,bob", control_key, patient=here.ann)
    assert ids(received.body) == ["Observation/ann-new", "Observation/ann-old"]
    both = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "of two"},
        "subject": {"reference": "Patient/ann"},
        "performer": [{"reference": "Patient/bob"}],
        "effectiveDateTime": "2026-12-03",
    }
    here.holder.store.create("Observation", json.dumps(both).encode())
    again = await here.read(OBSERVATIONS, control_key)
    assert ids(again.body) == ["Observation/ann-new", "Observation/ann-old"]


async def test_another_patients_record_is_not_found_under_ones_own_grant(here):
    here.person("bob")
    control_key = await here.give(here.ann)
    received = await here.read("/fhir/Patient/bob", control_key, patient=here.ann)
    assert (received.status, received.entry_index is not None) == (404, True)
    assert ids((await here.read("/fhir/Patient", control_key)).body) == ["Patient/ann"]


async def test_a_page_fetched_after_the_revocation_is_refused(here):
    control_key = await here.give(here.ann)
    first = await here.read(OBSERVATIONS + "?_count=1", control_key, patient=here.ann)
    (link,) = [one["url"] for one in json.loads(first.body)["link"] if one["relation"] == "next"]
    page = "/fhir/" + link.split("/fhir/", 1)[1]
    second = await here.read(page, control_key)
    assert (ids(first.body), ids(second.body)) == (["Observation/ann-old"], ["Observation/ann-new"])
    assert second.entry_index == first.entry_index + 1  # each page is an entry of its own
    await here.revoke(here.ann, control_key)
    assert refusal(await here.read(page, control_key)) == (403, "9026 REVOKED_DIRECTLY")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_another_member_writes_nothing(here, method):
    control_key = await here.give(here.ann)
    presence = await here.present(here.ann)
    reading = here.signed(OBSERVATIONS + "/ann-new", control_key, presence=presence, method=method)
    received = await here.ask(reading)
    assert refusal(received) == (400, "9050 NOT_READABLE")
    assert here.holder.store.read("Observation", "ann-new").version_id == 1


# --- approvals


async def test_an_approval_lifted_into_another_envelope_is_refused(here):
    control_key = await here.give(here.ann)
    await here.read(OBSERVATIONS, control_key, patient=here.ann)
    row = consent.read(here.engine.read(), control_key)
    requester_key = here.requester.keys.grant_key(row.requester_key)
    first, second = here.signed(OBSERVATIONS, control_key), here.signed(OBSERVATIONS, control_key)
    offer, other = await prepare(here, first), await prepare(here, second)
    approval = approve(requester_key, offer.protected, offer.act)
    with pytest.raises(NodeRefused) as no:
        await release.release(second.read.request_id, approval, asker(here, control_key), here.holder)
    assert (no.value.no, no.value.facts) == (No.APPROVAL_NOT_VALID, {})
    protected = here.requester.carriage.header("access.record")  # the same act, carried by the requester in an envelope of its own
    lifted = here.requester.carriage.enveloped(protected, offer.act, [approval])
    committed = await here.requester.carriage.submit(lifted)
    assert (committed.reason, committed.index) == (Reason.BAD_APPROVAL, None)
    assert other.act != offer.act


async def test_no_member_burns_anothers_uses(here):
    control_key = await here.give(here.ann)
    row = consent.read(here.engine.read(), control_key)
    for node, key, reason in (
        (here.requester, here.requester.keys.grant_key(row.requester_key), Reason.NOT_APPROVED_BY_HOLDER_KEY),
        (here.holder, here.holder.keys.grant_key(row.holder_key), Reason.NOT_APPROVED_BY_REQUESTER_KEY),
    ):
        record = access.Record(int(access.Basis.GRANT), control_key, None, None, True, seed("detail"), b"")
        protected, act = node.carriage.header("access.record"), act_of("access.record", record)
        committed = await node.carriage.submit(node.carriage.enveloped(protected, act, [approve(key, protected, act)]))
        assert (committed.reason, committed.index) == (reason, None)
    assert consent.read(here.engine.read(), control_key) == row


async def test_no_stranger_has_the_member_itself_act(here):
    from yilian.base.codec import encode

    url = here.running.urls[HOLDER]
    for kind in ("anchor.tick", "directory.propose", "practitioner.register", "access.record", "reuse.declare", "no.such.kind"):
        answer = await here.client.post(url + "/network/header", content=encode(kind))
        assert (answer.status_code, answer.json()["name"]) == (403, "KIND_NOT_CARRIED")
    header = (await here.client.post(url + "/network/header", content=encode("consent.give"))).content
    body = encode([header, act_bytes(40, {1: bytes(32), 2: bytes(32)}), []])
    answer = await here.client.post(url + "/network/submit", content=body)
    assert (answer.status_code, answer.json()["name"]) == (400, "NOT_UNDERSTOOD")


# --- once, and the same


async def test_the_same_request_gets_the_same_bytes_under_the_same_entry(here):
    control_key = await here.give(here.ann)
    reading = here.signed(OBSERVATIONS, control_key, presence=await here.present(here.ann))
    first = await here.ask(reading)
    size = here.entries()
    again = await here.ask(reading)
    assert (again.body, again.entry_index, again.entry_id) == (first.body, first.entry_index, first.entry_id)
    assert here.entries() == size


async def test_the_same_request_id_with_other_bytes_is_a_conflict(here):
    control_key = await here.give(here.ann)
    request_id = a_request_id()
    presence = await here.present(here.ann)
    await here.ask(here.signed(OBSERVATIONS, control_key, request_id=request_id, presence=presence))
    received = await here.ask(here.signed("/fhir/Condition", control_key, request_id=request_id, presence=presence))
    assert refusal(received) == (409, "9051 REQUEST_ID_USED")


async def test_nothing_leaves_thirty_seconds_after_the_block(here):
    control_key = await here.give(here.ann)
    reading = here.signed(OBSERVATIONS, control_key, presence=await here.present(here.ann))
    assert (await here.ask(reading)).status == 200
    here.clock.go(30)
    assert (await here.ask(reading)).status == 200  # the last instant
    here.clock.go(1)
    assert refusal(await here.ask(reading)) == (410, "9055 RELEASE_TOO_LATE")


async def test_many_calls_at_once_under_one_grant_each_get_their_own_entry(here):
    import asyncio

    control_key = await here.give(here.ann)
    await here.read(OBSERVATIONS, control_key, patient=here.ann)
    received = await asyncio.gather(*[here.read(OBSERVATIONS, control_key) for _ in range(12)])
    assert [one.status for one in received] == [200] * 12
    assert len({one.entry_index for one in received}) == 12
    for one in received:  # every detail opens with the d of the entry's own tag
        row = here.holder.journal.one("SELECT tag, month, chart FROM releases WHERE entry_index = ?", (one.entry_index,))
        entered = access.entry(here.engine.read(), one.entry_index)
        assert entered.tag == row[0]


async def test_an_offer_that_nobody_approves_does_not_hold_up_the_next(here):
    control_key = await here.give(here.ann)
    await here.read(OBSERVATIONS, control_key, patient=here.ann)
    await prepare(here, here.signed(OBSERVATIONS, control_key))  # offered, never approved
    received = await here.read(OBSERVATIONS, control_key)
    assert received.status == 200
    row = here.holder.journal.one("SELECT tag FROM releases WHERE entry_index = ?", (received.entry_index,))
    assert access.entry(here.engine.read(), received.entry_index).tag == row[0]


async def test_what_was_sent_takes_nobodys_place_and_one_requester_not_all(here, monkeypatch):
    """Sent releases used to hold their places for two minutes: 33 a second were all that a holder could serve."""
    monkeypatch.setattr(releases, "OPEN_EACH_MAX", 3)
    control_key = await here.give(here.ann)
    await here.read(OBSERVATIONS, control_key, patient=here.ann)
    for _ in range(5):
        assert (await here.read(OBSERVATIONS, control_key)).status == 200
    for _ in range(3):
        await prepare(here, here.signed(OBSERVATIONS, control_key))  # offered, never approved
    assert refusal(await here.read(OBSERVATIONS, control_key)) == (429, f"{int(No.TOO_MANY_REQUESTS)} TOO_MANY_REQUESTS")
    own = here.ann.wallet.read_own(here.ann.state, HOLDER, OBSERVATIONS, here.now_s, a_request_id())
    answer = await here.client.post(here.running.urls[HOLDER] + "/patient/read", content=pack(own))
    assert answer.status_code == 200


async def test_one_requester_does_not_fill_the_holders_memory(here, monkeypatch):
    control_key = await here.give(here.ann)
    await here.read(OBSERVATIONS, control_key, patient=here.ann)
    monkeypatch.setattr(releases, "OPEN_EACH_SIZE_BYTES_MAX", 10)
    await prepare(here, here.signed(OBSERVATIONS, control_key))  # however large, if it is the only one
    with pytest.raises(NodeRefused) as no:
        await prepare(here, here.signed(OBSERVATIONS, control_key))
    assert no.value.no is No.TOO_MANY_REQUESTS


# --- telling the patient


async def test_every_access_leaves_the_patient_a_notice(here):
    control_key = await here.give(here.ann)
    received = await here.read(OBSERVATIONS, control_key, patient=here.ann)
    chart = here.holder.charts.of_patient("ann")
    (row,) = rows(here, "notices")
    assert (row[1], row[3], row[4]) == (chart.id, "access", received.entry_index)
    assert b"clinic" not in row[5]  # sealed


async def test_what_the_holder_keeps_opens_with_the_wallets_key(here):
    control_key = await here.give(here.ann)
    received = await here.read(OBSERVATIONS, control_key, patient=here.ann)
    row = here.holder.releases.row(
        here.holder.journal.one("SELECT request_id FROM releases WHERE entry_index = ?", (received.entry_index,))[0]
    )
    audit = here.holder.releases.offer_of(row).audit_event
    chart_key = here.ann.state.chart(HOLDER).chart_key
    t_m = artefacts.month_key(chart_key, here.network, row.month)
    d = artefacts.detail_key(t_m, here.network, row.tag)
    record = here.engine.entry(received.entry_index)
    from yilian.base.transaction import parse as parse_transaction

    body = parse_transaction(record.data).body
    assert body[6] == artefacts.detail(d, here.network, audit)
    said = json.loads(audit)
    assert (said["agent"][2]["who"]["identifier"]["value"], said["entity"][0]["what"]["identifier"]["value"]) == (
        here.doctor.public_key.hex(),
        kid_of(here.ann.wallet.relationship_key(here.ann.state, HOLDER)).hex(),
    )


async def test_a_patient_reads_what_is_kept_and_that_is_entered_too(here):
    request = here.ann.wallet.read_own(here.ann.state, HOLDER, "/fhir/Observation", here.now_s, a_request_id())
    url = here.running.urls[HOLDER] + "/patient/read"
    answer = await here.client.post(url, content=pack(request))
    assert (answer.status_code, ids(answer.content)) == (200, ["Observation/ann-closed", "Observation/ann-new", "Observation/ann-old"])
    entered = access.entry(here.engine.read(), int(answer.headers["yilian-entry-index"]))
    assert entered.basis is access.Basis.PATIENT
    again = await here.client.post(url, content=pack(request))
    assert (again.content, again.headers["yilian-entry-index"]) == (answer.content, answer.headers["yilian-entry-index"])
    forged = replace(request, target="/fhir/Condition")
    refused = await here.client.post(url, content=pack(forged))
    assert (refused.status_code, refused.json()["name"]) == (403, "NOT_SIGNED_BY_PATIENT")


async def test_sealed_artefacts_open_for_their_holder_only(here):
    control_key = await here.give(here.ann)
    bundle = evidence_of(here, control_key)
    box = sealed(here, control_key, bundle)
    assert open_bundle(here.holder.keys.vault.sealing_seed, here.network, HOLDER, control_key, box) == bundle
    with pytest.raises(NodeRefused) as no:
        await prepare(here, here.signed(OBSERVATIONS, control_key, presence=await here.present(here.ann)), box[:-1] + bytes([box[-1] ^ 1]))
    assert (no.value.no, no.value.facts) == (No.ARTEFACTS_NOT_OPENED, {})


async def test_where_the_network_wants_a_memo_the_regulator_alone_opens_it(tmp_path):
    from yilian.base import labels
    from yilian.base.codec import decode
    from yilian.base.digests import labelled
    from yilian.base.seal import open_as_member
    from yilian.base.transaction import parse as parse_transaction

    async with ward(tmp_path, memo_size=1_300) as here:
        here.ann = here.person("ann")
        await here.enrol(here.ann)
        received = await here.read(OBSERVATIONS, await here.give(here.ann), patient=here.ann)
        memo = parse_transaction(here.engine.entry(received.entry_index).data).body[7]
        tag = access.entry(here.engine.read(), received.entry_index).tag
        regulator = here.running.nodes["regulator-1"].keys.vault.sealing_seed
        opened = open_as_member(regulator, labelled(labels.MEMO, here.network, tag), memo).rstrip(b"\x00")
        assert (len(memo), decode(opened)) == (1_300, [HOLDER, REQUESTER, int(access.Basis.GRANT)])
