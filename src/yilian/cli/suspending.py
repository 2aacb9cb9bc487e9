"""Who carries nothing for a while: a regulator's operator suspends and reinstates, any member's sees who is suspended and by whom.

A suspension's reason stays in a file here; the ledger has a commitment to it, which that file opens for whoever is handed it (ADR-0149).
"""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yilian.cli import operating
from yilian.cli.files import read_bytes, write_private
from yilian.cli.frame import Answered, Declined, Misused, Output
from yilian.cli.standing import suspended_lines, suspended_since

if TYPE_CHECKING:
    from yilian.node import Node, suspensions

FOLDER: Final = "suspensions"
REASON_SIZE_BYTES_MAX: Final = 65_536  # of text; what is longer is named in it by its SHA-256
_MEMBER: Final = re.compile("[!-~]{1,32}")  # design 02: what can name a member
_NAME_DIGITS: Final = 16  # of a commitment, in the name of the file that opens it


def options(acts: "argparse._SubParsersAction[argparse.ArgumentParser]") -> list[argparse.ArgumentParser]:
    """Declare the three acts."""
    suspend = acts.add_parser("suspend", help="a regulator: suspend a member at once")
    suspend.add_argument("member", metavar="MEMBER", help="who carries nothing and votes on nothing until it is reinstated")
    suspend.add_argument(
        "--reason-file", required=True, type=Path, metavar="FILE", help="why, as text; it stays here, the ledger has a commitment to it"
    )
    suspend.set_defaults(act=_suspend)
    reinstate = acts.add_parser("reinstate", help="a regulator: end a suspension, its own or the ledger's for signing twice")
    reinstate.add_argument("member", metavar="MEMBER", help="who carries, votes and validates again")
    reinstate.set_defaults(act=_reinstate)
    suspended = acts.add_parser("suspended", help="who is suspended, since when and by whom")
    suspended.add_argument(
        "--reason", type=Path, metavar="FILE", help="check a reason that a regulator handed you against its commitment on the ledger"
    )
    suspended.set_defaults(act=_suspended)
    return [suspend, reinstate, suspended]


# in the node that runs


async def _suspending(node: "Node", asked: dict[str, Any]) -> dict[str, Any]:
    from yilian.contracts import directory

    member = str(asked["whom"])
    if member == node.id:
        raise Declined(f"{node.id} does not suspend itself: it could not take that back. Another regulator can suspend it")
    answer = await operating.entered(node, "directory.suspend", directory.Suspend(member, bytes.fromhex(asked["commitment"])))
    return {"suspended": member, "index": answer.index, "height": answer.height}


async def _reinstating(node: "Node", asked: dict[str, Any]) -> dict[str, Any]:
    from yilian.contracts import directory

    member = str(asked["whom"])
    answer = await operating.entered(node, "directory.reinstate", directory.Reinstate(member))
    return {"reinstated": member, "index": answer.index, "height": answer.height}


async def _listing(node: "Node", asked: dict[str, Any]) -> dict[str, Any]:
    import asyncio

    from yilian.node import suspensions

    if "commitment" in asked:
        said = (node, str(asked["whom"]), bytes.fromhex(asked["commitment"]))
        found = await asyncio.to_thread(suspensions.with_commitment, *said)
        return {"suspension": None if found is None else _told(found.member, found)}
    height = node.engine.read().chain.height
    listed = await asyncio.to_thread(suspensions.suspended, node)
    return {"height": height, "suspended": [_told(*each) for each in listed]}


def _told(member: str, one: "suspensions.Suspension | None") -> dict[str, Any]:
    """Return a suspension as JSON; of one from before the copy's snapshot no more than that there is one."""
    if one is None:
        return {"member": member, "since_height": None, "since_s": None, "entry": None, "by": None, "commitment": None}
    by, commitment = one.by or None, one.commitment.hex() or None
    return {"member": member, "since_height": one.height, "since_s": one.time_s, "entry": one.index, "by": by, "commitment": commitment}


ANSWERS: Final[Mapping[str, operating.Answer]] = {"suspend": _suspending, "reinstate": _reinstating, "suspended": _listing}


# where the command runs


def _suspend(options: argparse.Namespace, output: Output) -> None:
    member, reason = _named(options.member), _text(options.reason_file)
    file, commitment = _kept(options.home, member, reason)
    try:
        said = operating.asked(options.home, {"op": "suspend", "whom": member, "commitment": commitment.hex()})
    except BaseException as no:
        if _is_decided(no):
            file.unlink()
        else:
            output.note(f"{file} is kept: what became of the suspension is not known, and it opens the commitment if it was entered")
        raise
    output.answer(
        {**said, "commitment": commitment, "reason": str(file)},
        f"{member} is suspended (entry {said['index']}, height {said['height']}): it carries and votes on nothing until it is reinstated",
        f"the ledger has a commitment to the reason, not the reason: {file} opens it. Keep it and a copy; lost, nobody can show the reason",
        f"hand it to whoever may know why; any member checks it: yilian network suspended --home DIR --reason {file.name}",
    )


def _named(member: str) -> str:
    if not _MEMBER.fullmatch(member):
        raise Misused(f"{member!r} is no member's id")
    return member


def _text(file: Path) -> str:
    """Return the reason that a file holds.

    Raises   Misused, Unreachable
    """
    data = read_bytes(file)
    try:
        text = data.decode().strip()
    except UnicodeDecodeError as error:
        raise Misused(f"{file} is not text in UTF-8: write the reason as text, and name a document in it by its SHA-256") from error
    if not text:
        raise Misused(f"{file} has no reason in it")
    if len(data) > REASON_SIZE_BYTES_MAX:
        raise Misused(f"{file} has more than {REASON_SIZE_BYTES_MAX:,} bytes: name a longer document in it by its SHA-256")
    return text


def _kept(home: Path, member: str, reason: str) -> tuple[Path, bytes]:
    """Return the file that opens the commitment to a reason, on disk before the ledger has that, and the commitment."""
    import secrets

    from yilian.base.artefacts import suspension_commitment
    from yilian.base.digests import DIGEST_SIZE
    from yilian.node import read_genesis

    network, key = read_genesis(home).network_id, secrets.token_bytes(DIGEST_SIZE)
    commitment = suspension_commitment(network, key, member, reason)
    (home / FOLDER).mkdir(mode=0o700, exist_ok=True)
    file = home / FOLDER / f"{re.sub('[^A-Za-z0-9-]', '_', member)}-{commitment.hex()[:_NAME_DIGITS]}.json"
    opening = {"network": network.hex(), "member": member, "reason": reason, "key": key.hex()}
    write_private(file, json.dumps(opening, ensure_ascii=False, indent=1).encode() + b"\n")
    return file, commitment


def _is_decided(no: BaseException) -> bool:
    """Say whether a no means that nothing was entered and nothing will be: the ledger's own, or the node's before it asked."""
    from yilian.base.refusals import Reason

    return isinstance(no, Declined) or (isinstance(no, Answered) and no.number in {int(reason) for reason in Reason})


def _reinstate(options: argparse.Namespace, output: Output) -> None:
    member = _named(options.member)
    said = operating.asked(options.home, {"op": "reinstate", "whom": member})
    output.answer(
        said,
        f"{member} is reinstated (entry {said['index']}, height {said['height']}): it carries, votes and, with a seat, validates again",
    )


def _suspended(options: argparse.Namespace, output: Output) -> None:
    if options.reason is not None:
        _check(options.home, options.reason, output)
        return
    said = operating.asked(options.home, {"op": "suspended"})
    output.answer(said, *(suspended_lines(said["suspended"]) or [f"nobody is suspended at height {said['height']}"]))


def _check(home: Path, file: Path, output: Output) -> None:
    from yilian.base.artefacts import suspension_commitment
    from yilian.node import read_genesis

    network = read_genesis(home).network_id
    try:
        said = json.loads(read_bytes(file))
        theirs, key = bytes.fromhex(said["network"]), bytes.fromhex(said["key"])
        member, reason = _named(said["member"]), str(said["reason"])
        commitment = suspension_commitment(network, key, member, reason)
    except (ValueError, TypeError, KeyError, Misused) as error:
        raise Misused(f"{file} is no reason of a suspension, as `yilian network suspend` writes it into {FOLDER}") from error
    if theirs != network:
        raise Declined(f"{file} is of another network, {theirs.hex()}")
    request = {"op": "suspended", "whom": member, "commitment": commitment.hex()}
    found = operating.asked(home, request)["suspension"]
    if found is None:
        raise Declined(
            f"no suspension of {member} on this node's ledger is for this reason: the file was altered, or its suspension not entered"
        )
    output.answer({**found, "reason": reason}, f"{suspended_since(found)}, for this reason:", *_printable(reason))


def _printable(text: str) -> list[str]:
    """Return the lines of another's text without what would command the terminal."""
    return ["  " + "".join(sign if sign.isprintable() else "?" for sign in line.expandtabs()) for line in text.splitlines()]
