"""One resource to its index rows, by the compiled search parameters of its type.

Rows     exact (parameter, value), ranges (parameter, key, low, high, unit's system, unit), strings (parameter, text, hash of the original).
A parameter's number is the store's; a composite's key or value is the hash of its parts together.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from yilian.records import definitions, references, terms
from yilian.records.expressions import Unreadable, Way, compile_inner, compile_parts, deceased
from yilian.records.jsontext import JsonValue
from yilian.records.terms import ANY, COMBINED, HANDLE, IDENTIFIER, OF_TYPE, PAIR, SYSTEM, Fold

NOT_INDEXED: Final = frozenset({"_id", "_lastUpdated", "chromosome-variant-coordinate", "referenceseqid-variant-coordinate"})
"""The first two are columns; the other two jump to %resource in the middle of an expression."""
_NOT_OFFERED: Final = NOT_INDEXED - {"_id", "_lastUpdated"}
PARTS_OF_A_COMPOSITE: Final = 2
"""The three-part composites of MolecularSequence are not offered."""


@dataclass(slots=True)
class Rows:
    """What is written to the three index tables for one resource."""

    exact: set[tuple[int, int]] = field(default_factory=set)
    ranges: set[tuple[int, int, float, float, int, int]] = field(default_factory=set)
    strings: set[tuple[int, str, int]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter of one type, ready to be evaluated."""

    type: str
    code: str
    kind: str
    ways: tuple[Way, ...]
    targets: tuple[str, ...]
    components: tuple[tuple[str, str, str], ...]

    def has_implied_system(self) -> bool:
        """Say whether every value is a bare code or boolean, whose system its value set implies."""
        return all(w.type in definitions.PRIMITIVES for w in self.ways)


@cache
def parameters(resource_type: str) -> dict[str, Parameter]:
    """Return code -> parameter for one type; what cannot be evaluated is not there."""
    out = {}
    for code, one in _offered(resource_type).items():
        ways = () if code == "deceased" else compile_parts(resource_type, one.parts)
        out[code] = Parameter(resource_type, code, one.kind, ways, one.targets, one.components)
    return out


def search_parameters(resource_type: str) -> tuple[tuple[str, str], ...]:
    """Return (code, kind) of what a type can be searched by, ascending by code; nothing is compiled for that."""
    return tuple((code, one.kind) for code, one in sorted(_offered(resource_type).items()))


def _offered(resource_type: str) -> dict[str, definitions.Definition]:
    """Return what can be evaluated."""
    return {
        code: one
        for code, one in definitions.parameters(resource_type).items()
        if code not in _NOT_OFFERED and (one.kind != "composite" or len(one.components) == PARTS_OF_A_COMPOSITE)
    }


Emit = Callable[[Any, Rows], None]


class Indexer:
    """Makes rows with the hashes and parameter numbers of one store."""

    def __init__(self, fold: Fold, number: Callable[[str, str], int], base_url: str) -> None:
        self.fold, self.number, self.base_url = fold, number, base_url
        self._programs: dict[str, tuple[dict[str, list[tuple[Way, Emit]]], list[tuple[Way, Emit]]]] = {}

    def rows(self, resource_type: str, tree: dict[str, Any]) -> Rows:
        """Return the rows of a resource whose tree is what is served."""
        by_key, whole = self._programs.get(resource_type) or self._prepare(resource_type)
        rows = Rows()
        for key in tree:
            for way, emit in by_key.get(key, ()):
                for value in way.values(tree):
                    emit(value, rows)
        for way, emit in whole:
            for value in way.values(tree):
                emit(value, rows)
        if resource_type == "Patient":
            number = self.number("Patient", "deceased")
            rows.exact.update((number, self.fold(ANY, "true" if d else "false")) for d in deceased(tree))
        return rows

    def _prepare(self, resource_type: str) -> tuple[dict[str, list[tuple[Way, Emit]]], list[tuple[Way, Emit]]]:
        by_key: dict[str, list[tuple[Way, Emit]]] = {}
        whole: list[tuple[Way, Emit]] = []
        for code, one in parameters(resource_type).items():
            if code in NOT_INDEXED:
                continue
            number = self.number(resource_type, code)
            for way in one.ways:
                emit = self._composite(one, way, number) if one.kind == "composite" else self._emitter(one.kind, way, number)
                (by_key.setdefault(way.key, []) if way.key else whole).append((way, emit))
        self._programs[resource_type] = by_key, whole
        return self._programs[resource_type]

    def _emitter(self, kind: str, way: Way, number: int) -> Emit:
        emitters = {
            "token": self._token,
            "reference": self._reference,
            "string": self._string,
            "uri": self._uri,
            "date": self._date,
            "number": self._number,
            "quantity": self._quantity,
        }
        return emitters[kind](way, number)

    def _token(self, way: Way, number: int) -> Emit:
        fold, kind = self.fold, way.type

        def emit(value: JsonValue, rows: Rows) -> None:
            for system, code in terms.tokens(value, kind):
                rows.exact.add((number, fold(ANY, code)))
                if system is not None:
                    rows.exact.add((number, fold(PAIR, f"{system}|{code}")))
                    rows.exact.add((number, fold(SYSTEM, system)))
            if kind == "Identifier":
                rows.exact.update((number, fold(OF_TYPE, t)) for t in terms.of_type(value))

        return emit

    def _reference(self, way: Way, number: int) -> Emit:
        fold, base, only = self.fold, self.base_url, way.only_target

        def emit(value: JsonValue, rows: Rows) -> None:
            rows.exact.update((number, fold(HANDLE, t)) for t in references.targets(value, only, base))
            rows.exact.update((number, fold(IDENTIFIER, f"{s}|{v}")) for s, v in references.identifiers(value))

        return emit

    def _string(self, way: Way, number: int) -> Emit:
        fold, kind = self.fold, way.type

        def emit(value: JsonValue, rows: Rows) -> None:
            rows.strings.update((number, terms.plain(t), fold(ANY, t)) for t in terms.string_parts(value, kind))

        return emit

    def _uri(self, _way: Way, number: int) -> Emit:
        def emit(value: JsonValue, rows: Rows) -> None:
            if isinstance(value, str):
                rows.strings.add((number, value, self.fold(ANY, value)))

        return emit

    def _date(self, way: Way, number: int) -> Emit:
        kind = way.type

        def emit(value: JsonValue, rows: Rows) -> None:
            span = terms.date_range(value, kind)
            if span is not None:
                rows.ranges.add((number, 0, *span, 0, 0))

        return emit

    def _number(self, way: Way, number: int) -> Emit:
        kind = way.type

        def emit(value: JsonValue, rows: Rows) -> None:
            span = terms.quantity_range(value, kind) if isinstance(value, dict) else terms.number_range(value)
            if span is not None:
                rows.ranges.add((number, 0, span[0], span[1], 0, 0))

        return emit

    def _quantity(self, way: Way, number: int) -> Emit:
        fold, kind = self.fold, way.type

        def emit(value: JsonValue, rows: Rows) -> None:
            span = terms.quantity_range(value, kind) if isinstance(value, dict) else None
            if span is not None:
                rows.ranges.add((number, 0, span[0], span[1], fold(SYSTEM, span[2]), fold(ANY, span[3])))

        return emit

    def _composite(self, one: Parameter, way: Way, number: int) -> Emit:
        shape = way.type if way.key else one.type
        try:
            first = compile_inner(shape, one.components[0][2])
            second = [(w, one.components[1][1]) for w in compile_inner(shape, one.components[1][2])]
        except Unreadable as error:
            raise AssertionError(f"{one.type}.{one.code} is not in the tables as expected") from error

        def emit(value: JsonValue, rows: Rows) -> None:
            keys = {k for w in first for v in w.values(value) for s, c in terms.tokens(v, w.type) for k in {c, f"{s or ''}|{c}"}}
            for inner, kind in second if keys else ():
                for part in inner.values(value):
                    self._pair(number, keys, (part, inner, kind), rows)

        return emit

    def _pair(self, number: int, keys: set[str], second: tuple[Any, Way, str], rows: Rows) -> None:
        """Add the rows of one pair of a composite: its first part's texts with its second part's value."""
        value, way, kind = second
        if kind in {"quantity", "number"} and isinstance(value, dict):
            span = terms.quantity_range(value, way.type)
            units = (self.fold(SYSTEM, span[2]), self.fold(ANY, span[3])) if span else (0, 0)
            rows.ranges.update((number, self.fold(COMBINED, k), span[0], span[1], *units) for k in keys if span)
        elif kind == "number":
            rows.ranges.update((number, self.fold(COMBINED, k), float(value), float(value), 0, 0) for k in keys)
        elif kind == "date":
            days = terms.date_range(value, way.type)
            rows.ranges.update((number, self.fold(COMBINED, k), *days, 0, 0) for k in keys if days)
        else:
            rows.exact.update((number, self.fold(COMBINED, f"{k}${t}")) for k in keys for t in self._second_texts(value, way, kind))

    def _second_texts(self, value: JsonValue, way: Way, kind: str) -> set[str]:
        if kind == "reference":
            return set(references.targets(value, way.only_target, self.base_url))
        if kind == "string":
            return {terms.plain(t) for t in terms.string_parts(value, way.type)}
        return {t for s, c in terms.tokens(value, way.type) for t in (c, f"{s or ''}|{c}")}
