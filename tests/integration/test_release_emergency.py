"""Break-glass, and a thief with everything the requester's node has (design 04)."""

import json
from dataclasses import replace

import pytest

from tests.alliance_worlds import seed
from tests.release_worlds import HOLDER, REQUESTER, SYSTEM, ids, ward
from yilian.base.artefacts import intent_statement
from yilian.base.codec import decode, encode
from yilian.base.digests import sha256
from yilian.base.keys import SigningKey, kid_of
from yilian.contracts import access, consent
from yilian.node import No, NodeRefused, aftermath, emergency, notices, release
from yilian.node.asking import ReleaseCall
from yilian.node.logins import Purpose
from yilian.node.requesting import Reading
from yilian.node.schema import Stage
from yilian.node.tokens import Asker

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("release")]
HANDLE = f"/fhir/Patient/$emergency?identifier={SYSTEM}%7Cno-ann"
SET = ["AllergyIntolerance/ann-allergy", "Condition/ann-condition", "Observation/ann-new", "Patient/ann"]


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        running.ann = running.person("ann")
        yield running


def refusal(received):
    return received.status, received.refusal


def break_glass(here, target=HANDLE, reason="unconscious, no papers", **how):
    return here.ask(here.signed(target, None, purpose="ETREAT", reason=reason, **how))


async def test_an_emergency_opens_the_set_of_one_named_patient_and_names_the_member(here):
    received = await break_glass(here)
    assert (received.status, ids(received.body)) == (200, SET)  # not of 2020, not labelled R
    entered = access.entry(here.engine.read(), received.entry_index)
    assert (entered.basis, entered.member, entered.control_key) == (access.Basis.EMERGENCY, REQUESTER, None)


async def offered(here, **how):
    """Make call (a) of an emergency and no more; return (offer, request id)."""
    reading = here.signed(HANDLE, None, purpose="ETREAT", reason="unconscious, no papers", **how)
    who = Asker(REQUESTER, here.doctor.public_key, "ETREAT", None, is_own=False, thumbprint="", until_s=here.now_s + 10_000)
    call = ReleaseCall(reading.read, reading.practitioner, reading.signature, None, None, reading.reason)
    return await release.prepare(call, who, here.holder), reading.read.request_id


async def test_an_offer_that_is_not_approved_says_no_more_than_that_the_patient_is_known_here(here):
    before, _ = await offered(here)
    await here.enrol(here.ann)
    after, _ = await offered(here)
    kid = kid_of(here.ann.wallet.relationship_key(here.ann.state, HOLDER))
    systems = []
    for offer in (before, after):
        shown = offer.encoded()
        assert kid not in shown
        assert kid.hex().encode() not in shown
        entities = json.loads(offer.audit_event)["entity"]
        systems.append([one["what"]["identifier"]["system"] for one in entities])
        assert len(entities[0]["what"]["identifier"]["value"]) == 64
    assert systems == [["urn:yilian:relationship-salted", "urn:yilian:request"]] * 2  # the same shape, enrolled or not


async def test_whose_records_were_released_in_an_emergency_is_proven_by_the_salt_that_came_with_them(here):
    await here.enrol(here.ann)
    received = await break_glass(here)
    row = here.requester.journal.one("SELECT request_id, evidence_sealed FROM receipts WHERE entry_index = ?", (received.entry_index,))
    audit, _, _, salt = decode(here.requester.keys.open(None, row[1], row[0]))
    kid = kid_of(here.ann.wallet.relationship_key(here.ann.state, HOLDER))
    assert json.loads(audit)["entity"][0]["what"]["identifier"]["value"] == sha256(salt + kid).hex()


async def test_a_patient_is_told_of_an_emergency_that_was_offered_and_never_approved(here):
    _, request_id = await offered(here)
    here.holder.releases.open.clear()
    await aftermath.recover(here.holder)  # as the end of its two minutes does
    await aftermath.recover(here.holder)
    (told,) = notices.notices(here.holder, here.holder.charts.of_patient("ann"))
    assert (told.kind, told.entry_index, told.facts["requester"], told.facts["basis"]) == ("no-entry", None, REQUESTER, "emergency")
    assert told.en == (
        f"name of {REQUESTER} asked for your records by break-glass access and did not go on:"
        " nothing was sent, and the ledger has no entry of it."
    )
    assert here.holder.releases.row(request_id).stage == Stage.DROPPED
    control_key = await here.give(await enrolled(here))
    await here.read("/fhir/Observation", control_key, patient=here.ann)
    reading = here.signed("/fhir/Observation", control_key)
    who = Asker(REQUESTER, here.doctor.public_key, "TREAT", control_key, is_own=False, thumbprint="", until_s=here.now_s + 10_000)
    await release.prepare(ReleaseCall(reading.read, reading.practitioner, reading.signature, None, None, None), who, here.holder)
    here.holder.releases.open.clear()
    await aftermath.recover(here.holder)  # of an offer by grant the patient knows already that its requester may ask
    assert [one.kind for one in notices.notices(here.holder, here.holder.charts.of_patient("ann"))] == ["no-entry", "access"]


async def enrolled(here):
    await here.enrol(here.ann)
    return here.ann


async def test_later_pages_of_an_emergency_belong_to_its_session(here):
    first, second = await break_glass(here), await break_glass(here)
    assert (first.status, second.status) == (200, 200)
    view = here.engine.read()
    assert len(access.reviews(view, REQUESTER)) == 1
    assert access.entry(view, second.entry_index).tag != access.entry(view, first.entry_index).tag


@pytest.mark.parametrize(
    ("target", "reason", "said"),
    [
        (HANDLE, None, "9028 REASON_MISSING"),
        (HANDLE, "  ", "9028 REASON_MISSING"),
        ("/fhir/Observation", "a reason", "9030 NOT_FOR_EMERGENCIES"),
        ("/fhir/Patient?identifier=" + SYSTEM + "%7Cno-ann", "a reason", "9030 NOT_FOR_EMERGENCIES"),
        ("/fhir/Patient/$emergency?name=a", "a reason", "9030 NOT_FOR_EMERGENCIES"),
        ("/fhir/Patient/$emergency?identifier=no-ann", "a reason", "9030 NOT_FOR_EMERGENCIES"),
        (HANDLE + ",x", "a reason", "9030 NOT_FOR_EMERGENCIES"),
        (HANDLE + "&identifier=x%7Cy", "a reason", "9030 NOT_FOR_EMERGENCIES"),
        (HANDLE + "x", "a reason", "9031 NO_SUCH_PATIENT"),
    ],
)
async def test_an_emergency_needs_a_reason_and_one_exact_handle_and_never_searches(here, target, reason, said):
    size = here.entries()
    assert refusal(await break_glass(here, target, reason)) == (403, said)
    assert here.entries() == size


async def cosigned(here, tag, doctor):
    signature = doctor.sign(intent_statement(here.network, REQUESTER, "emergency.cosign", [tag]))
    credential = Purpose(here.doctor.public_key, "physician", "ETREAT", None)
    body = encode([doctor.public_key, signature])
    return await here.requester.logins.post(here.holder.settings.endpoint, f"/network/emergency/{tag.hex()}/cosign", body, credential)


def tag_of(here, received):
    return access.entry(here.engine.read(), received.entry_index).tag


async def test_labels_open_only_after_a_second_person_has_signed(here):
    received = await break_glass(here)
    tag = tag_of(here, received)
    alone = await cosigned(here, tag, here.doctor)
    assert (alone.status, alone.headers["yilian-refusal"]) == (403, "9056 SESSION_NOT_COSIGNED")
    answer = await cosigned(here, tag, here.second)
    assert (answer.status, decode(answer.content)) == (200, here.now_s + 1_800)
    assert ids((await break_glass(here)).body) == sorted([*SET, "Observation/ann-closed"])


async def test_an_emergency_without_a_second_person_ends_after_fifteen_minutes(here):
    tag = tag_of(here, await break_glass(here))
    here.clock.go(15 * 60 - 1)
    await break_glass(here)
    assert len(access.reviews(here.engine.read(), REQUESTER)) == 1
    here.clock.go(1)
    late = await cosigned(here, tag, here.second)
    assert (late.status, late.headers["yilian-refusal"]) == (403, "9056 SESSION_NOT_COSIGNED")
    await break_glass(here)
    assert len(access.reviews(here.engine.read(), REQUESTER)) == 2  # a session of its own, and a review of its own


async def test_an_emergency_is_in_the_log_of_whoever_enrols_later(here):
    received = await break_glass(here)
    await here.enrol(here.ann)
    from yilian.base.artefacts import entry_seed, month_key
    from yilian.base.digests import key_tag
    from yilian.base.times import month_of

    t_m = month_key(here.ann.state.chart("hospital-1").chart_key, here.network, month_of(here.now_s))
    assert key_tag(SigningKey(entry_seed(t_m, here.network, 0)).public_key) == tag_of(here, received)


# --- a thief


class Thief:
    """Who has the requester's node key, token key, grant keys and whole database, and its network address; no practitioner, no patient."""

    def __init__(self, here, seen):
        self.here, self.seen, self.own = here, seen, SigningKey(seed("thief"))

    async def ask(self, reading):
        """Speak as the requester's own node would, with all its keys."""
        try:
            return (await self.here.ask(reading)).status
        except NodeRefused as no:
            return int(no.no)

    def signatures(self, reading):
        """Every signature that the thief can put under a reading: his own, the node's, those of the past."""
        statement = reading.read.statement(self.here.network)
        node_key, token_key = self.here.requester.keys.node_key, self.here.requester.keys.token_key
        return [key.sign(statement) for key in (self.own, node_key, token_key)] + [bytes(64)] + [one.signature for one in self.seen]


@pytest.mark.parametrize("standing", [False, True])
async def test_a_thief_with_the_requesters_whole_node_reads_nothing_by_grant(here, standing):
    await here.enrol(here.ann)
    terms = {"days": 31, "uses_max": 24, "interval_s": 43_200} if standing else {}
    control_key = await here.give(here.ann, **terms)
    legitimate = here.signed("/fhir/Observation", control_key, presence=await here.present(here.ann))
    assert (await here.ask(legitimate)).status == 200
    here.clock.go(31)  # later than the holder answers the same request again
    thief, read = Thief(here, [legitimate]), 0
    entries = consent.read(here.engine.read(), control_key).entries
    for presence in (None, legitimate.presence):
        reading = here.signed("/fhir/Observation", control_key, presence=presence)
        for signature in thief.signatures(reading):
            for practitioner in (here.doctor.public_key, thief.own.public_key, here.requester.keys.node_key.public_key):
                read += await thief.ask(replace(reading, practitioner=practitioner, signature=signature)) == 200
    read += await thief.ask(legitimate) == 200  # the same call again, byte for byte
    read += await thief.ask(replace(legitimate, read=replace(legitimate.read, request_id=bytes(16)))) == 200
    assert (read, consent.read(here.engine.read(), control_key).entries) == (0, entries)


async def test_a_thief_with_the_requesters_whole_node_reads_nothing_in_an_emergency(here):
    legitimate = here.signed(HANDLE, None, purpose="ETREAT", reason="unconscious")
    assert (await here.ask(legitimate)).status == 200
    here.clock.go(31)
    thief, read, size = Thief(here, [legitimate]), 0, here.entries()
    reading = here.signed(HANDLE, None, purpose="ETREAT", reason="unconscious")
    for signature in thief.signatures(reading):
        for practitioner in (here.doctor.public_key, thief.own.public_key):
            read += await thief.ask(replace(reading, practitioner=practitioner, signature=signature)) == 200
    read += await thief.ask(legitimate) == 200
    assert (read, here.entries()) == (0, size)


async def test_a_thief_makes_no_practitioner_without_the_ledger_saying_so(here):
    """The node key may register a practitioner of its own: that is an entry of the directory, with the member's name, for all to see."""
    await here.enrol(here.ann)
    control_key = await here.give(here.ann)
    fake = await here.running.doctor(REQUESTER, name="thief's own")
    credential_entry = here.entries() - 1
    received = await here.ask(here.signed("/fhir/Observation", control_key, doctor=fake))
    assert refusal(received) == (403, "9040 PRESENCE_REQUIRED")  # and the patient is still not there
    from yilian.base.transaction import parse

    entered = parse(here.engine.entry(credential_entry).data)
    assert (entered.header.issuer, entered.body[1]) == (REQUESTER, fake.public_key)


async def test_a_token_never_authorises_by_itself(here):
    await here.enrol(here.ann)
    control_key = await here.give(here.ann)
    reading = here.signed("/fhir/Observation", control_key)
    other = Asker(REQUESTER, here.second.public_key, "TREAT", control_key, is_own=False, thumbprint="", until_s=here.now_s + 300)
    with pytest.raises(NodeRefused) as no:
        await release.prepare(ReleaseCall(reading.read, reading.practitioner, reading.signature), other, here.holder)
    assert (no.value.no, no.value.facts) == (No.TOKEN_SAYS_ANOTHER, {})
    assert emergency.COSIGN_S == 900
    assert isinstance(reading, Reading)


async def test_nobody_asks_through_a_list_of_people_who_is_known_here(here, monkeypatch):
    """An offer that is never approved enters nothing; but it says that somebody of this name has a chart."""
    monkeypatch.setattr(emergency.limits, "EMERGENCIES", replace(emergency.limits.EMERGENCIES, per_minute=3))
    session = await break_glass(here)
    assert session.status == 200
    answers = [(await break_glass(here, HANDLE + str(number))).refusal for number in range(4)]
    assert answers == ["9031 NO_SUCH_PATIENT"] * 2 + [f"{int(No.TOO_MANY_REQUESTS)} TOO_MANY_REQUESTS"] * 2
    assert (await break_glass(here)).status == 200  # who is being treated is not held up


async def test_without_a_share_left_nothing_is_offered(tmp_path):
    async with ward(tmp_path, emergency_cap=1) as here:
        here.person("ann")
        here.person("bob")
        assert (await break_glass(here)).status == 200
        size = here.entries()
        for target in (HANDLE.replace("ann", "bob"), HANDLE.replace("ann", "nobody")):  # the same, whether known here or not
            received = await break_glass(here, target)
            assert refusal(received) == (403, "4006 EMERGENCY_QUOTA")
        assert here.holder.journal.all("SELECT count(*) FROM months") == [(1,)]
        assert here.entries() == size
