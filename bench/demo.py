"""The demo as a stranger runs it: memory of all its processes, and the time from nothing to the end of the story.

Method   `yilian demo --once` with 300 patients, in a process of its own; memory is the proportional set size of the process and all its
         children, sampled twice a second, the largest sum; time is wall, start of the interpreter included.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure

SAMPLE_S = 0.5


def run() -> Iterator[Figure]:
    """Yield the figures."""
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path(__file__).parent) as folder:
        began = time.perf_counter()
        demo = subprocess.Popen(
            [str(Path(sys.executable).parent / "yilian"), "demo", "--once", "--home", f"{folder}/region"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        largest = 0
        while demo.poll() is None:
            largest = max(largest, sum(_pss_kib(pid) for pid in _family(demo.pid)))
            time.sleep(SAMPLE_S)
        took = time.perf_counter() - began
        if demo.returncode != 0:
            raise RuntimeError((demo.stderr.read() if demo.stderr else b"").decode())
    yield Figure("demo.memory_mb", largest * 1_024 / 1_000_000, "MB, all processes", "<= 600")
    yield Figure("demo.story_s", took, "s", "<= 60")


def _family(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    family = [pid]
    for each in family:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            family += [int(child) for child in _read(task).split()]
    return family


def _pss_kib(pid: int) -> int:
    """Return a process's proportional set size in KiB; 0 once it has ended."""
    for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # it ended between two looks
