"""Ports for what a test serves: below those that the system gives to outgoing connections, so that none takes one meanwhile, and for each
of the workers that run tests side by side its own: two that draw from the same by chance meet now and then."""

import os
from contextlib import ExitStack
from random import Random
from socket import socket

PORTS = range(12_000, 32_000)
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def bound():
    """Return a socket on a port that nobody listens on."""
    for port in Random().sample(PORTS[_WORKER::_WORKERS], 200):
        probe = socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
        else:
            return probe
    raise OSError("no free port")


def free_ports(count):
    """Return ports that nobody listens on now."""
    with ExitStack() as held:
        return [held.enter_context(bound()).getsockname()[1] for _ in range(count)]
