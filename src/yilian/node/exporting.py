"""Bulk export of the member's own records, by its own software: asked for, waited for, fetched as files of ndjson, one type each.

Life     running -> done | failed -> forgotten: an hour after it ended (whoever asks), when it is cancelled, or when the node starts again.
Files    in `exports/` of the member's folder, sealed piece by piece under the member's own key: frames of u32 length, nonce || AES-256-GCM,
         each bound to its job, type and place.
Time     `transactionTime` is when it was asked for. What is written meanwhile may be in it: the next export since then has it again.
Source   FHIR Bulk Data Access 2.0.0, "Request flow"; design 04 "Operations". Other members export through the release gate (`reading`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import orjson

from yilian.base.codec import encode
from yilian.node.defects import noted
from yilian.node.flight import Flight
from yilian.node.housekeeping import Housekeeping, duty
from yilian.node.keys import Keys
from yilian.node.members import Members
from yilian.node.refusals import No, demand
from yilian.node.settings import Folder
from yilian.records import EVERYTHING, RecordFault, RecordStore, Scope, StoreUnavailable, extent_ms, patient_types, resource_types

if TYPE_CHECKING:
    from yilian.node.member import Node

KEPT_S: Final = 3_600
JOBS_MAX: Final = 4  # at once and not yet forgotten: each is a copy of the records on the disk
PIECE_BYTES: Final = 256 * 1024
FORMATS: Final = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
LENGTH_BYTES: Final = 4
_log = logging.getLogger("yilian.node")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an export was asked for: which types, and changed since when (Unix milliseconds)."""

    request: str
    types: frozenset[str]
    since_ms: int | None


@dataclass(slots=True)
class Job:
    """One export. `fault` says why it failed; `case` under which number the log has the defect of ours that ended it."""

    id: str
    wanted: Wanted
    asked_at_ms: int
    counts: dict[str, int] = field(default_factory=dict)  # type -> lines, of the files that there are
    ended_at_s: int | None = None
    fault: RecordFault | None = None
    case: str | None = None
    is_cancelled: bool = False

    @property
    def is_done(self) -> bool:
        """Say whether its files are whole."""
        return self.ended_at_s is not None and self.fault is None and self.case is None and not self.is_cancelled


def wanted_of(request_url: str, *, is_of_patients: bool, query: str) -> Wanted:
    """Return what a kick-off asks for. `is_of_patients`: only what can be in a patient's compartment.

    Refuses  NOT_UNDERSTOOD, naming the parameter
    """
    types, since_ms = patient_types() if is_of_patients else resource_types(), None
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "_outputFormat":
            demand(value.replace(" ", "+") in FORMATS, No.NOT_UNDERSTOOD, parameter=name)
        elif name == "_type":
            demand(set(value.split(",")) <= resource_types(), No.NOT_UNDERSTOOD, parameter=name)
            types &= set(value.split(","))
        elif name == "_since":
            extent = extent_ms(value.replace(" ", "+"))
            demand(extent is not None, No.NOT_UNDERSTOOD, parameter=name)
            since_ms = None if extent is None else extent[0]
        else:
            demand(holds=False, no=No.NOT_UNDERSTOOD, parameter=name[:64])
    return Wanted(request_url, types, since_ms)


class Exports:
    """The exports of one node."""

    def __init__(
        self, folder: Folder, keys: Keys, store: RecordStore, members: Members, flight: Flight, housekeeping: Housekeeping
    ) -> None:
        """Forget what an earlier life of the process left."""
        self._keys, self._store, self._members, self._flight, self._housekeeping = keys, store, members, flight, housekeeping
        self._folder = folder.path / "exports"
        self._jobs: dict[str, Job] = {}
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, wanted: Wanted) -> Job:
        """Begin an export.

        Refuses  TOO_MANY_REQUESTS, SHUTTING_DOWN
        """
        self.forget_old()
        demand(len(self._jobs) < JOBS_MAX, No.TOO_MANY_REQUESTS, exports_max=JOBS_MAX)
        job = Job(secrets.token_hex(16), wanted, self._members.clock_ms())
        self._flight.start(self._run(job))
        self._jobs[job.id] = job
        return job

    def find(self, job_id: str) -> Job | None:
        """Return an export, or None if there is none (any more)."""
        self.forget_old()
        return self._jobs.get(job_id)

    def cancel(self, job: Job) -> None:
        """End an export if it runs, and forget it and its files."""
        job.is_cancelled = True
        self._jobs.pop(job.id, None)
        if job.ended_at_s is not None:
            shutil.rmtree(self._folder / job.id, ignore_errors=True)

    def lines(self, job: Job, name: str) -> Iterator[bytes]:
        """Yield the file of a type, in pieces of whole lines."""
        with self._file(job, name).open("rb") as source:
            for place, sealed in enumerate(iter(lambda: _frame(source.read(LENGTH_BYTES), source.read), b"")):
                yield self._keys.open(None, sealed, _context(job, name, place))

    def _file(self, job: Job, name: str) -> Path:
        return self._folder / job.id / f"{name}.sealed"

    def forget_old(self) -> None:
        """Forget what ended an hour ago, and have the housekeeping come again for the next one."""
        now_s = self._members.now_s()
        ended = [(job.ended_at_s + KEPT_S, job) for job in self._jobs.values() if job.ended_at_s is not None]
        for end_s, job in ended:
            if now_s >= end_s:
                self.cancel(job)
            else:
                self._housekeeping.wake_in(end_s - now_s)

    async def _run(self, job: Job) -> None:
        try:
            await asyncio.to_thread(self._write, job)
        except RecordFault as fault:
            job.fault = fault
        except OSError:
            job.fault = StoreUnavailable("The export could not be written: the disk is full or cannot be written to.")
        except Exception as error:  # noqa: BLE001 - our defect, in a task that nobody awaits: told as that of a request is
            job.case = noted(error, "an export", _log)
        finally:
            job.ended_at_s = self._members.now_s()
            self._housekeeping.wake_in(KEPT_S)
            if not job.is_done:
                shutil.rmtree(self._folder / job.id, ignore_errors=True)

    def _write(self, job: Job) -> None:
        """Write all files; called in a thread."""
        (self._folder / job.id).mkdir(mode=0o700, parents=True)
        scope = EVERYTHING if job.wanted.types == resource_types() else Scope(types=job.wanted.types)
        name, waiting, place = "", bytearray(), 0
        for type_, line in self._store.export(scope):
            if job.is_cancelled or self._flight.is_landing:
                job.is_cancelled = True
                return
            if job.wanted.since_ms is not None and not _is_newer(line, job.wanted.since_ms):
                continue
            if (type_ != name or len(waiting) >= PIECE_BYTES) and waiting:
                self._append(job, name, place, bytes(waiting))
                waiting.clear()
                place = place + 1 if type_ == name else 0
            name = type_
            waiting += line + b"\n"
            job.counts[name] = job.counts.get(name, 0) + 1
        if waiting:
            self._append(job, name, place, bytes(waiting))

    def _append(self, job: Job, name: str, place: int, piece: bytes) -> None:
        sealed = self._keys.seal(None, piece, _context(job, name, place))
        with self._file(job, name).open("ab") as out:
            out.write(len(sealed).to_bytes(LENGTH_BYTES, "big") + sealed)


@duty
async def forget(node: Node) -> None:
    """Forget exports whose hour is over, also where nobody asks for them."""
    node.exports.forget_old()


def _frame(length: bytes, read: Callable[[int], bytes]) -> bytes:
    return read(int.from_bytes(length, "big")) if length else b""


def _context(job: Job, name: str, place: int) -> bytes:
    return encode(["export", job.id, name, place])


def _is_newer(line: bytes, since_ms: int) -> bool:
    said: Any = orjson.loads(line)
    extent = extent_ms(said["meta"]["lastUpdated"])
    return extent is not None and extent[0] >= since_ms
