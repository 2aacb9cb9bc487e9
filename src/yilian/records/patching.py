"""JSON Patch (RFC 6902) on a resource's text: the next version's bytes, with every number as it was written.

Numbers  are their text while the patch is applied: 1.50 stays 1.50, and 1.0e2, 0.0000001 and -0 stay too (FHIR: the precision of a decimal
         is its meaning). A `test` compares them by value, as RFC 6902 4.6 says. White space between values, and how a letter is escaped, do
         change: the resource is written anew.
Bounds   operations; levels, before anything is put where it would nest deeper; and what all copies and moves of a patch carry, so that a
         patch of a few lines cannot double a text fifty times. The resource is read once and changed in place; a refusal drops it.
Source   https://www.rfc-editor.org/rfc/rfc6902; https://hl7.org/fhir/R4/http.html#patch
"""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import jsonpatch
from jsonpointer import JsonPointer, JsonPointerException

from yilian.records.faults import Invalid, Malformed, TooLarge
from yilian.records.jsontext import DEPTH_MAX, RESOURCE_BYTES_MAX, bounded, no_constant, once

JSON_PATCH: Final = "application/json-patch+json"
OPERATIONS_MAX: Final = 100


@dataclass(frozen=True, slots=True, eq=False)
class _Number:
    """A number as it was written; equal to one of the same value."""

    text: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Number) and (self.text == other.text or Decimal(self.text) == Decimal(other.text))

    def __hash__(self) -> int:
        return hash(Decimal(self.text))


def patched(body: bytes, patch: bytes) -> bytes:
    """Return the resource after the patch: all of its operations, or none.

    Refuses  Malformed (no patch, or it nests too deep), Invalid (an operation that does not fit, a test that fails), TooLarge
    """
    if len(patch) > RESOURCE_BYTES_MAX:
        raise TooLarge(f"A patch is larger than {RESOURCE_BYTES_MAX} bytes.")
    operations = _read(patch)
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise Malformed("A JSON Patch is a list of operations.")
    if len(operations) > OPERATIONS_MAX:
        raise TooLarge(f"A patch has more than {OPERATIONS_MAX} operations.")
    tree, carried = _read(body), 0
    for place, operation in enumerate(operations):
        try:
            carried += _weighed(tree, operation)
            if carried > RESOURCE_BYTES_MAX:
                raise TooLarge(f"A patch copies and moves more than {RESOURCE_BYTES_MAX} bytes.")
            tree = jsonpatch.apply_patch(tree, [operation], in_place=True)
        except jsonpatch.JsonPatchTestFailed as error:
            raise Invalid(f"Operation {place} is a test, and the resource is not as it says.") from error
        except jsonpatch.InvalidJsonPatch as error:
            raise Malformed(f"Operation {place} is no operation of JSON Patch.") from error
        except (jsonpatch.JsonPatchException, JsonPointerException, TypeError, ValueError, ArithmeticError) as error:
            raise Invalid(f"Operation {place} does not fit the resource: there is no such place.") from error
    return written(tree)


def _weighed(tree: Any, operation: dict[str, Any]) -> int:  # noqa: ANN401 - JSON
    """Return how much an operation carries from one place to another: values, and for a copy their characters.

    Refuses  Malformed, if something would nest deeper than `DEPTH_MAX`
    """
    match operation:
        case {"op": "copy" | "move" as op, "from": str(source), "path": str(path)}:
            depth, values, characters = _measured(JsonPointer(source).resolve(tree))
            weight = values + (characters if op == "copy" else 0)
        case {"op": str(), "path": str(path), "value": value}:
            depth, weight = _measured(value)[0], 0
        case _:
            return 0  # takes something away, or is none: whoever applies it says so
    if path.count("/") + depth > DEPTH_MAX:
        raise Malformed(f"The resource would nest deeper than {DEPTH_MAX} levels.")
    return weight


def _measured(value: Any) -> tuple[int, int, int]:  # noqa: ANN401 - JSON
    """Return how deep a value nests (a text or number: 0), how many values it has, and about how many characters."""
    depth, values, characters, level = 0, 0, 0, [value]
    while level:
        values += len(level)
        characters += sum(map(_characters, level))
        inner = [one for one in level if isinstance(one, dict | list)]
        depth += bool(inner)
        level = [each for one in inner for each in (one.values() if isinstance(one, dict) else one)]
    return depth, values, characters


def _characters(value: Any) -> int:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return sum(map(len, value))
    return len(value) if isinstance(value, str) else len(value.text) if isinstance(value, _Number) else 0


def written(tree: Any) -> bytes:  # noqa: ANN401 - JSON
    """Return a tree as JSON bytes; numbers as they were written.

    Refuses  Malformed
    """
    try:
        return _text(tree).encode()
    except UnicodeEncodeError as error:
        raise Malformed("Half a surrogate pair is no text.") from error


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{_text(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return value.text if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


def _read(data: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(data, parse_float=_number, parse_int=_number, object_pairs_hook=once, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed("The patch is not JSON that has one meaning.") from error


def _number(text: str) -> _Number:
    return _Number(bounded(text))
