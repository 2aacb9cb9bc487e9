"""Instants as FHIR writes them: whole seconds in UTC, `2026-11-23T20:00:00Z`. One text for one instant; other texts are Malformed here.

Source   hl7.org/fhir/R4/datatypes.html#dateTime. Offsets and fractions are for `records`, which keeps what it received.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from yilian.base.codec import Malformed

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_FORM: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")


def datetime_text(instant_s: int) -> str:
    """Return the FHIR dateTime of an instant.

    Raises   Malformed, outside the years 1 to 9999
    """
    if type(instant_s) is not int:
        raise Malformed("NOT_AN_INSTANT")
    try:
        said = _EPOCH + timedelta(seconds=instant_s)
    except OverflowError as error:
        raise Malformed("NOT_AN_INSTANT") from error
    return f"{said.year:04}-{said.month:02}-{said.day:02}T{said.hour:02}:{said.minute:02}:{said.second:02}Z"


def seconds_of(text: object) -> int:
    """Return the instant that `datetime_text` writes as `text`.

    Raises   Malformed
    """
    form = _FORM.fullmatch(text) if isinstance(text, str) else None
    if form is None:
        raise Malformed("NOT_A_DATETIME")
    try:
        said = datetime(*map(int, form.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]  # the six groups are year to second
    except ValueError as error:
        raise Malformed("NOT_A_DATETIME") from error
    return (said - _EPOCH) // _SECOND
