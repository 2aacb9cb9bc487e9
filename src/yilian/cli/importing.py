"""Import FHIR R4 files into a member's records: bundles or resources (.json, .json.gz), ndjson (.ndjson, .ndjson.gz).

Resources keep their ids and their bytes; a second import of the same files stores nothing twice. Whatever is not stored is counted
and named by file, line and fault. Into a running region (--member), or into the folder of a node, running or stopped (--folder).
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yilian.cli import places
from yilian.cli.files import read_passphrase
from yilian.cli.frame import Declined, Misused, Output, Unreachable, counted_as
from yilian.cli.progress import Bar

if TYPE_CHECKING:
    from yilian.records import SqliteStore

SUMMARY = "import FHIR files into a member's records"


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("path", type=Path, metavar="DIR", help="a folder, or one file")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--member", metavar="ID", help="the member of a running region")
    where.add_argument("--folder", type=Path, metavar="DIR", help="a node's data folder")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line opens a stopped node's sealed key store")
    places.option(parser)


def run(options: argparse.Namespace, output: Output) -> None:
    """Import and count."""
    if not options.path.exists():
        raise Misused(f"there is no {options.path}")
    counts = _running(options) if options.member else _in_folder(options)
    if not counts["files"]:
        raise Misused(f"no file in {options.path} is named *.json, *.json.gz, *.ndjson or *.ndjson.gz")
    output.answer(counts, *lines(counts))
    if counts["refused"] or counts["problems"]:
        not_stored, problems = (counted_as(counts["refused"], "resource was", "resources were"), len(counts["problems"]))
        raise Declined(f"{not_stored} not stored; {counted_as(problems, 'file or line is', 'files or lines are')} named above")


def lines(counts: dict[str, Any]) -> list[str]:
    """Return the counts for people: every resource that was found is in one of them."""
    created, updated, unchanged, refused = (counts[name] for name in ("created", "updated", "unchanged", "refused"))
    stored = created + updated + unchanged
    found = f"{counted_as(counts['files'], 'file', 'files')}, {counted_as(counts['found'], 'resource', 'resources')} found"
    told = [f"{found}: {stored:,} stored, {refused:,} refused"]
    if stored:
        most = sorted(counts["by_type"].items(), key=lambda item: -item[1])[:6]
        told.append(f"of the stored {created:,} are new, {updated:,} new versions, {unchanged:,} were there already")
        told.append("most of them " + ", ".join(f"{name} {number:,}" for name, number in most))
    for one in counts["problems"]:
        place = f"{one['file']}:{one['line']}" if one["line"] else one["file"]
        told.append(f"  {place}  {'; '.join(one['issues'])}")
    return told


def _running(options: argparse.Namespace) -> dict[str, Any]:
    where = places.region(options)
    places.node_url(where, options.member)
    return _asked(Path(where.home), options.member, options.path)


def _asked(folder: Path, member: str, path: Path) -> dict[str, Any]:
    from yilian.cli import control

    with Bar("importing files") as bar:
        for said in control.ask(folder, {"op": "import", "member": member, "path": str(path.resolve())}):
            if "done" in said:
                done: dict[str, Any] = said["done"]
                return done
            bar.to(said["progress"][0], said["progress"][1])
    raise AssertionError("`ask` ends with done, or raises")


def _in_folder(options: argparse.Namespace) -> dict[str, Any]:
    from yilian.cli import control
    from yilian.node import SettingsWrong, read_settings

    try:
        settings = read_settings(options.folder)
    except SettingsWrong as wrong:
        raise Misused(str(wrong)) from wrong
    if (options.folder / control.SOCKET).exists():
        try:
            return _asked(options.folder, settings.id, options.path)
        except Unreachable:
            pass  # the socket of a process that died
    return _stopped(options)


def _stopped(options: argparse.Namespace) -> dict[str, Any]:
    from yilian.cli import control
    from yilian.node import SettingsWrong
    from yilian.records import StoreUnavailable, import_folder
    from yilian.vault import VaultFault

    passphrase = None if options.passphrase_file is None else read_passphrase(options.passphrase_file)
    try:
        with _opened(options.folder, passphrase) as store, Bar("importing files") as bar:
            return control.told(import_folder(store, options.path, lambda at: bar.to(at.files_done, at.files_total)))
    except SettingsWrong as wrong:
        raise Misused(str(wrong)) from wrong
    except (StoreUnavailable, VaultFault) as fault:
        raise Unreachable(str(fault)) from fault


@contextmanager
def _opened(path: Path, passphrase: str | None) -> "Iterator[SqliteStore]":
    """Open a stopped node's record store."""
    from yilian.node import Folder, clock_ms, read_genesis, read_settings
    from yilian.records import SqliteStore
    from yilian.vault import BodyCipher, Vault, VersionKeys

    genesis, settings = read_genesis(path), read_settings(path)
    regulator = next((one.node_key for one in genesis.members if "regulator" in one.kinds), genesis.founder(settings.id).node_key)
    with (
        Vault.open(path, passphrase) as vault,
        SqliteStore(
            Folder(path).records,
            keys=VersionKeys(vault, regulator),
            network_id=genesis.network_id,
            base_url=settings.endpoint + "/fhir",
            cipher=BodyCipher(vault),
            now_ms=clock_ms,
        ) as store,
    ):
        yield store
