"""The FHIRPath of R4's search parameters, compiled once to Python closures over the tables of elements.

The subset that the 1,400 expressions use: paths, `as`, `.as()`, `.ofType()`, `where(field='text')`, `where(resolve() is Type)`,
`where(hasExtension('url'))`, `extension('url')`, `.exists()`, `[0]`, and the one boolean of Patient.deceased. An engine would cost 600 to
2,300 us a resource; the closures cost tens.
Source   hl7.fhir.r4.core 4.0.1; https://hl7.org/fhir/R4/search.html#table
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from yilian.records import definitions

Node = dict[str, Any]
Found = list[tuple[Any, str]]
"""Values with their FHIR types."""
Step = Callable[[list[Any]], list[Any]]

DATA_TYPE_NAMES: Final = {"DateTime": "dateTime", "String": "string", "Uri": "uri", "Boolean": "boolean", "Integer": "integer"}
"""R4 writes a few types in capitals (`value.as(DateTime)`)."""


class Unreadable(ValueError):
    """An expression outside the subset: a defect of the compiled tables, found by the tests, never at run time."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way from a resource to values of one type: the first key, and the steps after it."""

    key: str
    steps: tuple[Step, ...]
    type: str
    only_target: str = ""
    """Of a reference: the resource type that `where(resolve() is X)` asks for."""

    def values(self, node: Node) -> list[Any]:
        if not self.key:
            found: list[Any] = [node]
        else:
            first = node.get(self.key)
            if first is None:
                return []
            found = first if type(first) is list else [first]
        for step in self.steps:
            found = step(found)
            if not found:
                return found
        return found


def _key(key: str) -> Step:
    def step(nodes: list[Any]) -> list[Any]:
        out: list[Any] = []
        for node in nodes:
            value = node.get(key) if type(node) is dict else None
            if value is None:
                continue
            if type(value) is list:
                out.extend(v for v in value if v is not None)
            else:
                out.append(value)
        return out

    return step


def _where(key: str, text: str) -> Step:
    def step(nodes: list[Any]) -> list[Any]:
        return [n for n in nodes if type(n) is dict and n.get(key) == text]

    return step


def _has_extension(url: str) -> Step:
    def step(nodes: list[Any]) -> list[Any]:
        return [n for n in nodes if type(n) is dict and any(e.get("url") == url for e in n.get("extension", []))]

    return step


def _first(nodes: list[Any]) -> list[Any]:
    return nodes[:1]


@dataclass(frozen=True, slots=True)
class _Partial:
    """A path under construction: where it has come to in the shapes."""

    keys: tuple[str, ...]
    steps: tuple[Step, ...]
    shape: str
    only_target: str = ""

    def down(self, key: str, shape: str) -> "_Partial":
        if not self.keys:
            return _Partial((key,), (), shape)
        return _Partial((*self.keys, key), (*self.steps, _key(key)), shape)

    def filtered(self, step: Step, only_target: str = "") -> "_Partial":
        return _Partial(self.keys, (*self.steps, step) if not only_target else self.steps, self.shape, only_target or self.only_target)


_TOKEN = re.compile(
    r"""\.?(?:
    (?P<call>as|ofType|where|extension|exists|is)\((?P<inner>(?:[^()']|'[^']*'|\((?:[^()]|'[^']*')*\))*)\)
  | (?P<name>[A-Za-z][A-Za-z0-9]*) (?P<index>\[0\])? )""",
    re.VERBOSE,
)


def _element(partials: Iterable[_Partial], name: str) -> list[_Partial]:
    out = []
    for one in partials:
        if not definitions.has_shape(one.shape):
            continue
        shape = definitions.shape(one.shape)
        out += [one.down(key, shape[key].type) for key in definitions.choices(one.shape).get(name, ())]
    return out


def _extension(partials: Iterable[_Partial], url: str) -> list[_Partial]:
    found = [p.down("extension", "Extension").filtered(_where("url", url)) for p in partials]
    return _element(found, "value")


def _call(partials: list[_Partial], call: str, inner: str) -> list[_Partial]:
    inner = inner.strip()
    if call in {"as", "ofType"}:
        wanted = DATA_TYPE_NAMES.get(inner, inner)
        return [p for p in partials if p.shape == wanted]
    if call == "extension":
        return _extension(partials, inner.strip("'"))
    if call == "where":
        if target := re.fullmatch(r"resolve\(\) is ([A-Za-z]+)", inner):
            return [p.filtered(_first, target.group(1)) for p in partials]
        if extension := re.fullmatch(r"hasExtension\('([^']+)'\)", inner):
            return [p.filtered(_has_extension(extension.group(1))) for p in partials]
        if equal := re.fullmatch(r"([A-Za-z]+)\s*=\s*'([^']*)'", inner):
            return [p.filtered(_where(equal.group(1), equal.group(2))) for p in partials]
    raise Unreadable(f"{call}({inner})")


def _path(expression: str, start: list[_Partial]) -> list[_Partial]:
    """Follow one path without union from `start`."""
    text = expression.strip()
    cast = re.fullmatch(r"\(?\s*([^()\s]+)\s+as\s+([A-Za-z]+)\s*\)?(\..+)?", text)
    if cast:
        text = f"{cast.group(1)}.as({cast.group(2)}){cast.group(3) or ''}"
    partials, at = start, 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise Unreadable(expression)
        at = token.end()
        if token["call"]:
            partials = _call(partials, token["call"], token["inner"])
        else:
            partials = _element(partials, token["name"])
            if token["index"]:
                partials = [p.filtered(_first) for p in partials]
    return partials


def _ways(partials: Iterable[_Partial]) -> tuple[Way, ...]:
    return tuple(Way(p.keys[0] if p.keys else "", p.steps, p.shape, p.only_target) for p in partials)


def compile_parts(resource_type: str, parts: Iterable[str]) -> tuple[Way, ...]:
    """Return the ways of a parameter's expression (its parts, `Type.` in front) for one resource type.

    Raises   Unreadable
    """
    found: list[_Partial] = []
    for part in parts:
        bare = re.sub(rf"^(\(?)(?:{resource_type}|Resource|DomainResource)(?:\.|$)", r"\1", part.strip())
        start = [_Partial((), (), resource_type)]
        found += _path(bare, start) if bare else start
    return _ways(found)


def compile_inner(shape: str, expression: str) -> tuple[Way, ...]:
    """Return the ways of a composite component's expression, which starts at an element of `shape`."""
    start = [_Partial((), (), shape)]
    return _ways(p for part in re.split(r"\s*\|\s*", expression) for p in _path(part, start))


def deceased(node: Node) -> list[Any]:
    """Return [True] or [False] for `Patient.deceased.exists() and Patient.deceased != false`."""
    return [node.get("deceasedBoolean") is True or "deceasedDateTime" in node]
