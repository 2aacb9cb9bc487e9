"""One version written: checked, committed to, indexed. All inside the caller's transaction."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from yilian.base import labels
from yilian.base.digests import mac
from yilian.records.compartments import Placing, place
from yilian.records.core import COLUMNS, Core, Writing, body_context
from yilian.records.faults import Conflict, Gone, NotFound
from yilian.records.indexing import Rows
from yilian.records.jsontext import Document, Splice, identity_splices, spliced
from yilian.records.primitives import instant
from yilian.records.select import NOBODY, SEVERAL
from yilian.records.store import Stored

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Head:
    """The current version of a resource, as the writer needs it."""

    row: int
    version: int
    is_deleted: bool
    stored: Stored


def head_of(core: Core, writing: Writing, resource_type: str, resource_id: str) -> Head | None:
    """Return the current version, deleted or not; None if the resource never was."""
    row = writing.db.execute(
        f"SELECT {COLUMNS} FROM resource r JOIN version v ON v.id=r.head WHERE r.handle=?", (core.handle(resource_type, resource_id),)
    ).fetchone()
    if row is None:
        return None
    return Head(row[0], row[3], row[5] == "DELETE", core.stored(writing.db, row))


def require_match(head: Head | None, if_match: str | None) -> None:
    """Refuse Conflict unless If-Match, where given, names the current version."""
    if if_match is None:
        return
    wanted = if_match.strip().removeprefix("W/").strip('"')
    if head is None or head.is_deleted or wanted not in {str(head.version), "*"}:
        raise Conflict("If-Match names another version than the current one.")


def write(core: Core, writing: Writing, document: Document, resource_id: str, method: str, references: list[Splice]) -> Stored:
    """Write a checked document as the next version of `resource_id`.

    references   splices (in characters) that rewrite references; id and meta are added here
    """
    kind: str = document.tree["resourceType"]
    head = head_of(core, writing, kind, resource_id)
    version = 1 if head is None else head.version + 1
    now_ms = max(writing.now_ms, 0 if head is None else head.stored.updated_ms)
    splices = document.in_bytes([*identity_splices(document, resource_id, version, instant(now_ms)), *references])
    received = document.encoded()
    served = spliced(received, splices)
    tree: dict[str, Any] = orjson.loads(served)
    placing = place(kind, resource_id, tree, core.setting.base_url)
    columns = _columns(core, writing, placing)
    row = head.row if head is not None else _new_row(core, writing, kind, resource_id)
    owner = placing.patients[0] if len(placing.patients) == 1 else None
    body = core.seal(owner, core.frame(received, splices), body_context(kind, resource_id, version))
    number = _version(core, writing, (row, version, now_ms, method, *columns), received, owner, body)
    writing.db.execute(
        "UPDATE resource SET version=?,head=?,updated_ms=?,deleted=0,patient=?,from_ms=?,until_ms=?,labels=? WHERE id=?",
        (version, number, now_ms, *columns, row),
    )
    old = None if head is None or head.is_deleted else head.stored
    _reindex(core, writing, row, old, core.indexer.rows(kind, tree))
    _members(core, writing, row, old, placing.patients)
    return Stored(kind, resource_id, version, now_ms, method, served, number)


def erase_head(core: Core, writing: Writing, resource_type: str, resource_id: str, if_match: str | None) -> Stored | None:
    """Write a deletion as the next version; None if it was deleted already.

    Refuses  NotFound, Conflict
    """
    head = head_of(core, writing, resource_type, resource_id)
    if head is None:
        raise NotFound("There is no such resource.", resource_type)
    require_match(head, if_match)
    if head.is_deleted:
        return None
    version, now_ms = head.version + 1, max(writing.now_ms, head.stored.updated_ms)
    columns = writing.db.execute("SELECT patient,from_ms,until_ms,labels FROM resource WHERE id=?", (head.row,)).fetchone()
    owner = core.person(writing.db, columns[0])
    body = core.seal(owner, core.frame(b"", []), body_context(resource_type, resource_id, version))
    number = _version(core, writing, (head.row, version, now_ms, "DELETE", *columns), b"", owner, body)
    writing.db.execute("UPDATE resource SET version=?,head=?,updated_ms=?,deleted=1 WHERE id=?", (version, number, now_ms, head.row))
    _reindex(core, writing, head.row, head.stored, Rows())
    _members(core, writing, head.row, head.stored, ())
    return Stored(resource_type, resource_id, version, now_ms, "DELETE", b"", number)


def require_live(head: Head | None, resource_type: str) -> Head:
    """Return the head of a resource that exists now. Refuses NotFound, Gone."""
    if head is None:
        raise NotFound("There is no such resource.", resource_type)
    if head.is_deleted:
        raise Gone("The resource was deleted.", resource_type)
    return head


def fingerprint(core: Core, received: bytes) -> bytes:
    """Return the keyed digest by which an import knows bytes that it has stored before."""
    return blake2b(received, digest_size=DIGEST_BYTES, key=core.fold_key).digest()


def _columns(core: Core, writing: Writing, placing: Placing) -> tuple[int, int, int, int]:
    people = [core.person_handle(writing, p) for p in placing.patients]
    patient = people[0] if len(people) == 1 else SEVERAL if people else NOBODY
    return patient, placing.from_ms, placing.until_ms, core.label_set(writing, placing.labels)


def _new_row(core: Core, writing: Writing, resource_type: str, resource_id: str) -> int:
    added = writing.db.execute(
        "INSERT INTO resource VALUES(NULL,?,?,?,0,0,0,0,0,0,0,0)",
        (core.handle(resource_type, resource_id), core.number(resource_type, ""), resource_id),
    )
    assert added.lastrowid is not None
    return added.lastrowid


def _version(core: Core, writing: Writing, columns: tuple[Any, ...], received: bytes, owner: str | None, body: bytes) -> int:
    """Insert the version with its commitment `mac(k, "record", network, received bytes)`; return its number."""
    setting = core.setting
    k, key_id = setting.random(32), setting.random(16)
    writing.keys.append((key_id, k))
    commitment = mac(k, labels.RECORD, setting.network_id, received)
    added = writing.db.execute(
        "INSERT INTO version(resource,version,updated_ms,method,patient,from_ms,until_ms,labels,digest,key_id,commitment,erase_pk,body)"
        " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (*columns, fingerprint(core, received), key_id, commitment, setting.keys.erase_pk(owner), body),
    )
    assert added.lastrowid is not None
    return added.lastrowid


def _reindex(core: Core, writing: Writing, row: int, old: Stored | None, new: Rows) -> None:
    """Replace the index rows of a resource; the old ones follow from the old version, by the same function."""
    db = writing.db
    before = Rows() if old is None else core.indexer.rows(old.type, orjson.loads(old.body))
    db.executemany("DELETE FROM ix WHERE parameter=? AND value=? AND resource=?", [(*r, row) for r in before.exact - new.exact])
    db.executemany(
        "DELETE FROM ix_range WHERE parameter=? AND key=? AND low=? AND high=? AND usystem=? AND unit=? AND resource=?",
        [(*r, row) for r in before.ranges - new.ranges],
    )
    db.executemany(
        "DELETE FROM ix_string WHERE parameter=? AND text=? AND exact=? AND resource=?", [(*r, row) for r in before.strings - new.strings]
    )
    db.executemany("INSERT OR IGNORE INTO ix VALUES(?,?,?)", [(*r, row) for r in new.exact - before.exact])
    db.executemany("INSERT OR IGNORE INTO ix_range VALUES(?,?,?,?,?,?,?)", [(*r, row) for r in new.ranges - before.ranges])
    db.executemany("INSERT OR IGNORE INTO ix_string VALUES(?,?,?,?)", [(*r, row) for r in new.strings - before.strings])


def _members(core: Core, writing: Writing, row: int, old: Stored | None, patients: tuple[str, ...]) -> None:
    before = set() if old is None else set(place(old.type, old.id, orjson.loads(old.body), core.setting.base_url).patients)
    now = set(patients)
    writing.db.executemany(
        "DELETE FROM member WHERE patient=? AND resource=?", [(core.handle("Patient", p), row) for p in sorted(before - now)]
    )
    writing.db.executemany("INSERT OR IGNORE INTO member VALUES(?,?)", [(core.handle("Patient", p), row) for p in sorted(now - before)])
