"""`$everything` and `$export`: all of one patient's record, all of a store's, never more than the scope.

Source   https://hl7.org/fhir/R4/operation-patient-everything.html, https://hl7.org/fhir/uv/bulkdata/
"""

import re
from collections.abc import Iterator
from typing import Final

import orjson

from yilian.records import definitions, references, terms
from yilian.records.core import COLUMNS, Core
from yilian.records.indexing import parameters
from yilian.records.scope import Scope
from yilian.records.searching import fetch
from yilian.records.select import NOBODY, SHARED, Sql, all_of
from yilian.records.store import Stored

PIECE: Final = 200
"""Resources in memory at a time."""
_BREAKS = re.compile(rb"\r\n|\r|\n")


def everything(core: Core, patient_id: str, scope: Scope) -> Iterator[Stored]:
    """Yield the compartment in the order in which it was stored, then what it refers to that is about no patient."""
    handle = core.handle("Patient", patient_id)
    where = all_of(
        [
            Sql("r.deleted=0 AND r.id IN (SELECT resource FROM member WHERE patient=?)", (handle,)),
            core.selector.visible(scope, "r"),
            core.selector.of_types(scope, "r"),
        ]
    )
    linked: dict[str, None] = {}
    for one in _walk(core, where):
        _links(core, one, linked)
        yield one
    shared = tuple(core.number(t, "") for t in sorted(SHARED))
    unowned = Sql(f"r.patient={NOBODY} AND r.type IN ({','.join('?' * len(shared))})", shared)
    conditions = [unowned, core.selector.visible(scope, "r", as_target=True), core.selector.of_types(scope, "r")]
    handles = [core.fold(terms.HANDLE, text) for text in linked]
    for at in range(0, len(handles), PIECE):
        with core.snapshot() as db:
            found = fetch(core, db, "r.handle", handles[at : at + PIECE], conditions)
        yield from found


def _links(core: Core, stored: Stored, linked: dict[str, None]) -> None:
    tree = orjson.loads(stored.body)
    for parameter in parameters(stored.type).values():
        if parameter.kind == "reference":
            for way in parameter.ways:
                for value in way.values(tree):
                    linked |= dict.fromkeys(
                        t for t in references.targets(value, way.only_target, core.setting.base_url) if references.type_of(t) in SHARED
                    )


def _walk(core: Core, where: Sql) -> Iterator[Stored]:
    """Yield resources piece by piece, by row; no statement stays open between pieces."""
    after = 0
    while True:
        with core.snapshot() as db:
            rows = db.execute(
                f"SELECT {COLUMNS} FROM resource r JOIN version v ON v.id=r.head WHERE {where.text} AND r.id>? ORDER BY r.id LIMIT {PIECE}",
                (*where.bound, after),
            ).fetchall()
            found = [core.stored(db, row) for row in rows]
        yield from found
        if len(rows) < PIECE:
            return
        after = rows[-1][0]


def export(core: Core, scope: Scope) -> Iterator[tuple[str, bytes]]:
    """Yield (type, line): a line is the served bytes with their line breaks made spaces, which JSON allows between tokens only."""
    for name in sorted(definitions.types() if scope.types is None else scope.types & definitions.types()):
        where = all_of([Sql("r.deleted=0 AND r.type=?", (core.number(name, ""),)), core.selector.visible(scope, "r")])
        for one in _walk(core, where):
            yield name, _BREAKS.sub(b" ", one.body)
