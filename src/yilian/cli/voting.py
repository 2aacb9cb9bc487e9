"""What the members decide together: one member's operator proposes or votes, and its running node signs and carries it.

Through the operator's socket (`control`): the node key is in the process that runs, and whoever reaches that socket is the same user.
"""

import argparse
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yilian.cli.files import read_bytes
from yilian.cli.frame import Answered, Declined, Misused, Output, plain

if TYPE_CHECKING:
    from yilian.contracts.directory import Admit, Remove, Rotate, SetPower
    from yilian.node import Node

Act = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def options(acts: "argparse._SubParsersAction[argparse.ArgumentParser]") -> list[argparse.ArgumentParser]:
    """Declare the two acts."""
    propose = acts.add_parser("propose", help="propose that a member is admitted, removed, has other votes or a new key")
    change = propose.add_mutually_exclusive_group(required=True)
    change.add_argument("--admit", type=Path, metavar="CARD", help="member.card of who joins (yilian network join)")
    change.add_argument("--remove", metavar="ID", help="the member that leaves, for ever")
    change.add_argument("--power", metavar="ID=N", help="the votes that a member has, 0 for none")
    change.add_argument("--seat-key", metavar="ID=HEX", help="the key of a member's seat that takes the place of the old one")
    propose.set_defaults(act=_propose)
    vote = acts.add_parser("vote", help="vote on what another member proposed")
    vote.add_argument("--proposal", type=int, required=True, metavar="NUMBER", help="as `propose` printed it")
    vote.add_argument("--no", action="store_true", help="against it")
    vote.set_defaults(act=_vote)
    return [propose, vote]


def acting(node: "Node") -> Act:
    """Return what answers the operator's socket for a node that runs."""

    async def act(asked: dict[str, Any]) -> dict[str, Any]:
        from yilian.contracts import directory
        from yilian.node import NodeRefused, carriage

        kind, message = _said(asked)
        try:
            transaction = node.carriage.enveloped(node.carriage.header(kind), carriage.act_of(kind, message), [])
            answer = await node.carriage.submit(transaction)
        except NodeRefused as no:
            return {"refused": [int(no.no), no.no.name, plain(no.facts)]}
        if answer.index is None:
            return {"refused": [answer.reason, _name(answer.reason), plain(answer.facts)]}
        proposal = answer.index if asked["op"] == "propose" else int(asked["proposal"])
        row = directory.proposal(node.engine.read(), proposal)
        is_carried = row is not None and row.is_passed
        votes = {"yes": list(row.yes), "no": list(row.no)} if row is not None else {"yes": [], "no": []}
        return {"proposal": proposal, "index": answer.index, "height": answer.height, "is_carried": is_carried, **votes}

    return act


def _said(asked: dict[str, Any]) -> tuple[str, object]:
    from yilian.contracts import directory
    from yilian.ledger import parse_genesis

    if asked["op"] == "vote":
        return "directory.vote", directory.Vote(int(asked["proposal"]), yes=bool(asked["yes"]))
    change: Admit | Remove | Rotate | SetPower
    if "card" in asked:
        (one,) = parse_genesis(bytes.fromhex(asked["card"])).members
        keys = (one.node_key, one.sealing_key, one.receipt_key, one.consensus_key)
        change = directory.Admit(one.id, sorted(one.kinds), one.name, one.endpoint, *keys, one.power)
    elif "remove" in asked:
        change = directory.Remove(str(asked["remove"]))
    elif "key" in asked:
        change = directory.Rotate(str(asked["member"]), int(directory.KeyUse.CONSENSUS), bytes.fromhex(asked["key"]))
    else:
        change = directory.SetPower(str(asked["member"]), int(asked["power"]))
    return "directory.propose", directory.propose_change(change)


def _name(reason: int) -> str:
    from yilian.base.refusals import Reason

    return Reason(reason).name


def _propose(options: argparse.Namespace, output: Output) -> None:
    asked: dict[str, Any] = {"op": "propose"}
    if options.admit is not None:
        asked["card"] = _card(options.admit, options.home).hex()
    elif options.remove is not None:
        asked["remove"] = options.remove
    elif options.seat_key is not None:
        member, _, key = options.seat_key.partition("=")
        if not re.fullmatch("[0-9a-f]{64}", key):
            raise Misused("--seat-key is ID=HEX, a member and the 64 digits of a public key")
        asked |= {"member": member, "key": key}
    else:
        member, _, power = options.power.partition("=")
        if not (member and power.isdigit()):
            raise Misused("--power is ID=N, a member and a whole number")
        asked |= {"member": member, "power": int(power)}
    said = _asked(options.home, asked)
    output.answer(said, f"proposal {said['proposal']}: {_outcome(said)}", *_next(said))


def _card(file: Path, home: Path) -> bytes:
    """Return the card of one member that this network can admit.

    Raises   Misused, Declined
    """
    from yilian.base.codec import Malformed
    from yilian.ledger import parse_genesis
    from yilian.node import read_genesis

    card = read_bytes(file)
    try:
        members = parse_genesis(card).members
    except Malformed as error:
        raise Declined(f"{file} is no member's card: that is the member.card which `yilian network join` writes") from error
    if len(members) != 1:
        raise Declined(f"{file} is not a member's card but the genesis of {len(members)} members")
    (one,) = members
    if one.power and one.consensus_key is None and not read_genesis(home).operator:  # its votes would count and could not be cast
        raise Declined(
            f"{file} is the card of a member without a seat: use the member.card that `yilian network join` writes in that folder "
            "(only who has no votes needs no seat: yilian node init --power 0)"
        )
    return card


def _vote(options: argparse.Namespace, output: Output) -> None:
    said = _asked(options.home, {"op": "vote", "proposal": options.proposal, "yes": not options.no})
    output.answer(said, f"proposal {said['proposal']}: {_outcome(said)}")


def _asked(home: Path, request: dict[str, Any]) -> dict[str, Any]:
    from yilian.cli import control
    from yilian.node import read_settings

    member = read_settings(home).id
    *_, last = control.ask(home, {**request, "member": member})
    done: dict[str, Any] = last["done"]
    if "refused" in done:
        raise Answered(*done["refused"])
    return done


def _outcome(said: dict[str, Any]) -> str:
    if said["is_carried"]:
        return "carried; it holds from the next block on"
    against = f", against: {', '.join(said['no'])}" if said["no"] else ""
    return f"for it so far: {', '.join(said['yes'])}{against}; more than two thirds of all votes carry it"


def _next(said: dict[str, Any]) -> list[str]:
    return [] if said["is_carried"] else [f"the other members vote: yilian network vote --home DIR --proposal {said['proposal']}"]
