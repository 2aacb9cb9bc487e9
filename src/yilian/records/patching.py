"""JSON Patch (RFC 6902) on a resource's text: the next version's bytes, with every number to the digit.

Numbers  are decimals while the patch is applied and written as they are: 1.50 stays 1.50 (FHIR: the precision of a decimal is its meaning).
Bounds   operations, and the size after each that copies: a patch of a few lines cannot double a text fifty times.
Source   https://www.rfc-editor.org/rfc/rfc6902; https://hl7.org/fhir/R4/http.html#patch
"""

import json
from decimal import Decimal
from typing import Any, Final

import jsonpatch
from jsonpointer import JsonPointerException

from yilian.records.faults import Invalid, Malformed, TooLarge
from yilian.records.jsontext import RESOURCE_BYTES_MAX

JSON_PATCH: Final = "application/json-patch+json"
OPERATIONS_MAX: Final = 100


def patched(body: bytes, patch: bytes) -> bytes:
    """Return the resource after the patch: all of its operations, or none.

    Refuses  Malformed (no patch), Invalid (an operation that does not fit, a test that fails), TooLarge
    """
    if len(patch) > RESOURCE_BYTES_MAX:
        raise TooLarge(f"A patch is larger than {RESOURCE_BYTES_MAX} bytes.")
    operations = _read(patch)
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise Malformed("A JSON Patch is a list of operations.")
    if len(operations) > OPERATIONS_MAX:
        raise TooLarge(f"A patch has more than {OPERATIONS_MAX} operations.")
    tree = _read(body)
    for place, operation in enumerate(operations):
        try:
            tree = jsonpatch.apply_patch(tree, [operation])
        except jsonpatch.JsonPatchTestFailed as error:
            raise Invalid(f"Operation {place} is a test, and the resource is not as it says.") from error
        except jsonpatch.InvalidJsonPatch as error:
            raise Malformed(f"Operation {place} is no operation of JSON Patch.") from error
        except (jsonpatch.JsonPatchException, JsonPointerException, TypeError, ValueError) as error:
            raise Invalid(f"Operation {place} does not fit the resource: there is no such place.") from error
        if operation.get("op") == "copy" and len(written(tree)) > RESOURCE_BYTES_MAX:
            raise TooLarge(f"The resource would be larger than {RESOURCE_BYTES_MAX} bytes.")
    return written(tree)


def written(tree: Any) -> bytes:  # noqa: ANN401 - JSON
    """Return a tree as JSON bytes; decimals as they are.

    Refuses  TooLarge, Malformed
    """
    try:
        return _text(tree).encode()
    except RecursionError as error:
        raise TooLarge("The resource would nest too deep.") from error
    except UnicodeEncodeError as error:
        raise Malformed("Half a surrogate pair is no text.") from error


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{_text(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def _read(data: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(data, parse_float=Decimal, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Malformed("The patch is not JSON that has one meaning.") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")
