"""A small region of network namespaces: a machine each, one switch, and cables that can be pulled. Needs root and `ip` (iproute2).

Every address is inside a namespace, on a network that none of the machine's own interfaces has; the machine itself gets no interface,
address or route.
Shape    One namespace holds a bridge for each island; each machine's cable ends in one of them. To cut is to plug cables into other
         bridges, so connections are not reset but fall silent, as in a real partition.
"""

import os
import shutil
import subprocess
from functools import cache
from itertools import count

import pytest

from tests.consortium import Child, end_all

SUBNET = "10.213.71"  # RFC 1918
P2P_PORT = 26_656
_NUMBERS = count()


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@cache
def why_not():
    """Return why this machine cannot have namespaces; None if it can."""
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        return "no `ip` or `nsenter` here: install iproute2 and util-linux"
    try:
        with Machines(2) as two:
            two.cut([0], [1])
    except subprocess.CalledProcessError as error:
        return f"this machine allows no network namespaces: {error.stderr.strip()}"
    return None


needs_namespaces = pytest.mark.usefixtures("namespaces")  # asked when a test begins, not when it is found


class Machines:
    """`number` machines on one switch."""

    def __init__(self, number):
        name = f"yilian-{os.getpid()}-{next(_NUMBERS)}"
        self.hub = f"{name}-hub"
        self.names = [f"{name}-{n}" for n in range(number)]
        self.addresses = [f"{SUBNET}.{n + 1}" for n in range(number)]
        self.made = []

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self):
        for each in (self.hub, *self.names):
            ip("netns", "add", each)
            self.made.append(each)
            ip("-n", each, "link", "set", "lo", "up")
        for n, (name, address) in enumerate(zip(self.names, self.addresses, strict=True)):
            ip("-n", self.hub, "link", "add", f"island{n}", "type", "bridge")
            ip("-n", self.hub, "link", "set", f"island{n}", "up")
            ip("-n", self.hub, "link", "add", f"cable{n}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", self.hub, "link", "set", f"cable{n}", "master", "island0", "up")
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            # Where the kernel has it (6.15): a connection that fell silent tries again every second and not ever more rarely.
            subprocess.run([*self.at(n), "sysctl", "-qw", "net.ipv4.tcp_rto_max_ms=1000"], check=False, capture_output=True)

    def __exit__(self, *_):
        for each in self.made:
            subprocess.run(["ip", "netns", "del", each], check=False, capture_output=True)
        self.made = []

    def at(self, n):
        """Return the words before a command that runs it on machine `n`."""
        return ["nsenter", f"--net=/run/netns/{self.names[n]}"]

    def cut(self, *islands):
        """Leave connections only within each island, a list of machine numbers."""
        for island, machines in enumerate(islands):
            for n in machines:
                ip("-n", self.hub, "link", "set", f"cable{n}", "master", f"island{island}")

    def heal(self):
        """Connect all again."""
        self.cut(range(len(self.names)))


class Apart:
    """A consortium with a machine for each member."""

    def __init__(self, consortium, machines):
        self.consortium, self.machines = consortium, machines
        for folder in consortium.folders.values():
            (folder / "genesis.cbor").write_bytes(consortium.genesis.encoded())
        self.children = {name: Child(consortium.folders[name], machines.at(n)) for n, name in enumerate(consortium.names)}
        try:
            for child in self.children.values():
                child.ready()
        except BaseException:
            self.end()
            raise

    def said(self, name, data):
        return self.children[name].said(data)

    def end(self):
        end_all(self.children.values())
