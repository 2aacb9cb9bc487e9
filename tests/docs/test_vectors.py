"""Files that tools make are as the tools would make them now."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("tool", ["edge_vectors.py", "ledger_vectors.py"])
def test_vectors_are_what_their_tool_makes(root, tool):
    run = subprocess.run([sys.executable, f"tools/{tool}", "--check"], cwd=root, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
