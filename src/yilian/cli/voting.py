"""What the members decide together: one member's operator proposes or votes, and its running node signs and carries it."""

import argparse
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yilian.cli import operating
from yilian.cli.files import read_bytes
from yilian.cli.frame import Declined, Misused, Output, plain, shortened

if TYPE_CHECKING:
    from yilian.base.kinds import StateView
    from yilian.contracts.directory import Change, Proposal, SetRules
    from yilian.engines import FinalView
    from yilian.node import Node

_DIGITS_MAX: Final = 18  # of any number here: the directory takes none above 2**62


def options(acts: "argparse._SubParsersAction[argparse.ArgumentParser]") -> list[argparse.ArgumentParser]:
    """Declare the three acts."""
    propose = acts.add_parser("propose", help="propose that a member is admitted, removed or changed, or a parameter or the rules")
    change = propose.add_mutually_exclusive_group(required=True)
    change.add_argument("--admit", type=Path, metavar="CARD", help="member.card of who joins (yilian network join)")
    change.add_argument("--remove", metavar="ID", help="the member that leaves, for ever")
    change.add_argument("--power", metavar="ID=N", help="the votes that a member has, 0 for none")
    change.add_argument("--seat-key", metavar="ID=HEX", help="the key of a member's seat that takes the place of the old one")
    change.add_argument("--parameter", metavar="NAME=N", help="another value of a number that the network agreed on, such as memo_size")
    change.add_argument("--rules-version", type=int, metavar="N", help="the rules that decide from --from-height on; every member has them")
    propose.add_argument("--from-height", type=int, metavar="H", help="of --rules-version: 1,000 blocks at least after the last vote")
    propose.set_defaults(act=_propose)
    vote = acts.add_parser("vote", help="vote on what another member proposed")
    vote.add_argument("--proposal", type=int, required=True, metavar="NUMBER", help="as `propose` printed it")
    vote.add_argument("--no", action="store_true", help="against it")
    vote.set_defaults(act=_vote)
    proposals = acts.add_parser("proposals", help="what is proposed and still open: what it would change, and how its votes stand")
    proposals.set_defaults(act=_proposals)
    return [propose, vote, proposals]


async def _carried(node: "Node", asked: dict[str, Any]) -> dict[str, Any]:
    """Propose or vote, and return how the proposal then stands.

    Raises   Declined, Answered
    """
    from yilian.contracts import directory

    kind, message = _said(asked)
    if lacking := _lacking(node.engine.read(), message):
        raise Declined(lacking)
    answer = await operating.entered(node, kind, message)
    proposal = answer.index if asked["op"] == "propose" else int(asked["proposal"])
    assert proposal is not None, "what was entered has an index"
    view = node.engine.read()
    row = directory.proposal(view, proposal)
    assert row is not None, "proposals stay"
    return {"proposal": proposal, "index": answer.index, "height": answer.height, **_stands(view, row)}


async def _open(node: "Node", _: dict[str, Any]) -> dict[str, Any]:
    """Return what may still be voted on, in the order in which it was proposed."""
    import asyncio

    return {"proposals": await asyncio.to_thread(_listed, node.engine.read())}


ANSWERS: Final[Mapping[str, operating.Answer]] = {"propose": _carried, "vote": _carried, "proposals": _open}


def _listed(view: "FinalView") -> list[dict[str, Any]]:
    from yilian.contracts import directory

    now_s = view.chain.time_ms // 1_000
    listed: list[dict[str, Any]] = []
    for row in directory.proposals(view):
        closes_at_s = row.opened_at_s + directory.PROPOSAL_S
        if row.is_passed or now_s >= closes_at_s:
            continue
        name, fields = proposed(row.change, row.details)
        said = {"change": name, **{field: plain(value) for field, value in fields.items()}}
        listed.append({"proposal": row.id, "proposer": row.proposer, "closes_at_s": closes_at_s, "proposes": said, **_stands(view, row)})
    return listed


def proposed(number: int, details: bytes) -> tuple[str, dict[str, Any]]:
    """Return what a proposal would change, and its fields by name: who votes reads it here."""
    from yilian.contracts import directory

    change = directory.change_of(number, details)
    return re.sub("(?<=[a-z])(?=[A-Z])", "-", type(change).__name__).lower(), asdict(change)


def _stands(view: "StateView", row: "Proposal") -> dict[str, Any]:
    """Return how a proposal stands; of rules, from when on they decide and by which block they must be carried."""
    from yilian.contracts.directory import RULES_BLOCKS_AHEAD_MIN, members, tally

    counted = tally(members(view), row.yes)
    names = {"is_carried": row.is_passed, "yes": list(row.yes), "no": list(row.no)}
    votes = {**names, "votes_for": counted.votes_for, "votes": counted.whole, "votes_needed": counted.needed}
    rules = _rules_of(row.change, row.details)
    if rules is None:
        return votes
    height = rules.activation_height
    return {**votes, "rules_version": rules.version, "from_height": height, "carried_by_height": height - RULES_BLOCKS_AHEAD_MIN}


def _rules_of(number: int, details: bytes) -> "SetRules | None":
    from yilian.contracts import directory

    change = directory.change_of(number, details)
    return change if isinstance(change, directory.SetRules) else None


def _lacking(view: "StateView", message: object) -> str:
    """Return why this member cannot be for new rules yet: its own node would stop where they begin. Empty if it can, or is not asked."""
    from yilian.contracts import directory
    from yilian.ledger import NEWEST

    rules = None
    if isinstance(message, directory.Propose):
        rules = _rules_of(message.change, message.details)
    elif isinstance(message, directory.Vote) and message.yes:
        row = directory.proposal(view, message.proposal)
        rules = None if row is None else _rules_of(row.change, row.details)
    if rules is None or rules.version <= NEWEST:  # no version between is left out; an older one is the ledger's to refuse
        return ""
    install = "install the release that brings it at every member first (docs/operating/validators.md, Upgrading)"
    return f"the software of this node has rules up to version {NEWEST}, not {rules.version}: {install}"


def _said(asked: dict[str, Any]) -> tuple[str, object]:
    from yilian.contracts import directory
    from yilian.ledger import parse_genesis

    if asked["op"] == "vote":
        return "directory.vote", directory.Vote(int(asked["proposal"]), yes=bool(asked["yes"]))
    change: Change
    if "card" in asked:
        (one,) = parse_genesis(bytes.fromhex(asked["card"])).members
        keys = (one.node_key, one.sealing_key, one.receipt_key, one.consensus_key)
        change = directory.Admit(one.id, sorted(one.kinds), one.name, one.endpoint, *keys, one.power)
    elif "remove" in asked:
        change = directory.Remove(str(asked["remove"]))
    elif "key" in asked:
        change = directory.Rotate(str(asked["whose"]), int(directory.KeyUse.CONSENSUS), bytes.fromhex(asked["key"]))
    elif "parameter" in asked:
        change = directory.SetParameter(str(asked["parameter"]), int(asked["value"]))
    elif "rules_version" in asked:
        change = directory.SetRules(int(asked["rules_version"]), int(asked["from_height"]))
    else:
        change = directory.SetPower(str(asked["whose"]), int(asked["power"]))
    return "directory.propose", directory.propose_change(change)


def _propose(options: argparse.Namespace, output: Output) -> None:
    said = operating.asked(options.home, {"op": "propose", **_change(options)})
    output.answer(said, f"proposal {said['proposal']}: {_outcome(said)}", *_next(said))


def _change(options: argparse.Namespace) -> dict[str, Any]:
    """Return the change that was named, as the operator's socket carries it.

    Raises   Misused, Declined
    """
    if options.from_height is not None and options.rules_version is None:
        raise Misused("--from-height says from when on --rules-version decides, and goes with it alone")
    if options.admit is not None:
        return {"card": _card(options.admit, options.home).hex()}
    if options.remove is not None:
        return {"remove": options.remove}
    if options.seat_key is not None:
        member, _, key = options.seat_key.partition("=")
        if not re.fullmatch("[0-9a-f]{64}", key):
            raise Misused("--seat-key is ID=HEX, a member and the 64 digits of a public key")
        return {"whose": member, "key": key}
    if options.parameter is not None:
        return _parameter(options.parameter)
    if options.rules_version is not None:
        return _rules(options.rules_version, options.from_height)
    member, _, power = options.power.partition("=")
    if not (member and _is_number(power)):
        raise Misused("--power is ID=N, a member and a whole number")
    return {"whose": member, "power": int(power)}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def _parameter(said: str) -> dict[str, Any]:
    from yilian.contracts.directory import PARAMETERS

    name, _, value = said.partition("=")
    if name not in PARAMETERS or not _is_number(value):
        raise Misused(f"--parameter is NAME=N, one of {', '.join(sorted(PARAMETERS))} and a whole number")
    return {"parameter": name, "value": int(value)}


def _rules(version: int, from_height: int | None) -> dict[str, Any]:
    if from_height is None:
        raise Misused(
            "--rules-version needs --from-height, the first block that it decides: 1,000 blocks at least after the one that carries it, "
            "so leave time for the votes (`yilian network status` says the height)"
        )
    if not (_is_number(str(version)) and _is_number(str(from_height))):
        raise Misused("--rules-version and --from-height are whole numbers")
    return {"rules_version": version, "from_height": from_height}


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
    if not _is_number(str(options.proposal)):
        raise Misused("--proposal is the number that `propose` printed")
    said = operating.asked(options.home, {"op": "vote", "proposal": options.proposal, "yes": not options.no})
    output.answer(said, f"proposal {said['proposal']}: {_outcome(said)}")


def _proposals(options: argparse.Namespace, output: Output) -> None:
    said = operating.asked(options.home, {"op": "proposals"})
    lines = [line for one in said["proposals"] for line in _open_lines(one)]
    output.answer(said, *(lines or ["nothing is proposed that may still be voted on"]))


def _open_lines(one: dict[str, Any]) -> list[str]:
    fields = ", ".join(f"{name} {_shown(value)}" for name, value in one["proposes"].items() if name != "change" and value is not None)
    until = time.strftime("%Y-%m-%d", time.gmtime(one["closes_at_s"]))
    what = f"proposal {one['proposal']} of {one['proposer']}: {one['proposes']['change']}: {fields}"
    return [what, f"    {_outcome(one)}; open until {until}"]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value))
    return shortened(value) if isinstance(value, str) and not value.strip("0123456789abcdef") else str(value)


def _outcome(said: dict[str, Any]) -> str:
    if said["is_carried"] and "rules_version" in said:
        return f"carried; rules version {said['rules_version']} decides from height {said['from_height']} on"
    if said["is_carried"]:
        return "carried; it holds from the next block on"
    against = f", against: {', '.join(said['no'])}" if said["no"] else ""
    votes = f"{said['votes_for']} of {said['votes']} votes, {said['votes_needed']} carry it"
    return f"for it so far: {', '.join(said['yes'])}{against}; {votes}"


def _next(said: dict[str, Any]) -> list[str]:
    if said["is_carried"]:
        return []
    told = [f"the other members vote: yilian network vote --home DIR --proposal {said['proposal']}"]
    if "carried_by_height" in said:
        told.append(f"it must be carried by block {said['carried_by_height']}, 1,000 before it decides: then it is too late, propose anew")
    return told
