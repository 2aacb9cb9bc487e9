"""A holder's node that is killed at any moment under load: nothing leaves without a final entry, and nothing is left half done."""

import json
import os
import subprocess
import sys

import pytest

POINTS = int(os.environ.get("YILIAN_NODE_CRASH_POINTS", "100"))


def kill_points(tmp_path, root, points, seed):
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, root / "tests/integration/node_crash_points.py", tmp_path, str(points), str(seed)]
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.slow
@pytest.mark.timeout(300 + 3 * POINTS)
@pytest.mark.xdist_group("release")
def test_killed_at_random_points_it_lets_nothing_leave_without_an_entry_and_keeps_nothing_half(tmp_path, root):
    """Each invariant is asserted by the driver, at every point; here: that it met what it is for."""
    counts = kill_points(tmp_path, root, POINTS, 3)
    assert counts["points"] >= POINTS
    assert counts["answered"] > POINTS
    met = ("left prepared", "left submitted and final", "left submitted and not entered", "left final", "killed while starting")
    also = ("time passed", "answered again", "unsent", "skipped")
    assert [name for name in (*met, *also) if not counts[name]] == []  # every kind of interruption, and every way of mending it
