"""What all parts of the SQLite store share: connections, interned numbers, how a body is framed and sealed, one write transaction."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any, Final

import orjson

from yilian.records import definitions, terms
from yilian.records.indexing import Indexer, search_parameters
from yilian.records.jsontext import Splice
from yilian.records.schema import connect, named
from yilian.records.scope import Scope
from yilian.records.select import Selector
from yilian.records.store import Cipher, Stored, VersionKeyStore
from yilian.records.terms import HANDLE

_LENGTH: Final = Struct(">I")
COLUMNS: Final = "r.id,r.type,r.rid,v.version,v.updated_ms,v.method,v.id,v.patient,v.body"
"""What `Core.stored` reads, from `resource r JOIN version v`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a store is opened with."""

    path: Path
    keys: VersionKeyStore
    network_id: bytes
    base_url: str
    cipher: Cipher | None
    now_ms: Callable[[], int]
    new_id: Callable[[], str]
    random: Callable[[int], bytes]


@dataclass(slots=True)
class Writing:
    """One write transaction under way: the keys of its versions are made durable before it commits."""

    db: sqlite3.Connection
    now_ms: int
    keys: list[tuple[bytes, bytes]] = field(default_factory=list)


class Core:
    """The open database of one member."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.lock = threading.RLock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._people: dict[int, str] = {}
        self._labels: dict[str, int] = {}
        self._permitted: dict[tuple[frozenset[str] | None, frozenset[str]], list[int]] = {}
        with named():
            self.writer = connect(setting.path, for_writing=True)
            fold_key: bytes = self.writer.execute("SELECT value FROM fact WHERE name='fold'").fetchone()[0]
            self._numbers = self._number_everything()
        self._names = {n: t for (t, c), n in self._numbers.items() if not c}
        self.fold = terms.folder(fold_key)
        self.fold_key = fold_key
        self.indexer = Indexer(self.fold, self.number, setting.base_url)
        self.selector = Selector(self.fold, self.number, self.permitted_labels, setting.base_url, setting.now_ms)

    def _number_everything(self) -> dict[tuple[str, str], int]:
        """Give every type (code "") and parameter its number, once for the life of the file."""
        wanted = [(t, c) for t in sorted(definitions.types()) for c in ("", *(code for code, _ in search_parameters(t)))]
        known = {(t, c): n for n, t, c in self.writer.execute("SELECT id, type, code FROM parameter")}
        fresh = [w for w in wanted if w not in known]
        if fresh:
            self.writer.execute("BEGIN IMMEDIATE")
            self.writer.executemany("INSERT INTO parameter(type, code) VALUES(?,?)", fresh)
            self.writer.execute("COMMIT")
            known = {(t, c): n for n, t, c in self.writer.execute("SELECT id, type, code FROM parameter")}
        return known

    def number(self, resource_type: str, code: str) -> int:
        return self._numbers[resource_type, code]

    def handle(self, resource_type: str, resource_id: str) -> int:
        return self.fold(HANDLE, f"{resource_type}/{resource_id}")

    # --- connections

    def reading(self) -> sqlite3.Connection:
        """Return this thread's reading connection."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            with named(), self.lock:
                db = self._local.db = connect(self.setting.path, for_writing=False)
                self._readers.append(db)
        return db

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read several times from one state of the store: a total and its page, a chain and its end."""
        with named():
            db = self.reading()
            db.execute("BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Run one write transaction: all of it or nothing. Its version keys are durable before it is."""
        with self.lock:
            writing = Writing(self.writer, self.setting.now_ms())
            try:
                with named():
                    self.writer.execute("BEGIN IMMEDIATE")
                    yield writing
                    if writing.keys:
                        self.setting.keys.put(writing.keys)
                    self.writer.execute("COMMIT")
            except BaseException:
                self._people.clear()
                self._labels.clear()
                if self.writer.in_transaction:
                    self.writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self.lock:
            for db in (*self._readers, self.writer):
                db.close()
            self._readers.clear()

    # --- interned values

    def person_handle(self, writing: Writing, patient_id: str) -> int:
        """Return the handle of a patient, kept so that the id can be found again."""
        handle = self.handle("Patient", patient_id)
        if handle not in self._people:
            writing.db.execute("INSERT OR IGNORE INTO person VALUES(?,?)", (handle, patient_id))
            self._people[handle] = patient_id
        return handle

    def person(self, db: sqlite3.Connection, handle: int) -> str | None:
        """Return the patient's id for a column `patient`; None where it is nobody's or several's."""
        if handle <= 0:
            return None
        known = self._people.get(handle)  # a rollback in another thread may empty the cache at any moment
        if known is None:
            known = self._people[handle] = db.execute("SELECT id FROM person WHERE handle=?", (handle,)).fetchone()[0]
        return known

    def label_set(self, writing: Writing, codes: Sequence[str]) -> int:
        """Return the number of a set of label codes; 0 is the empty set."""
        if not codes:
            return 0
        text = "\n".join(codes)
        if text not in self._labels:
            writing.db.execute("INSERT OR IGNORE INTO labelset(codes) VALUES(?)", (text,))
            self._labels[text] = writing.db.execute("SELECT id FROM labelset WHERE codes=?", (text,)).fetchone()[0]
        return self._labels[text]

    def permitted_labels(self, scope: Scope) -> list[int] | None:
        """Return the numbers of the label sets that a scope lets through; None if all."""
        if scope.labels_allowed is None and not scope.labels_denied:
            return None
        rows = self.reading().execute("SELECT id, codes FROM labelset").fetchall()
        fitting = [n for n, text in rows if _fits(frozenset(text.split("\n")), scope)]
        return [0, *fitting]

    # --- bodies

    def frame(self, received: bytes, splices: Sequence[Splice]) -> bytes:
        """Return a body as one piece: length of the splices, splices, received bytes."""
        packed = orjson.dumps([[s.start, s.end, s.text] for s in splices])
        return _LENGTH.pack(len(packed)) + packed + received

    def unframe(self, framed: bytes) -> tuple[bytes, list[Splice]]:
        """Return (received bytes, splices)."""
        (length,) = _LENGTH.unpack_from(framed)
        return framed[4 + length :], [Splice(*s) for s in orjson.loads(framed[4 : 4 + length])]

    def seal(self, patient_id: str | None, framed: bytes, context: bytes) -> bytes:
        cipher = self.setting.cipher
        return framed if cipher is None else cipher.encrypt(patient_id, framed, context)

    def framed(self, db: sqlite3.Connection, patient: int, body: bytes, context: bytes) -> bytes:
        cipher = self.setting.cipher
        return body if cipher is None else cipher.decrypt(self.person(db, patient), body, context)

    def stored(self, db: sqlite3.Connection, row: tuple[Any, ...]) -> Stored:
        """Return a version from a row of COLUMNS."""
        _id, kind, rid, version, updated_ms, method, number, patient, body = row
        name = self._names[kind]
        served = b""
        if method != "DELETE":
            framed = self.framed(db, patient, body, body_context(name, rid, version))
            (length,) = _LENGTH.unpack_from(framed)
            received = framed[4 + length :]
            out, at = [], 0
            for start, end, text in orjson.loads(framed[4 : 4 + length]):
                out += [received[at:start], text.encode()]
                at = end
            served = b"".join((*out, received[at:]))
        return Stored(name, rid, version, updated_ms, method, served, number)


def body_context(resource_type: str, resource_id: str, version: int) -> bytes:
    """Return what a sealed body is bound to: it cannot stand in for another resource or version."""
    return f"{resource_type}/{resource_id}/_history/{version}".encode()


def _fits(codes: frozenset[str], scope: Scope) -> bool:
    return not codes & scope.labels_denied and (scope.labels_allowed is None or codes <= scope.labels_allowed)
