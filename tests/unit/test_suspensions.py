"""Who is suspended and since when, as a copy of the log has it; a copy that began later says what it does not know."""

from contextlib import closing
from types import SimpleNamespace

from tests.ledgers import CONVICTED, GUILTY, REINSTATED, Source, follow, restored
from yilian.contracts import directory
from yilian.node import suspensions


def node(replica):
    return SimpleNamespace(engine=replica)


def test_a_conviction_is_told_from_its_leaf_until_the_member_is_reinstated(tmp_path):
    source = Source(tmp_path / "source")
    with closing(source.replica) as replica:
        source.grow(CONVICTED - 1)
        assert suspensions.suspended(node(replica)) == []
        source.grow(CONVICTED + 1)
        block = replica.block(CONVICTED)
        told = suspensions.Suspension(GUILTY, block.log_size - 1, CONVICTED, block.time_ms // 1_000, "", b"")
        assert suspensions.suspended(node(replica)) == [(GUILTY, told)]
        source.grow(REINSTATED)
        assert suspensions.suspended(node(replica)) == []
        assert list(suspensions.suspensions(node(replica))) == [told]


def test_a_copy_that_began_after_the_suspension_knows_who_and_not_since_when(tmp_path):
    source = Source(tmp_path / "source")
    with closing(source.replica):
        source.grow(CONVICTED + 1)
        snapshot = source.snapshot()
        reason = directory.Suspend("clinic-1", bytes(range(32)))
        source.block(source.made.transaction("directory.suspend", reason, carrier="regulator-1"))
        with closing(restored(tmp_path / "ledger", source, snapshot)) as copied:
            follow(copied, source)
            block = copied.block(CONVICTED + 2)
            told = suspensions.Suspension(
                "clinic-1", block.log_size - 1, block.height, block.time_ms // 1_000, "regulator-1", reason.commitment
            )
            listed = suspensions.suspended(node(copied))
            assert listed == sorted([("clinic-1", told), (GUILTY, None)])
            assert suspensions.with_commitment(node(copied), "clinic-1", reason.commitment) == told
            assert suspensions.with_commitment(node(copied), GUILTY, reason.commitment) is None
            assert suspensions.with_commitment(node(copied), "clinic-1", bytes(32)) is None
