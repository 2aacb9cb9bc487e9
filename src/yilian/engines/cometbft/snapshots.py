"""State sync: snapshots of this replica for others, and a restore from others that believes none of them.

Given    every `EVERY` blocks the state is written to `FOLDER/snapshots/HEIGHT`: the ledger's own chunks and manifest, the same bytes on
         every replica. The rows are those of one moment, read while later blocks are being committed. The last two are kept.
Taken    CometBFT brings an offer and the app hash that its light client verified for that height. The manifest travels as the
         snapshot's metadata; each chunk is checked against it, the whole against the app hash. Who sent a wrong chunk is banned, the
         snapshot rejected. When its block was made is asked of CometBFT's signed headers (`headers`). One chunk's rows are in memory
         at a time: they wait on the disk beside the state, and become the state at once.
Pruned   CometBFT may forget blocks that nobody needs to catch up, to prove equivocation or to begin from (ADR-0125).
Source   design 02 "Snapshot"; CometBFT v0.38.25, spec/abci/abci++_methods.md "OfferSnapshot", "ApplySnapshotChunk", "Commit".
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from yilian.base.codec import Malformed
from yilian.base.digests import sha256
from yilian.contracts import directory
from yilian.engines.cometbft.headers import MadeAt
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.cometbft.validators import validators
from yilian.engines.replica import Replica
from yilian.ledger import Chain, Manifest, Restore, Rows, SnapshotRejected, chunks, describe, parse_chain, parse_manifest

EVERY = 1_000  # blocks: about 80 minutes of an idle network, four of a busy one
KEPT = 2  # a member that joins needs the older one while the newer is being written
FORMAT = 1
MANIFEST = "manifest"
FOLDER = "snapshots"  # in the folder of the ledger
SEEN_THROUGH = "refused"  # the last snapshot that was seen through, in a sentence; gone once one was taken
NEW = ".new"  # ends the name of a snapshot that is being written
_CHUNKS_MAX = 100_000  # what CometBFT itself takes

Offer = abci.ResponseOfferSnapshot
Apply = abci.ResponseApplySnapshotChunk


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of its blocks CometBFT keeps at least: those of some time, some number of them, and all since the older snapshot."""

    blocks: int = 100_000  # evidence of equivocation may be as old (`settings.genesis_document`: max_age_num_blocks, and 48 h)
    time_s: int = 14 * 86_400  # twice the trust period of a light client (`settings`: 168 h); who was away for less just catches up


class Snapshots:
    """Both sides of state sync for one replica."""

    def __init__(
        self,
        folder: Path,
        replica: Replica,
        failed: Callable[[BaseException], None],
        every: int = EVERY,
        retention: Retention = Retention(),
        made_at: MadeAt | None = None,
    ) -> None:
        """Serve what `folder` holds. `failed` is told of a defect or a full disk while a snapshot is written.

        `made_at` proves when a block was made; without it no snapshot is taken.
        """
        self._folder = folder
        self._replica = replica
        self._failed = failed
        self._every = every
        self._retention = retention
        self._made_at = made_at
        self._writing: threading.Thread | None = None
        self._restore: Restore | None = None
        self._manifest: Manifest | None = None
        self._members = Rows()  # of the state that is being restored
        self.rejected = 0  # offers and snapshots that were seen through
        for unfinished in folder.glob(f"*{NEW}"):  # the process was killed over it
            shutil.rmtree(unfinished)

    # -- given

    def after(self, height: int) -> None:
        """Begin a snapshot if one is due; called between two commits, returns once the moment is held fast."""
        if height % self._every or (self._writing is not None and self._writing.is_alive()):
            return
        is_held = threading.Event()
        self._writing = threading.Thread(target=self._guarded_write, args=(is_held,), name="yilian-snapshot", daemon=True)
        self._writing.start()
        is_held.wait()

    def retain_height(self, height: int) -> int:
        """Return the least height whose block CometBFT has to keep, 0 for all; asked after the block at `height`, answered at snapshots."""
        kept = sorted(self._heights())[-KEPT:]
        if height % self._every or len(kept) < KEPT:
            return 0
        since_ms = self._replica.chain.time_ms - self._retention.time_s * 1_000
        return max(0, min(kept[0], height - self._retention.blocks, self._replica.last_before(since_ms, height) + 1))

    def close(self) -> None:
        """Wait for a snapshot that is being written."""
        if self._writing is not None:
            self._writing.join()

    def listed(self) -> list[abci.Snapshot]:
        """Return the snapshots that are complete, the newest first."""
        found = []
        for height in sorted(self._heights(), reverse=True):
            manifest = (self._folder / str(height) / MANIFEST).read_bytes()
            count = len(parse_manifest(manifest).chunks)
            found.append(abci.Snapshot(height=height, format=FORMAT, chunks=count, hash=sha256(manifest), metadata=manifest))
        return found

    def chunk(self, height: int, form: int, number: int) -> bytes:
        """Return a chunk; empty if it is not here any more."""
        try:
            return (self._folder / str(height) / str(number)).read_bytes() if form == FORMAT else b""
        except FileNotFoundError:
            return b""

    def _heights(self) -> list[int]:
        return [int(path.name) for path in self._folder.glob("*") if path.name.isdigit()]

    def _guarded_write(self, is_held: threading.Event) -> None:
        try:
            self._write(is_held)
        except BaseException as error:  # noqa: BLE001 - handed on: the engine stops with it
            self._failed(error)
        finally:
            is_held.set()

    def _write(self, is_held: threading.Event) -> None:
        with self._replica.at_one_moment() as (encoded, rows):
            is_held.set()
            chain = parse_chain(encoded)
            fresh = self._folder / f"{chain.height}{NEW}"
            fresh.mkdir(parents=True)
            digests = []
            for number, chunk in enumerate(chunks(rows)):
                _write_durably(fresh / str(number), chunk)
                digests.append(sha256(chunk))
            _write_durably(fresh / MANIFEST, describe(chain, digests).encoded())
            fresh.rename(self._folder / str(chain.height))
        for height in sorted(self._heights())[:-KEPT]:
            shutil.rmtree(self._folder / str(height))

    # -- taken

    def offered(self, snapshot: abci.Snapshot, app_hash: bytes) -> Offer:
        """Answer whether to fetch an offered snapshot's chunks."""
        self._give_up()
        if snapshot.format != FORMAT:
            return Offer(result=Offer.REJECT_FORMAT)
        if self._replica.chain.height or self._made_at is None:
            return Offer(result=Offer.ABORT)  # this copy has blocks: CometBFT replays instead
        try:
            manifest = parse_manifest(snapshot.metadata)
            restore = Restore(manifest, self._replica.genesis.network_id, app_hash)
        except (Malformed, SnapshotRejected) as error:
            self._see_through(snapshot.height, f"it is none of this network ({error})")
            return Offer(result=Offer.REJECT_SENDER)
        described = (manifest.height, len(manifest.chunks), sha256(snapshot.metadata))
        if described != (snapshot.height, snapshot.chunks, snapshot.hash) or not 0 < snapshot.chunks <= _CHUNKS_MAX:
            return Offer(result=Offer.REJECT_SENDER)
        self._restore, self._manifest, self._members = restore, manifest, Rows()
        return Offer(result=Offer.ACCEPT)

    def applied(self, number: int, chunk: bytes, sender: str) -> Apply:
        """Answer to the next chunk; after the last, the replica stands at the snapshot's height or the snapshot is rejected."""
        restore, manifest = self._restore, self._manifest
        if restore is None or manifest is None:
            return Apply(result=Apply.ABORT)
        if number >= len(manifest.chunks) or sha256(chunk) != manifest.chunks[number]:
            return Apply(result=Apply.RETRY, refetch_chunks=[number], reject_senders=[sender])
        try:
            rows = restore.take(chunk)
            self._replica.stage(rows)
            self._members.take({key: value for key, value in rows if key.startswith(directory.MEMBER_PREFIX)})
            if number + 1 == len(manifest.chunks):
                self._replica.restore(self._timed(restore.finish()), restore.tagged)
                self._restore = None
                (self._folder / SEEN_THROUGH).unlink(missing_ok=True)
        except SnapshotRejected as why:
            self._give_up()
            self._see_through(manifest.height, str(why))
            return Apply(result=Apply.REJECT_SNAPSHOT, reject_senders=[sender])
        return Apply(result=Apply.ACCEPT)

    def _timed(self, chain: Chain) -> Chain:
        """Return the chain of a snapshot, if its block was made when the manifest says.

        Raises   SnapshotRejected; TimeUnproven, if nobody can show when it was
        """
        assert self._made_at is not None, "or no offer is accepted"
        made_ms = self._made_at(chain, validators(self._members))
        if made_ms != chain.time_ms:
            raise SnapshotRejected(f"it says that its block was made at {chain.time_ms} ms, and the validators signed {made_ms} ms")
        return chain

    def _see_through(self, height: int, why: str) -> None:
        """Count a snapshot that was seen through, and keep the reason for `yilian network status`."""
        self.rejected += 1
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / SEEN_THROUGH).write_text(f"a snapshot of height {height} was offered and refused: {why}\n")

    def _give_up(self) -> None:
        """Forget a restore that was begun and not ended."""
        if self._restore is not None:
            self._restore = None
            self._replica.unstage()


def refused_snapshot(ledger: Path) -> str:
    """Return why the last snapshot that a joining member was offered was not taken; empty if none was refused, or one was taken since."""
    path = ledger / FOLDER / SEEN_THROUGH
    return path.read_text().strip() if path.exists() else ""


def _write_durably(path: Path, data: bytes) -> None:
    """Write a file whose bytes outlive a loss of power: a snapshot that is offered is whole."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
