"""What `yilian network status` says of a member's part in the consortium: the same facts as sentences."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from yilian.cli.frame import counted_as

if TYPE_CHECKING:
    from yilian.engines.consortium import Standing

_NOT_LET_IN: Final = (
    "nobody lets it in yet: the directory, as far as it is known here, has no seat with this key. Have the members vote on it "
    "(`yilian network propose`); it tries again by itself, at least every five minutes"
)
_SEATLESS: Final = "this member's seat has a key that the directory does not know: it does not validate, and its votes are nobody's"
_NO_SNAPSHOT: Final = (
    "no member has offered a snapshot yet: the first is made at block 1,000, then one every 1,000 blocks; stopped, "
    "`yilian network repair` without --ask begins at block 1"
)
HALTED: Final = "the network makes no block: more than two thirds of the votes must run and reach one another; it goes on by itself"


def lines(member: str, said: "Standing") -> list[str]:
    """Return the sentences on height, validators, and what is being waited for."""
    from yilian.engines.consortium import HEARTBEAT_S

    catching_up = ", catching up" if said.is_catching_up else ""
    last = "no block yet" if said.behind_s is None else f"last block {said.behind_s} s ago"
    told = [f"{member}: height {said.height}, {last}{catching_up}, {counted_as(said.peers, 'peer', 'peers')}"]
    if said.is_halted:
        told.append(f"halted: no block for {said.behind_s} s (a heartbeat comes every {HEARTBEAT_S} s)")
    if said.validators:
        whole = sum(said.validators.values())
        told.append(
            f"{counted_as(len(said.validators), 'validator', 'validators')}: "
            + ", ".join(f"{name} {power}/{whole}" for name, power in said.validators.items())
        )
    if said.unreached:
        told.append(f"no connection with {', '.join(said.unreached)}: stopped, cut off, or at another address than this member dials")
    if said.gathered is not None:
        one = said.gathered
        told.append(f"{one.here} of {one.whole} validators' votes are here, {one.needed} needed for the first block")
    if not (said.is_seated or said.peers):
        told.append(_NOT_LET_IN)
    elif said.height and not (said.is_seated or said.is_catching_up):
        told.append(_SEATLESS)
    if said.refused:
        told.append(f"{said.refused}; it waits for another: make sure that who is named with --peers and --ask is honest")
    elif said.is_awaiting_snapshot:
        told.append(_NO_SNAPSHOT)
    return told


def suspended_lines(suspended: Sequence[Mapping[str, Any]], validators: Mapping[str, int] | None = None) -> list[str]:
    """Return a sentence for each member that is suspended; of one that is among the validators nevertheless, that too."""
    still = "; it still validates: for a block or two, or for as long as too few would without it"
    return [f"suspended: {suspended_since(one)}{still if one['member'] in (validators or {}) else ''}" for one in suspended]


def suspended_since(one: Mapping[str, Any]) -> str:
    """Return who was suspended, when and by whom."""
    if one["since_height"] is None:
        return f"{one['member']}, since before the snapshot with which this copy of the ledger began"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one["since_s"]))
    by = "the ledger itself: its validator signed two blocks of one height" if one["by"] is None else f"{one['by']}, which has the reason"
    return f"{one['member']}, since height {one['since_height']} (entry {one['entry']}, {at}), by {by}"
