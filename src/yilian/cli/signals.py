"""Ctrl-C and SIGTERM as something to wait for: what is under way finishes, then the process ends with exit code 0."""

import asyncio
import signal


async def asked_to_end() -> None:
    """Return once somebody asked the process to end. A second Ctrl-C is Python's own: it does not wait."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
