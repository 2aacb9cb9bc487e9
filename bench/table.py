"""Write the figures of bench/results.json into docs/performance.md: `python -m bench.table`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench.figures import RESULTS, Figure

PAGE = Path(__file__).parent.parent / "docs/performance.md"


def main() -> None:
    """Replace what stands between the markers."""
    figures = [Figure(**each) for each in json.loads(RESULTS.read_text())]
    rows = ["| figure | value | unit | target | | peer |", "|---|---|---|---|---|---|"]
    rows += [f"| `{f.figure}` | {f.value:,.2f} | {f.unit} | {f.target or ''} | {_met(f)} | {f.peer or ''} |" for f in figures]
    missed = [f"- `{f.figure}`: {f.value:,.2f} {f.unit}, wanted {f.target}." for f in figures if f.is_met is False] or [
        "Nothing in this run."
    ]
    text = PAGE.read_text()
    for marker, lines in (("figures", rows), ("short", missed)):
        text = re.sub(
            rf"(<!-- {marker} -->\n).*?(<!-- end -->)", lambda m, lines=lines: m[1] + "\n".join(lines) + "\n" + m[2], text, flags=re.DOTALL
        )
    PAGE.write_text(text)


def _met(figure: Figure) -> str:
    return {None: "", True: "met", False: "not met"}[figure.is_met]


if __name__ == "__main__":
    main()
