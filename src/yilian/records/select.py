"""A search to SQL: postings are intersected from the most selective one; every value is bound, none is written into the text.

The driver is chosen by counting at most ESTIMATE_MAX rows of each candidate; every other condition is a probe of the primary key.
A scope is part of each statement: of the matches, of a chain's targets, of the sources of `_has` (ADR-0024).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from yilian.records import definitions, references, terms
from yilian.records.compartments import TIMELESS
from yilian.records.faults import BadQuery
from yilian.records.indexing import parameters
from yilian.records.query import Chained, Condition, Query, Reverse, Term, asked_date, prefixed, split, unescaped
from yilian.records.scope import Scope
from yilian.records.terms import ANY, COMBINED, HANDLE, IDENTIFIER, OF_TYPE, PAIR, SYSTEM, Fold

ESTIMATE_MAX: Final = 512
BOUND_MAX: Final = 4_000
"""Values bound in one condition; SQLite takes 32,766 in a statement."""
APPROXIMATE: Final = 0.1
"""R4: `ap` is 10 % of the value, or of the time between it and now."""
SHARED: Final = TIMELESS - {"Patient", "RelatedPerson"}
"""What a patient's record refers to and that is about no patient."""
NOBODY, SEVERAL = 0, -1
"""Values of the column `patient` besides a patient's handle: in no compartment; in several."""


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and what is bound to it."""

    text: str
    bound: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Posting:
    """One condition: rows `(resource)` as a driver, and a probe for the row at hand."""

    select: Sql
    probe: Sql
    is_countable: bool = True


@dataclass(frozen=True, slots=True)
class Matches:
    """The rows `r` of `resource` that answer a query: FROM and WHERE apart, so that more can be joined between them."""

    source: str
    where: str
    bound: tuple[Any, ...]
    row: str = "r.id"
    """The row's number as the driver has it: in its order nothing needs to be sorted."""

    def select(self, columns: str, rest: str = "") -> str:
        return f"SELECT {columns} {self.source} WHERE {self.where} {rest}"


TRUE, FALSE = Sql("1"), Sql("0")


def all_of(parts: Sequence[Sql], word: str = " AND ") -> Sql:
    """Join conditions."""
    return Sql("(" + word.join(p.text for p in parts) + ")", tuple(b for p in parts for b in p.bound))


def marks(values: Sequence[Any]) -> str:
    """Return as many placeholders as there are values."""
    return ",".join("?" * len(values))


class Selector:
    """Makes SQL with the hashes and parameter numbers of one store."""

    def __init__(
        self,
        fold: Fold,
        number: Callable[[str, str], int],
        label_sets: Callable[[Scope], Sequence[int] | None],
        base_url: str,
        now_ms: Callable[[], int],
    ) -> None:
        self.fold, self.number, self.label_sets, self.base_url, self.now_ms = fold, number, label_sets, base_url, now_ms

    # --- scope

    def visible(self, scope: Scope, alias: str, *, as_target: bool = False) -> Sql:
        """Return the condition that a row of `resource` or `version` named `alias` lies in the scope.

        `as_target`: what a visible resource refers to; then what is about no patient is visible, too.
        """
        parts = []
        if scope.from_s is not None:
            parts.append(Sql(f"{alias}.from_ms>=?", (scope.from_s * 1000,)))
        if scope.until_s is not None:
            parts.append(Sql(f"{alias}.until_ms<=?", (scope.until_s * 1000,)))
        sets = self.label_sets(scope)
        if sets is not None:
            parts.append(Sql(f"{alias}.labels IN ({marks(sets)})", tuple(sets)))
        if scope.patient_id is not None:
            own = Sql(f"{alias}.patient=?", (self.fold(HANDLE, f"Patient/{scope.patient_id}"),))
            shared = tuple(self.number(t, "") for t in sorted(SHARED))
            common = Sql(f"({alias}.patient={NOBODY} AND {alias}.type IN ({marks(shared)}))", shared)
            parts.append(all_of([own, common], " OR ") if as_target else own)
        return all_of(parts) if parts else TRUE

    def of_types(self, scope: Scope, alias: str) -> Sql:
        """Return the condition that a row of `resource` is of an allowed type."""
        if scope.types is None:
            return TRUE
        numbers = tuple(self.number(t, "") for t in sorted(scope.types & definitions.types()))
        return Sql(f"{alias}.type IN ({marks(numbers)})", numbers)

    # --- conditions

    def posting(self, condition: Condition, scope: Scope, alias: str) -> Posting:
        """Return a condition on the row `alias` of `resource`."""
        if isinstance(condition, Chained):
            return self._chained(condition, scope, alias)
        if isinstance(condition, Reverse):
            return self._reverse(condition, scope, alias)
        if condition.code in {"_id", "_lastUpdated"}:
            return self._column(condition, alias)
        number = self.number(condition.type, condition.code)
        if condition.modifier == "missing":
            return self._missing(condition, number, alias)
        builders = {
            "token": self._token,
            "reference": self._reference,
            "string": self._string,
            "uri": self._uri,
            "composite": self._composite,
            "date": self._ranged,
            "number": self._ranged,
            "quantity": self._ranged,
        }
        return builders[condition.kind](condition, number, alias)

    def _exact(self, number: int, values: Sequence[int], alias: str) -> Posting:
        bound = (number, *values)
        where = f"parameter=? AND value IN ({marks(values)})" if len(values) != 1 else "parameter=? AND value=?"
        distinct = "DISTINCT " if len(values) > 1 else ""
        return Posting(
            Sql(f"SELECT {distinct}resource FROM ix WHERE {where}", bound),
            Sql(f"EXISTS(SELECT 1 FROM ix WHERE {where} AND resource={alias}.id)", bound),
        )

    def _negated(self, posting: Posting, alias: str) -> Posting:
        probe = Sql(f"NOT {posting.probe.text}", posting.probe.bound)
        return Posting(Sql(f"SELECT id FROM resource {alias} WHERE {probe.text}", probe.bound), probe, is_countable=False)

    def _token(self, term: Term, number: int, alias: str) -> Posting:
        if term.modifier == "of-type":
            return self._exact(number, [self.fold(OF_TYPE, unescaped_all(v)) for v in term.values], alias)
        implied = parameters(term.type)[term.code].has_implied_system()
        posting = self._exact(number, [self._token_value(v, implied=implied) for v in term.values], alias)
        return self._negated(posting, alias) if term.modifier == "not" else posting

    def _token_value(self, text: str, *, implied: bool) -> int:
        parts = [unescaped(p) for p in split(text, "|")]
        if len(parts) == 1:
            return self.fold(ANY, parts[0])
        system, code = parts[0], "|".join(parts[1:])
        if implied:
            return self.fold(ANY, code)
        return self.fold(PAIR, f"{system}|{code}") if code else self.fold(SYSTEM, system)

    def _reference(self, term: Term, number: int, alias: str) -> Posting:
        if term.modifier == "identifier":
            return self._exact(number, [self.fold(IDENTIFIER, unescaped_all(v)) for v in term.values], alias)
        targets = [term.modifier] if term.modifier else list(parameters(term.type)[term.code].targets) or sorted(definitions.types())
        values = []
        for value in term.values:
            text = unescaped(value)
            full = "/" in text or ":" in text
            values += (
                [self.fold(HANDLE, references.local(text, self.base_url))] if full else [self.fold(HANDLE, f"{t}/{text}") for t in targets]
            )
        if len(values) > BOUND_MAX:
            raise BadQuery("Too many values: name the type of the reference.", f"{term.type}.{term.code}")
        return self._exact(number, values, alias)

    def _string(self, term: Term, number: int, alias: str) -> Posting:
        parts = []
        for value in term.values:
            text = unescaped(value)
            if term.modifier == "exact":
                parts.append(Sql("(text=? AND exact=?)", (terms.plain(text), self.fold(ANY, text))))
            elif term.modifier == "contains":
                parts.append(Sql("instr(text,?)>0", (terms.plain(text),)))
            else:
                parts.append(Sql("(text>=? AND text<?)", (terms.plain(text), terms.after(terms.plain(text)))))
        return self._texts(number, parts, alias)

    def _uri(self, term: Term, number: int, alias: str) -> Posting:
        below = term.modifier == "below"
        texts = [unescaped(v) for v in term.values]
        parts = [Sql("(text>=? AND text<?)", (t, terms.after(t))) if below else Sql("text=?", (t,)) for t in texts]
        return self._texts(number, parts, alias)

    def _texts(self, number: int, parts: Sequence[Sql], alias: str) -> Posting:
        any_of = all_of(parts, " OR ")
        select = Sql(f"SELECT DISTINCT resource FROM ix_string WHERE parameter=? AND {any_of.text}", (number, *any_of.bound))
        return Posting(select, Sql(f"{alias}.id IN ({select.text})", select.bound))

    def _missing(self, term: Term, number: int, alias: str) -> Posting:
        table = {"string": "ix_string", "uri": "ix_string", "date": "ix_range", "number": "ix_range", "quantity": "ix_range"}.get(
            term.kind, "ix"
        )
        tables = ["ix", "ix_range"] if term.kind == "composite" else [table]
        some = " UNION ".join(f"SELECT resource FROM {t} WHERE parameter=?" for t in tables)
        bound = (number,) * len(tables)
        word = "NOT IN" if term.values == ("true",) else "IN"
        probe = Sql(f"{alias}.id {word} ({some})", bound)
        return Posting(Sql(f"SELECT id FROM resource {alias} WHERE {probe.text}", bound), probe, is_countable=False)

    def _column(self, term: Term, alias: str) -> Posting:
        if term.code == "_id":
            texts = tuple(unescaped(v) for v in term.values)
            handles = tuple(self.fold(HANDLE, f"{term.type}/{t}") for t in texts)
            probe = Sql(f"({alias}.handle IN ({marks(handles)}) AND {alias}.rid IN ({marks(texts)}))", handles + texts)
            if term.modifier == "not":
                return self._negated(Posting(probe, probe), alias)
            return Posting(Sql(f"SELECT id FROM resource {alias} WHERE {probe.text}", probe.bound), probe)
        if term.modifier == "missing":
            probe = FALSE if term.values == ("true",) else TRUE
        else:
            probe = all_of([self._compare("date", v, f"{alias}.updated_ms", f"{alias}.updated_ms+1") for v in term.values], " OR ")
        return Posting(Sql(f"SELECT id FROM resource {alias} WHERE {probe.text}", probe.bound), probe, is_countable=False)

    # --- ranges

    def _asked(self, kind: str, text: str) -> tuple[float, float, float]:
        """Return (low, high, point): what a value means as a range, and what `gt` and its kin compare numbers with."""
        if kind == "date":
            low, high = asked_date(text)
            return low, high, low
        span = terms.asked_range(text)
        if span is None:
            raise BadQuery("A number is expected.")
        return span[0], span[1], float(text)

    def _compare(self, kind: str, text: str, low_is: str = "low", high_is: str = "high") -> Sql:
        """Return the comparison of one value with the columns; R4 search, "Prefixes". Dates are half-open, numbers are points."""
        prefix, rest = prefixed(text)
        low, high, point = self._asked(kind, rest)
        if prefix == "ap":
            slack = abs(self.now_ms() - low) * APPROXIMATE if kind == "date" else abs(point) * APPROXIMATE
            return Sql(f"({low_is}<=? AND {high_is}>=?)", (high + slack, low - slack))
        inside = Sql(f"({low_is}>=? AND {high_is}<=?)", (low, high))
        if kind != "date":
            inside = Sql(f"({low_is}>=? AND {high_is}<?)", (low, high))
            low = high = point
        comparisons = {
            "eq": inside,
            "ne": Sql(f"NOT {inside.text}", inside.bound),
            "gt": Sql(f"{high_is}>?", (high,)),
            "lt": Sql(f"{low_is}<?", (low,)),
            "ge": all_of([Sql(f"{high_is}>?", (high,)), inside if kind == "date" else Sql(f"{high_is}=?", (point,))], " OR "),
            "le": all_of([Sql(f"{low_is}<?", (low,)), inside if kind == "date" else Sql(f"{low_is}=?", (point,))], " OR "),
            "sa": Sql(f"{low_is}>=?" if kind == "date" else f"{low_is}>?", (high,)),
            "eb": Sql(f"{high_is}<=?" if kind == "date" else f"{high_is}<?", (low,)),
        }
        return comparisons[prefix]

    def _ranged(self, term: Term, number: int, alias: str) -> Posting:
        parts = [self._range_part(term.kind, v, 0) for v in term.values]
        return self._in_ranges(number, parts, alias)

    def _range_part(self, kind: str, text: str, key: int) -> Sql:
        pieces = [unescaped(p) for p in split(text, "|")] if kind == "quantity" else [text]
        compared = [Sql("key=?", (key,)), self._compare(kind, pieces[0])]
        if len(pieces) > 1 and pieces[1]:
            compared.append(Sql("usystem=?", (self.fold(SYSTEM, pieces[1]),)))
        if len(pieces) > 2 and pieces[2]:  # noqa: PLR2004 - number|system|code
            compared.append(Sql("unit=?", (self.fold(ANY, pieces[2]),)))
        return all_of(compared)

    def _in_ranges(self, number: int, parts: Sequence[Sql], alias: str) -> Posting:
        any_of = all_of(parts, " OR ")
        return Posting(
            Sql(f"SELECT DISTINCT resource FROM ix_range WHERE parameter=? AND {any_of.text}", (number, *any_of.bound)),
            Sql(f"EXISTS(SELECT 1 FROM ix_range WHERE parameter=? AND resource={alias}.id AND {any_of.text})", (number, *any_of.bound)),
        )

    def _composite(self, term: Term, number: int, alias: str) -> Posting:
        one = parameters(term.type)[term.code]
        kind = one.components[1][1]
        pairs = [split(v, "$") for v in term.values]
        if kind in {"quantity", "number", "date"}:
            return self._in_ranges(number, [self._range_part(kind, p[1], self.fold(COMBINED, unescaped_all(p[0]))) for p in pairs], alias)
        values = [self.fold(COMBINED, f"{unescaped_all(p[0])}${self._second(kind, p[1])}") for p in pairs]
        return self._exact(number, values, alias)

    def _second(self, kind: str, text: str) -> str:
        if kind == "reference":
            return references.local(unescaped(text), self.base_url)
        return terms.plain(unescaped(text)) if kind == "string" else unescaped_all(text)

    # --- chains

    def _chained(self, chain: Chained, scope: Scope, alias: str) -> Posting:
        number, inner = self.number(chain.type, chain.code), f"{alias}t"
        parts = []
        for target, condition in chain.targets:
            if scope.types is not None and target not in scope.types:
                continue
            where = all_of(
                [
                    Sql(f"{inner}.type=? AND {inner}.deleted=0", (self.number(target, ""),)),
                    self.visible(scope, inner, as_target=True),
                    self._as_filter(condition, scope, inner),
                ]
            )
            parts.append(Sql(f"SELECT {inner}.handle FROM resource {inner} WHERE {where.text}", where.bound))
        if not parts:
            return Posting(Sql("SELECT id FROM resource WHERE 0"), FALSE)
        handles = Sql(" UNION ALL ".join(p.text for p in parts), tuple(b for p in parts for b in p.bound))
        select = Sql(f"SELECT DISTINCT resource FROM ix WHERE parameter=? AND value IN ({handles.text})", (number, *handles.bound))
        return Posting(select, Sql(f"{alias}.id IN ({select.text})", select.bound))

    def _reverse(self, reverse: Reverse, scope: Scope, alias: str) -> Posting:
        inner = f"{alias}s"
        if scope.types is not None and reverse.source not in scope.types:
            return Posting(Sql("SELECT id FROM resource WHERE 0"), FALSE)
        where = all_of(
            [
                Sql(f"{inner}.type=? AND {inner}.deleted=0", (self.number(reverse.source, ""),)),
                self.visible(scope, inner),
                self._as_filter(reverse.inner, scope, inner),
            ]
        )
        sources = Sql(f"SELECT {inner}.id FROM resource {inner} WHERE {where.text}", where.bound)
        handles = Sql(
            f"SELECT value FROM ix WHERE parameter=? AND resource IN ({sources.text})",
            (self.number(reverse.source, reverse.code), *sources.bound),
        )
        probe = Sql(f"{alias}.handle IN ({handles.text})", handles.bound)
        return Posting(Sql(f"SELECT id FROM resource {alias} WHERE {probe.text}", probe.bound), probe)

    def _as_filter(self, condition: Condition, scope: Scope, alias: str) -> Sql:
        """Return a condition inside a chain: there the set is looked up, not probed row by row."""
        posting = self.posting(condition, scope, alias)
        return Sql(f"{alias}.id IN ({posting.select.text})", posting.select.bound) if posting.is_countable else posting.probe

    # --- the whole statement

    def matches(self, query: Query, estimate: Callable[[Sql], int]) -> Matches:
        """Return what a query finds in its scope; `estimate` counts rows of a posting, bounded."""
        scope = query.scope
        fixed = [Sql("r.type=? AND r.deleted=0", (self.number(query.type, ""),)), self.visible(scope, "r")]
        if scope.types is not None and query.type not in scope.types:
            return Matches("FROM resource r", "0", ())
        postings = [self.posting(c, scope, "r") for c in query.conditions]
        drivers = [p for p in postings if p.is_countable]
        driver = drivers[0] if len(drivers) == 1 else min(drivers, key=lambda p: estimate(p.select), default=None)
        if driver is not None and scope.patient_id is not None:
            own = Sql(
                "SELECT id FROM resource WHERE patient=? AND type=?",
                (self.fold(HANDLE, f"Patient/{scope.patient_id}"), self.number(query.type, "")),
            )
            driver = driver if estimate(driver.select) < estimate(own) else None
        where = all_of([*fixed, *(p.probe for p in postings if p is not driver)])
        if driver is None:
            return Matches("FROM resource r", where.text, where.bound)
        row = f"d.{_column_of(driver)}"
        source = f"FROM ({driver.select.text}) d CROSS JOIN resource r ON r.id={row}"
        return Matches(source, where.text, driver.select.bound + where.bound, row)


def _column_of(posting: Posting) -> str:
    return "id" if posting.select.text.startswith("SELECT id") else "resource"


def unescaped_all(text: str) -> str:
    """Return `a|b|c` with each piece unescaped."""
    return "|".join(unescaped(p) for p in split(text, "|"))
