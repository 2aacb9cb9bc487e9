"""What a wallet signs, and all that it does not sign."""

from dataclasses import replace

import pytest

from tests.wallet_worlds import CHART_KEY, HOLDER, OPERATOR, REQUESTER, ChartWorld
from tests.worlds import World, make_genesis, node_key, receipt_key, seed
from yilian.base.artefacts import consent_commitment
from yilian.base.codec import Malformed
from yilian.base.consents import ConsentNotUnderstood
from yilian.base.handovers import EnrolAsk, GrantBundle, GrantKey, open_bundle
from yilian.base.keys import kid_of
from yilian.base.refusals import Reason
from yilian.base.seal import Unopened
from yilian.base.shapes import pack, unpack
from yilian.base.times import DAY_S, day_of
from yilian.base.transaction import act_bytes, assemble
from yilian.contracts import consent
from yilian.ledger import receipt, transparent
from yilian.wallet import Members, No, Wallet, WalletRefused, WalletState, Wish, parse_state


@pytest.fixture
def world():
    made = ChartWorld()
    made.enrol()
    return made


def refused(act, *arguments, **named):
    with pytest.raises(WalletRefused) as no:
        act(*arguments, **named)
    return no.value.no, no.value.facts


# enrolment


def test_the_same_question_gets_the_same_answer_and_keys_differ_by_holder_and_generation(world):
    ask = EnrolAsk(world.network, HOLDER, 1, b"q" * 32)
    state, first = world.wallet.enrol(WalletState(), ask, 5)
    assert world.wallet.enrol(state, ask, 6) == (state, first)
    others = [
        world.wallet.enrol(WalletState(), replace(ask, **change), 5)[1]
        for change in ({"holder": REQUESTER}, {"generation": 2}, {"nonce": b"r" * 32})
    ]
    assert [other.relationship_key == first.relationship_key for other in others] == [False, False, True]
    assert not first.answers(replace(ask, nonce=b"r" * 32))
    assert not first.answers(replace(ask, holder=REQUESTER))
    assert not replace(first, sealing_key=b"s" * 32).answers(ask)


def test_no_enrolment_elsewhere_by_strangers_or_over_a_live_chart(world):
    ask = EnrolAsk(world.network, HOLDER, 1, b"q" * 32)
    assert refused(world.wallet.enrol, world.state, replace(ask, network=b"x" * 32), 5) == (No.ANOTHER_NETWORK, {})
    assert refused(world.wallet.enrol, world.state, replace(ask, holder="nobody"), 5) == (No.NO_SUCH_MEMBER, {"member": "nobody"})
    assert refused(world.wallet.enrol, world.state, replace(ask, nonce=b"short"), 5) == (No.NONCE_NOT_32_BYTES, {})
    live = (No.CHART_IS_LIVE, {"holder": HOLDER, "generation": 1})
    assert refused(world.wallet.enrol, world.state, replace(ask, generation=2), 5) == live


def test_a_chart_key_comes_from_the_holder_alone_and_stays(world):
    ask = EnrolAsk(world.network, HOLDER, 1, b"q" * 32)
    state, answer = world.wallet.enrol(WalletState(), ask, 5)
    said = world.relationship(answer)
    admitted = world.wallet.admit(state, said)
    assert (admitted.chart(HOLDER).chart_key, admitted.chart(HOLDER).height) == (CHART_KEY, 7)
    assert world.wallet.admit(admitted, said) == admitted
    admit = world.wallet.admit
    assert refused(admit, WalletState(), said) == (No.NOT_ENROLLED, {"holder": HOLDER})
    assert refused(admit, state, replace(said, signature=bytes(64))) == (No.NOT_SIGNED_BY_MEMBER, {"member": HOLDER})
    assert refused(admit, state, replace(said, height=8)) == (No.NOT_SIGNED_BY_MEMBER, {"member": HOLDER})
    another = {"holder": HOLDER, "generation": 1}
    assert refused(admit, state, replace(said, relationship_key=b"x" * 32)) == (No.ANOTHER_RELATIONSHIP, another)
    assert refused(admit, state, replace(said, generation=2)) == (No.ANOTHER_RELATIONSHIP, another | {"generation": 2})
    assert refused(admit, state, replace(said, sealed_chart_key=bytes(80))) == (No.CHART_KEY_NOT_OPENED, {"holder": HOLDER})
    chart = replace(admitted.chart(HOLDER), chart_key=b"L" * 32)
    assert refused(admit, admitted.with_chart(chart), said) == (No.CHART_KEY_CHANGED, {"holder": HOLDER})


# grants

WISH = Wish(HOLDER, REQUESTER, "TREAT", 31, 5, resource_types=("Observation", "Condition"), erase_at_s=2_000_000_000)


def draft(world, wish=WISH, sides=None, entropy=b"k" * 32):
    sides = sides or tuple(world.grant_key(member, world.one_time(member)) for member in (HOLDER, REQUESTER))
    return world.wallet.draft(world.state, wish, sides, world.now_s, entropy)


def test_a_grant_says_what_was_wished_and_the_ledger_takes_it(world):
    control_key = world.give(days=31, uses_max=5)
    grant = world.state.grant(control_key)
    row = consent.read(world.rows, control_key)
    assert (row.holder_key, row.requester_key, row.uses_max) == (grant.holder_key, grant.requester_key, 5)
    assert row.expires_at_s == grant.expires_at_s == (day_of(world.now_s) + 31) * DAY_S
    assert row.commitment == consent_commitment(world.network, grant.key, grant.consent)
    assert grant.is_live(world.now_s)
    assert not grant.is_live(grant.expires_at_s)


def test_each_side_opens_its_own_bundle_and_reads_the_patients_terms(world):
    world.state, act = draft(world)
    for member in (HOLDER, REQUESTER):
        sealed = world.wallet.bundle(world.state, act.control_key, member)
        bundle = open_bundle(seed(member, "sealing") * 3, world.network, member, act.control_key, sealed)
        terms = bundle.terms(world.network, world.relationship_key, act.body[4])
        assert (terms.control_key, terms.holder, terms.requester, terms.purpose) == (act.control_key, HOLDER, REQUESTER, "TREAT")
        assert (terms.resource_types, terms.patient) == (("Condition", "Observation"), kid_of(world.relationship_key))
        with pytest.raises(Unopened):
            open_bundle(seed(OPERATOR, "sealing") * 3, world.network, member, act.control_key, sealed)
        with pytest.raises(Unopened):
            open_bundle(seed(member, "sealing") * 3, world.network, member, b"g" * 32, sealed)
    stranger = (No.GRANT_KEY_OF_ANOTHER_MEMBER, {"member": OPERATOR})
    assert refused(world.wallet.bundle, world.state, act.control_key, OPERATOR) == stranger


def test_a_bundle_that_is_not_the_patients_or_not_the_grants_is_refused(world):
    world.state, act = draft(world)
    grant = world.state.grant(act.control_key)
    bundle = GrantBundle(grant.consent, grant.key, grant.signature)
    for wrong, key, commitment in [
        (replace(bundle, key=b"x" * 32), world.relationship_key, act.body[4]),
        (replace(bundle, key=b"short"), world.relationship_key, act.body[4]),
        (replace(bundle, consent=grant.consent + b" "), world.relationship_key, act.body[4]),
        (replace(bundle, signature=bytes(64)), world.relationship_key, act.body[4]),
        (bundle, node_key(REQUESTER).public_key, act.body[4]),  # a key that the requester would like to have enrolled
        (bundle, world.relationship_key, bytes(32)),
    ]:
        with pytest.raises(ConsentNotUnderstood):
            wrong.terms(world.network, key, commitment)
    assert unpack(GrantBundle, pack(bundle)) == bundle


def test_no_grant_without_both_members_own_fresh_keys(world):
    good = [world.grant_key(member, world.one_time(member)) for member in (HOLDER, REQUESTER)]
    pair = world.one_time(HOLDER)
    cases = [
        ((good[1], good[0]), No.GRANT_KEY_OF_ANOTHER_MEMBER, {"member": REQUESTER}),
        ((replace(good[0], until_s=world.now_s), good[1]), No.GRANT_KEY_ENDED, {"member": HOLDER, "until_s": world.now_s}),
        ((replace(good[0], key=b"x" * 32), good[1]), No.NOT_SIGNED_BY_MEMBER, {"member": HOLDER}),
        ((good[0], replace(good[1], until_s=good[1].until_s + 1)), No.NOT_SIGNED_BY_MEMBER, {"member": REQUESTER}),
        ((world.grant_key(HOLDER, pair), world.grant_key(REQUESTER, pair)), No.GRANT_KEY_USED, {}),
    ]
    for sides, no, facts in cases:
        assert refused(draft, world, WISH, sides) == (no, facts)
    world.state, _ = draft(world, WISH, tuple(good))
    assert refused(draft, world, WISH, tuple(good)) == (No.GRANT_KEY_USED, {"member": HOLDER})


@pytest.mark.parametrize(
    ("change", "no", "facts"),
    [
        ({"days": 30}, No.END_NOT_ALLOWED, {"days": 30}),
        ({"uses_max": 2}, No.USES_NOT_ALLOWED, {"uses_max": 2}),
        ({"interval_s": 3_600}, No.INTERVAL_NOT_ALLOWED, {"interval_s": 3_600}),
        ({"interval_s": 0}, No.INTERVAL_NOT_ALLOWED, {"interval_s": 0}),
        ({"role": "Dr"}, No.TERMS_NOT_SAYABLE, {"why": "a role is 1 to 32 small letters, digits and hyphens"}),
        ({"holder": "clinic-1"}, No.NOT_ENROLLED, {"holder": "clinic-1"}),
    ],
)
def test_what_nobody_may_wish(world, change, no, facts):
    assert refused(draft, world, replace(WISH, **change)) == (no, facts)


def test_a_grant_needs_fresh_entropy_of_32_bytes(world):
    assert refused(draft, world, WISH, None, b"short") == (No.ENTROPY_NOT_32_BYTES, {})


def test_two_grants_share_no_key(world):
    control_keys = [world.give() for _ in range(2)]
    keys = [key for grant in map(world.state.grant, control_keys) for key in (grant.control_key, grant.holder_key, grant.requester_key)]
    assert len(set(keys)) == 6


def test_an_approval_is_for_one_kind_here_and_now_in_a_members_envelope(world):
    world.state, act = draft(world)
    approve = world.wallet.approve_give

    def tried(**changes):
        kind_name = changes.pop("kind_name", "consent.give")
        return refused(approve, world.state, act.control_key, world.header(kind_name, **changes), world.now_s)

    assert tried(kind_name="consent.revoke") == (No.HEADER_OF_ANOTHER_KIND, {"subject": "consent.revoke"})
    assert tried(network=b"x" * 32) == (No.ANOTHER_NETWORK, {})
    assert tried(exp_s=world.now_s) == (No.HEADER_ENDED, {"exp_s": world.now_s})
    assert tried(exp_s=world.now_s + 3_661) == (No.HEADER_TOO_FAR_AHEAD, {"exp_s": world.now_s + 3_661})
    assert tried(issuer="nobody") == (No.NO_SUCH_MEMBER, {"member": "nobody"})
    assert tried(kid=bytes(16)) == (No.NOT_SIGNED_BY_MEMBER, {"member": OPERATOR})
    assert refused(approve, world.state, act.control_key, b"\xa0", world.now_s) == (No.NOT_A_HEADER, {})
    assert refused(approve, world.state, b"g" * 32, b"", world.now_s) == (No.NO_SUCH_GRANT, {"control_key": (b"g" * 32).hex()})
    key, signature = approve(world.state, act.control_key, world.header("consent.give", exp_s=world.now_s + 3_660), world.now_s)
    assert (key, len(signature)) == (act.control_key, 64)


def test_a_silent_carrier_is_replaced_by_another_and_the_second_is_refused_as_done(world):
    world.state, act = draft(world)
    headers = [world.header("consent.give", carrier) for carrier in (OPERATOR, REQUESTER)]
    approvals = [world.wallet.approve_give(world.state, act.control_key, header, world.now_s) for header in headers]
    world.carry(act, headers[0], approvals[0])
    again = assemble(node_key(REQUESTER), headers[1], act.kind, act.body, [approvals[1]])
    assert [result.reason for result in world.commit(again).results] == [Reason.GRANT_EXISTS]


def test_revoking_tells_the_holder_and_the_ledger_and_twice_says_the_same(world):
    control_key = world.give()
    index = world.revoke(control_key)
    grant = world.state.grant(control_key)
    assert (grant.revoked_at_s, grant.revoked_index) == (world.now_s, index)
    assert consent.read(world.rows, control_key).state is consent.State.REVOKED
    later, notice, act = world.wallet.revoke(world.state, control_key, world.now_s + 60)
    assert (later, notice.revoked_at_s, act.kind_name) == (world.state, world.now_s, "consent.revoke")
    assert notice.is_genuine(world.network)
    assert not replace(notice, revoked_at_s=1).is_genuine(world.network)
    assert not notice.is_genuine(b"x" * 32)


def test_a_receipt_proves_the_index_and_a_false_one_proves_nothing(world):
    control_key = world.give()
    given = world.state.grant(control_key).given_index
    forgotten = world.wallet.note_index(world.state, control_key, 99, is_revoke=False)
    assert world.wallet.take_receipt(forgotten, world.transparent(given)).grant(control_key).given_index == given
    revoked = world.revoke(control_key)
    assert world.wallet.take_receipt(world.state, world.transparent(revoked)).grant(control_key).revoked_index == revoked
    world.read_own()
    alone = receipt(world.checkpoint(signer=HOLDER), given, list(world.path(given)))
    forged = receipt(world.checkpoint(pair=receipt_key(HOLDER)), given, list(world.path(given)))
    for wrong in (
        world.transparent(world.shown[-1][0]),
        transparent(world.leaves[given], []),
        transparent(world.leaves[given], [alone]),
        transparent(world.leaves[given], [forged]),
        b"nonsense",
    ):
        assert refused(world.wallet.take_receipt, world.state, wrong) == (No.NOT_A_RECEIPT_OF_OURS, {})


# being here


def present(world, asked, **changes):
    said = {"seen": REQUESTER, "now_s": world.now_s, "until_s": world.now_s + 300} | changes
    return world.wallet.prove_presence(world.state, asked, (HOLDER,), **said)


def test_a_presence_proof_is_for_one_challenge_one_holder_and_five_minutes(world):
    asked = world.challenge()
    (proof,) = present(world, asked)
    assert proof.is_signed_by(world.network, world.relationship_key)
    assert (proof.challenge_digest, proof.holder) == (asked.challenge.digest(world.network), HOLDER)
    for change in ({"holder": REQUESTER}, {"until_s": proof.until_s + 1}, {"challenge_digest": bytes(32)}):
        assert not replace(proof, **change).is_signed_by(world.network, world.relationship_key)
    assert not proof.is_signed_by(b"x" * 32, world.relationship_key)


def test_no_presence_for_strangers_for_old_questions_or_for_whom_the_person_does_not_see(world):
    now_s = world.now_s
    unsigned = (No.NOT_SIGNED_BY_MEMBER, {"member": REQUESTER})
    assert refused(present, world, world.challenge(signer=OPERATOR)) == unsigned
    altered = world.challenge()
    altered = replace(altered, challenge=replace(altered.challenge, practitioner=b"e" * 32))
    assert refused(present, world, altered) == unsigned
    assert refused(present, world, world.challenge("nobody", signer=REQUESTER)) == (No.NO_SUCH_MEMBER, {"member": "nobody"})
    relayed = (No.NOT_WHOM_THE_PERSON_SEES, {"requester": REQUESTER})
    assert refused(present, world, world.challenge(), seen=OPERATOR) == relayed
    assert refused(present, world, world.challenge(purpose="MARKT")) == (No.PURPOSE_NOT_KNOWN, {})
    for issued_at_s in (now_s - 301, now_s + 61):
        old = (No.CHALLENGE_NOT_FRESH, {"issued_at_s": issued_at_s})
        assert refused(present, world, world.challenge(issued_at_s=issued_at_s)) == old
    assert refused(present, world, world.challenge(nonce=b"short"))[0] is No.CHALLENGE_NOT_FRESH
    for until_s in (now_s, now_s + 301):
        assert refused(present, world, world.challenge(), until_s=until_s) == (No.UNTIL_NOT_ALLOWED, {"until_s": until_s})
    world.state = WalletState()
    assert refused(present, world, world.challenge()) == (No.NOT_ENROLLED, {"holder": HOLDER})


def test_own_requests_are_signed_for_one_holder_and_thing(world):
    reading = world.wallet.read_own(world.state, HOLDER, "/fhir/Patient/1/$everything", world.now_s, b"i" * 16)
    log = world.wallet.ask_log(world.state, HOLDER, 24_000, world.now_s, b"z" * 32)
    assert reading.is_genuine(world.network)
    assert log.is_genuine(world.network)
    assert (reading.until_s, log.until_s, log.seen_size) == (world.now_s + 120, world.now_s + 120, 0)
    for change in ({"holder": REQUESTER}, {"until_s": 9}, {"relationship_key": node_key(HOLDER).public_key}):
        assert not replace(reading, **change).is_genuine(world.network)
        assert not replace(log, **change).is_genuine(world.network)
    assert not replace(reading, target="/fhir/Patient/2").is_genuine(world.network)
    assert not replace(log, month=1).is_genuine(world.network)


# the state, and whom to believe


def test_the_state_is_its_bytes(world):
    world.revoke(world.give(interval_s=43_200))
    world.give()
    world.check()
    assert parse_state(world.state.encoded()) == world.state
    for damaged in (b"", b"\x80", world.state.encoded()[:-1], pack(GrantKey(b"", "", 0, b""))):
        with pytest.raises(Malformed):
            parse_state(damaged)


def test_a_seed_has_32_bytes_and_is_not_shown(world):
    with pytest.raises(ValueError, match="32 bytes"):
        Wallet.of(b"short", world.members)
    assert seed("patient").hex() not in repr(world.wallet)
    assert repr(seed("patient")) not in repr(world.wallet)


def test_validators_suffice_by_more_than_two_thirds_of_the_votes():
    members = Members.of(World(make_genesis(operator="")).genesis)
    names = sorted(members.keys)
    assert [members.suffice(names[:count]) for count in range(5)] == [False, False, False, True, True]
    assert not members.suffice([names[0]] * 5)
    embedded = Members.of(make_genesis())
    assert [embedded.suffice([name]) for name in names] == [name == OPERATOR for name in names]


def test_the_act_to_carry_is_the_bytes_that_are_approved(world):
    _, act = draft(world)
    assert act_bytes(act.kind, act.body)[:2] == b"\x82\x14"  # [20, ...
    assert consent.KINDS[0].read(act.body).control_key == act.control_key
