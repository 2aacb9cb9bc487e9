"""What a benchmark finds: figures with unit, target and peer, printed one to a line and kept in bench/results.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `target` says what it should be ("<= 8", ">= 8000"), `peer` what else was measured in the same run, for comparison."""

    figure: str
    value: float
    unit: str
    target: str | None = None
    peer: str | None = None

    @property
    def is_met(self) -> bool | None:
        """Say whether the target stands; None without one."""
        if self.target is None:
            return None
        sign, bound = self.target.split()
        return self.value >= float(bound) if sign == ">=" else self.value <= float(bound)

    def __str__(self) -> str:
        met = {None: "", True: "  met", False: "  NOT MET"}[self.is_met]
        target = f"  target {self.target}{met}" if self.target else ""
        peer = f"  peer: {self.peer}" if self.peer else ""
        return f"{self.figure:<40} {self.value:>12,.2f} {self.unit}{target}{peer}"


def keep(figures: Iterable[Figure], results: Path = RESULTS) -> None:
    """Print the figures and put them into the results, in the place of older ones of the same name."""
    found = {each["figure"]: each for each in json.loads(results.read_text())} if results.exists() else {}
    for each in figures:
        print(each)
        found[each.figure] = asdict(each)
    results.write_text(json.dumps([found[name] for name in sorted(found)], indent=1, ensure_ascii=False) + "\n")
