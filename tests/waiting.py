"""How tests wait: for a task to have begun, or for something to hold that nothing rings for. Never for a time to pass, and never for ever:
past its bound a wait fails with a sentence that quotes what was last seen."""

import asyncio
import os
import select
import time
from contextlib import asynccontextmanager

WITHIN_S = 60  # a bound on what must happen
LOOK_EVERY_S = 0.005


async def begun(work):
    """Start `work` as a task; return the task once it has run as far as it can without waiting."""
    started = asyncio.Event()

    async def run():
        started.set()
        return await work

    task = asyncio.create_task(run())
    await started.wait()
    return task


def too_long(within_s, seen):
    return AssertionError(f"it did not happen within {within_s} s; last seen: {seen}")


@asynccontextmanager
async def bound(seen, within_s=WITHIN_S):
    """Hold what is awaited inside to a bound."""
    limit = asyncio.timeout(within_s)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise  # somebody else's
        raise too_long(within_s, seen()) from error


async def until(holds, within_s=WITHIN_S):
    """Look again and again until `holds()`: for what another thread or process does."""
    async with bound(holds, within_s):
        while not holds():  # noqa: ASYNC110 - nothing rings when it gets there
            await asyncio.sleep(LOOK_EVERY_S)


def tries(seen, within_s=WITHIN_S):
    """Yield as long as one may try again, where each try takes its time."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        yield
    raise too_long(within_s, seen())


class Lines:
    """The lines that a process writes to its standard output, each waited for within a bound. Nobody else reads there meanwhile."""

    def __init__(self, process):
        self._process, self._held, self.last = process, b"", "nothing"

    def next(self, within_s=WITHIN_S):
        """Return the next line; what is left, if anything, once the process has closed its output."""
        until_s = time.monotonic() + within_s
        while b"\n" not in self._held:
            if not select.select([self._process.stdout], [], [], max(0, until_s - time.monotonic()))[0]:
                raise too_long(within_s, f"{self.last!r} from process {self._process.pid}, which has ended with {self._process.poll()}")
            if not (part := os.read(self._process.stdout.fileno(), 1 << 16)):
                break
            self._held += part
        line, end, self._held = self._held.partition(b"\n")
        self.last = (line + end).decode()
        return self.last

    def until(self, words, within_s=WITHIN_S):
        """Return all lines up to the one with these words, or up to the end."""
        found = []
        while line := self.next(within_s):
            found.append(line)
            if words in line:
                break
        return found
