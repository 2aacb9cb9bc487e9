"""Check an exported file without any network and without trusting any node.

The file carries the network's genesis, the entries with their receipts, and the changes of
members between them. Trusted are genesis (compare its network id with one you know, or give
--network) and the checkpoint that you give with --checkpoint: a signed log root that you kept
from earlier. Exit code 3 says that the file does not prove what it says.
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from yilian.cli.files import read_bytes
from yilian.cli.frame import Declined, Fact, Misused, Output, counted_as

if TYPE_CHECKING:
    from yilian.ledger import Checkpoint, Report, Verified

SUMMARY = "check an exported file, offline, trusting nobody's word"
_UNPINNED = (
    "no checkpoint was given: if keys that members have since retired were stolen, a false log could look like this one; "
    "keep a checkpoint and give it with --checkpoint"
)


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the export")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="a checkpoint kept from earlier: the file's log must be its log")
    parser.add_argument("--network", metavar="HEX", help="the network id you expect, 64 hexadecimal digits")


def run(options: argparse.Namespace, output: Output) -> None:
    """Verify and say what was proven."""
    from yilian.ledger import NotProven, verify

    network = network_named(options.network)
    pinned = None if options.checkpoint is None else checkpoint_in(options.checkpoint)
    data = read_bytes(options.file)
    try:
        report = verify(data, pinned, network)
    except NotProven as no:
        raise Declined(f"{options.file} is not proven: {no}{_other_kind(data)}") from no
    is_quorum = all(entry.is_quorum for entry in report.entries)
    notes = notes_on(report)
    counted = counted_as(len(report.entries), "entry", "entries")
    output.answer(
        {
            "network": report.network,
            "entries": [_facts(entry) for entry in report.entries],
            "is_quorum": is_quorum,
            "is_pinned": report.is_pinned,
            "notes": notes,
        },
        *(_line(entry) for entry in report.entries),
        f"proven: {counted} of network {report.network.hex()[:16]}..., every signature and every path holds",
        *(f"note: {note}" for note in notes),
    )


def _other_kind(data: bytes) -> str:
    """Return what to do with a file that is good, but for the other command."""
    from yilian.base.codec import Malformed
    from yilian.ledger import parse_record_proof

    try:
        parse_record_proof(data)
    except Malformed:
        return ""
    return "; it is a record's proof: yilian verify-record"


def network_named(text: str | None) -> bytes | None:
    """Return the network id in hexadecimal digits.

    Raises   Misused
    """
    try:
        return None if text is None else bytes.fromhex(text)
    except ValueError as error:
        raise Misused("--network takes hexadecimal digits") from error


def checkpoint_in(file: Path) -> "Checkpoint":
    """Return the checkpoint in a file.

    Raises   Misused, Declined
    """
    from yilian.base.codec import Malformed
    from yilian.ledger import parse_checkpoint

    try:
        return parse_checkpoint(read_bytes(file))
    except Malformed as error:
        raise Declined(f"{file} is not a checkpoint ({error})") from error


def notes_on(report: "Report") -> list[str]:
    """Return what a reader must know about who vouches for a file."""
    is_quorum = all(entry.is_quorum for entry in report.entries)
    return ([] if is_quorum else [_vouching(report)]) + ([] if report.is_pinned else [_UNPINNED])


def _vouching(report: "Report") -> str:
    signers = sorted({signer for entry in report.entries if not entry.is_quorum for signer in entry.signers})
    return (
        f"only {', '.join(signers)} vouches for {'some entries' if any(entry.is_quorum for entry in report.entries) else 'these entries'}: "
        "no quorum (the operator and more than half of the others, or validators of more than two thirds of the votes), so it is their word"
    )


def _facts(entry: "Verified") -> dict[str, Fact]:
    return {
        "index": entry.index,
        "id": entry.id,
        "kind": entry.kind,
        "carrier": entry.carrier,
        "approvals": entry.approvals,
        "height": entry.height,
        "time_s": entry.time_s,
        "signers": entry.signers,
        "is_quorum": entry.is_quorum,
        "suspends": entry.suspends or None,
    }


def _line(entry: "Verified") -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.time_s))
    by = f"carried by {entry.carrier}" if entry.carrier else f"the ledger's own: {entry.suspends} is suspended"
    return f"entry {entry.index:>6}  {entry.kind:<20} {by}, {at}, receipt of {', '.join(entry.signers)}"
