"""How a value becomes something that an index can hold, alike for what is stored and for what is asked.

Exact values are 62-bit keyed hashes (BLAKE2b under the store's own key: who does not know it cannot make two values meet);
strings are folded text; dates, numbers and quantities are ranges (ADR-0023).
Source   https://hl7.org/fhir/R4/search.html
"""

import unicodedata
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from yilian.records.primitives import EXPONENT_MAX, extent_ms

FOREVER_MS: Final = 2**62
ANY, PAIR, SYSTEM, OF_TYPE, IDENTIFIER, COMBINED, HANDLE = "a", "p", "s", "o", "i", "c", "h"
"""What a hashed text is, so that no two kinds can meet."""
LONGEST_STRING: Final = 256
"""Longer texts are indexed by their first 256 characters; `:exact` compares the hash of the whole."""
HASHES_KEPT: Final = 8_192
"""About 1.5 MB a store; codes and subjects repeat within a few thousand values."""

Fold = Callable[[str, str], int]


def folder(key: bytes) -> Fold:
    """Return the function (kind, text) -> hash in [1, 2**62) of one store."""

    @lru_cache(HASHES_KEPT)
    def fold(kind: str, text: str) -> int:
        digest = blake2b(f"{kind}{text}".encode(), digest_size=8, key=key).digest()
        return (int.from_bytes(digest) >> 2) | 1

    return fold


def plain(text: str) -> str:
    """Return text as strings are compared: without case, accents and repeated white space, cut to LONGEST_STRING."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(text.lower().split())[:LONGEST_STRING]


def after(prefix: str) -> str:
    """Return the first string that does not start with `prefix`, in code point order, for all practical text."""
    return prefix + "\U0010ffff"


def date_range(value: object, kind: str) -> tuple[int, int] | None:
    """Return the range of milliseconds of a date, dateTime, instant, Period or Timing."""
    if kind == "Period" and isinstance(value, dict):
        start, end = extent_ms(value.get("start", "")), extent_ms(value.get("end", ""))
        if start is None and end is None:
            return None
        return (start[0] if start else -FOREVER_MS), (end[1] if end else FOREVER_MS)
    if kind == "Timing" and isinstance(value, dict):
        events = [r for e in value.get("event", ()) if (r := extent_ms(e))]
        bounds = date_range(value.get("repeat", {}).get("boundsPeriod", {}), "Period")
        every = [*events, *([bounds] if bounds else [])]
        return (min(r[0] for r in every), max(r[1] for r in every)) if every else None
    return extent_ms(value) if isinstance(value, str) else None


def number_range(value: float) -> tuple[float, float]:
    """Return a stored number as a range of one point."""
    return float(value), float(value)


def quantity_range(value: dict[str, Any], kind: str) -> tuple[float, float, str, str] | None:
    """Return (low, high, unit's system, unit's code) of a Quantity and its kin, Money or Range."""
    if kind == "Range":
        low, high = value.get("low", {}), value.get("high", {})
        unit = low or high
        return (
            float(low.get("value", "-inf")),
            float(high.get("value", "inf")),
            unit.get("system", ""),
            unit.get("code") or unit.get("unit", ""),
        )
    if "value" not in value:
        return None
    number = float(value["value"])
    if kind == "Money":
        return number, number, "urn:iso:std:iso:4217", value.get("currency", "")
    comparator = value.get("comparator", "")
    low = float("-inf") if comparator.startswith("<") else number
    high = float("inf") if comparator.startswith(">") else number
    return low, high, value.get("system", ""), value.get("code") or value.get("unit", "")


def asked_range(text: str) -> tuple[float, float] | None:
    """Return what a number in a query means: `100` is [99.5, 100.5), `1e2` is [50, 150); None if it is no number."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        return None
    exponent = number.as_tuple().exponent
    if not number.is_finite() or not isinstance(exponent, int) or max(abs(exponent), abs(number.adjusted())) > EXPONENT_MAX:
        return None
    half = Decimal(5).scaleb(exponent - 1)
    return float(number - half), float(number + half)


def string_parts(value: object, kind: str) -> list[str]:
    """Return the texts of a string, HumanName, Address or other text-bearing value."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, dict):
        return []
    if kind in {"HumanName", "Address"}:
        out: list[str] = []
        for key in ("text", "family", "given", "prefix", "suffix", "line", "city", "district", "state", "postalCode", "country"):
            part = value.get(key)
            if part is not None:
                out += [p for p in part if p] if isinstance(part, list) else [part]
        return out
    return [value["text"]] if isinstance(value.get("text"), str) else []


def tokens(value: object, kind: str) -> list[tuple[str | None, str]]:
    """Return (system, code) of a token value: system None if the type implies it, "" if the coding has none."""
    if not isinstance(value, dict):
        text = ("true" if value else "false") if isinstance(value, bool) else value
        return [(None, text)] if isinstance(text, str) else []
    if kind == "ContactPoint":
        return [(None, value["value"])] if "value" in value else []
    if kind == "Identifier":
        return [(value.get("system", ""), value["value"])] if "value" in value else []
    codings = [value] if kind == "Coding" else value.get("coding", ())
    return [(c.get("system", ""), c["code"]) for c in codings if "code" in c]


def of_type(value: object) -> list[str]:
    """Return `system|code|value` for each type of an Identifier."""
    if not isinstance(value, dict) or "value" not in value:
        return []
    return [f"{c.get('system', '')}|{c.get('code', '')}|{value['value']}" for c in value.get("type", {}).get("coding", ())]
