"""The primitive types of R4: what their JSON values may be, and which instants a date means.

Source   https://hl7.org/fhir/R4/datatypes.html#primitive; a date without a zone is read as UTC (ADR-0023).
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

STRING_BYTES_MAX: Final = 1024 * 1024
"""R4: a string shall not exceed 1 MB; base64Binary is bounded by the resource's own limit."""
EXPONENT_MAX: Final = 60
"""No measured quantity needs more; 10**(10**6) is an attack on whoever computes with it."""
DAY_MS: Final = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()

_DATE_TIME = re.compile(
    r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01])(?:T([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d+)?(Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00)))?)?)?"
)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?")
_CODE = re.compile(r"[^\s]+(\s[^\s]+)*")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_OID = re.compile(r"urn:oid:[0-2](\.(0|[1-9]\d*))+")
_UUID = re.compile(r"urn:uuid:[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_URI = re.compile(r"\S*")
_BASE64 = re.compile(r"(\s*([0-9a-zA-Z+/=]){4}\s*)+")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def is_id(value: str) -> bool:
    """Say whether `value` is a FHIR id."""
    return _ID.fullmatch(value) is not None


def day_ms(year: int, month: int, day: int) -> int:
    """Return the first millisecond of a UTC day. Raises ValueError when there is no such day."""
    return (date(year, month, day).toordinal() - _EPOCH) * DAY_MS


def extent_ms(text: str) -> tuple[int, int] | None:
    """Return the half-open range of milliseconds that a date, dateTime or instant means, or None if it means none."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        if day is None:
            return _month_or_year_ms(int(year), int(month) if month else None)
        start = day_ms(int(year), int(month), int(day))
    except ValueError:
        return None
    if hour is None:
        return start, start + DAY_MS
    start += (int(hour) * 3600 + int(minute) * 60 + int(second)) * 1000
    if zone != "Z":
        offset = (int(zone[1:3]) * 60 + int(zone[4:6])) * 60_000
        start += offset if zone[0] == "-" else -offset
    if fraction is None:
        return start, start + 1000
    digits = fraction[1:4]
    return start + int(digits.ljust(3, "0")), start + int(digits.ljust(3, "0")) + 10 ** (3 - len(digits))


def _month_or_year_ms(year: int, month: int | None) -> tuple[int, int]:
    if month is None:
        return day_ms(year, 1, 1), day_ms(year, 12, 31) + DAY_MS
    after = (year + 1, 1) if month == 12 else (year, month + 1)  # noqa: PLR2004 - December
    last = day_ms(year, 12, 31) + DAY_MS if after[0] > 9999 else day_ms(*after, 1)  # noqa: PLR2004 - date ends with year 9999
    return day_ms(year, month, 1), last


def instant(at_ms: int) -> str:
    """Return the FHIR instant of a number of milliseconds, in UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def _text(value: object) -> str | None:
    if type(value) is not str:
        return "expected a string"
    if not value or value.isspace():
        return "an empty string is not allowed; leave the element out"
    if _CONTROL.search(value):
        return "a control character or half a surrogate pair is not text"
    return "a string is longer than 1 MB" if len(value) > STRING_BYTES_MAX else None


def _pattern(kind: str, pattern: "re.Pattern[str]") -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        if type(value) is str and value and pattern.fullmatch(value) and not _CONTROL.search(value):
            return None
        return f"not a valid {kind}"

    return check


def _dated(kind: str, lengths: tuple[int, int]) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        if type(value) is not str or not lengths[0] <= len(value) <= lengths[1]:
            return f"not a valid {kind}"
        return None if extent_ms(value) is not None else f"not a valid {kind}, or a day that no calendar has"

    return check


def _integer(least: int) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        return None if type(value) is int and least <= value < 2**31 else "not an integer in the range of its type"

    return check


def _decimal(value: object) -> str | None:
    if type(value) is int:
        return None
    if type(value) is not Decimal:
        return "expected a number"
    return None if abs(value.adjusted()) <= EXPONENT_MAX else "a number's exponent is out of range"


def _boolean(value: object) -> str | None:
    return None if value is True or value is False else "expected true or false"


def _base64(value: object) -> str | None:
    # The pattern of the specification backtracks on megabytes; length and alphabet say the same.
    if type(value) is not str or not value:
        return "expected base64 text"
    packed = "".join(value.split())
    return None if len(packed) % 4 == 0 and re.fullmatch(r"[0-9A-Za-z+/]*={0,2}", packed) else "not valid base64"


CHECKS: Final[dict[str, Callable[[object], str | None]]] = {
    "boolean": _boolean,
    "decimal": _decimal,
    "base64Binary": _base64,
    "integer": _integer(-(2**31)),
    "unsignedInt": _integer(0),
    "positiveInt": _integer(1),
    "string": _text,
    "markdown": _text,
    "xhtml": _text,
    "code": _pattern("code", _CODE),
    "id": _pattern("id", _ID),
    "oid": _pattern("oid", _OID),
    "uuid": _pattern("uuid", _UUID),
    "uri": _pattern("uri", _URI),
    "url": _pattern("url", _URI),
    "canonical": _pattern("canonical", _URI),
    "time": _pattern("time", _TIME),
    "date": _dated("date", (4, 10)),
    "dateTime": _dated("dateTime", (4, 64)),
    "instant": _dated("instant", (20, 64)),
}
