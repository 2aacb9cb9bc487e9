"""The ledger's one step: what is refused before a rule is asked, what is written, and what a block adds to the log."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import KINDS, MEMBERS, STARTED_AT_S, World, key, make_genesis, node_key, seed
from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import sha256
from yilian.base.keys import SigningKey, is_signed
from yilian.base.merkle import leaf_hash, root
from yilian.base.refusals import Reason
from yilian.base.transaction import Header, act_bytes, approve, assemble, parse, sign
from yilian.contracts import access, anchor, consent, directory, referral
from yilian.ledger import (
    BlockHeader,
    Frontier,
    Rows,
    VersionMissing,
    apply,
    daily,
    lthash,
    parse_chain,
    parse_daily_leaf,
    screen,
)
from yilian.ledger.nonces import PREFIX as NONCES

DAY_S = 86_400
TICK = anchor.Tick(bytes(32), bytes(32))


def give(world, name="g", **changes):
    control = key(name, "control")
    message = consent.Give(
        control.public_key,
        key(name, "holder").public_key,
        key(name, "requester").public_key,
        seed(name),
        (world.now_s // DAY_S + 8) * DAY_S,
        5,
    )
    return control, replace(message, **changes)


def given_grant(world, name="g", **changes):
    control, message = give(world, name, **changes)
    assert world.act("consent.give", message, approvers=[control]) == (0, {})
    return message


def tags_of_day(rows, day):
    return list(access.tags_of_day(rows, day))


def entry(name="g", **changes):
    message = access.Record(access.Basis.GRANT, key(name, "control").public_key, None, None, True, seed("detail"), b"")
    return replace(message, **changes), [key(name, "holder"), key(name, "requester")]


def test_an_accepted_transaction_is_a_leaf_and_its_writes_are_the_state():
    world = World()
    control, message = give(world)
    data = world.transaction("consent.give", message, approvers=[control])
    applied = world.commit(data)
    assert [(r.id, r.index, r.reason, r.facts) for r in applied.results] == [(leaf_hash(data), 0, 0, {})]
    assert applied.leaves == (data,)
    assert consent.read(world.rows, control.public_key).commitment == seed("g")
    assert world.chain.log == Frontier().grown([leaf_hash(data)])[0]
    assert world.chain.lanes == lthash.changed(lthash.EMPTY, [], world.rows.rows.items())
    assert applied.app_hash == sha256(root([leaf_hash(data)]) + lthash.digest(world.chain.lanes))


@pytest.mark.parametrize(
    ("changes", "reason", "facts"),
    [
        ({"network": b"m" * 32}, Reason.WRONG_NETWORK, {}),
        ({"issuer": "clinic-2"}, Reason.WRONG_ISSUER, {}),
        ({"issuer": "hospital-1"}, Reason.WRONG_ISSUER, {}),
        ({"kid": b"k" * 16}, Reason.UNKNOWN_KEY, {"kid": b"k" * 16}),
        ({"kid": node_key("hospital-1").kid, "issuer": "hospital-1"}, Reason.BAD_SIGNATURE, {}),
        ({"exp_s": STARTED_AT_S + 1}, Reason.EXPIRED, {"exp_s": STARTED_AT_S + 1}),
        ({"exp_s": STARTED_AT_S + 3_602}, Reason.TOO_FAR_AHEAD, {"exp_s": STARTED_AT_S + 3_602}),
        ({"nonce": 65_537}, Reason.NONCE_TOO_FAR, {"highest": 0}),
        ({"subject": "anchor.tock"}, Reason.WRONG_SUBJECT, {"kind": 40}),
    ],
)
def test_a_wrong_envelope_is_refused_with_its_reason(changes, reason, facts):
    world = World()
    before = dict(world.rows.rows)
    assert world.act("anchor.tick", TICK, **changes) == (reason, facts)
    assert world.leaves == []
    spends = reason is Reason.WRONG_SUBJECT  # network, signature and exp held: the nonce is spent whatever the rule answers
    assert {k for k in world.rows.rows if k not in before} == (
        {NONCES + node_key("clinic-1").kid, NONCES + node_key("clinic-1").kid + bytes(8)} if spends else set()
    )


@pytest.mark.parametrize(("exp_s", "taken"), [(STARTED_AT_S + 2, True), (STARTED_AT_S + 3_601, True)])
def test_the_first_and_last_second_of_exp_are_inside(exp_s, taken):
    assert (World().act("anchor.tick", TICK, exp_s=exp_s) == (0, {})) is taken


def test_a_signature_by_a_stranger_or_over_other_bytes_is_refused():
    world = World()
    assert world.act("anchor.tick", TICK, signer=key("stranger"))[0] == Reason.UNKNOWN_KEY
    good = parse(world.transaction("anchor.tick", TICK))
    forged = assemble(key("stranger"), good.protected, good.kind, good.body)
    assert [r.reason for r in world.commit(forged).results] == [Reason.BAD_SIGNATURE]


def test_an_unknown_kind_and_a_body_of_another_shape_are_refused():
    world = World()
    signer = node_key("clinic-1")
    cases = [
        (999, {}, "anchor.tick", Reason.UNKNOWN_KIND, {"kind": 999}),
        (-1, {}, "anchor.tick", Reason.UNKNOWN_KIND, {"kind": -1}),
        (40, {1: bytes(32)}, "anchor.tick", Reason.BAD_SHAPE, {"field": 2}),
        (40, {1: bytes(32), 2: bytes(31)}, "anchor.tick", Reason.BAD_SHAPE, {"field": 2}),
        (40, {1: None, 2: bytes(32)}, "anchor.tick", Reason.BAD_SHAPE, {"field": 1}),
        (40, {1: bytes(32), 2: bytes(32), 3: 0}, "anchor.tick", Reason.BAD_SHAPE, {"field": 0}),
        (40, {0: 1, 1: bytes(32), 2: bytes(32)}, "anchor.tick", Reason.BAD_SHAPE, {"field": 0}),
    ]
    for nonce, (number, body, subject, reason, facts) in enumerate(cases, 1):
        data = sign(signer, Header(world.network, signer.kid, "clinic-1", subject, world.now_s + 60, nonce), number, body)
        assert [(r.reason, r.facts) for r in world.commit(data).results] == [(reason, facts)]


def test_a_refusal_spends_the_nonce_and_writes_nothing_else():
    world = World()
    control, message = give(world, uses_max=7)
    before = dict(world.rows.rows)
    data = world.transaction("consent.give", message, approvers=[control])
    assert [(r.reason, r.facts) for r in world.commit(data).results] == [(Reason.USES_NOT_ALLOWED, {"uses_max": 7})]
    kid = node_key("clinic-1").kid
    assert {k: v for k, v in world.rows.rows.items() if k not in before} == {
        NONCES + kid: (1).to_bytes(8, "big"),
        NONCES + kid + bytes(8): bytes([2]) + bytes(127),
    }
    assert [(r.reason, r.facts) for r in world.commit(data).results] == [(Reason.REPLAYED, {"nonce": 1})]


def test_the_same_bytes_twice_in_a_block_are_accepted_once():
    world = World()
    data = world.transaction("anchor.tick", TICK)
    assert [(r.index, r.reason) for r in world.commit(data, data).results] == [(0, 0), (None, Reason.REPLAYED)]
    assert world.leaves == [data]


@given(st.lists(st.binary(max_size=120), max_size=4))
def test_apply_on_any_bytes_gives_results_and_changes_nothing(blobs):
    world = World()
    before, chain = dict(world.rows.rows), world.chain
    applied = world.commit(*blobs)
    assert [r.reason for r in applied.results] == [Reason.BAD_BYTES] * len(blobs)
    assert (world.rows.rows, world.chain.app_hash, applied.leaves) == (before, chain.app_hash, ())


def test_every_flipped_bit_of_a_good_transaction_is_refused():
    world = World()
    control, message = give(world)
    good = world.transaction("consent.give", message, approvers=[control])
    flips = []
    for position in range(0, len(good) * 8, 3):
        data = bytearray(good)
        data[position // 8] ^= 1 << position % 8
        flips.append(bytes(data))
    applied = world.apply(*flips)
    assert [r for r in applied.results if r.index is not None] == []
    assert applied.writes == {}


def test_an_approval_lifted_into_another_envelope_acts_nowhere():
    """Every approval of an accepted act, under every other member, a new nonce, and after the inverse act."""
    world = World()
    control, message = give(world)
    accepted = parse(world.transaction("consent.give", message, approvers=[control]))
    lifted = list(accepted.approvals)
    for carrier in ("hospital-1", "hospital-2", "regulator-1"):
        world.nonces[carrier] = world.nonces.get(carrier, 0) + 1
        header = Header(world.network, node_key(carrier).kid, carrier, "consent.give", world.now_s + 60, world.nonces[carrier])
        data = assemble(node_key(carrier), header.encoded(), accepted.kind, accepted.body, lifted)
        assert [r.reason for r in world.commit(data).results] == [Reason.BAD_APPROVAL]
    own = accepted.header._replace(nonce=900)
    data = assemble(node_key("clinic-1"), own.encoded(), accepted.kind, accepted.body, lifted)
    assert [r.reason for r in world.commit(data).results] == [Reason.BAD_APPROVAL]
    assert world.act("consent.give", message, approvers=[control]) == (0, {})
    assert world.act("consent.revoke", consent.Revoke(control.public_key), approvers=[control]) == (0, {})
    assert [r.reason for r in world.commit(data).results] == [Reason.BAD_APPROVAL]


def test_an_approval_for_one_act_is_none_for_another():
    world = World()
    control, message = give(world)
    header = Header(world.network, node_key("clinic-1").kid, "clinic-1", "consent.revoke", world.now_s + 60, 1)
    approval = approve(control, header.encoded(), act_bytes(20, KINDS["consent.give"].body(message)))
    data = assemble(node_key("clinic-1"), header.encoded(), 21, {1: control.public_key}, [approval])
    assert [(r.reason, r.facts) for r in world.commit(data).results] == [(Reason.BAD_APPROVAL, {"key": control.public_key})]


def test_facts_screened_before_are_used_only_while_the_key_table_says_the_same():
    world = World()
    data = world.transaction("anchor.tick", TICK)
    known = {data: screen(world.network, directory.key_table(world.rows), data)}
    assert world.apply(data, known=known) == world.apply(data)
    assert world.act("directory.suspend", directory.Suspend("clinic-1", bytes(32)), carrier="regulator-1") == (0, {})
    kid = node_key("clinic-1").kid
    assert [(r.reason, r.facts) for r in world.apply(data, known=known).results] == [(Reason.UNKNOWN_KEY, {"kid": kid})]


def test_a_signature_that_was_checked_before_is_not_checked_again(monkeypatch):
    world, checked = World(), []
    data = world.transaction("anchor.tick", TICK)
    known = {data: screen(world.network, directory.key_table(world.rows), data)}
    monkeypatch.setattr("yilian.base.keys.is_signed", lambda *asked: checked.append(asked[0]) or is_signed(*asked))
    assert [r.reason for r in world.apply(data, known=known).results] == [0]
    assert checked == []
    assert [r.reason for r in world.apply(data).results] == [0]
    assert checked == [node_key("clinic-1").public_key]


class Fading(dict):
    """Facts of which each is forgotten as soon as it was looked at: another thread makes room between two looks."""

    def get(self, data, default=None):
        return self.pop(data, default)


def test_a_fact_that_is_forgotten_while_the_block_is_decided_costs_nothing_but_its_being_found_again():
    world = World()
    data = world.transaction("anchor.tick", TICK)
    known = Fading({data: screen(world.network, directory.key_table(world.rows), data)})
    assert world.apply(data, known=known) == world.apply(data)
    assert known == {}


def test_a_chain_remembers_who_may_carry_as_its_state_says_it():
    world = World()
    assert world.commit().chain.keys == directory.key_table(world.rows)
    assert world.act("directory.suspend", directory.Suspend("clinic-1", bytes(32)), carrier="regulator-1") == (0, {})
    assert node_key("clinic-1").kid not in world.chain.keys
    assert world.chain.keys == directory.key_table(world.rows)


def test_a_member_suspended_earlier_in_the_block_carries_nothing_after():
    world = World()
    tick = world.transaction("anchor.tick", TICK)
    suspend = world.transaction("directory.suspend", directory.Suspend("clinic-1", bytes(32)), carrier="regulator-1")
    assert [(r.reason, r.facts) for r in world.apply(tick, suspend).results] == [(0, {}), (0, {})]
    assert [(r.reason, r.facts) for r in world.apply(suspend, tick).results] == [(0, {}), (Reason.MEMBER_SUSPENDED, {"member": "clinic-1"})]


def test_the_order_in_a_block_decides_a_race():
    world = World()
    given_grant(world)
    message, approvers = entry()
    use = world.transaction("access.record", message, "hospital-1", approvers)
    revoke = world.transaction("consent.revoke", consent.Revoke(message.grant), approvers=[key("g", "control")])
    assert [r.reason for r in world.apply(use, revoke).results] == [0, 0]
    assert [r.reason for r in world.apply(revoke, use).results] == [0, Reason.GRANT_REVOKED]


def test_an_empty_block_changes_nothing_but_height_and_time():
    world = World()
    given_grant(world)
    before = world.chain
    world.now_s += 5
    applied = world.commit()
    assert (applied.writes, applied.leaves, applied.app_hash) == ({}, (), before.app_hash)
    assert world.chain == replace(before, height=before.height + 1, time_ms=world.now_s * 1_000)


def test_time_does_not_run_backwards():
    world = World()
    world.now_s += 100
    world.commit()
    world.now_s -= 50
    assert world.act("anchor.tick", TICK, exp_s=world.now_s + 50) == (Reason.EXPIRED, {"exp_s": world.now_s + 50})
    assert world.chain.time_ms == (world.now_s + 50) * 1_000


# access by grant: consent and access, composed


def test_an_access_by_grant_uses_the_grant_and_enters_the_access_together():
    world = World()
    given = given_grant(world)
    message, approvers = entry()
    assert world.act("access.record", message, "hospital-1", approvers) == (0, {})
    used = consent.read(world.rows, given.control_key)
    assert (used.uses, used.entries, used.session_from_s, used.session_until_s) == (1, 1, world.now_s, world.now_s + 1_800)
    tag = sha256(encode(["tag", given.control_key, 0]))[:16]
    assert tags_of_day(world.rows, world.now_s // DAY_S) == [tag]


@pytest.mark.parametrize(
    ("changes", "approvers", "reason", "facts"),
    [
        ({"grant": None}, ("holder", "requester"), Reason.BAD_SHAPE, {"field": 2}),
        ({"grant": bytes(32)}, ("holder", "requester"), Reason.NO_SUCH_GRANT, {}),
        ({}, ("requester",), Reason.NOT_APPROVED_BY_HOLDER_KEY, {}),
        ({}, ("holder",), Reason.NOT_APPROVED_BY_REQUESTER_KEY, {}),
        ({"opens": False}, ("holder", "requester"), Reason.SESSION_ENDED, {"session_until_s": 0}),
        ({"memo": b"x"}, ("holder", "requester"), Reason.MEMO_SIZE_WRONG, {"memo_size_bytes": 0}),
    ],
)
def test_an_access_that_is_not_lawful_leaves_grant_and_tags_as_they_were(changes, approvers, reason, facts):
    world = World()
    given_grant(world)
    before = dict(world.rows.rows)
    message, _ = entry(**changes)
    assert world.act("access.record", message, "hospital-1", [key("g", role) for role in approvers]) == (reason, facts)
    assert {k: v for k, v in world.rows.rows.items() if not k.startswith(NONCES)} == {
        k: v for k, v in before.items() if not k.startswith(NONCES)
    }


def test_nobody_burns_another_members_uses():
    """A member that knows the control key and carries what it likes, but lacks one of the two keys, opens nothing."""
    world = World()
    given = given_grant(world, uses_max=1)
    message, _ = entry()
    for approvers in ([], [key("g", "requester")], [key("g", "holder")], [node_key("hospital-2"), key("other")]):
        assert world.act("access.record", message, "hospital-2", approvers)[0] in {
            Reason.NOT_APPROVED_BY_HOLDER_KEY,
            Reason.NOT_APPROVED_BY_REQUESTER_KEY,
        }
    assert consent.read(world.rows, given.control_key).uses == 0


def emergency(name="e", session=None, **changes):
    tag = sha256(key(name, "pk").public_key)[:16]
    message = access.Record(access.Basis.EMERGENCY, None, session, tag, session is None, seed("detail"), b"")
    return replace(message, **changes)


def test_an_emergency_names_the_member_whose_node_key_approved_and_no_other():
    world = World()
    approvers = [key("e", "pk"), node_key("hospital-2")]
    assert world.act("access.record", emergency(), "clinic-1", approvers) == (0, {})
    assert access.entry(world.rows, 0).member == "hospital-2"
    later = emergency("f", session=sha256(key("e", "pk").public_key)[:16])
    refused = world.act("access.record", later, "clinic-1", [key("f", "pk"), node_key("hospital-1")])
    assert refused == (Reason.NOT_THE_SESSION_MEMBER, {"member": "hospital-2"})
    assert world.act("access.record", later, "clinic-1", [key("f", "pk"), node_key("hospital-2")]) == (0, {})


def test_an_emergency_takes_its_cap_and_memo_size_from_the_directory():
    world = World(make_genesis(emergency_cap=2, memo_size=3))
    answers = [
        world.act("access.record", emergency(name, memo=b"abc"), "clinic-1", [key(name, "pk"), node_key("hospital-2")]) for name in "abc"
    ]
    assert answers == [(0, {}), (0, {}), (Reason.EMERGENCY_QUOTA, {"level": 0})]
    answer = world.act("access.record", emergency("d"), "clinic-1", [key("d", "pk"), node_key("hospital-1")])
    assert answer == (Reason.MEMO_SIZE_WRONG, {"memo_size_bytes": 3})


def test_members_that_approved_are_told_to_a_rule_in_ascending_order():
    world = World()
    approvers = [node_key("hospital-2"), key("stranger"), node_key("hospital-1")]
    assert world.act("access.record", emergency(), "clinic-1", [*approvers, key("e", "pk")]) == (
        Reason.NOT_APPROVED_BY_A_MEMBER,
        {"members": 2},
    )
    assert world.act("reuse.declare", referral.Declare(3), "clinic-1", approvers[:2]) == (0, {})
    assert [referral.reuse(world.rows, member).avoided for member in ("clinic-1", "hospital-1", "hospital-2")] == [0, 0, 3]


# the daily leaf


def test_the_first_block_of_a_later_day_closes_each_day_since_empty_days_included():
    world = World()
    given_grant(world)
    message, approvers = entry()
    assert world.act("access.record", message, "hospital-1", approvers) == (0, {})
    digest_before, size_before, first_day = world.chain.state_digest, world.chain.log.size, world.now_s // DAY_S
    tag = tags_of_day(world.rows, first_day)[0]
    world.now_s += 3 * DAY_S
    applied = world.commit()
    leaves = [parse_daily_leaf(leaf) for leaf in applied.leaves]
    assert [(leaf.network, leaf.day, leaf.state_digest) for leaf in leaves] == [
        (world.network, first_day + n, digest_before) for n in range(3)
    ]
    assert [leaf.access_root for leaf in leaves] == [root([leaf_hash(tag)]), root([]), root([])]
    assert [(closed.day, closed.index, closed.tags) for closed in applied.days] == [
        (first_day, size_before, (tag,)),
        (first_day + 1, size_before + 1, ()),
        (first_day + 2, size_before + 2, ()),
    ]
    assert tags_of_day(world.rows, first_day) == []


def test_tags_of_yesterday_are_kept_one_day_and_then_dropped():
    world = World()
    given_grant(world)
    message, approvers = entry()
    assert world.act("access.record", message, "hospital-1", approvers) == (0, {})
    day = world.now_s // DAY_S
    world.now_s = (day + 1) * DAY_S
    world.commit()
    assert len(tags_of_day(world.rows, day)) == 1
    world.now_s = (day + 2) * DAY_S - 1
    assert world.commit().leaves == ()
    assert len(tags_of_day(world.rows, day)) == 1
    world.now_s += 1
    assert len(world.commit().leaves) == 1
    assert tags_of_day(world.rows, day) == []


def test_the_root_of_a_day_is_over_its_tags_in_ascending_order():
    world = World()
    for name in "abcdef":
        given_grant(world, name)
        message, approvers = entry(name)
        assert world.act("access.record", message, "hospital-1", approvers) == (0, {})
    tags = sorted(sha256(encode(["tag", key(name, "control").public_key, 0]))[:16] for name in "abcdef")
    world.now_s += DAY_S
    applied = world.commit()
    assert applied.days[0].tags == tuple(tags)
    assert parse_daily_leaf(applied.leaves[0]).access_root == root([leaf_hash(tag) for tag in tags])


class Watched(Rows):
    """Remembers what was scanned."""

    def scan(self, prefix):
        self.scanned = [*getattr(self, "scanned", []), prefix]
        return super().scan(prefix)


def test_only_the_first_block_of_a_day_looks_through_the_tags():
    """There are as many as accesses in two days: to look through them in every block is what no network could afford."""
    world = World()
    for later_s, looks in ((0, False), (DAY_S, True)):
        rows = Watched(world.rows.rows)
        apply(rows, world.chain, BlockHeader(1, (world.now_s + later_s) * 1_000, "clinic-1"), [])
        assert any(prefix.startswith(access.TAG_PREFIX) for prefix in rows.scanned) is looks


@pytest.mark.parametrize(
    ("last", "today", "dropped"),
    [(0, 1, []), (0, 2, [0]), (1, 2, [0]), (99, 100, [98]), (99, 101, [98, 99]), (99, 102, [98, 99]), (99, 400, [98, 99])],
)
def test_the_days_whose_tags_go_are_those_before_yesterday_of_which_there_are_any(last, today, dropped):
    assert list(daily.days_to_drop(last, today)) == dropped


@pytest.mark.parametrize("days", [1, 2, 3])
def test_old_tags_go_up_to_the_last_of_the_day_before_yesterday(days):
    world = World()
    last = world.now_s // DAY_S
    rows = {access.day_prefix(day) + tag: b"" for day in (last - 1, last) for tag in (bytes(16), b"\xff" * 16)}
    world.rows.take(rows)
    applied = apply(world.rows, world.chain, BlockHeader(1, (world.now_s + days * DAY_S) * 1_000, "clinic-1"), [])
    gone = {key for key, value in applied.writes.items() if key in rows and value is None}
    assert gone == {key for key in rows if key < access.day_prefix(last + days - 1)}
    assert {key: applied.replaced[key] for key in gone} == dict.fromkeys(gone, b"")


ROWS_OF_A_DAY = 5_000


class Held(bytes):
    """A key that counts how many of its kind are in memory."""

    now = most = 0

    def __new__(cls, *arguments):
        Held.now += 1
        Held.most = max(Held.most, Held.now)
        return super().__new__(cls, *arguments)

    def __del__(self):
        Held.now -= 1


class Streamed(Rows):
    """Rows of one day that are made as they are read."""

    def __init__(self, rows, day):
        super().__init__(rows)
        self.day = access.day_prefix(day)

    def scan(self, prefix):
        if prefix != self.day:
            yield from super().scan(prefix)
            return
        for number in range(ROWS_OF_A_DAY):
            yield Held(prefix + number.to_bytes(16, "big")), b""


def test_the_tags_of_a_day_pass_through_one_at_a_time():
    world = World()
    day = world.now_s // DAY_S
    rows = Streamed(world.rows.rows, day)
    Held.now = Held.most = 0
    applied = apply(rows, world.chain, BlockHeader(1, (world.now_s + DAY_S) * 1_000, "clinic-1"), [])
    tags = [number.to_bytes(16, "big") for number in range(ROWS_OF_A_DAY)]
    assert 0 < Held.most <= 3  # the one that is looked at, and the next
    assert applied.days[0].tags == tuple(tags)
    assert parse_daily_leaf(applied.leaves[0]).access_root == root([leaf_hash(tag) for tag in tags])


def test_the_rows_that_go_are_held_once():
    world = World()
    day = world.now_s // DAY_S
    rows = Streamed(world.rows.rows, day)
    Held.now = Held.most = 0
    applied = apply(rows, world.chain, BlockHeader(1, (world.now_s + 2 * DAY_S) * 1_000, "clinic-1"), [])
    assert ROWS_OF_A_DAY <= Held.most <= ROWS_OF_A_DAY + 3  # what goes is in the block's writes; nothing reads it a second time
    assert sum(isinstance(key, Held) for key in applied.writes) == sum(isinstance(key, Held) for key in applied.replaced) == ROWS_OF_A_DAY


@pytest.mark.parametrize("wrong", [["daily", b"n", 1, b"", b""], ["day", b"n", 1, b""], ["day", b"n", "1", b"", b""], {}])
def test_other_bytes_are_no_daily_leaf(wrong):
    assert parse_daily_leaf(encode(["day", b"n", 1, b"root", b"state"])) == daily.DailyLeaf(b"n", 1, b"root", b"state")
    with pytest.raises(Malformed, match="NOT_A_DAILY_LEAF"):
        parse_daily_leaf(encode(wrong))


# equivocation


def test_a_validator_that_signed_two_blocks_of_one_height_is_suspended_and_the_log_says_so():
    validator = key("hospital-1", "consensus").public_key
    members = [replace(member, consensus_key=validator) if member.id == "hospital-1" else member for member in MEMBERS]
    world = World(make_genesis(members=members, operator=""))
    tick = world.transaction("anchor.tick", TICK, carrier="hospital-1")
    header = BlockHeader(
        1, world.now_s * 1_000, "clinic-1", equivocators=(sha256(validator)[:20], b"unknown validator...", sha256(validator)[:20])
    )
    applied = apply(world.rows, world.chain, header, [tick])
    assert applied.leaves == (encode(["equivocation", world.network, "hospital-1", 1]),)
    assert [(r.reason, r.facts) for r in applied.results] == [(Reason.MEMBER_SUSPENDED, {"member": "hospital-1"})]
    world.rows.take(applied.writes)
    assert directory.member(world.rows, "hospital-1").stage is directory.Stage.SUSPENDED
    assert node_key("hospital-1").kid not in directory.key_table(world.rows)


# replay


def test_a_replay_of_the_same_blocks_gives_the_same_app_hashes():
    world = World()
    given_grant(world)
    message, approvers = entry()
    world.act("access.record", message, "hospital-1", approvers)
    world.now_s += DAY_S
    world.act("anchor.tick", TICK)
    again = World(world.genesis)
    for header, transactions, before in world.blocks:
        applied = apply(again.rows, again.chain, header, transactions)
        again.rows.take(applied.writes)
        again.chain = parse_chain(applied.chain.encoded())  # as after a restart
        assert applied.app_hash == before.app_hash
    assert again.rows.rows == world.rows.rows
    assert again.chain == world.chain


def test_a_height_whose_rules_this_software_lacks_stops_the_node_with_a_sentence():
    world = World()
    world.rows.take({b"d/v": encode([[1, 0], [2, 5]])})
    assert world.apply().results == ()
    with pytest.raises(VersionMissing, match=r"rules version 2.*install a newer release"):
        apply(world.rows, world.chain, BlockHeader(5, world.now_s * 1_000, "clinic-1"), [])


def test_our_own_defects_are_not_taken_for_answers(monkeypatch):
    world = World()
    monkeypatch.setattr(anchor.KINDS[0].message, "__init__", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.act("anchor.tick", TICK)
    assert decode(encode([])) == []
    assert SigningKey(bytes(32)).kid
