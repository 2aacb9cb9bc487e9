"""Who validates: a function of the directory alone, and what a block changes in it.

A member validates if it has a consensus key and power and is active. Suspended members go on validating where the active ones alone would
have no more than two thirds of the power of all: nobody, the regulator included, can seize the order by suspending others (ADR-0090).
Admissions, powers, removals and rotations are votes; suspensions are the regulator's, or the ledger's own upon proof of equivocation. All
reach CometBFT as updates of the block that carries them.
"""

from __future__ import annotations

from yilian.base.kinds import StateView, Writes
from yilian.contracts import directory
from yilian.engines.cometbft.settings import address
from yilian.ledger import Overlay
from yilian.ledger import validators as validating

Validators = dict[bytes, int]  # consensus key -> power


def validators(view: StateView) -> Validators:
    """Return the validators of a state: those whose receipts are a quorum, by the very function that counts it (ADR-0141)."""
    votes, members = validating(view), directory.members(view)
    return {one.consensus_key: votes[one.id] for one in members if one.id in votes and one.consensus_key is not None}


def updates(view: StateView, writes: Writes) -> Validators:
    """Return the validators that a block changes, by ascending key; power 0 removes one.

    A change that would leave nobody to validate is not made: CometBFT could not go on, and the directory can still be voted right.
    """
    if not any(key.startswith(directory.PREFIX) for key in writes):
        return {}
    after_block = Overlay(view)
    after_block.take(writes)
    before, after = validators(view), validators(after_block)
    if not after:
        return {}
    changed = {key: 0 for key in before if key not in after} | {key: power for key, power in after.items() if before.get(key) != power}
    return dict(sorted(changed.items()))


def names(view: StateView) -> dict[bytes, str]:
    """Return the member that each consensus address stands for."""
    return {address(member.consensus_key): member.id for member in directory.members(view) if member.consensus_key is not None}
