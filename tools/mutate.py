"""Break the rules one line at a time; the tests must notice.

Usage    python tools/mutate.py [PATH ...] [--sample N --seed S] [--jobs 2] [--json FILE]
Reads    src/yilian/contracts and src/yilian/ledger unless paths are given; tests/unit and tests/property, without the slow ones.
How      `mutants.py` makes them, `mutation_runs.py` judges each in a forked child by the tests that walk the changed line (ADR-0005).
Verdicts killed (a test failed: nothing else is), survived, not reached (no test walks it), timed out (listed; no kill), not collected (the
         changed file or its tests do not load: nothing was judged), crashed (the judging itself ended).
Answers  Exit status 0 if at least 90 % are killed and whatever survived, was not reached or not collected is explained in
         tools/mutants_explained.toml, and none crashed; else 1.
"""

import argparse
import importlib
import json
import os
import random
import sys
import time
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

import mutation_runs
from mutants import Mutant, mutants_of
from mutation_runs import CRASHED, KILLED, NOT_COLLECTED, NOT_REACHED, SURVIVED, TIMED_OUT

KILLED_SHARE_PERCENT_MIN = 90  # design 01: coverage is no proof; issue of the first region
TARGETS = ("src/yilian/contracts", "src/yilian/ledger")
TESTS = ("tests/unit", "tests/property")
EXPLAINED = Path("tools/mutants_explained.toml")
EXPLAINED_SO = "explained"
OTHER_VERDICTS = (EXPLAINED_SO, SURVIVED, NOT_REACHED, TIMED_OUT, NOT_COLLECTED, CRASHED)
# Loaded before the first fork, so that no child pays for it. Never our own package: the child must load the changed file.
WARM = ("asyncio", "cbor2", "cryptography.hazmat.primitives.hpke", "hypothesis.stateful", "nacl.signing", "numpy", "sqlite3")


def explanations() -> dict[tuple[str, str, str], str]:
    """Return the reasons given for survivors, by (file, line as it was, line as it becomes)."""
    said = tomllib.loads(EXPLAINED.read_text()) if EXPLAINED.exists() else {}
    return {(e["file"], e["was"], e["becomes"]): e["why"] for e in said.get("explained", [])}


def report(verdicts: dict[Mutant, str], sources: dict[str, bytes], json_path: Path | None) -> int:
    """Print what survived and the share killed; return the exit status."""
    reasons = explanations()
    per_file: dict[str, Counter[str]] = defaultdict(Counter)
    open_ones: list[dict[str, object]] = []
    timed_out: list[dict[str, object]] = []
    for mutant, verdict in sorted(verdicts.items(), key=lambda pair: (pair[0].path, pair[0].start, pair[0].text)):
        was, becomes = mutant.lines(sources[mutant.path])
        shown = verdict
        if verdict not in (KILLED, TIMED_OUT, CRASHED) and (mutant.path, was, becomes) in reasons:
            shown = EXPLAINED_SO
        elif verdict != KILLED:
            line = sources[mutant.path].count(b"\n", 0, mutant.start) + 1
            print(f"{mutant.path}:{line}: {verdict}\n  - {was}\n  + {becomes}")
            (timed_out if verdict == TIMED_OUT else open_ones).append(
                {"file": mutant.path, "line": line, "verdict": verdict, "was": was, "becomes": becomes}
            )
        per_file[mutant.path][shown] += 1
    for path, counts in per_file.items():
        left = ", ".join(f"{counts[name]} {name}" for name in OTHER_VERDICTS if counts[name])
        print(f"{path}: {counts[KILLED]} of {counts.total()} killed" + (f", {left}" if left else ""))
    total, killed = len(verdicts), sum(counts[KILLED] for counts in per_file.values())
    share = 100 * killed // max(total, 1)
    left = f"{len(timed_out)} timed out, {len(open_ones)} unexplained"
    print(f"{killed} of {total} mutants killed, {share} % (at least {KILLED_SHARE_PERCENT_MIN} %); {left}")
    if json_path:
        json_path.write_text(json.dumps({"killed": killed, "total": total, "timed_out": timed_out, "unexplained": open_ones}, indent=1))
    return 1 if open_ones or 100 * killed < KILLED_SHARE_PERCENT_MIN * total or not total else 0


def main() -> int:
    """Read the options, run, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", default=TARGETS, help="files or folders under src/ (default: contracts and ledger)")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files or folders of tests")
    parser.add_argument("--sample", type=int, help="judge only so many, drawn with --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the figures and what is unexplained there")
    chosen = parser.parse_args()
    files = sorted({str(f) for path in map(Path, chosen.paths) for f in ([path] if path.suffix == ".py" else path.rglob("*.py"))})
    sources = {path: Path(path).read_bytes() for path in files}
    every = [mutant for path, source in sources.items() for mutant in mutants_of(path, source)]
    if chosen.sample and chosen.sample < len(every):
        every = random.Random(chosen.seed).sample(every, chosen.sample)  # noqa: S311 - a sample that can be drawn again
    for name in WARM:
        importlib.import_module(name)
    print(f"{len(every)} mutants in {len(files)} files, {chosen.jobs} at a time", file=sys.stderr)
    began = time.perf_counter()
    verdicts = mutation_runs.judge(every, sources, [test for test in chosen.tests if Path(test).exists()], chosen.jobs)
    status = report(verdicts, sources, chosen.json)
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
