"""A search carried out: matches, total, order, page, includes, and the parts of a resource that were asked for."""

import base64
import binascii
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import orjson

from yilian.records import definitions, references, terms
from yilian.records.core import COLUMNS, Core
from yilian.records.faults import BadQuery
from yilian.records.indexing import Parameter, parameters
from yilian.records.jsontext import JsonValue, read_resource
from yilian.records.query import Include, Query
from yilian.records.select import ESTIMATE_MAX, Matches, Sql, marks
from yilian.records.store import Page, Stored

SORTED_MAX: Final = 10_000
"""Matches that are put in order; more are refused, with the advice to narrow the search."""
INCLUDED_MAX: Final = 2_000
ITERATIONS_MAX: Final = 4
_IN_COLUMNS: Final = frozenset({"_id", "_lastUpdated"})
SUBSETTED: Final = '{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}'
_ROW_MAX: Final = 2**63 - 1
"""What SQLite's integers hold."""
_LAST: Final = "\U0010ffff"


def search(core: Core, db: sqlite3.Connection, query: Query, cursor: str | None) -> Page:
    """Carry out a search.

    Refuses  BadQuery: a cursor that is not ours, too many matches to put in order
    """
    after, offset = opened(cursor)
    wanted = core.selector.matches(query, lambda s: _estimate(db, s))
    if query.summary == "count" or query.count == 0:
        return Page(query, (), (), _total(db, wanted), None, query.dropped)
    total: int | None
    if query.sort:
        found, total, next_cursor = _ordered(core, db, query, wanted, after, offset)
    else:
        # Row numbers first: a posting of a hundred thousand is walked in its own order, and only a page of bodies is read.
        found_rows = db.execute(
            wanted.select(wanted.row, f"AND {wanted.row}>? ORDER BY {wanted.row} LIMIT ?"), (*wanted.bound, after, query.count + 1)
        )
        numbers = [row[0] for row in found_rows]
        more = len(numbers) > query.count
        found = _bodies(core, db, numbers[: query.count])
        next_cursor = sealed(numbers[query.count - 1], 0) if more else None
        total = len(numbers) if not cursor and not more else None if query.total == "none" else _total(db, wanted)
    included = _included(core, db, query, found) if query.includes else []
    return Page(
        query,
        tuple(_shaped(s, query) for s in found),
        tuple(_shaped(s, query) for s in included),
        None if query.total == "none" else total,
        next_cursor,
        query.dropped,
    )


def _bodies(core: Core, db: sqlite3.Connection, numbers: list[int]) -> list[Stored]:
    """Return the resources of these rows, in this order."""
    statement = f"SELECT {COLUMNS} FROM resource r JOIN version v ON v.id=r.head WHERE r.id=?"
    return [core.stored(db, db.execute(statement, (number,)).fetchone()) for number in numbers]


def _estimate(db: sqlite3.Connection, select: Sql) -> int:
    count: int = db.execute(f"SELECT count(*) FROM ({select.text} LIMIT {ESTIMATE_MAX})", select.bound).fetchone()[0]
    return count


def _total(db: sqlite3.Connection, wanted: Matches) -> int:
    count: int = db.execute(wanted.select("count(*)"), wanted.bound).fetchone()[0]
    return count


def opened(cursor: str | None) -> tuple[int, int]:
    """Return (row after which the page begins, offset) of an opaque cursor."""
    if cursor is None:
        return 0, 0
    try:
        after, offset = orjson.loads(base64.urlsafe_b64decode(cursor))
        if not (type(after) is int and type(offset) is int and 0 <= after <= _ROW_MAX and 0 <= offset <= _ROW_MAX):
            raise BadQuery("The page's cursor is not one of ours.")
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadQuery("The page's cursor is not one of ours.") from error
    return after, offset


def sealed(after: int, offset: int) -> str:
    """Return the opaque cursor of a place: it holds row numbers only, so that no value stands in a URL."""
    return base64.urlsafe_b64encode(orjson.dumps([after, offset])).decode()


# --- order


def _ordered(
    core: Core, db: sqlite3.Connection, query: Query, wanted: Matches, after: int, offset: int
) -> tuple[list[Stored], int, str | None]:
    """Return (page, total, next cursor) in the order that was asked for; bodies are read for what no column says."""
    columns = db.execute(wanted.select("r.id,r.rid,r.updated_ms", "ORDER BY r.id LIMIT ?"), (*wanted.bound, SORTED_MAX + 1)).fetchall()
    if len(columns) > SORTED_MAX:
        raise BadQuery(f"More than {SORTED_MAX} matches cannot be put in order: narrow the search.")
    trees: dict[int, JsonValue] = {}
    if any(code not in _IN_COLUMNS for code, _is_descending in query.sort):
        trees = {row[0]: orjson.loads(one.body) for row, one in zip(columns, _bodies(core, db, [r[0] for r in columns]), strict=True)}
    numbers = [number for number, _rid, _updated_ms in columns]
    for code, is_descending in reversed(query.sort):
        if code in _IN_COLUMNS:
            keys = {number: rid if code == "_id" else updated_ms for number, rid, updated_ms in columns}
        else:
            keys = {n: _sort_key(parameters(query.type)[code], trees[n], is_descending=is_descending) for n in numbers}
        numbers = _arranged(numbers, keys, is_descending=is_descending)
    at = numbers.index(after) + 1 if after in numbers else offset
    page, more = numbers[at : at + query.count], at + query.count < len(numbers)
    return _bodies(core, db, page), len(numbers), sealed(page[-1], at + len(page)) if page and more else None


def _arranged(numbers: list[int], keys: dict[int, JsonValue], *, is_descending: bool) -> list[int]:
    """Return rows by their keys, equal ones as they stood, those without a key last."""
    present = [n for n in numbers if keys[n] is not None]
    ranked = sorted((keys[n], -at if is_descending else at) for at, n in enumerate(present))
    order = [abs(at) for _key, at in (reversed(ranked) if is_descending else ranked)]
    return [present[at] for at in order] + [n for n in numbers if keys[n] is None]


def _sort_key(one: Parameter, tree: JsonValue, *, is_descending: bool) -> JsonValue:
    """Return what a resource is ordered by: its lowest value ascending, its highest descending; None if it has none."""
    keys = [k for way in one.ways for value in way.values(tree) for k in _keys(one.kind, value, way.type)]
    return (max(keys) if is_descending else min(keys)) if keys else None


def _keys(kind: str, value: JsonValue, fhir_type: str) -> list[Any]:
    if kind == "date":
        span = terms.date_range(value, fhir_type)
        return [span[0]] if span else []
    if kind == "number":
        return [float(value)] if not isinstance(value, dict) else []
    if kind == "quantity":
        found = terms.quantity_range(value, fhir_type) if isinstance(value, dict) else None
        return [found[0]] if found else []
    if kind == "string":
        return [terms.plain(t) for t in terms.string_parts(value, fhir_type)]
    if kind == "reference":
        return references.targets(value, "", "")
    return [c for _s, c in terms.tokens(value, fhir_type)] if kind == "token" else [str(value)]


# --- includes


def _included(core: Core, db: sqlite3.Connection, query: Query, matches: list[Stored]) -> list[Stored]:
    """Return what `_include` and `_revinclude` add, each resource once, nothing outside the scope."""
    seen = {(m.type, m.id) for m in matches}
    out: list[Stored] = []
    fresh = matches
    for turn in range(ITERATIONS_MAX):
        asked = [i for i in query.includes if turn == 0 or i.is_iterated]
        found: list[Stored] = []
        for include in asked:
            for one in _follow(core, db, query, include, fresh):
                if (one.type, one.id) not in seen:
                    seen.add((one.type, one.id))
                    found.append(one)
        out += found
        if not found or len(out) >= INCLUDED_MAX:
            break
        fresh = found
    return out[:INCLUDED_MAX]


def _follow(core: Core, db: sqlite3.Connection, query: Query, include: Include, fresh: list[Stored]) -> list[Stored]:
    return _referring(core, db, query, include, fresh) if include.is_reverse else _referred(core, db, query, include, fresh)


def _referred(core: Core, db: sqlite3.Connection, query: Query, include: Include, fresh: list[Stored]) -> list[Stored]:
    targets: dict[str, None] = {}
    for one in fresh:
        if include.source not in {"", one.type}:
            continue
        tree = orjson.loads(one.body)
        for parameter in _reference_parameters(one.type, include.code):
            for way in parameter.ways:
                for value in way.values(tree):
                    targets |= dict.fromkeys(references.targets(value, way.only_target, core.setting.base_url))
    handles = [core.fold(terms.HANDLE, t) for t in targets if not include.target or references.type_of(t) == include.target]
    scope = query.scope
    seen, allowed = core.selector.visible(scope, "r", as_target=True), core.selector.of_types(scope, "r")
    return fetch(core, db, "r.handle", handles, [seen, allowed])


def _referring(core: Core, db: sqlite3.Connection, query: Query, include: Include, fresh: list[Stored]) -> list[Stored]:
    scope = query.scope
    handles = [core.handle(one.type, one.id) for one in fresh]
    sources = (
        [include.source] if include.source else sorted(definitions.types() if scope.types is None else scope.types & definitions.types())
    )
    numbers = [core.number(s, p.code) for s in sources for p in _reference_parameters(s, include.code)]
    rows: list[int] = []
    seen, allowed = core.selector.visible(scope, "r"), core.selector.of_types(scope, "r")
    for number in numbers:
        # the scope first and the bound after it: else what may not be seen takes the places of what may
        statement = (
            f"SELECT DISTINCT r.id FROM ix JOIN resource r ON r.id=ix.resource WHERE ix.parameter={number} AND ix.value IN (%s)"
            f" AND r.deleted=0 AND {seen.text} AND {allowed.text} LIMIT {INCLUDED_MAX}"
        )
        rows += _in_pieces(db, statement, handles, (*seen.bound, *allowed.bound))
    return fetch(core, db, "r.id", list(dict.fromkeys(rows)), [seen, allowed])


def _reference_parameters(resource_type: str, code: str) -> Iterable[Parameter]:
    return [p for p in parameters(resource_type).values() if p.kind == "reference" and code in {"*", p.code}]


def _in_pieces(db: sqlite3.Connection, statement: str, values: list[int], bound: tuple[Any, ...], piece: int = 400) -> list[int]:
    out: list[int] = []
    for at in range(0, len(values), piece):
        some = values[at : at + piece]
        out += [r[0] for r in db.execute(statement.replace("%s", marks(some), 1), (*some, *bound))]
    return out


def fetch(core: Core, db: sqlite3.Connection, column: str, values: list[int], conditions: list[Sql], piece: int = 400) -> list[Stored]:
    """Return the live resources whose `column` is among `values` and that meet `conditions`, by row."""
    where = " AND ".join(c.text for c in conditions)
    bound = tuple(b for c in conditions for b in c.bound)
    out = []
    for at in range(0, len(values), piece):
        some = values[at : at + piece]
        out += db.execute(
            f"SELECT {COLUMNS} FROM resource r JOIN version v ON v.id=r.head WHERE {column} IN ({marks(some)}) AND r.deleted=0 AND {where}",
            (*some, *bound),
        ).fetchall()
    return [core.stored(db, row) for row in sorted(out, key=lambda r: r[0])]


# --- the parts of a resource that were asked for


def _shaped(stored: Stored, query: Query) -> Stored:
    """Return the resource with only the top-level elements that were asked for, marked SUBSETTED; every one as it stands in the bytes."""
    if query.summary == "false" and not query.elements:
        return stored
    shape = definitions.shape(stored.type)
    always = {"resourceType", "id", "meta"} | {k for k, e in shape.items() if e.is_required}
    wanted = {k for k, e in shape.items() if _is_wanted(k, e, query)}
    document = read_resource(stored.body)
    kept = []
    for key, span in document.spans.items():
        name = key.removeprefix("_")
        if name in always or name in wanted:
            piece = document.text[span.key_at : span.end]
            kept.append(_marked(document.text[span.value_at : span.end], document.tree["meta"]) if key == "meta" else piece)
    return replace(stored, body=("{" + ",".join(kept) + "}").encode())


def _is_wanted(key: str, element: definitions.Element, query: Query) -> bool:
    by_summary = {"true": element.is_summary, "text": key == "text", "data": key != "text", "false": element.name in query.elements}
    return by_summary[query.summary]


def _marked(meta_text: str, meta: dict[str, Any]) -> str:
    """Return the member `meta` with the SUBSETTED tag added."""
    if not meta.get("tag"):
        return f'"meta":{{"tag":[{SUBSETTED}],' + meta_text.lstrip()[1:]
    inner = read_resource(meta_text.encode())
    at = inner.spans["tag"].value_at + 1
    return '"meta":' + inner.text[:at] + SUBSETTED + "," + inner.text[at:]
