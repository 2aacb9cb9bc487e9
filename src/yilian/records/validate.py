"""Is this a resource that R4 allows? Our own walk over the tables of elements, then `fhirkit` as a second opinion.

The walk stands alone where fhirkit is not installed. It checks element names, cardinality, types, required codes, dates that exist,
ids, empty objects, narratives, fragments, and the invariants of `invariants`. Diagnostics never repeat a value (ADR-0022).
Source   hl7.fhir.r4.core 4.0.1; https://hl7.org/fhir/R4/json.html
"""

import re
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from yilian.records import definitions
from yilian.records.faults import Invalid, Issue, Malformed, TooLarge
from yilian.records.invariants import INVARIANTS
from yilian.records.jsontext import DEPTH_MAX, Document
from yilian.records.narrative import refusal
from yilian.records.primitives import CHECKS, is_id

ISSUES_MAX: Final = 50
"""Enough to repair a file by; a hostile one does not get a longer answer."""
_fhirkit: Any = import_module("fhirkit") if find_spec("fhirkit") else None
_KNOWN_PATH = re.compile(r"[A-Za-z]+(\.[A-Za-z_]+|\[x?\d*\])*")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one shape expects, prepared for the walk."""

    elements: dict[str, definitions.Element]
    required: tuple[tuple[str, tuple[str, ...]], ...]
    choice_names: dict[str, str]


@cache
def _plan(path: str) -> _Plan:
    elements = dict(definitions.shape(path))
    names = definitions.choices(path)
    required = tuple((name, keys) for name, keys in names.items() if elements[keys[0]].is_required)
    return _Plan(elements, required, {k: e.name for k, e in elements.items() if e.is_choice})


@dataclass(slots=True)
class _Walk:
    """One validation: the issues so far, and what fragments may point to."""

    issues: list[Issue] = field(default_factory=list)
    fragments: set[str] = field(default_factory=set)
    contained: set[str] = field(default_factory=set)

    def say(self, code: str, at: str, diagnostics: str) -> None:
        if len(self.issues) < ISSUES_MAX:
            self.issues.append(Issue("error", code, at, diagnostics))

    def resource(self, node: object, at: str, depth: int, *, is_contained: bool = False) -> None:
        kind = node.get("resourceType") if isinstance(node, dict) else None
        if not isinstance(node, dict) or not isinstance(kind, str) or kind not in definitions.types():
            self.say("structure", at, "not a resource of a type that R4 defines")
            return
        if is_contained:
            self.contained_rules(node, at)
        self.members(node, kind, at, depth, is_resource=True)

    def contained_rules(self, node: dict[str, Any], at: str) -> None:
        if "contained" in node:
            self.say("invariant", at, "dom-2: a contained resource contains another")
        meta = node.get("meta")
        if isinstance(meta, dict) and {"versionId", "lastUpdated", "security"} & meta.keys():
            self.say("invariant", at, "dom-4, dom-5: a contained resource has a version, a time or a label of its own")
        if isinstance(node.get("id"), str):
            self.contained.add(node["id"])

    def members(self, node: dict[str, Any], path: str, at: str, depth: int, *, is_resource: bool = False) -> None:
        """Walk an object of shape `path`."""
        if depth > DEPTH_MAX:
            raise TooLarge(f"The body nests deeper than {DEPTH_MAX} levels.")
        plan = _plan(path)
        elements, chosen = plan.elements, None
        if not node:
            self.say("structure", at, "an empty object is not allowed; leave the element out")
        for key, value in node.items():
            element = elements.get(key)
            if element is None:
                if key == "resourceType" and is_resource:
                    continue
                self.other_key(node, key, value, plan, at, depth)
                continue
            if element.is_choice:
                if chosen is not None and chosen[0] == element.name and chosen[1] != key:
                    self.say("structure", f"{at}.{element.name}", "only one type of a choice may be given")
                chosen = (element.name, key)
            self.member(node, key, value, element, f"{at}.{element.name}", depth)
        for name, keys in plan.required:
            if not any(k in node or "_" + k in node for k in keys):
                self.say("required", f"{at}.{name}", "a required element is missing")
        if not self.issues:
            self.rules(node, path, at)

    def rules(self, node: dict[str, Any], path: str, at: str) -> None:
        for rule in INVARIANTS.get(path, ()):
            broken = rule(node)
            if broken is not None:
                self.say("invariant", at, broken)
        if path == "Reference":
            target = node.get("reference", "")
            if target.startswith("#") and len(target) > 1:
                self.fragments.add(target[1:])
        elif path == "Narrative" and "div" in node:
            broken = refusal(node["div"])
            if broken is not None:
                self.say("invariant", at, broken)

    def other_key(self, node: dict[str, Any], key: str, value: object, plan: _Plan, at: str, depth: int) -> None:
        """Walk a key that is no element: it may be the extension of a primitive."""
        element = plan.elements.get(key[1:]) if key.startswith("_") else None
        if element is None or element.type not in definitions.PRIMITIVES:
            self.say("structure", at, "an element that R4 does not define here")
            return
        items = value if element.is_many else [value]
        if not isinstance(items, list) or not items:
            self.say("structure", f"{at}.{element.name}", "a primitive's extensions have the primitive's own cardinality")
            return
        beside = node.get(key[1:])
        if element.is_many and isinstance(beside, list) and len(beside) != len(items):
            self.say("structure", f"{at}.{element.name}", "values and their extensions differ in number")
        for item in items:
            if item is None and element.is_many:
                continue
            if not isinstance(item, dict):
                self.say("structure", f"{at}.{element.name}", "expected an object")
                continue
            self.members(item, "Element", f"{at}.{element.name}", depth + 1)

    def member(self, node: dict[str, Any], key: str, value: object, element: definitions.Element, at: str, depth: int) -> None:
        """Walk one element's value or values."""
        if not element.is_many:
            self.value(value, element, at, depth)
            return
        if not isinstance(value, list):
            self.say("structure", at, "expected an array")
            return
        if not value:
            self.say("structure", at, "an empty array is not allowed; leave the element out")
        extended = isinstance(node.get("_" + key), list)
        for number, item in enumerate(value):
            if item is None and extended:
                continue
            self.value(item, element, f"{at}[{number}]", depth)

    def value(self, value: object, element: definitions.Element, at: str, depth: int) -> None:
        check = CHECKS.get(element.type)
        if check is not None:
            wrong = check(value)
            if wrong is not None:
                self.say("value", at, wrong)
            elif element.codes is not None and value not in element.codes:
                self.say("code-invalid", at, "a code outside the required value set")
        elif element.type == "Resource":
            self.resource(value, at, depth + 1, is_contained=element.name == "contained")
        elif not isinstance(value, dict):
            self.say("structure", at, "expected an object")
        else:
            self.members(value, element.type, at, depth + 1)


def _second_opinion(document: Document) -> list[Issue]:
    """Return what fhirkit finds wrong, without the values that its messages quote."""
    if _fhirkit is None:
        return []
    try:
        found = _fhirkit.validate(document.text)
    except _fhirkit.ParseError as error:
        raise Malformed("The body is not JSON that a second reader accepts.") from error
    return [
        Issue("error", "structure", i.path if _KNOWN_PATH.fullmatch(i.path) else "", re.sub(r'"[^"]*"', "a value", i.message))
        for i in found
        if i.severity == "error"
    ][:ISSUES_MAX]


def issues_of(document: Document, expected_type: str | None = None) -> list[Issue]:
    """Return everything that is wrong with a resource; empty if it may be stored."""
    kind = document.tree.get("resourceType")
    if not isinstance(kind, str) or kind not in definitions.types():
        return [Issue("error", "structure", "", "resourceType is missing or not a type that R4 defines")]
    if expected_type is not None and kind != expected_type:
        return [Issue("error", "invalid", kind, f"resourceType is not {expected_type}, the type that was addressed")]
    walk = _Walk()
    walk.resource(document.tree, kind, 1)
    given = document.tree.get("id")
    if isinstance(given, str) and not is_id(given):
        walk.say("value", f"{kind}.id", "not a valid id")
    if not walk.fragments <= walk.contained and not walk.issues:
        walk.say("invariant", kind, "ref-1: a fragment points to no contained resource")
    return walk.issues or _second_opinion(document)


def check(document: Document, expected_type: str | None = None) -> str:
    """Return the type of a valid resource.

    Refuses  Invalid with every issue; TooLarge, Malformed
    """
    issues = issues_of(document, expected_type)
    if issues:
        raise Invalid("", issues=tuple(issues))
    kind: str = document.tree["resourceType"]
    return kind
