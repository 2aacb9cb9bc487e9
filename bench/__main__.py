"""Run the benchmarks: `python -m bench [NAME ...]`, each a file of this folder with a `run`; all of them by default.

Prints the method and the figures, writes bench/results.json; exit status 1 if a target is missed.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from bench.figures import Figure, keep

APART = {"network", "restart"}  # `make bench-network` and `make bench-restart`: they need CometBFT


def names() -> list[str]:
    """Return the benchmarks there are."""
    folder = Path(__file__).parent
    texts = {path.stem: path.read_text() for path in folder.glob("*.py") if path.stem != "__main__"}
    return sorted(stem for stem, text in texts.items() if "\ndef run(" in text and stem not in APART)


def main(asked: list[str]) -> int:
    """Run what was asked for."""
    unknown = set(asked) - set(names())
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))} (there are {', '.join(names())})", file=sys.stderr)
        return 64
    missed = False
    for name in asked or names():
        module = importlib.import_module(f"bench.{name}")
        print(f"\n{name}: {(module.__doc__ or '').strip()}\n")
        figures: list[Figure] = list(module.run())
        keep(figures)
        missed = missed or any(each.is_met is False for each in figures)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
