"""The FHIR R4 definitions as tables: types, elements, code lists, search parameters, compartments.

Source   r4.json.gz, written by tools/compile_definitions.py from hl7.fhir.r4.core 4.0.1 (CC0); ADR-0021.
"""

import gzip
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

REQUIRED, MANY, SUMMARY, CHOICE = 1, 2, 4, 8
PRIMITIVES: Final = frozenset(
    {
        "base64Binary",
        "boolean",
        "canonical",
        "code",
        "date",
        "dateTime",
        "decimal",
        "id",
        "instant",
        "integer",
        "markdown",
        "oid",
        "positiveInt",
        "string",
        "time",
        "unsignedInt",
        "uri",
        "url",
        "uuid",
        "xhtml",
    }
)


@dataclass(frozen=True, slots=True)
class Element:
    """What may stand under one JSON key of a type."""

    name: str
    """The element's name; for a choice without its type: `value` for the key `valueQuantity`."""
    type: str
    """A primitive, a data type, or the path of a backbone element (`Observation.component`)."""
    is_many: bool
    is_required: bool
    is_summary: bool
    is_choice: bool
    codes: frozenset[str] | None
    """The codes of a required binding that the specification lists in full."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One search parameter of one type, as the specification words it."""

    code: str
    kind: str
    """token, string, date, quantity, reference, uri, number or composite."""
    parts: tuple[str, ...]
    targets: tuple[str, ...]
    components: tuple[tuple[str, str, str], ...]
    """Of a composite: (code, kind, expression) each."""


@cache
def _table() -> dict[str, Any]:
    packed = resources.files(__package__).joinpath("r4.json.gz").read_bytes()
    loaded: dict[str, Any] = json.loads(gzip.decompress(packed))
    return loaded


@cache
def types() -> frozenset[str]:
    """Return the names of all concrete R4 resource types."""
    return frozenset(_table()["types"])


@cache
def _code_list(number: int) -> frozenset[str] | None:
    return None if number < 0 else frozenset(_table()["codes"][number])


@cache
def shape(path: str) -> dict[str, Element]:
    """Return JSON key -> element for a type or backbone path; choices stand under each of their keys."""
    out: dict[str, Element] = {}
    for name, flags, names, codes in _table()["shapes"][path]:
        for kind in names:
            key = name + kind[0].upper() + kind[1:] if flags & CHOICE else name
            out[key] = Element(
                name=name,
                type=kind,
                is_many=bool(flags & MANY),
                is_required=bool(flags & REQUIRED),
                is_summary=bool(flags & SUMMARY),
                is_choice=bool(flags & CHOICE),
                codes=_code_list(codes),
            )
    return out


@cache
def has_shape(path: str) -> bool:
    """Say whether `path` is a known type or backbone element."""
    return path in _table()["shapes"]


@cache
def choices(path: str) -> dict[str, tuple[str, ...]]:
    """Return the keys of each element by its name: `value` -> (`valueQuantity`, `valueString`, ...)."""
    out: dict[str, tuple[str, ...]] = {}
    for key, element in shape(path).items():
        out[element.name] = (*out.get(element.name, ()), key)
    return out


@cache
def _by_base() -> dict[str, list[tuple[int, Definition]]]:
    """Return the search parameters by the type they are of, each with its place in the table."""
    out: dict[str, list[tuple[int, Definition]]] = {}
    for place, (base, code, kind, parts, targets, components) in enumerate(_table()["parameters"]):
        one = Definition(code, kind, tuple(parts), tuple(targets), tuple((c[0], c[1], c[2]) for c in components))
        out.setdefault(base, []).append((place, one))
    return out


@cache
def parameters(resource_type: str) -> dict[str, Definition]:
    """Return code -> search parameter of a type, those of every resource included, in the table's order."""
    found = [each for base in {resource_type: 0, "Resource": 0, "DomainResource": 0} for each in _by_base().get(base, ())]
    return {one.code: one for _, one in sorted(found, key=lambda each: each[0])}


@cache
def patient_types() -> frozenset[str]:
    """Return the types that can be in a patient's compartment, Patient itself among them."""
    return frozenset(compartment("Patient")) | {"Patient"}


def compartment(name: str) -> dict[str, tuple[str, ...]]:
    """Return type -> search parameters that put a resource of that type into the compartment `name`."""
    return {kind: tuple(params) for kind, params in _table()["compartments"][name].items()}
