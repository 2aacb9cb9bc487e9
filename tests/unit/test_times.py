"""Days and months against the calendar of the standard library."""

import calendar
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yilian.base.times import day_of, month_days, month_of


@given(st.integers(-(2**33), 2**36))
def test_the_month_is_the_calendars(now_s):
    at = time.gmtime(now_s)
    assert month_of(now_s) == 12 * at.tm_year + at.tm_mon - 1


@pytest.mark.parametrize(
    ("text", "month"),
    [
        ("2024-02-29T23:59:59", 12 * 2024 + 1),
        ("2024-03-01T00:00:00", 12 * 2024 + 2),
        ("2026-12-31T23:59:59", 12 * 2026 + 11),
        ("1970-01-01T00:00:00", 12 * 1970),
    ],
)
def test_months_turn_at_midnight_utc(text, month):
    assert month_of(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))) == month


def test_a_months_tags_are_looked_for_in_its_days_and_the_day_after():
    first = calendar.timegm((2024, 2, 1, 0, 0, 0))
    assert list(month_days(12 * 2024 + 1)) == [day_of(first) + n for n in range(30)]  # 29 days of a leap February, and 1 March
    assert len(month_days(12 * 2025 + 11)) == 32
