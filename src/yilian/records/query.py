"""A search as a value: parsed, checked, and ready to be narrowed before it is asked.

Source   https://hl7.org/fhir/R4/search.html. What the store does not offer is a `BadQuery`, never a wider answer; an unknown parameter is
         one in strict handling and is left out (and named in `dropped`) in lenient handling.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, urlencode

from yilian.records import definitions, terms
from yilian.records.faults import BadQuery
from yilian.records.indexing import parameters
from yilian.records.primitives import extent_ms
from yilian.records.scope import EVERYTHING, Scope

COUNT_DEFAULT, COUNT_MAX = 50, 1_000
TERMS_MAX, VALUES_MAX, CHAIN_MAX, INCLUDES_MAX = 40, 500, 3, 20
TARGETS_MAX, LINKS_MAX = 16, 64
"""Bounds on what one query may ask: each is far above what a person or an app asks, and keeps a hostile one cheap."""
PREFIXES: Final = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})
MODIFIERS: Final = {
    "token": {"not", "of-type", "missing"},
    "string": {"exact", "contains", "missing"},
    "reference": {"identifier", "missing"},
    "uri": {"below", "missing"},
    "date": {"missing"},
    "number": {"missing"},
    "quantity": {"missing"},
    "composite": {"missing"},
}
_IGNORED: Final = frozenset({"_format", "_pretty", "_contained", "_containedType"})
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Term:
    """One parameter with its alternatives (joined by OR)."""

    type: str
    code: str
    kind: str
    modifier: str
    values: tuple[str, ...]
    """Still escaped where `|` and `$` divide them."""


@dataclass(frozen=True, slots=True)
class Chained:
    """A reference whose target meets a condition: one condition per possible type of the target."""

    type: str
    code: str
    targets: "tuple[tuple[str, Condition], ...]"


@dataclass(frozen=True, slots=True)
class Reverse:
    """`_has`: some `source` refers here by `code` and meets a condition."""

    type: str
    source: str
    code: str
    inner: "Condition"


Condition: TypeAlias = Term | Chained | Reverse


@dataclass(frozen=True, slots=True)
class Include:
    """`_include` or, `is_reverse`, `_revinclude`; code "*" means every reference; target "" means any type."""

    source: str
    code: str
    target: str
    is_reverse: bool
    is_iterated: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A search of one type."""

    type: str
    conditions: tuple[Condition, ...] = ()
    includes: tuple[Include, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    """(code, descending) in order."""
    count: int = COUNT_DEFAULT
    total: str = "accurate"
    summary: str = "false"
    elements: frozenset[str] = frozenset()
    scope: Scope = EVERYTHING
    applied: tuple[tuple[str, str], ...] = ()
    """The parameters as given that were understood, in order: what `self` shows."""
    dropped: tuple[str, ...] = field(default=())

    def narrowed_to(self, scope: Scope) -> "Query":
        """Return the same search of what `scope` allows besides."""
        return replace(self, scope=self.scope.meet(scope))

    def self_link(self, base_url: str) -> str:
        """Return the URL that says what was applied."""
        return f"{base_url}/{self.type}" + (f"?{urlencode(self.applied)}" if self.applied else "")


def split(text: str, divider: str) -> list[str]:
    """Split at a divider that no backslash precedes; the pieces stay escaped."""
    out, piece, at = [], "", 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            piece, at = piece + text[at : at + 2], at + 2
            continue
        if text[at] == divider:
            out.append(piece)
            piece = ""
        else:
            piece += text[at]
        at += 1
    return [*out, piece]


def unescaped(text: str) -> str:
    """Return a value without its backslashes."""
    return re.sub(r"\\([\\,$|])", r"\1", text)


def prefixed(text: str) -> tuple[str, str]:
    """Return (prefix, rest) of a date, number or quantity; the prefix is `eq` where none is given."""
    match = _PREFIXED.fullmatch(text)
    return (match[1] or "eq", match[2]) if match else ("eq", text)


def _check_value(kind: str, text: str, what: str) -> None:
    """Refuse a value that its kind cannot have."""
    if kind == "date" and extent_ms(_zoned(prefixed(text)[1])) is None:
        raise BadQuery(f"{what}: a date as FHIR writes it is expected.")
    if kind in {"number", "quantity"} and terms.asked_range(split(prefixed(text)[1], "|")[0]) is None:
        raise BadQuery(f"{what}: a number is expected.")


def _zoned(text: str) -> str:
    """Return a query's date as a full FHIR dateTime: minutes are enough there, and `+` may have become a space."""
    text = text.replace(" ", "+")
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?", text)
    return f"{match[1]}{match[2] or ':00'}{match[3] or 'Z'}" if match else text


def asked_date(text: str) -> tuple[int, int]:
    """Return the milliseconds that a checked date of a query means; a time without seconds means the whole minute."""
    span = extent_ms(_zoned(text))
    if span is None:
        raise BadQuery("A date as FHIR writes it is expected.")
    return (span[0], span[0] + 60_000) if re.fullmatch(r"[^T]+T\d\d:\d\d(Z|[+ -]\d\d:\d\d)?", text) else span


def _term(resource_type: str, code: str, modifier: str, text: str) -> Term:
    one = parameters(resource_type).get(code)
    if one is None:
        raise BadQuery(f"{resource_type} has no search parameter of that name.", f"{resource_type}.{_safe(code)}")
    what = f"{resource_type}.{code}"
    allowed = MODIFIERS[one.kind] | (set(definitions.types()) if one.kind == "reference" else set())
    if modifier and modifier not in allowed:
        raise BadQuery("This modifier is not offered here.", what)
    values = tuple(v for v in split(text, ",") if v)
    if not values or len(values) > VALUES_MAX:
        raise BadQuery(f"Between 1 and {VALUES_MAX} values are expected.", what)
    if modifier == "missing" and values not in {("true",), ("false",)}:
        raise BadQuery("`:missing` takes true or false.", what)
    for value in values if modifier != "missing" else ():
        if one.kind == "composite":
            parts = split(value, "$")
            if len(parts) != len(one.components):
                raise BadQuery("A composite value has its parts joined by `$`.", what)
            _check_value(one.components[1][1], parts[1], what)
        else:
            _check_value(one.kind, value, what)
    return Term(resource_type, code, one.kind, modifier, values)


def _safe(code: str) -> str:
    """Return a name that may be repeated in an answer: letters and dashes, not what someone typed."""
    return code if re.fullmatch(r"[A-Za-z_-]{1,40}", code) else "?"


def _condition(resource_type: str, key: str, text: str, depth: int = 0) -> Condition:
    if depth > CHAIN_MAX:
        raise BadQuery(f"A chain has at most {CHAIN_MAX} links.")
    if key.startswith("_has:"):
        parts = key.split(":", 3)
        if len(parts) != 4 or parts[1] not in definitions.types():  # noqa: PLR2004 - _has, type, reference, rest
            raise BadQuery("`_has` is written _has:Type:reference:parameter.")
        _reference_of(parts[1], parts[2])
        return Reverse(resource_type, parts[1], parts[2], _condition(parts[1], parts[3], text, depth + 1))
    head, dot, rest = key.partition(".")
    code, _colon, modifier = head.partition(":")
    if not dot:
        return _term(resource_type, code, modifier, text)
    targets = _reference_of(resource_type, code)
    wanted = [modifier] if modifier else list(targets)
    found: list[tuple[str, Condition]] = []
    for target in wanted:
        if target not in definitions.types():
            raise BadQuery("A chain names a type that R4 does not define.")
        first = rest.split(".")[0].split(":")[0]
        if first == "_has" or first in parameters(target):
            found.append((target, _condition(target, rest, text, depth + 1)))
    if not found:
        raise BadQuery(f"No target of {resource_type}.{code} has that parameter.")
    if len(found) > TARGETS_MAX:
        raise BadQuery("Too many types could be meant: write `parameter:Type.other`.", f"{resource_type}.{code}")
    return Chained(resource_type, code, tuple(found))


def _reference_of(resource_type: str, code: str) -> tuple[str, ...]:
    """Return the target types of a reference parameter, or refuse."""
    one = parameters(resource_type).get(code)
    if one is None or one.kind != "reference":
        raise BadQuery(f"{resource_type} has no reference parameter of that name.", f"{resource_type}.{_safe(code)}")
    return one.targets or tuple(sorted(definitions.types()))


def _include(key: str, text: str) -> Include:
    name, _colon, modifier = key.partition(":")
    if modifier not in {"", "iterate", "recurse"}:
        raise BadQuery("`_include` and `_revinclude` take :iterate only.")
    reverse = name == "_revinclude"
    if text == "*":
        return Include("", "*", "", is_reverse=reverse, is_iterated=bool(modifier))
    source, _c, rest = text.partition(":")
    code, _c, target = rest.partition(":")
    if source not in definitions.types() or (target and target not in definitions.types()):
        raise BadQuery("An include names a type that R4 does not define.")
    if code != "*":
        _reference_of(source, code)
    return Include(source, code, target, is_reverse=reverse, is_iterated=bool(modifier))


def _sorted_by(resource_type: str, text: str) -> tuple[tuple[str, bool], ...]:
    out = []
    for part in text.split(","):
        code = part.lstrip("-")
        one = parameters(resource_type).get(code)
        if one is None or one.kind == "composite":
            raise BadQuery(f"{resource_type} cannot be sorted by that.")
        out.append((code, part.startswith("-")))
    return tuple(out)


def _control(query: Query, key: str, text: str) -> Query:
    """Apply a parameter that shapes the answer."""
    name = key.partition(":")[0]
    if name in {"_include", "_revinclude"}:
        return replace(query, includes=(*query.includes, _include(key, text)))
    if name == "_sort":
        return replace(query, sort=_sorted_by(query.type, text))
    if name == "_count":
        if not re.fullmatch(r"\d{1,9}", text):
            raise BadQuery("`_count` is a number.")
        return replace(query, count=min(int(text), COUNT_MAX))
    if name == "_total":
        if text not in {"none", "estimate", "accurate"}:
            raise BadQuery("`_total` is none, estimate or accurate.")
        return replace(query, total=text)
    if name == "_summary":
        if text not in {"true", "false", "text", "data", "count"}:
            raise BadQuery("`_summary` is true, false, text, data or count.")
        return replace(query, summary=text)
    return replace(query, elements=frozenset(e.rsplit(".", 1)[-1] for e in text.split(",") if e))


_CONTROLS: Final = frozenset({"_include", "_revinclude", "_sort", "_count", "_total", "_summary", "_elements"})


def parse_query(resource_type: str, query_string: str, *, strict: bool = True) -> Query:
    """Return the search that a query string asks for.

    Refuses  BadQuery: an unknown parameter (unless lenient), modifier, value or chain, or a bound
    """
    if resource_type not in definitions.types():
        raise BadQuery("R4 has no such type.")
    query = Query(resource_type)
    pairs = parse_qsl(query_string, keep_blank_values=True)
    if len(pairs) > TERMS_MAX:
        raise BadQuery(f"A search has at most {TERMS_MAX} parameters.")
    for key, text in pairs:
        name = re.split(r"[:.]", key, maxsplit=1)[0]
        if name in _IGNORED:
            continue
        if name != "_has" and name not in _CONTROLS and name not in parameters(resource_type):
            if strict:
                raise BadQuery(f"{resource_type} has no search parameter of that name.", f"{resource_type}.{_safe(name)}")
            query = replace(query, dropped=(*query.dropped, name))
            continue
        if name in _CONTROLS:
            query = _control(query, key, text)
        else:
            query = replace(query, conditions=(*query.conditions, _condition(resource_type, key, text)))
        query = replace(query, applied=(*query.applied, (key, text)))
    if sum(_links(c) for c in query.conditions) > LINKS_MAX:
        raise BadQuery("Too many types could be meant: write `parameter:Type.other`.")
    if len(query.includes) > INCLUDES_MAX:
        raise BadQuery(f"A search has at most {INCLUDES_MAX} includes.")
    return query


def _links(condition: Condition) -> int:
    """Return how many conditions a chain unfolds to."""
    if isinstance(condition, Chained):
        return sum(1 + _links(c) for _t, c in condition.targets)
    return 1 + _links(condition.inner) if isinstance(condition, Reverse) else 0
