"""Whether a node is ready: not while nothing can become final on it."""

import pytest

from tests.alliance_worlds import alliance
from yilian.engines.cometbft.engine import HALTED_S, why_not_ready
from yilian.engines.embedded import EmbeddedEngine

NO_BLOCK_YET = "this copy has no block yet: `yilian network status` says what it waits for"


async def test_a_node_on_which_nothing_becomes_final_is_not_ready_and_says_why(tmp_path, monkeypatch):
    async with alliance(tmp_path, opens=["regulator-1"]) as running:
        ready = await running.get("regulator-1", "/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        monkeypatch.setattr(EmbeddedEngine, "not_ready", lambda _: why_not_ready(7, 17))
        answer = await running.get("regulator-1", "/ready")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        reason = "no block for 17 s: a third of the votes or more cannot be reached"
        said = answer.json()  # the node itself may have entered something meanwhile: height and entries are those of now
        now = {"height": said["height"], "entries": said["entries"]}
        assert said == ready.json() | now | {"status": "not ready", "reason": reason}
        assert (await running.get("regulator-1", "/health")).status_code == 200


@pytest.mark.parametrize(
    ("height", "since_s", "reason"),
    [
        (0, 0, NO_BLOCK_YET),
        (0, HALTED_S, NO_BLOCK_YET),
        (1, 0, ""),
        (1, HALTED_S - 1, ""),
        (1, HALTED_S, "no block for 15 s: a third of the votes or more cannot be reached"),
    ],
)
def test_a_validator_is_ready_while_blocks_come(height, since_s, reason):
    assert why_not_ready(height, since_s) == reason
