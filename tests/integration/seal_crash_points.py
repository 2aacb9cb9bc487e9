"""Kill who seals a key store, at every call that it makes to the system: the driver behind `test_sealing.py`, in a process of its own
because it forks.

Usage    python tests/integration/seal_crash_points.py FOLDER
A point  a child seals the store in a copy of its folder and kills itself (SIGKILL) just before its n-th call, or just after it. What is
         left opens with exactly one of the two: what opened it before, or the new passphrase; the member and a drawn key are what they
         were. Sealed again from there, the folder holds the seed file alone, and no byte of the seed.
Prints   for a plain store, and for one that is given another passphrase: the calls that were made, and how many points left the old and
         the new store.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from yilian.vault import KEYS_FILE, SEED_FILE, Kind, Vault, WrongPassphrase, seedfile

SEED = bytes(range(32))
NEW = "the new one"


class Mortal:
    """The system's calls, until the `last` of them; it is made, too, if `is_made`."""

    def __init__(self, last=None, *, is_made=False):
        self.last, self.is_made, self.calls = last, is_made, []

    def __getattr__(self, name):
        real = getattr(os, name)
        return (lambda *given: self.call(name, real, given)) if callable(real) else real

    def call(self, name, real, given):
        self.calls.append(name)
        if len(self.calls) == self.last and not self.is_made:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = real(*given)
        if len(self.calls) == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def seal(folder, old, system):
    """Seal as `yilian node seal` does; the room of the seed file has `system` for its own."""
    with Vault.open(folder, old) as vault:
        seedfile.os = system
        try:
            vault.seal(NEW)
        finally:
            seedfile.os = os


def killed(folder, old, system):
    """Seal in a child; say whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            seal(folder, old, system)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def opens_with(folder, *passphrases):
    """Return which of them open the store, and see that it is the store that was."""
    found = []
    for passphrase in passphrases:
        try:
            with Vault.open(folder, passphrase) as vault:
                assert (vault._seed, vault.get(Kind.CHART, b"c")) == (SEED, b"k" * 32)
                found.append(passphrase)
        except WrongPassphrase:
            continue
    return found


def points(folder, old):
    """Kill at every call; return the calls, and how often the old and the new store were left."""
    made = folder / "made"
    with Vault.create(made, old, seed=SEED) as vault:
        vault.put(Kind.CHART, [(b"c", b"k" * 32)])
    (made / f"{SEED_FILE}.00000000.new").write_bytes((made / SEED_FILE).read_bytes())  # as a crash while it was made may leave it
    whole = folder / "whole"
    shutil.copytree(made, whole)
    living = Mortal()
    seal(whole, old, living)
    left = {"old": 0, "new": 0}
    for number in range(1, len(living.calls) + 1):
        for is_made in (False, True):
            at = folder / "at"
            shutil.copytree(made, at)
            assert killed(at, old, Mortal(number, is_made=is_made)), f"it lived through call {number}"
            (opens,) = opens_with(at, old, NEW)  # exactly one
            left["new" if opens == NEW else "old"] += 1
            seal(at, opens, os)
            assert opens_with(at, old, NEW) == [NEW]
            assert sorted(path.name for path in at.iterdir()) == [SEED_FILE, KEYS_FILE]
            assert not any(SEED in path.read_bytes() for path in at.iterdir())
            shutil.rmtree(at)
    return {"calls": living.calls, **left}


def main():
    seedfile._N = 1 << 4  # how slow a passphrase is to guess is not what is asked here
    folder = Path(sys.argv[1])
    told = {}
    for name, old in (("plain", None), ("sealed", "the old one")):
        (folder / name).mkdir()
        told[name] = points(folder / name, old)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
