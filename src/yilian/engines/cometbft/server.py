"""The ABCI server: a unix socket, and for each of CometBFT's four connections one thread that reads and one that answers, in order.

CheckTx comes in floods on a connection of its own: all that is there is answered with one write. What changes the ledger comes on the
consensus connection; the application's lock keeps a second CometBFT on the same socket from interleaving with it.
Reading has a thread of its own because CometBFT's client burns a core while it waits to be read: its flush timer, meant to fire every
20 ms, fires every 20 ns (v0.38.25, abci/client/socket_client.go, `flushThrottleMS`; ADR-0114). So we read at once, and answer when we can.
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

READ_SIZE_BYTES = 1 << 20  # more than the socket holds
UNREAD_SIZE_BYTES_MAX = 64 * 1024 * 1024  # read and not yet answered, on one connection: several full blocks, seconds of any flood
Handler = Callable[[Any], Any]  # the method's request -> its response


class _Questions:
    """What one connection has asked and was not answered: one thread reads, another takes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._changed = threading.Condition()
        self._bodies: list[bytes] = []
        self._size_bytes = 0
        self._is_over = False
        self._failure: BaseException | None = None

    def read(self) -> None:
        """Read until the other side hangs up."""
        frames, room = Frames(), memoryview(bytearray(READ_SIZE_BYTES))
        try:
            while size := self._connection.recv_into(room):
                self._put(list(frames.take(room[:size])))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that takes
            self._failure = error
        self.end()

    def take(self) -> list[bytes]:
        """Wait for questions and return all that are there, in their order; none, once the other side has hung up.

        Raises   OSError, NotAbci: what ended the reading, after what came before it
        """
        with self._changed:
            while not self._bodies and not self._is_over:
                self._changed.wait()
            bodies, self._bodies, self._size_bytes = self._bodies, [], 0
            self._changed.notify_all()
        if not bodies and self._failure is not None:
            raise self._failure
        return bodies

    def end(self) -> None:
        """Read no more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _put(self, bodies: list[bytes]) -> None:
        if bodies:
            with self._changed:
                while self._size_bytes > UNREAD_SIZE_BYTES_MAX and not self._is_over:
                    self._changed.wait()
                self._bodies += bodies
                self._size_bytes += sum(map(len, bodies))
                self._changed.notify_all()


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
        questions = _Questions(connection)
        reader = self._thread(questions.read, "abci-read")
        try:
            while bodies := questions.take():
                connection.sendall(b"".join([framed(self._answer(body)) for body in bodies]))
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
            _shut(connection)
            questions.end()
            reader.join()
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
