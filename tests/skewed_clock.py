"""A process whose wall clock is wrong by YILIAN_TEST_SKEW_S seconds, as on a machine whose clock is wrong, for tests.

Usage    python -m tests.skewed_clock node run --home DIR      is `yilian node run --home DIR` with such a clock
"""

import os
import sys
import time

VARIABLE = "YILIAN_TEST_SKEW_S"  # CometBFT built by tools/cometbft_skewed.sh reads the same
_now, _now_ns = time.time, time.time_ns


def set_wrong():
    """Let `time.time` and `time.time_ns` be wrong here; nothing in the package decides by another. Monotonic time stays right."""
    skew_s = int(os.environ.get(VARIABLE, "0"))
    if skew_s:
        time.time = lambda: _now() + skew_s
        time.time_ns = lambda: _now_ns() + skew_s * 1_000_000_000


if __name__ == "__main__":
    set_wrong()
    from yilian.cli import main

    sys.exit(main(sys.argv[1:]))
