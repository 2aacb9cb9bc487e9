"""`SqliteStore`: the embedded store of one member's records in one file.

Thread-safe: one writer behind a lock, one reading connection per thread (WAL: readers never wait). Short reads may run in an event loop
(a read is tens of microseconds); imports belong in a thread. One request is one SQLite transaction.
"""

import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from yilian.records import anchors, bundles, history, validate
from yilian.records.core import COLUMNS, Core, Setting
from yilian.records.everything import everything, export
from yilian.records.faults import BadQuery, Gone, Invalid, Issue, NotFound
from yilian.records.jsontext import read_resource
from yilian.records.patching import patched
from yilian.records.primitives import is_id
from yilian.records.query import Query
from yilian.records.schema import named
from yilian.records.scope import EVERYTHING, Scope
from yilian.records.searching import search
from yilian.records.store import BundleOutcome, Cipher, HistoryPage, Page, Pending, Proof, Stored, VersionKeyStore
from yilian.records.writing import erase_head, head_of, require_match, write


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _new_id() -> str:
    return str(uuid.uuid4())


class SqliteStore:
    """A `RecordStore` in one SQLite file.

    keys       where commitment keys are kept, apart from the records
    network_id what commitments are bound to
    base_url   this member's FHIR base: references to it are local
    cipher     seals bodies at rest; None stores them plain
    """

    def __init__(
        self,
        path: Path | str,
        *,
        keys: VersionKeyStore,
        network_id: bytes,
        base_url: str = "",
        cipher: Cipher | None = None,
        now_ms: Callable[[], int] = _now_ms,
        new_id: Callable[[], str] = _new_id,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.core = Core(Setting(Path(path), keys, network_id, base_url, cipher, now_ms, new_id, random))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.core.close()

    # --- one resource

    def create(self, resource_type: str, body: bytes, *, if_none_exist: str | None = None) -> Stored:
        """Store a new resource under an id of ours; with a condition that one resource meets, return that one instead.

        Refuses  Invalid, Malformed, TooLarge, PreconditionFailed, BadQuery, StoreUnavailable
        """
        document = read_resource(body)
        validate.check(document, resource_type)
        with self.core.writing() as writing:
            if if_none_exist is not None:
                found = bundles.only_match(self.core, writing, resource_type, if_none_exist)
                if found is not None:
                    return found
            return write(self.core, writing, document, self.core.setting.new_id(), "POST", [])

    def read(self, resource_type: str, resource_id: str, scope: Scope = EVERYTHING) -> Stored:
        """Return the current version.

        Refuses  NotFound (also for what the scope hides), Gone
        """
        core = self.core
        where, bound = "", ()
        if scope is not EVERYTHING:
            seen, allowed = core.selector.visible(scope, "r"), core.selector.of_types(scope, "r")
            where, bound = f" AND {seen.text} AND {allowed.text}", seen.bound + allowed.bound
        with named():
            db = core.reading()
            row = db.execute(
                f"SELECT {COLUMNS} FROM resource r JOIN version v ON v.id=r.head WHERE r.handle=? AND r.rid=?{where}",
                (core.handle(resource_type, resource_id), resource_id, *bound),
            ).fetchone()
            if row is None:
                raise NotFound("There is no such resource.", resource_type if resource_type.isalpha() else "")
            stored = core.stored(db, row)
        if stored.is_deleted:
            raise Gone("The resource was deleted.", resource_type)
        return stored

    def vread(self, resource_type: str, resource_id: str, version_id: str, scope: Scope = EVERYTHING) -> Stored:
        """Return one version, whose content is what is judged by the scope.

        Refuses  NotFound, Gone (a deletion)
        """
        with self.core.snapshot() as db:
            stored = history.version_of(self.core, db, resource_type, resource_id, version_id, scope)
        if stored.is_deleted:
            raise Gone("This version is a deletion.", resource_type)
        return stored

    def update(self, resource_type: str, resource_id: str, body: bytes, *, if_match: str | None = None) -> Stored:
        """Store the next version, or the first under an id of the client's.

        Refuses  Invalid, Malformed, TooLarge, Conflict, StoreUnavailable
        """
        document = read_resource(body)
        validate.check(document, resource_type)
        if not is_id(resource_id) or document.tree.get("id") != resource_id:
            raise Invalid("The resource's id is not the one that was addressed.", f"{resource_type}.id")
        with self.core.writing() as writing:
            require_match(head_of(self.core, writing, resource_type, resource_id), if_match)
            return write(self.core, writing, document, resource_id, "PUT", [])

    def patch(self, resource_type: str, resource_id: str, patch: bytes, *, if_match: str | None = None) -> Stored:
        """Store the next version: the current one after a JSON Patch. Who wrote meanwhile is not overwritten.

        Refuses  NotFound, Gone, Invalid, Malformed, TooLarge, Conflict, StoreUnavailable
        """
        current = self.read(resource_type, resource_id)
        document = read_resource(patched(current.body, patch))
        validate.check(document, resource_type)
        if document.tree.get("id") != resource_id:
            raise Invalid("A patch does not change the id.", f"{resource_type}.id")
        with self.core.writing() as writing:
            head = head_of(self.core, writing, resource_type, resource_id)
            require_match(head, if_match)
            require_match(head, current.etag)
            return write(self.core, writing, document, resource_id, "PATCH", [])

    def update_where(self, resource_type: str, query: str, body: bytes) -> Stored:
        """Conditional update: the one match becomes the next version; no match creates.

        Refuses  Invalid, Malformed, TooLarge, PreconditionFailed, BadQuery
        """
        document = read_resource(body)
        validate.check(document, resource_type)
        with self.core.writing() as writing:
            found = bundles.only_match(self.core, writing, resource_type, query)
            given = document.tree.get("id")
            if found is not None and given not in {None, found.id}:
                raise Invalid("The resource's id is not that of the match.", f"{resource_type}.id")
            resource_id = found.id if found else given or self.core.setting.new_id()
            return write(self.core, writing, document, resource_id, "PUT", [])

    def delete(self, resource_type: str, resource_id: str, *, if_match: str | None = None) -> Stored | None:
        """Delete; None if it was deleted already.

        Refuses  NotFound, Conflict, StoreUnavailable
        """
        with self.core.writing() as writing:
            return erase_head(self.core, writing, resource_type, resource_id, if_match)

    # --- many

    def history(
        self,
        resource_type: str | None = None,
        resource_id: str | None = None,
        *,
        since_s: int | None = None,
        count: int = 50,
        cursor: str | None = None,
        scope: Scope = EVERYTHING,
    ) -> HistoryPage:
        """Return versions newest first: of an instance, a type, or the store.

        Refuses  NotFound, BadQuery
        """
        if resource_type is not None and not resource_type.isalpha():
            raise BadQuery("R4 has no such type.")
        with self.core.snapshot() as db:
            return history.history(self.core, db, (resource_type, resource_id), since_s, count, cursor, scope)

    def search(self, query: Query, scope: Scope = EVERYTHING, cursor: str | None = None) -> Page:
        """Return one page of a search, of what both the query's own scope and `scope` allow.

        Refuses  BadQuery
        """
        with self.core.snapshot() as db:
            return search(self.core, db, query.narrowed_to(scope), cursor)

    def process(self, bundle: bytes) -> BundleOutcome:
        """Carry out a batch (each entry alone) or a transaction (all or nothing).

        Refuses  Malformed, TooLarge, Invalid, NotAllowed; a transaction also what any entry is refused with
        """
        return bundles.process(self.core, bundle)

    def everything(self, patient_id: str, scope: Scope = EVERYTHING) -> Iterator[Stored]:
        """Yield the patient, the compartment, and what it refers to that is about no patient.

        Refuses  NotFound, Gone
        """
        self.read("Patient", patient_id, replace(scope, types=None))
        return everything(self.core, patient_id, scope)

    def export(self, scope: Scope = EVERYTHING) -> Iterator[tuple[str, bytes]]:
        """Yield (type, one ndjson line) for every resource in scope, type by type."""
        return export(self.core, scope)

    def validate(self, resource_type: str, body: bytes) -> tuple[Issue, ...]:
        """Return what is wrong with a resource; empty if it could be stored.

        Refuses  Malformed, TooLarge: bytes that cannot be read at all
        """
        return tuple(validate.issues_of(read_resource(body), resource_type))

    # --- anchors

    def pending_for_anchor(self, limit: int | None = None) -> Pending:
        """Return what the next tick covers; call `anchored` with it once that tick is final."""
        with self.core.snapshot() as db:
            return anchors.pending(db, limit)

    def anchored(self, tick_index: int, pending: Pending) -> None:
        """Remember that the tick with this ledger index is final."""
        anchors.anchored(self.core, tick_index, pending)

    def proof(self, resource_type: str, resource_id: str, version_id: str) -> Proof:
        """Return what `verify-record` needs for one version.

        Refuses  NotFound
        """
        with self.core.snapshot() as db:
            return anchors.proof(self.core, db, history.version_of(self.core, db, resource_type, resource_id, version_id, EVERYTHING))
