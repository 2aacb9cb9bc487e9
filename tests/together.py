"""Three members' nodes and what their operators say to them: `yilian network` at the operators' sockets."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

from tests.alliance_worlds import alliance
from tests.waiting import until
from yilian.cli import control, main, network
from yilian.contracts import directory


class Together:
    """Three members with a vote each; what carries needs all three."""

    def __init__(self, running, capsys):
        self.running, self.capsys = running, capsys

    @property
    def state(self):
        return self.running.engine.read()

    async def said(self, member, *words):
        """Run `yilian network` for a member; return (exit code, what it printed, what it complained of)."""
        act, *rest = map(str, words)
        self.capsys.readouterr()
        code = await asyncio.to_thread(main, ["network", act, "--home", str(self.running.folder / member), *rest])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    async def facts(self, member, *words):
        code, out, err = await self.said(member, *words, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    async def height_after(self, blocks):
        """Make some blocks; return the height."""
        for _ in range(blocks):
            await self.running.act("regulator-1", "directory.move", directory.Move("http://127.0.0.1:1"))
        return self.state.chain.height


@asynccontextmanager
async def together(tmp_path, capsys, made=Together):
    """Let the three run, past each node's first tick: there is no other in this minute, so nothing is entered but what is said."""
    async with alliance(tmp_path) as running, AsyncExitStack() as stack:
        for member, node in running.nodes.items():
            await stack.enter_async_context(control.listening(running.folder / member, {}, {member: network.acting(node)}))
        await until(lambda: running.engine.replica.chain.log.size == len(running.nodes))
        yield made(running, capsys)
