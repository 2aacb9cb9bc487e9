"""A day in which nobody says anything: 17,280 heartbeats, one system leaf, and not a row more than the blocks' own."""

import sqlite3
from collections import Counter
from contextlib import closing
from random import Random

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.consortium import NAMES, consensus_key
from tests.sim.hostile import hostile_genesis
from tests.sim.story import Story
from yilian.engines.cometbft.application import Application
from yilian.engines.cometbft.settings import HEARTBEAT_S, address
from yilian.engines.cometbft.snapshots import Snapshots
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.replica import Replica
from yilian.ledger import parse_daily_leaf

DAY_S = 86_400
HEARTBEATS = DAY_S // HEARTBEAT_S
TABLES = ("facts", "state", "blocks", "places", "tiles", "days")


class Idle:
    """One replica that is told of a block at each heartbeat, as CometBFT's four would be."""

    def __init__(self, folder, genesis, number):
        self.replica = Replica.open(folder, genesis, is_durable=False)
        self.application = Application(self.replica, Snapshots(folder / "snapshots", self.replica, self.failed), lambda _: None)
        self.proposer = address(consensus_key(NAMES[number]).public_key)

    def failed(self, error):
        raise AssertionError("a snapshot could not be written") from error

    def block(self, time_s, *items):
        height = self.replica.chain.height + 1
        asked = abci.RequestFinalizeBlock(txs=items, height=height, time=Timestamp(seconds=time_s), proposer_address=self.proposer)
        answer = self.application.finalize_block(asked)
        self.application.commit(abci.RequestCommit())
        return answer

    def rows(self):
        """Return how many rows each table of the store has."""
        with closing(sqlite3.connect(f"file:{self.replica.path}?mode=ro", uri=True)) as store:
            return Counter({table: store.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in TABLES})  # noqa: S608 - constants


@pytest.mark.slow
def test_a_day_of_heartbeats_changes_nothing_but_for_one_leaf(tmp_path):
    genesis = hostile_genesis()
    noon_s = genesis.started_at_s // DAY_S * DAY_S + DAY_S // 2
    idle = Idle(tmp_path, genesis, 0)
    story = Story(genesis.network_id, NAMES, Random(3))
    idle.block(noon_s, *[story.give(noon_s) for _ in range(10)], *[story.use(noon_s) for _ in range(40)])
    said = idle.replica.block(1)
    assert idle.replica.access_tags(noon_s // DAY_S) != ()
    before, app_hash = idle.rows(), said.app_hash
    changed = []
    for n in range(1, HEARTBEATS + 1):
        answer = idle.block(noon_s + n * HEARTBEAT_S)
        if answer.app_hash != app_hash:
            changed.append(noon_s + n * HEARTBEAT_S)
        app_hash = answer.app_hash
        assert (answer.tx_results, answer.validator_updates) == ([], [])
    midnight_s = noon_s + DAY_S // 2
    assert changed == [midnight_s]  # the first heartbeat of the new day closes the one that is over
    after = idle.rows()
    assert after - before == {"blocks": HEARTBEATS, "days": 1}
    assert before - after == {}
    block = idle.replica.block(1 + HEARTBEATS // 2)
    (leaf,) = block.system_leaves
    assert (block.time_ms, parse_daily_leaf(leaf).day) == (midnight_s * 1_000, noon_s // DAY_S)
    assert [height for height in range(1, HEARTBEATS + 2) if idle.replica.block(height).system_leaves] == [block.height]
    assert idle.replica.chain.log.size == said.log_size + 1
    idle.replica.close()
