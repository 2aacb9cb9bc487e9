"""How tests wait: for a task to have begun, or for something to hold that nothing rings for. Bounded, and never for a time to pass."""

import asyncio

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


async def until(holds, within_s=WITHIN_S):
    """Look again and again until `holds()`: for what another thread or process does."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - nothing rings when it gets there
            await asyncio.sleep(LOOK_EVERY_S)
