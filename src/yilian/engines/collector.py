"""How often Python looks for objects that hold each other, in a process that orders or verifies transactions.

A transaction is some fifteen objects for as long as its block is in work; none of them is in a cycle, all go when they are let go. Python's
own threshold, 700 new ones, makes the collector walk those of every waiting transaction again and again.
Source   https://docs.python.org/3.11/library/gc.html#gc.set_threshold; ADR-0110.
"""

from __future__ import annotations

import gc

YOUNG_MAX = 50_000  # new containers, about 10 MB: more than three blocks of 500 have at once, so a steady load is not walked at all


def collect_seldom() -> None:
    """Let the collector begin only after `YOUNG_MAX` new containers; who has set more keeps it."""
    young, *older = gc.get_threshold()
    if young:  # 0 is: never
        gc.set_threshold(max(young, YOUNG_MAX), *older)
