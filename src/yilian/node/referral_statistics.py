"""How long the steps of the network's referrals took, read off the ledger: anyone can compute it, and nobody learns whose they were.

Source   design 03 "referral": transition times are the network's referral statistics.
"""

from __future__ import annotations

from statistics import median
from typing import Any, Final

from yilian.base.transaction import parse
from yilian.contracts.referral import Stage
from yilian.node.member import Node
from yilian.node.referral_papers import ACTS, STEP_WORD

_PREFIX: Final = "referral."
_STAGES: Final = {f"referral.{act}": stage for act, stage in ACTS.items()} | {"referral.request": Stage.REQUESTED}


def statistics(node: Node) -> dict[str, Any]:
    """Return for each transition how often it happened and its median and longest time in seconds; and how many stand where.

    Reads the whole log once: a report, not a screen that is refreshed.
    """
    last: dict[bytes, tuple[Stage, int]] = {}
    took: dict[tuple[Stage, Stage], list[int]] = {}
    for height in range(1, node.engine.read().chain.height + 1):
        block = node.engine.block(height)
        if block is None:
            continue
        for data, result in zip(block.transactions, block.results, strict=True):
            if result.index is None or _PREFIX.encode() not in data:
                continue
            entered = parse(data)
            stage = _STAGES.get(entered.header.subject)
            if stage is None:
                continue
            from_key, at_s = entered.body[1], block.time_ms // 1_000
            if from_key in last:
                before, since_s = last[from_key]
                took.setdefault((before, stage), []).append(at_s - since_s)
            last[from_key] = (stage, at_s)
    transitions = [
        {"from": STEP_WORD[one], "to": STEP_WORD[two], "count": len(times), "median_s": int(median(times)), "longest_s": max(times)}
        for (one, two), times in sorted(took.items())
    ]
    standing: dict[str, int] = {}
    for stage, _ in last.values():
        standing[STEP_WORD[stage]] = standing.get(STEP_WORD[stage], 0) + 1
    return {"referrals": len(last), "standing": standing, "transitions": transitions}
