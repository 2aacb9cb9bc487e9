"""Screening a batch: each transaction is answered as if it stood alone, in the order of the batch."""

import pytest

from tests.worlds import World, key, node_key
from yilian.base.keys import are_signed
from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import Header, act_bytes, approve, assemble
from yilian.contracts import anchor, directory
from yilian.ledger import screen, screen_all

TICK = anchor.Tick(bytes(32), bytes(32))
STRANGER = key("stranger")


def alone(world, data):
    """Return (reason, facts) of a refusal, or what was found."""
    try:
        return screen(world.network, directory.key_table(world.rows), data)
    except Refused as no:
        return no.reason, no.facts


def wrongly_approved(world):
    header = Header(world.network, node_key("clinic-1").kid, "clinic-1", "anchor.tick", world.now_s + 60, 99).encoded()
    _, signature = approve(STRANGER, header, act_bytes(40, {1: b"another act"}))
    return assemble(node_key("clinic-1"), header, 40, {1: bytes(32), 2: bytes(32)}, [(STRANGER.public_key, signature)])


def batch(world):
    return [
        world.transaction("anchor.tick", TICK),
        b"no transaction",
        world.transaction("anchor.tick", TICK, network=bytes(32)),
        world.transaction("anchor.tick", TICK, approvers=[STRANGER]),
        world.transaction("anchor.tick", TICK, signer=STRANGER),
        world.transaction("anchor.tick", TICK, issuer="hospital-1"),
        world.transaction("anchor.tick", TICK)[:-1] + b"\x00",
        wrongly_approved(world),
        world.transaction("anchor.tick", TICK, carrier="hospital-2"),
    ]


def test_in_a_batch_each_is_answered_as_if_it_were_alone():
    world = World()
    given = batch(world)
    said = screen_all(world.network, directory.key_table(world.rows), given)
    assert [(each.reason, each.facts) if isinstance(each, Refused) else each for each in said] == [alone(world, data) for data in given]
    assert [each.reason if isinstance(each, Refused) else 0 for each in said] == [
        0,
        Reason.BAD_BYTES,
        Reason.WRONG_NETWORK,
        0,
        Reason.UNKNOWN_KEY,
        Reason.WRONG_ISSUER,
        Reason.BAD_SIGNATURE,
        Reason.BAD_APPROVAL,
        0,
    ]
    assert screen_all(world.network, {}, []) == []


def test_a_refusal_does_not_hold_the_batch_that_it_was_found_in():
    world = World()
    said = screen_all(world.network, directory.key_table(world.rows), batch(world))
    assert [each.__traceback__ for each in said if isinstance(each, Refused)] == [None] * 6


def approved(world, *signers, carrier_key=None):
    """Return a transaction that these keys are said to have approved; who is marked has not."""
    header = Header(world.network, node_key("clinic-1").kid, "clinic-1", "anchor.tick", world.now_s + 60, 7).encoded()
    approvals = []
    for signer, has_signed in signers:
        _, signature = approve(signer, header, act_bytes(40, {1: bytes(32), 2: bytes(32)} if has_signed else {1: b"another act"}))
        approvals.append((signer.public_key, signature))
    return assemble(carrier_key or node_key("clinic-1"), header, 40, {1: bytes(32), 2: bytes(32)}, approvals)


def test_the_first_of_its_approvals_that_is_false_is_named_and_none_is_checked_where_the_carrier_has_not_signed():
    world, asked = World(), []
    first, second, third = (key("approver", n) for n in range(3))
    given = [
        approved(world, (first, True), (second, False), (third, False)),
        approved(world, (first, True), (second, True), carrier_key=STRANGER),
        approved(world, (third, True)),
        approved(world),
    ]

    def verify(claims):
        asked.append([claim.public_key for claim in claims])
        return are_signed(claims)

    said = screen_all(world.network, directory.key_table(world.rows), given, verify)
    assert [(each.reason, each.facts) if isinstance(each, Refused) else 0 for each in said] == [
        (Reason.BAD_APPROVAL, {"key": second.public_key}),
        (Reason.BAD_SIGNATURE, {}),
        0,
        0,
    ]
    carrier = node_key("clinic-1").public_key
    assert asked == [[carrier] * 4, [first.public_key, third.public_key], [second.public_key]]  # and nothing after what was false


def test_an_answer_that_is_too_short_is_no_answer():
    world = World()
    with pytest.raises(ValueError, match="shorter"):
        screen_all(world.network, directory.key_table(world.rows), [world.transaction("anchor.tick", TICK)], lambda _: [])


@pytest.mark.parametrize("is_known", [False, True])
def test_bytes_that_stand_twice_in_a_block_are_spent_once_whether_known_or_not(is_known):
    world = World()
    data = world.transaction("anchor.tick", TICK)
    known = {data: screen(world.network, directory.key_table(world.rows), data)} if is_known else {}
    assert [(each.reason, each.facts) for each in world.commit(data, data, known=known).results] == [
        (0, {}),
        (Reason.REPLAYED, {"nonce": 1}),
    ]
