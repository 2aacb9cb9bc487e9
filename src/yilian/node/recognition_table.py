"""Which results may stand in for a new examination, and for how long: the default table of a network.

Source   validity: design "Mutual recognition" (electrolytes 7 d, lipids and glucose 30 d, HbA1c 60 d); codes: LOINC. Codes of one
         analyte differ only in the unit of the result (mass or molar) or its method; serum and whole blood, fasting and random are
         different analytes (ADR-0031).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

DAYS_MAX: Final = 366


@dataclass(frozen=True, slots=True)
class Analyte:
    """One thing measured: its equivalent LOINC codes and the group whose validity it shares."""

    name: str
    group: str
    codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Panel:
    """An order for several analytes at once; a result under its code counts for each of them."""

    codes: frozenset[str]
    analytes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Analytes and panels by LOINC code; `days` by group, each 1 to 366."""

    analytes: tuple[Analyte, ...]
    panels: tuple[Panel, ...]
    days: Mapping[str, int]

    def __post_init__(self) -> None:
        every = [code for row in self.analytes for code in row.codes] + [code for row in self.panels for code in row.codes]
        assert len(every) == len(set(every)), "a LOINC code stands for one row only"
        assert all(row.group in self.days for row in self.analytes), "every group has a validity"
        assert all(1 <= days <= DAYS_MAX for days in self.days.values()), "a validity is 1 to 366 days"

    def named(self, name: str) -> Analyte:
        """Return the analyte of that name; a panel names only analytes of the table."""
        return next(row for row in self.analytes if row.name == name)

    def ordered(self, loinc: str) -> tuple[Analyte, ...]:
        """Return the analytes an order or a result under this code covers; empty: the table does not know the code."""
        for panel in self.panels:
            if loinc in panel.codes:
                return tuple(self.named(name) for name in panel.analytes)
        return tuple(row for row in self.analytes if loinc in row.codes)

    def valid_for_s(self, analyte: Analyte) -> int:
        """Return how long a result of this analyte stands."""
        return self.days[analyte.group] * 86_400

    def revised(self, days: Mapping[str, int]) -> Self:
        """Return the table with a network's own validities for some groups; a group or length that makes no sense is asserted."""
        assert set(days) <= set(self.days), "only groups of the table can be revised"
        return replace(self, days={**self.days, **days})


def _analyte(name: str, group: str, *codes: str) -> Analyte:
    return Analyte(name, group, frozenset(codes))


DEFAULT: Final = Table(
    analytes=(
        _analyte("sodium", "electrolytes", "2951-2"),
        _analyte("potassium", "electrolytes", "2823-3"),
        _analyte("chloride", "electrolytes", "2075-0"),
        _analyte("calcium", "electrolytes", "17861-6", "2000-8"),
        _analyte("cholesterol", "lipids", "2093-3", "14647-2"),
        _analyte("hdl", "lipids", "2085-9", "14646-4"),
        _analyte("ldl", "lipids", "13457-7", "18262-6", "2089-1", "22748-8", "39469-2"),
        _analyte("triglycerides", "lipids", "2571-8", "14927-8"),
        _analyte("glucose", "glucose", "2345-7", "14749-6"),
        _analyte("fasting-glucose", "glucose", "1558-6", "14771-0"),
        _analyte("hba1c", "hba1c", "4548-4", "59261-8", "17856-6"),
    ),
    panels=(
        Panel(frozenset({"24326-1"}), ("sodium", "potassium", "chloride")),
        Panel(frozenset({"24331-1", "57698-3"}), ("cholesterol", "hdl", "ldl", "triglycerides")),
    ),
    days={"electrolytes": 7, "lipids": 30, "glucose": 30, "hba1c": 60},
)
