"""Which engine runs under a node: chosen here, by the word that node.toml says, and known nowhere below."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yilian.cli.frame import Misused

if TYPE_CHECKING:
    from yilian.engines import Engine
    from yilian.ledger import Genesis
    from yilian.node import Settings

LEDGER: Final = "ledger"  # in the member's folder

Opening = Callable[[Path, "Settings", "Genesis"], AbstractAsyncContextManager["Engine"]]


def opening(folder: Path, settings: "Settings", genesis: "Genesis") -> AbstractAsyncContextManager["Engine"]:
    """Return the engine that a member's node.toml names, to be opened.

    Raises   Misused
    """
    if settings.engine not in _OPENINGS:
        raise Misused(f"this version cannot run engine = {settings.engine!r}; it knows {', '.join(_OPENINGS)}")
    return _OPENINGS[settings.engine](folder, settings, genesis)


@asynccontextmanager
async def _embedded(folder: Path, settings: "Settings", genesis: "Genesis") -> AsyncIterator["Engine"]:
    import asyncio

    from yilian.engines.embedded import EmbeddedEngine

    if genesis.operator != settings.id:
        raise Misused(f'the network\'s genesis names {genesis.operator or "no one"} as the one that orders: set engine = "remote"')
    engine = await asyncio.to_thread(EmbeddedEngine.open, folder / LEDGER, genesis)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def _remote(folder: Path, settings: "Settings", genesis: "Genesis") -> AsyncIterator["Engine"]:
    from yilian.engines.remote import RemoteEngine
    from yilian.peers import FollowedNode

    async with FollowedNode(settings.operator, settings.ca_file or None) as way:
        engine = await RemoteEngine.open(folder / LEDGER, genesis, way)
        try:
            yield engine
        finally:
            await engine.close()


@asynccontextmanager
async def _consortium(folder: Path, _: "Settings", genesis: "Genesis") -> AsyncIterator["Engine"]:
    import asyncio

    from yilian.engines.consortium import open_engine

    engine = await asyncio.to_thread(open_engine, folder / LEDGER, genesis)
    try:
        yield engine
    finally:
        await engine.close()


_OPENINGS: Final[dict[str, Opening]] = {"embedded": _embedded, "remote": _remote, "consortium": _consortium}
