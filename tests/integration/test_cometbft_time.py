"""Time on real validators: heartbeats, clocks that are wrong, a day's end."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.consortium import NAMES, Child, Consortium, accepted, consortium_genesis, copies, end_all, needs_cometbft, within
from tests.worlds import key, seed
from yilian.base.refusals import Reason
from yilian.contracts import access, consent
from yilian.ledger import parse_daily_leaf
from yilian.node.carriage import HEADER_S, OWN_HEADER_S

pytestmark = [pytest.mark.slow, needs_cometbft, pytest.mark.xdist_group("cometbft")]
ROOT = Path(__file__).parents[2]
DAY_S = 86_400


async def test_an_idle_network_makes_heartbeats_only_and_an_ended_transaction_is_refused(consortium):
    consortium.start()
    engine = consortium.engines["hospital-1"]
    said = await within(engine.submit(consortium.tick("hospital-1")))
    blocks = await within(consortium.all_at(said.height + 3))
    blocks = [engine.block(said.height + n) for n in (1, 2, 3)]
    assert {block.app_hash for block in blocks} == {engine.block(said.height).app_hash}
    # in 0.38 a block's time is when the one before it was voted: the heartbeat keeps it within a few seconds of the clock
    assert blocks[2].time_ms - blocks[1].time_ms >= 4_000
    exp_s = blocks[2].time_ms // 1_000
    late = await within(engine.submit(consortium.tick("hospital-1", exp_s=exp_s)))
    assert (late.index, late.reason, late.facts) == (None, Reason.EXPIRED, {"exp_s": exp_s})


# -- clocks that are wrong: the validators run a CometBFT and a Python whose clocks are off


@pytest.fixture(scope="session")
def skewed():
    """Return the CometBFT whose clock can be wrong; built once, which takes Go a minute or two."""
    made = subprocess.run(["tools/cometbft_skewed.sh"], cwd=ROOT, capture_output=True, text=True, check=False)
    if "there is no Go here" in made.stderr:
        pytest.skip(made.stderr.strip())
    assert made.returncode == 0, made.stderr
    return ROOT / ".tools/bin/cometbft-skewed"


class Clocks:
    """A consortium in which every machine's clock is off, and one machine's is off by some seconds more."""

    def __init__(self, folder, program, one, skew_s, shift_s):
        self.program, self.one, self.skew_s, self.shift_s = program, one, skew_s, shift_s
        self.consortium = Consortium(folder, genesis=consortium_genesis(started_at_s=int(time.time()) + shift_s))
        for each in self.consortium.folders.values():
            (each / "genesis.cbor").write_bytes(self.consortium.genesis.encoded())
        self.children = {}

    def start(self):
        for name, folder in self.consortium.folders.items():
            environment = {"YILIAN_COMETBFT": str(self.program), "YILIAN_TEST_SKEW_S": str(self.off_s(name))}
            self.children[name] = Child(folder, **environment)
        for child in self.children.values():
            child.ready()

    def end(self):
        end_all(self.children.values())

    def off_s(self, name):
        return self.shift_s + self.skew_s * (name == self.one)

    def right_ms(self):
        """Return what the clocks that are right say."""
        return time.time_ns() // 1_000_000 + self.shift_s * 1_000

    def says(self, name, kind, message, lasts_s, approvers):
        """Return the answer to what a member says, whose envelope ends by that member's own clock."""
        exp_s = int(time.time()) + self.off_s(name) + lasts_s
        return self.children[name].said(self.consortium.transaction(name, kind, message, approvers, exp_s=exp_s))

    def gives(self, name, number, until_s):
        control, holder, requester = (key(number, each) for each in ("control", "holder", "requester"))
        message = consent.Give(control.public_key, holder.public_key, requester.public_key, seed(number), until_s, 5)
        return self.says(name, "consent.give", message, HEADER_S, [control])

    def uses(self, name, number):
        control, holder, requester = (key(number, each) for each in ("control", "holder", "requester"))
        detail = seed("detail", number, name, self.consortium.nonces.get(name, 0))
        message = access.Record(access.Basis.GRANT, control.public_key, None, None, True, detail, b"")
        return self.says(name, "access.record", message, OWN_HEADER_S, [holder, requester])


@pytest.mark.timeout(900)  # building the CometBFT whose clock is wrong included
def test_with_one_clock_wrong_by_five_seconds_time_goes_on_and_a_grant_ends_for_all_at_once(tmp_path, skewed):
    now_s = int(time.time())
    noon_s = now_s // DAY_S * DAY_S + DAY_S // 2
    until_s = noon_s - DAY_S // 2 + 2 * DAY_S
    clocks = Clocks(tmp_path, skewed, "clinic-1", 5, noon_s - now_s)  # ahead
    seen = []
    try:
        clocks.start()
        for n, name in enumerate(NAMES * 3):  # each member gives and uses: no envelope is refused as ended or as too far ahead
            before_ms = clocks.right_ms()
            _, height = accepted(clocks.gives(name, n, until_s))
            accepted(clocks.uses(name, n))
            seen.append((height, before_ms, clocks.right_ms(), 0))
        clocks.end()
        clocks.shift_s, clocks.skew_s = until_s - 24 - int(time.time()), -5  # all off for two days, then on shortly before the end; behind
        clocks.start()
        for n, name in enumerate(NAMES):
            before_ms = clocks.right_ms()
            _, height = accepted(clocks.uses(name, n))
            seen.append((height, before_ms, clocks.right_ms(), 5_000))
        crossed = {name: clocks.children[name].first_after(until_s * 1_000) for name in NAMES}
        assert len(set(crossed.values())) == 1
        ended = [clocks.uses(name, number)[1:] for number, name in enumerate(NAMES)]
        assert [(index, reason) for index, _, reason in ended] == [("None", str(int(Reason.GRANT_ENDED)))] * 4
    finally:
        clocks.end()
    with copies(clocks.consortium) as opened:
        blocks = [opened[0].block(height) for height in range(1, opened[0].chain.height + 1)]
        times_ms = [block.time_ms for block in blocks]
        assert times_ms == sorted(set(times_ms))
        for height, before_ms, after_ms, behind_ms in seen:
            # A block's time is the median of the votes for the one before it: never ahead of the clocks that are right. It can be behind by
            # what the slow one is: where only three of four voted in time, CometBFT takes the lowest of the three (`WeightedMedian`).
            assert times_ms[height - 1] <= after_ms
            assert times_ms[height] >= before_ms - behind_ms
        days = [parse_daily_leaf(leaf).day for block in blocks for leaf in block.system_leaves]
        assert days == [now_s // DAY_S, now_s // DAY_S + 1]
        heartbeats = [block for block in blocks[seen[-1][0] :] if block.time_ms < until_s * 1_000]
        assert {block.app_hash for block in heartbeats} == {blocks[seen[-1][0] - 1].app_hash}
