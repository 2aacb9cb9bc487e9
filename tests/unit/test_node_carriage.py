"""Envelopes: what strangers reserve leaves the member its own."""

from types import SimpleNamespace

import pytest

from tests.worlds import World, node_key
from yilian.contracts import anchor
from yilian.ledger import RESTART_SKIP
from yilian.node import No, NodeRefused
from yilian.node.carriage import STRANGERS_AHEAD_MAX, Carriage, act_of


def test_headers_that_nobody_uses_do_not_end_the_members_own_acts():
    world = World()
    keys = SimpleNamespace(node_key=node_key("clinic-1"), network=world.network)
    members = SimpleNamespace(final=lambda: SimpleNamespace(now_s=world.now_s), now_s=lambda: world.now_s)
    carriage = Carriage("clinic-1", keys, SimpleNamespace(read=lambda: world.rows), members)
    handed_out = {carriage.header_for("consent.give") for _ in range(STRANGERS_AHEAD_MAX - RESTART_SKIP)}
    assert len(handed_out) == STRANGERS_AHEAD_MAX - RESTART_SKIP
    with pytest.raises(NodeRefused) as no:
        carriage.header_for("consent.give")
    assert (no.value.no, no.value.facts) == (No.NONCES_EXHAUSTED, {})
    tick = act_of("anchor.tick", anchor.Tick(bytes(32), bytes(32)))
    (result,) = world.commit(carriage.enveloped(carriage.header("anchor.tick"), tick, ())).results
    assert (result.reason, result.facts) == (0, {})
    assert carriage.header_for("consent.give")  # the member's own act has moved the window on
