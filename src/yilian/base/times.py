"""Instants, days and months. An instant is whole Unix seconds; an end is exclusive. Source: design 02."""

from __future__ import annotations

import calendar

DAY_S = 86_400
HOUR_S = 3_600
_MARCH_TO_DECEMBER = 10  # months; what is left of a year counted from March belongs to the next calendar year
_DAYS_TO_1970 = 719_468  # days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar


def day_of(now_s: int) -> int:
    """Return the UTC day number."""
    return now_s // DAY_S


def month_of(now_s: int) -> int:
    """Return `12 * year + month - 1` of the UTC instant (years counted from March, so that the leap day comes last)."""
    days = now_s // DAY_S + _DAYS_TO_1970
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    is_next_year = shifted >= _MARCH_TO_DECEMBER
    month = shifted - 9 if is_next_year else shifted + 3
    return 12 * (year_of_era + era * 400 + is_next_year) + month - 1


def month_days(month: int) -> range:
    """Return the UTC day numbers of month `12 * year + month - 1`, and the first day after it: where its tags are looked for."""
    year, index = divmod(month, 12)
    first = calendar.timegm((year, index + 1, 1, 0, 0, 0)) // DAY_S
    year, index = divmod(month + 1, 12)
    after = calendar.timegm((year, index + 1, 1, 0, 0, 0)) // DAY_S
    return range(first, after + 1)
