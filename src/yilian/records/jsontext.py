"""JSON read with positions, so that a resource can be served as it came with only its id, meta and references replaced.

A `Document` is the received text and where each top-level member stands in it; a `Splice` replaces one piece of it. Nothing is
ever written out again from the parsed tree: decimals, dates, order and white space stay as received (ADR-0020).
Refuses  what is not UTF-8 or not JSON, a repeated key, NaN and Infinity, and nesting or size over the limits below.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from yilian.records.faults import Malformed, TooLarge

RESOURCE_BYTES_MAX: Final = 4 * 1024 * 1024
"""One resource. Synthea's largest is 60 kB; scanned letters inside a Binary are what needs megabytes."""
BUNDLE_BYTES_MAX: Final = 64 * 1024 * 1024
"""One bundle: Synthea's largest published patient bundle is about 40 MB."""
DEPTH_MAX: Final = 48
"""Levels of objects and arrays. The deepest R4 example has 26."""
NUMBER_CHARACTERS_MAX: Final = 64
"""FHIR asks for 18 significant digits; a number of a thousand digits is an attack on whoever computes with it."""

_SPACE = re.compile(r"[ \t\n\r]*")
_NAME = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*')
"""A member's name without escapes, and all up to its value: nearly every name there is; the others go step by step."""
JsonValue: TypeAlias = Any
"""A value as JSON gave it: the validation, not the type, says what it is."""
_TREE = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Splice:
    """Replace `[start, end)` of the received bytes by `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """Where a member stands in the document's text, in characters."""

    key_at: int
    value_at: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object as received."""

    text: str
    tree: _TREE
    spans: dict[str, Span]

    def encoded(self) -> bytes:
        """Return the received bytes."""
        return self.text.encode()

    def in_bytes(self, splices: list[Splice]) -> list[Splice]:
        """Return splices in characters as splices in bytes, in order."""
        ordered = sorted(splices, key=lambda s: (s.start, s.end))
        if self.text.isascii():
            return ordered
        return [Splice(len(self.text[: s.start].encode()), len(self.text[: s.end].encode()), s.text) for s in ordered]


@dataclass(frozen=True, slots=True)
class BundleText:
    """A bundle as received: its own members, and the document of each entry's resource (None where an entry has none)."""

    tree: _TREE
    resources: list[Document | None]


def once(pairs: list[tuple[str, Any]]) -> _TREE:
    """Return an object's members. Refuses  Malformed, if one stands twice."""
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise Malformed("An object repeats a key: JSON with two meanings is not stored.")
    return tree


def no_constant(name: str) -> JsonValue:
    """Refuse NaN and Infinity, which Python's reader knows and JSON does not."""
    raise Malformed(f"{name} is not a JSON number.")


def bounded(text: str) -> str:
    """Return a number's text. Refuses  TooLarge, if it has more than `NUMBER_CHARACTERS_MAX`."""
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise TooLarge(f"A number has more than {NUMBER_CHARACTERS_MAX} characters.")
    return text


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(bounded(text))
    except InvalidOperation as error:
        raise Malformed("A number's exponent is out of reach.") from error


def _integer(text: str) -> int:
    return int(bounded(text))


_decoder: Any = json.JSONDecoder(object_pairs_hook=once, parse_float=_decimal, parse_int=_integer, parse_constant=no_constant)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # what `raw_decode` calls: one value at a position, in C
_Inner = dict[str, Callable[[str, int], tuple[Any, int]]]


def _after_space(text: str, at: int) -> int:
    if text[at : at + 1] > " ":
        return at
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _name(text: str, at: int) -> tuple[str, int]:
    """Return a member's name and where its value begins, step by step."""
    if text[at] != '"':
        raise Malformed("A member's name is expected.")
    key, at = _scan(text, at)
    at = _after_space(text, at)
    if text[at] != ":":
        raise Malformed("A colon is expected after a member's name.")
    return key, _after_space(text, at + 1)


def _members(text: str, at: int, inner: _Inner) -> tuple[_TREE, dict[str, Span], int]:
    """Read the object at `at`; a member named in `inner` is read by its own reader. Return tree, spans and end."""
    pairs: list[tuple[str, Any]] = []
    spans: dict[str, Span] = {}
    at = _after_space(text, at + 1)
    if text[at] == "}":
        return {}, spans, at + 1
    while True:
        key_at = at
        named = _NAME.match(text, at)
        if named is not None:
            key, value_at = named[1], named.end()
        else:
            key, value_at = _name(text, at)
        value, at = (inner.get(key) or _scan)(text, value_at)
        pairs.append((key, value))
        spans[key] = Span(key_at, value_at, at)
        at = _after_space(text, at)
        if text[at] == "}":
            return once(pairs), spans, at + 1
        if text[at] != ",":
            raise Malformed("A comma or the object's end is expected.")
        at = _after_space(text, at + 1)


def _read(data: bytes, size_max: int, inner: _Inner) -> tuple[str, _TREE, dict[str, Span]]:
    if len(data) > size_max:
        raise TooLarge(f"The body is larger than {size_max} bytes.")
    try:
        text = data.decode()
        at = _after_space(text, 0)
        if text[at : at + 1] != "{":
            raise Malformed("A FHIR resource is a JSON object.")
        tree, spans, end = _members(text, at, inner)
        if _after_space(text, end) != len(text):
            raise Malformed("Something follows the end of the JSON object.")
    except UnicodeDecodeError as error:
        raise Malformed("The body is not UTF-8.") from error
    except RecursionError as error:
        raise TooLarge(f"The body nests deeper than {DEPTH_MAX} levels.") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: at character {error.pos}.") from error
    except (StopIteration, IndexError) as error:
        raise Malformed("The body is not JSON: it ends too early or a value is missing.") from error
    return text, tree, spans


def read_resource(data: bytes, size_bytes_max: int = RESOURCE_BYTES_MAX) -> Document:
    """Read one resource.

    Refuses  Malformed, TooLarge
    """
    return Document(*_read(data, size_bytes_max, {}))


def read_bundle(data: bytes, size_bytes_max: int = BUNDLE_BYTES_MAX) -> BundleText:
    """Read a bundle; each entry's resource keeps its own bytes.

    Refuses  Malformed, TooLarge
    """
    found: list[Document | None] = []

    def resource(text: str, at: int) -> tuple[JsonValue, int]:
        if text[at] != "{":
            raise Malformed("An entry's resource is not an object.", "Bundle.entry.resource")
        tree, spans, end = _members(text, at, {})
        if end - at > RESOURCE_BYTES_MAX:
            raise TooLarge(f"A resource is larger than {RESOURCE_BYTES_MAX} bytes.", "Bundle.entry.resource")
        moved = {k: Span(s.key_at - at, s.value_at - at, s.end - at) for k, s in spans.items()}
        found[-1] = Document(text[at:end], tree, moved)
        return tree, end

    def entries(text: str, at: int) -> tuple[Any, int]:
        if text[at] != "[":
            raise Malformed("Bundle.entry is not an array.", "Bundle.entry")
        out = []
        at = _after_space(text, at + 1)
        while text[at] != "]":
            if text[at] != "{":
                raise Malformed("An entry is not an object.", "Bundle.entry")
            found.append(None)
            entry, _spans, at = _members(text, at, {"resource": resource})
            out.append(entry)
            at = _after_space(text, at)
            if text[at] == "]":
                break
            if text[at] != ",":
                raise Malformed("A comma or the array's end is expected.", "Bundle.entry")
            at = _after_space(text, at + 1)
            if text[at] == "]":
                raise Malformed("An entry is expected after a comma.", "Bundle.entry")
        return out, at + 1

    _text, tree, _spans = _read(data, size_bytes_max, {"entry": entries})
    return BundleText(tree, found)


def identity_splices(document: Document, resource_id: str, version_id: int, last_updated: str) -> list[Splice]:
    """Return the splices that give a resource its id, versionId and lastUpdated, in characters.

    `resource_id` is a FHIR id and `last_updated` an instant of ours: neither needs escaping.
    """
    splices, added = [], []
    stamp = {"versionId": f'"{version_id}"', "lastUpdated": f'"{last_updated}"'}
    if (given := document.spans.get("id")) is None:
        added.append(f'"id":"{resource_id}"')
    elif document.tree["id"] != resource_id:
        splices.append(Splice(given.value_at, given.end, f'"{resource_id}"'))
    if (meta := document.spans.get("meta")) is None:
        added.append('"meta":{' + ",".join(f'"{k}":{v}' for k, v in stamp.items()) + "}")
    else:
        tree, spans, _end = _members(document.text, meta.value_at, {})
        missing = [f'"{k}":{v}' for k, v in stamp.items() if k not in spans]
        splices += [Splice(spans[k].value_at, spans[k].end, v) for k, v in stamp.items() if k in spans]
        if missing:
            splices.append(Splice(meta.value_at + 1, meta.value_at + 1, ",".join(missing) + ("," if tree else "")))
    if added:
        after = document.spans["resourceType"].end
        splices.append(Splice(after, after, "," + ",".join(added)))
    return splices


def spliced(received: bytes, splices: list[Splice]) -> bytes:
    """Return `received` with every splice (in bytes, in order) applied."""
    if not splices:
        return received
    out, at = [], 0
    for splice in splices:
        out += [received[at : splice.start], splice.text.encode()]
        at = splice.end
    return b"".join((*out, received[at:]))
