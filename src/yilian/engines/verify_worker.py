"""A verifying process: reads batches of transactions from standard input, answers each on standard output, ends when its node does.

Usage    python -m yilian.engines.verify_worker     (started by `verifiers`; ADR-0053)
"""

from __future__ import annotations

import signal
import sys

from yilian.base.keys import self_test
from yilian.engines.collector import collect_seldom
from yilian.engines.packing import pack, read_frame, write_frame
from yilian.ledger import KeyTable, screen_all


def main() -> None:
    """Answer until the other end closes the pipe, which is also what a killed node does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the node's to handle: it still has a block to finish
    keys: KeyTable = {}
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    self_test()
    collect_seldom()
    try:
        write_frame(sink, "ready")
        while True:
            network, newer, batch = read_frame(source)
            keys = keys if newer is None else newer
            write_frame(sink, [pack(said) for said in screen_all(network, keys, batch)])
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
