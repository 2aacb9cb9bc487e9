"""Fetch a record's proof from the node that keeps it, as the member's own software, for `yilian verify-record` to check offline.

The file holds the record's version as it was received, the key of its commitment, its place under the member's tick, and the tick with
its receipts. It holds health data: it is written for its owner alone. A version that was written in the last minute is not anchored yet.

  yilian record-proof --member hospital-2 Observation/ID             the newest version, from a running region
  yilian record-proof --folder /srv/yilian Patient/ID --version 2    from one's own node
"""

import argparse
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yilian.cli import places
from yilian.cli.files import write_private
from yilian.cli.frame import Declined, Misused, Output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from yilian.sim.software import Software

SUMMARY = "fetch the proof of a record from the node that keeps it"
_CBOR: Final = "application/cbor"
_RECORD: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})")  # FHIR R4: a type, and an id's characters


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("record", metavar="TYPE/ID", help="the record, as `yilian read` names it")
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--member", metavar="ID", help="the member of a running region that keeps it")
    whose.add_argument("--folder", type=Path, metavar="DIR", help="the data folder of a running node")
    parser.add_argument("--version", metavar="N", help="its version (default: the newest)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (default: TYPE-ID.yilian-record)")
    places.option(parser)


def run(options: argparse.Namespace, output: Output) -> None:
    """Fetch and write."""
    from yilian.cli.people import spoken
    from yilian.ledger import parse_record_proof

    named = _RECORD.fullmatch(options.record)
    if named is None:
        raise Misused(f"{options.record!r} names no record: TYPE/ID, as in Observation/9be2b005")
    if options.version is not None and not options.version.isdigit():
        raise Misused("--version takes a number, as meta.versionId has it")
    data = spoken(f"the node of {options.member or options.folder}", _fetched(options, named[1], named[2]))
    proof = parse_record_proof(data)
    if proof.anchored is None:
        raise Declined(f"version {proof.version_id} of {options.record} was written after the last tick: ask again in a minute")
    file = options.out or Path(f"{proof.resource_type}-{proof.resource_id}.yilian-record")
    write_private(file, data)
    output.answer(
        {
            "file": str(file),
            "size_bytes": len(data),
            "member": proof.member,
            "type": proof.resource_type,
            "id": proof.resource_id,
            "version": proof.version_id,
            "tick": proof.anchored.tick_index,
        },
        f"wrote {file} ({len(data):,} bytes): {options.record} version {proof.version_id} of {proof.member}, under entry "
        f"{proof.anchored.tick_index}",
        f"it holds the record itself; whoever has it checks it, without us: yilian verify-record {file}",
    )


async def _fetched(options: argparse.Namespace, resource_type: str, resource_id: str) -> bytes:
    async with _software(options) as software:
        version = options.version
        if version is None:
            version = (await software.fhir("GET", f"{resource_type}/{resource_id}"))["meta"]["versionId"]
        path = f"/records/{resource_type}/{resource_id}/{version}/proof"
        return (await software.call("GET", path, headers={"Accept": _CBOR})).content


@asynccontextmanager
async def _software(options: argparse.Namespace) -> "AsyncIterator[Software]":
    """Log in as the member's own software: of a region, or of the node in a folder.

    Raises   Misused, Unreachable
    """
    from yilian.cli.people import visiting
    from yilian.node import SettingsWrong, read_genesis, read_settings
    from yilian.sim.software import Software, connected

    if options.member:
        async with visiting(places.region(options)) as region:
            yield region.software(options.member)
        return
    try:
        settings, network = read_settings(options.folder), read_genesis(options.folder).network_id
    except SettingsWrong as wrong:
        raise Misused(str(wrong)) from wrong
    async with connected(verify=settings.ca_file or True) as client:
        yield Software(settings.id, settings.endpoint, options.folder, network, client)
