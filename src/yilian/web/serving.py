"""One member's HTTP server: where it may listen, how it starts, how it ends.

Loopback only, unless the node serves TLS. On stop: no new request, those under way finish, releases in flight land, the outbox is flushed.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import uvicorn

from yilian.node import Node, Settings, SettingsWrong
from yilian.web.application import application

FINISH_S: Final = 10  # requests under way are given this long; a release waits for its entry at most about 5 s
BACKLOG: Final = 512


class CannotListen(OSError):
    """The address cannot be listened on; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A running server."""

    node: Node
    url: str
    _server: uvicorn.Server
    _task: asyncio.Task[None]

    async def stopped(self) -> None:
        """Wait until the server ends, by a signal or a fault."""
        await asyncio.shield(self._task)


def bound_socket(settings: Settings) -> socket.socket:
    """Return a socket that listens where node.toml says.

    Raises   CannotListen
    """
    if not settings.is_loopback and not settings.has_tls:
        raise CannotListen(f"refusing to listen on {settings.host} without TLS: set tls_certificate and tls_key in node.toml")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is: without it every answer waited 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"port {settings.port} on {settings.host} is in use: stop what listens there, or choose another port"
            ) from error
        raise CannotListen(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}") from error
    listening.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return listening


@asynccontextmanager
async def serve(node: Node) -> AsyncIterator[Serving]:
    """Serve a node until the block is left.

    Raises   CannotListen, SettingsWrong
    """
    settings = node.settings
    listening = bound_socket(settings)
    app = application(node)
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=FINISH_S,
        timeout_keep_alive=75,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
        proxy_headers=False,
    )
    server = _Server(config)
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise SettingsWrong("the server ended before it began")
            await asyncio.sleep(0)
        port = listening.getsockname()[1]
        yield Serving(node, f"{'https' if settings.has_tls else 'http'}://{settings.host}:{port}", server, task)
    finally:
        app.state.closing.set()
        server.should_exit = True
        await asyncio.wait([task])
        listening.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: who started the process decides what a signal means, and many nodes may share it."""

    def install_signal_handlers(self) -> None:
        return
