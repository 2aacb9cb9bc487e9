"""Check, without any network, that a record stood unaltered under its holder's anchor on the ledger.

The file holds the version's bytes as they were received, the key of its commitment, its place
under a tick, and the tick with its receipts. It holds health data: it is the patient's, or the
holder's, to show. Exit code 3 says that it does not prove what it says, or not yet.
"""

import argparse
import time
from pathlib import Path

from yilian.cli.files import read_bytes
from yilian.cli.frame import Declined, Output
from yilian.cli.verify import checkpoint_in, network_named, notes_on

SUMMARY = "check, offline, that a record is the one that was anchored"


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the record's proof")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="a checkpoint kept from earlier: the file's log must be its log")
    parser.add_argument("--network", metavar="HEX", help="the network id you expect, 64 hexadecimal digits")
    parser.add_argument("--show", action="store_true", help="print the record as well: it is health data")


def run(options: argparse.Namespace, output: Output) -> None:
    """Verify and say what was proven."""
    from yilian.ledger import NotProven, verify_record

    network = network_named(options.network)
    pinned = None if options.checkpoint is None else checkpoint_in(options.checkpoint)
    try:
        verified = verify_record(read_bytes(options.file), pinned, network)
    except NotProven as no:
        raise Declined(f"{options.file} is not proven: {no}") from no
    proof, at = verified.proof, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(verified.time_s))
    notes = notes_on(verified.report)
    shown = {"record": proof.received.decode()} if options.show else {}
    output.answer(
        {
            "member": proof.member,
            "type": proof.resource_type,
            "id": proof.resource_id,
            "version": proof.version_id,
            "size_bytes": len(proof.received),
            "anchored_at_s": verified.time_s,
            "tick": verified.tick.index,
            "network": verified.report.network,
            "notes": notes,
            **shown,
        },
        f"proven: {proof.resource_type}/{proof.resource_id} version {proof.version_id} of {proof.member} ({len(proof.received):,} bytes) "
        f"stood as it is at {at}, under entry {verified.tick.index}",
        *shown.values(),
        *(f"note: {note}" for note in notes),
    )
