"""Versions, newest first: of one resource, of a type, of the whole store."""

import sqlite3
from typing import Any

from yilian.records.core import Core
from yilian.records.faults import BadQuery, NotFound
from yilian.records.scope import Scope
from yilian.records.searching import opened, sealed
from yilian.records.select import Sql, all_of
from yilian.records.store import HistoryPage, Stored

COUNT_MAX = 1_000


def _visible(core: Core, scope: Scope) -> Sql:
    """Return the condition on a version's own columns and on its resource as it stands now.

    An older version is judged by what it was (who was its patient, when it happened, how it was labelled then) *and* by what the
    newest is: who had a record restricted, or moved to the patient whom it is about, did not mean its history to stay open.
    """
    return all_of([core.selector.visible(scope, "v"), core.selector.visible(scope, "r"), core.selector.of_types(scope, "r")])


def history(
    core: Core,
    db: sqlite3.Connection,
    wanted: tuple[str | None, str | None],
    since_s: int | None,
    count: int,
    cursor: str | None,
    scope: Scope,
) -> HistoryPage:
    """Return one page of versions.

    wanted   (type, id); None widens
    Refuses  NotFound: of an instance that never was or that the scope hides altogether
    """
    kind, resource_id = wanted
    if not 0 < count <= COUNT_MAX:
        raise BadQuery(f"`_count` is between 1 and {COUNT_MAX}.")
    before, _offset = opened(cursor)
    parts = [_visible(core, scope)]
    if kind is not None:
        parts.append(Sql("r.type=?", (core.number(kind, ""),)))
    if kind is not None and resource_id is not None:
        parts.append(Sql("r.handle=? AND r.rid=?", (core.handle(kind, resource_id), resource_id)))
    if since_s is not None:
        parts.append(Sql("v.updated_ms>=?", (since_s * 1000,)))
    where = all_of(parts)
    source = f"FROM version v JOIN resource r ON r.id=v.resource WHERE {where.text}"
    total = db.execute(f"SELECT count(*) {source}", where.bound).fetchone()[0]
    if total == 0 and resource_id is not None and since_s is None:
        raise NotFound("There is no such resource.", kind or "")
    bound: tuple[Any, ...] = (*where.bound, before or 2**62, count + 1)
    rows = db.execute(
        f"SELECT r.id,r.type,r.rid,v.version,v.updated_ms,v.method,v.id,v.patient,v.body {source} AND v.id<? ORDER BY v.id DESC LIMIT ?",
        bound,
    ).fetchall()
    versions = tuple(core.stored(db, row) for row in rows[:count])
    return HistoryPage(versions, total, sealed(versions[-1].number, 0) if len(rows) > count else None)


def version_of(core: Core, db: sqlite3.Connection, kind: str, resource_id: str, version_id: str, scope: Scope) -> Stored:
    """Return one version, also of a deleted resource.

    Refuses  NotFound
    """
    where = _visible(core, scope)
    if version_id.isascii() and version_id.isdigit() and len(version_id) <= 18:  # noqa: PLR2004 - what SQLite's integers hold
        row = db.execute(
            "SELECT r.id,r.type,r.rid,v.version,v.updated_ms,v.method,v.id,v.patient,v.body FROM resource r"
            f" JOIN version v ON v.resource=r.id WHERE r.handle=? AND r.rid=? AND v.version=? AND {where.text}",
            (core.handle(kind, resource_id), resource_id, int(version_id), *where.bound),
        ).fetchone()
        if row is not None:
            return core.stored(db, row)
    raise NotFound("There is no such version.", kind)
