"""Back up a member's copy of the ledger, also while its node runs, and restore it somewhere else.

  yilian snapshot take     writes genesis, the state in chunks, and every block, into a new folder
  yilian snapshot restore  into a member's folder that has no ledger yet: the chunks must add up to the app hash, and every block
                           is replayed from genesis, every signature and every rule; one flipped bit and nothing is restored

This is the ledger only. A node's own backup (records, tables) and its key store are kept apart: docs/operating/backup.md.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from yilian.cli.files import read_bytes
from yilian.cli.frame import Declined, Misused, Output, Unreachable
from yilian.cli.ordering import LEDGER
from yilian.cli.progress import Bar

if TYPE_CHECKING:
    from yilian.engines.replica import Replica
    from yilian.ledger import Chain, Genesis, Manifest

SUMMARY = "back up the ledger of a node, also while it runs, and restore it"
GENESIS, MANIFEST, BLOCKS = "genesis.cbor", "manifest.cbor", "blocks.bin"
_LENGTH_BYTES: Final = 4
_NO_APP_HASH = "no app hash was given: the copy is sound in itself; ask another member for its app hash at this height and compare"


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    acts = parser.add_subparsers(title="acts", metavar="ACT", required=True)
    take = acts.add_parser("take", help="write a snapshot and all blocks into a new folder")
    take.add_argument("--home", required=True, type=Path, metavar="DIR", help="the member's data folder, or the ledger's own")
    take.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder to make")
    take.set_defaults(act=_take)
    restore = acts.add_parser("restore", help="check a snapshot and restore it")
    restore.add_argument("--home", required=True, type=Path, metavar="DIR", help="the member's data folder, which has no ledger yet")
    restore.add_argument("--from", required=True, type=Path, metavar="DIR", dest="source", help="the snapshot's folder")
    restore.add_argument("--app-hash", metavar="HEX", help="the app hash at the snapshot's height, as somebody you trust has it")
    restore.set_defaults(act=_restore)
    for act in (take, restore):
        act.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the same facts as JSON")


def run(options: argparse.Namespace, output: Output) -> None:
    """Take or restore."""
    from yilian.engines import EngineStopped

    output.is_json = options.json
    try:
        options.act(options, output)
    except EngineStopped as stopped:
        raise Unreachable(str(stopped)) from stopped
    except OSError as error:
        raise Unreachable(f"{error.filename or options.home}: {error.strerror}") from error


def _take(options: argparse.Namespace, output: Output) -> None:
    import tempfile

    from yilian.engines.replica import Replica

    ledger = _ledger_of(options.home)
    genesis = _genesis(_genesis_beside(ledger))
    _require_whole(ledger)
    try:
        options.out.mkdir(parents=True)
    except FileExistsError as error:
        raise Misused(f"{options.out} is there already: a snapshot gets a folder of its own") from error
    with tempfile.TemporaryDirectory(prefix="yilian-snapshot-", dir=options.out) as folder:
        _copy(ledger, Path(folder))
        replica = Replica.open(Path(folder), genesis, is_durable=False)
        try:
            chunks = _write(replica, options.out)
        finally:
            replica.close()
    chain = replica.chain
    output.answer(
        {"height": chain.height, "entries": chain.log.size, "app_hash": chain.app_hash, "chunks": chunks, "folder": str(options.out)},
        f"snapshot of height {chain.height} ({chain.log.size} entries) in {options.out}",
        f"app hash {chain.app_hash.hex()}: keep it apart from the snapshot, a restore is checked against it",
    )


def _restore(options: argparse.Namespace, output: Output) -> None:
    from yilian.ledger import SnapshotRejected

    target, genesis = options.home / LEDGER, _genesis(options.home / GENESIS)
    if target.exists():
        raise Misused(f"{target} is there already: restore into a folder without a ledger")
    if read_bytes(options.source / GENESIS) != genesis.encoded():
        raise Declined(f"{options.source} is of another network than {options.home}")
    fresh = target.with_name(LEDGER + ".new")
    try:
        chain = _checked_copy(options, genesis, fresh)
    except SnapshotRejected as no:
        _discard(fresh)
        raise Declined(f"{options.source}: {no}") from no
    except BaseException:
        _discard(fresh)
        raise
    fresh.rename(target)
    note = () if options.app_hash else (f"note: {_NO_APP_HASH}",)
    output.answer(
        {"height": chain.height, "entries": chain.log.size, "app_hash": chain.app_hash, "is_pinned": bool(options.app_hash)},
        f"restored height {chain.height}: {chain.log.size} entries, every block replayed and every chunk compared",
        f"app hash {chain.app_hash.hex()}",
        *note,
    )


# the parts


def _require_whole(ledger: Path) -> None:
    """Refuse a copy that began with a snapshot and lacks blocks still: nobody could replay its backup.

    Raises   Declined
    """
    from yilian.engines import progress_in

    lacks = progress_in(ledger)
    if lacks is not None:
        sentence = f"{ledger} began with a snapshot and has {lacks.entries} of the {lacks.entries_all} entries before it so far"
        raise Declined(f"{sentence}; the node fetches them while it runs: yilian network status")


def _ledger_of(home: Path) -> Path:
    from yilian.engines.store import FILE

    for folder in (home / LEDGER, home):
        if (folder / FILE).is_file():
            return folder
    raise Misused(f"{home} holds no ledger")


def _genesis_beside(ledger: Path) -> Path:
    """Return the genesis file of the member whose ledger this is; in a simulated region the members lie beside their one ledger."""
    found = [ledger.parent / GENESIS, *sorted(ledger.parent.glob(f"*/{GENESIS}"))]
    return next((file for file in found if file.is_file()), found[0])


def _genesis(file: Path) -> "Genesis":
    from yilian.base.codec import Malformed
    from yilian.ledger import parse_genesis

    try:
        return parse_genesis(read_bytes(file))
    except Malformed as error:
        raise Declined(f"{file} is not a genesis ({error})") from error


def _copy(ledger: Path, folder: Path) -> None:
    """Copy the database as it stands between two blocks, while another process may be writing to it."""
    import sqlite3
    from contextlib import closing

    from yilian.engines.store import FILE

    with closing(sqlite3.connect(f"file:{ledger / FILE}?mode=ro", uri=True)) as source, closing(sqlite3.connect(folder / FILE)) as target:
        source.backup(target)


def _write(replica: "Replica", out: Path) -> int:
    from yilian.base.digests import sha256
    from yilian.engines import encode_block
    from yilian.ledger import chunks, describe

    digests = []
    with replica.at_one_moment() as (_, rows):  # read as they are written: a state is larger than what one likes to hold
        for number, chunk in enumerate(chunks(rows)):
            (out / f"state-{number:04}.cbor").write_bytes(chunk)
            digests.append(sha256(chunk))
    (out / MANIFEST).write_bytes(describe(replica.chain, digests).encoded())
    (out / GENESIS).write_bytes(replica.genesis.encoded())
    with (out / BLOCKS).open("wb") as file, Bar("writing blocks", replica.chain.height) as bar:
        height = 0
        while found := replica.blocks(height):
            for block in found:
                data = encode_block(block)
                file.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
            height = found[-1].height
            bar.to(height)
    return len(digests)


def _checked_copy(options: argparse.Namespace, genesis: "Genesis", fresh: Path) -> "Chain":
    """Replay the blocks into `fresh`, and compare what they lead to with the snapshot and the trusted app hash.

    Raises   SnapshotRejected
    """
    from yilian.ledger import Restore, SnapshotRejected

    manifest = _manifest(options.source)
    chain = _replayed(options.source, genesis, fresh, manifest.height)
    trusted = _app_hash(options.app_hash) or chain.app_hash
    restore = Restore(manifest, genesis.network_id, trusted)
    for number in range(len(manifest.chunks)):
        restore.take(read_bytes(options.source / f"state-{number:04}.cbor"))
    if restore.finish() != chain:
        raise SnapshotRejected("its blocks lead to another state than its chunks hold")
    return chain


def _app_hash(text: str | None) -> bytes | None:
    try:
        return None if text is None else bytes.fromhex(text)
    except ValueError as error:
        raise Misused("--app-hash takes hexadecimal digits") from error


def _manifest(source: Path) -> "Manifest":
    from yilian.base.codec import Malformed
    from yilian.ledger import SnapshotRejected, parse_manifest

    try:
        return parse_manifest(read_bytes(source / MANIFEST))
    except Malformed as error:
        raise SnapshotRejected(f"its manifest cannot be read ({error})") from error


def _replayed(source: Path, genesis: "Genesis", fresh: Path, last: int) -> "Chain":
    from yilian.base.codec import Malformed
    from yilian.engines import decode_block
    from yilian.engines.replica import Replica
    from yilian.ledger import SnapshotRejected

    replica = Replica.open(fresh, genesis)
    try:
        with (source / BLOCKS).open("rb") as file, Bar("replaying blocks", last) as bar:
            for data in _frames(file):
                block = decode_block(data)
                decided = replica.decide(replica.header_again(block.header, block.system_leaves), block.transactions)
                if block.header.height != replica.chain.height + 1 or decided.applied.app_hash != block.app_hash:
                    raise SnapshotRejected(f"block {block.header.height} is out of order, or does not give the app hash that it names")
                replica.commit(decided)
                bar.to(block.header.height)
        return replica.chain
    except Malformed as error:
        raise SnapshotRejected(f"block {replica.chain.height + 1} cannot be read ({error})") from error
    finally:
        replica.close()


def _frames(file: BinaryIO) -> Iterator[bytes]:
    """Yield each block's bytes.

    Raises   SnapshotRejected, if the file ends within one
    """
    from yilian.ledger import SnapshotRejected

    while head := file.read(_LENGTH_BYTES):
        size = int.from_bytes(head, "big")
        data = file.read(size)
        if len(head) != _LENGTH_BYTES or len(data) != size:
            raise SnapshotRejected("its blocks end within a block")
        yield data


def _discard(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
