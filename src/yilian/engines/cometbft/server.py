"""The ABCI server: a unix socket, one reader thread for each of CometBFT's four connections, answers in the order of the questions.

CheckTx comes in floods on a connection of its own: all that one read brought is answered with one write. What changes the ledger comes on
the consensus connection; the application's lock keeps a second CometBFT on the same socket from interleaving with it.
A defect of ours is answered with an Exception, upon which CometBFT ends itself, and is told to `failed`: nothing goes on after it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.cometbft.wire import Frames, NotAbci, framed

READ_SIZE_BYTES = 1 << 20  # one read takes in about a hundred batches
Handler = Callable[[Any], Any]  # the method's request -> its response


class Server:
    """Serves `methods`, by the names of ABCI's oneof, on the socket at `path` until closed."""

    def __init__(self, path: Path, methods: dict[str, Handler], failed: Callable[[BaseException], None]) -> None:
        """Listen at once. `failed` is told of a defect in a method."""
        self._methods = methods
        self._failed = failed
        self._path = path
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _bind(self._listener, path)
        path.chmod(0o600)
        self._listener.listen(8)
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._is_closed = False
        self._threads = [self._thread(self._accept, "abci-accept")]

    def close(self) -> None:
        """Hang up on every connection once its question in hand is answered, and let go of the socket."""
        with self._guard:
            self._is_closed = True
            connections = list(self._open)
        for each in (self._listener, *connections):
            _shut(each)
        self._listener.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._path.unlink(missing_ok=True)

    def _thread(self, run: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._guard:
                if self._is_closed:
                    connection.close()
                    return
                self._open.add(connection)
                self._threads = [each for each in self._threads if each.is_alive()]
                self._threads.append(self._thread(partial(self._serve, connection), "abci"))

    def _serve(self, connection: socket.socket) -> None:
        frames = Frames()
        try:
            while piece := connection.recv(READ_SIZE_BYTES):
                answers = [framed(self._answer(body)) for body in frames.take(piece)]
                if answers:
                    connection.sendall(b"".join(answers))
        except OSError:
            pass  # CometBFT went away, or we are closing; it will connect again
        except NotAbci as error:
            self._failed(error)
        except BaseException as error:  # noqa: BLE001 - told to CometBFT and to whoever watches the engine, then this connection is over
            self._failed(error)
            _tell(connection, error)
        finally:
            with self._guard:
                self._open.discard(connection)
            connection.close()

    def _answer(self, body: bytes) -> abci.Response:
        request = abci.Request.FromString(body)
        name = request.WhichOneof("value")
        method = self._methods.get(name or "")
        if name is None or method is None:
            raise NotAbci("a request of no kind that ABCI 2.0 has")
        response = abci.Response()
        answer = getattr(response, name)
        answer.SetInParent()
        answer.CopyFrom(method(getattr(request, name)))
        return response


def _bind(listener: socket.socket, path: Path) -> None:
    """Bind by way of the folder's descriptor: a socket's path may have 107 bytes (unix(7)), a data folder's more."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _shut(each: socket.socket) -> None:
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # was not connected any more


def _tell(connection: socket.socket, error: BaseException) -> None:
    try:
        connection.sendall(framed(abci.Response(exception=abci.ResponseException(error=f"{type(error).__name__}: {error}"))))
    except OSError:
        return
