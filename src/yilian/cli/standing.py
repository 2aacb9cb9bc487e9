"""What `yilian network status` says of a member's part in the consortium: the same facts as sentences."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from yilian.engines.consortium import Standing

_NOT_LET_IN: Final = (
    "nobody lets it in yet: the directory, as far as it is known here, has no seat with this key. Have the members vote on it "
    "(`yilian network propose`); it tries again by itself, at least every five minutes"
)
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
    told = [f"{member}: height {said.height}, {last}{catching_up}, {said.peers} peers"]
    if said.is_halted:
        told.append(f"halted: no block for {said.behind_s} s (a heartbeat comes every {HEARTBEAT_S} s)")
    if said.validators:
        whole = sum(said.validators.values())
        told.append(
            f"{len(said.validators)} validators: " + ", ".join(f"{name} {power}/{whole}" for name, power in said.validators.items())
        )
    if said.gathered is not None:
        one = said.gathered
        told.append(f"{one.here} of {one.whole} validators' votes are here, {one.needed} needed for the first block")
    if not (said.is_seated or said.peers):
        told.append(_NOT_LET_IN)
    if said.refused:
        told.append(f"{said.refused}; it waits for another: make sure that who is named with --peers and --ask is honest")
    elif said.is_awaiting_snapshot:
        told.append(_NO_SNAPSHOT)
    return told
