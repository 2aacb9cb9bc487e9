"""The command `yilian` as a stranger runs it: in a process of its own, with a home of its own, for no longer than a bound."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

YILIAN = [sys.executable, "-c", "import sys; from yilian.cli import main; sys.exit(main())"]
ENDS_S = 240  # bounds that turn a hang into a failure; a whole story takes some twenty seconds, a scene of it a few
LINE_S = 120


def environment_of(folder):
    """Return the environment of somebody whose home is this folder."""
    return {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(folder), "NO_COLOR": "1"}


def yilian(environment, *words):
    return subprocess.run([*YILIAN, *words], env=environment, capture_output=True, text=True, check=False, timeout=ENDS_S)


@contextmanager
def demo(environment, *words):
    """Give a demo that runs; nothing of it is left afterwards, not even of one that hangs."""
    process = subprocess.Popen(
        [*YILIAN, "demo", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        killed(process)


def killed(process):
    """Kill what is left of a demo; return what it complained of."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return "" if process.stderr.closed else process.communicate(timeout=ENDS_S)[1]
