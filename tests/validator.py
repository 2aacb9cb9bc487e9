"""One member's node reduced to its engine, as a process of its own, for tests that kill it.

Usage    python -m tests.validator FOLDER        with FOLDER/genesis.cbor and FOLDER/validator
Speaks   a line of hex on standard input is a transaction; each answer is a line `id index height reason` on standard output, flushed when
         it is final, `- - - NotOrdering` when the network makes no blocks; `up` comes first. `after MS` is answered by the first block of
         that time or later: `block height ms -`. End of input closes it.
Clock    wrong by YILIAN_TEST_SKEW_S seconds, and that of its CometBFT too if YILIAN_COMETBFT names what `tools/cometbft_skewed.sh` builds.
"""

import asyncio
import sys
from pathlib import Path

from tests import skewed_clock
from yilian.engines.cometbft import CometBftEngine, NotOrdering
from yilian.ledger import parse_genesis


async def serve(folder):
    engine = CometBftEngine.open(folder, parse_genesis((folder / "genesis.cbor").read_bytes()))
    say("up")
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = set()
    while line := await reader.readline():
        asked, _, ms = line.decode().strip().partition(" ")
        task = asyncio.create_task(first_after(engine, int(ms)) if asked == "after" else answer(engine, bytes.fromhex(asked)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await engine.close()


async def answer(engine, data):
    try:
        said = await engine.submit(data)
        say(f"{said.id.hex()} {said.index} {said.height} {said.reason}")
    except NotOrdering:
        say("- - - NotOrdering")


async def first_after(engine, ms):
    async for block in engine.blocks(0):
        if block.time_ms >= ms:
            say(f"block {block.height} {block.time_ms} -")
            return


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    skewed_clock.set_wrong()
    asyncio.run(serve(Path(sys.argv[1])))
