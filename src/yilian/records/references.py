"""References: what they point to, written in one way.

`Type/id` is the local form: a literal reference loses its own server's address and its version. What points elsewhere keeps its text.
Source   https://hl7.org/fhir/R4/references.html
"""

import re
from typing import Any

from yilian.records import definitions

_LITERAL = re.compile(
    r"(?:(?P<base>https?://[^\s?#]*?)/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)
CONDITIONAL = re.compile(r"(?P<type>[A-Z][A-Za-z]+)\?(?P<query>.+)")


def local(text: str, base_url: str) -> str:
    """Return `Type/id` for a reference to this server, else the text without its version."""
    match = _LITERAL.fullmatch(text)
    if match is None or match["type"] not in definitions.types():
        return text.partition("|")[0]
    base = match["base"]
    short = f"{match['type']}/{match['id']}"
    return short if base is None or base == base_url else f"{base}/{short}"


def type_of(text: str) -> str:
    """Return the resource type that a literal reference names, or ""."""
    match = _LITERAL.fullmatch(text)
    return match["type"] if match and match["type"] in definitions.types() else ""


def targets(value: object, only: str, base_url: str) -> list[str]:
    """Return where a Reference, canonical or uri points to; `only` keeps references to that type."""
    text = value.get("reference") if isinstance(value, dict) else value
    if not isinstance(text, str) or text.startswith("#"):
        return []
    if only and type_of(text) != only and not (isinstance(value, dict) and value.get("type") == only):
        return []
    return [local(text, base_url)]


def identifiers(value: object) -> list[tuple[str, str]]:
    """Return (system, value) of a Reference's identifier."""
    found: Any = value.get("identifier") if isinstance(value, dict) else None
    return [(found.get("system", ""), found["value"])] if isinstance(found, dict) and "value" in found else []
