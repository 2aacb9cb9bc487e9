"""A ledger that is killed at any point loses nothing that it acknowledged and keeps no half of anything."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from tests.submissions import Submissions
from tests.worlds import STARTED_AT_S, key, make_genesis
from yilian.base.times import DAY_S
from yilian.engines import fsck, store
from yilian.engines.replica import Replica

NOW_MS = (STARTED_AT_S + 10) * 1_000


def kill_points(tmp_path, root, points, seed):
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, root / "tests/integration/crash_points.py", tmp_path, str(points), str(seed)]
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_killed_at_twenty_random_points_it_loses_nothing_acknowledged(tmp_path, root):
    counts = kill_points(tmp_path, root, 20, 1)
    assert counts["points"] == 20
    assert counts["acknowledged"] > 20  # else the kills came before there was anything to lose


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_a_thousand_random_points_it_loses_nothing_acknowledged(tmp_path, root):
    counts = kill_points(tmp_path, root, 1_000, 2)
    assert counts["points"] == 1_000
    assert counts["acknowledged"] > 1_000
    assert counts["killed_before_any"] > 0
    assert counts["kept_unacknowledged"] > 0  # some were durable and not yet told: allowed, and seen


class Crash(BaseException):
    """The process ends here, as far as the files are concerned."""


class Mortal:
    """A SQLite connection that dies at one statement, before or after it ran, leaving a copy of its files as the disk has them then."""

    def __init__(self, connection, fate):
        self._connection = connection
        self._fate = fate

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, *args):
        return self._fate(lambda: self._connection.execute(*args))

    def executemany(self, *args):
        return self._fate(lambda: self._connection.executemany(*args))


class Fate:
    """Counts statements over all connections and strikes at the n-th; `None` never strikes."""

    def __init__(self, folder, image, strikes_at, is_after):
        self.folder, self.image, self.strikes_at, self.is_after = folder, image, strikes_at, is_after
        self.statements = 0

    def __call__(self, run):
        number, self.statements = self.statements, self.statements + 1
        if number == self.strikes_at and not self.is_after:
            self.strike()
        found = run()
        if number == self.strikes_at:
            self.strike()
        return found

    def strike(self):
        shutil.copytree(self.folder, self.image, ignore=shutil.ignore_patterns("*-shm"))
        raise Crash


def live(folder, told, offer):
    """Begin a ledger and commit four blocks, one of them in a later day; note each height that was acknowledged."""
    replica = Replica.open(folder, make_genesis())
    try:
        told.append(0)
        for now_ms, load in (
            (NOW_MS, [offer["a"], offer["b"]]),
            (NOW_MS, [offer["revoke a"], offer["revoke b by a stranger"], offer["c"]]),
            (NOW_MS + 2 * DAY_S * 1_000, [offer["d"]]),
            (NOW_MS + 2 * DAY_S * 1_000, [offer[f"more {n}"] for n in range(20)]),
        ):
            told.append(replica.advance(now_ms, load).height)
        replica.checkpoint()
    finally:
        replica.close()


@pytest.fixture(scope="module")
def offer():
    today = Submissions(make_genesis().network_id, now_s=lambda: NOW_MS // 1_000)
    made = {name: today.give(name) for name in ("a", "b")}
    made |= {"revoke a": today.revoke("a"), "revoke b by a stranger": today.revoke("b", approver=key("a stranger")), "c": today.give("c")}
    later = Submissions(make_genesis().network_id, today.nonce, now_s=lambda: NOW_MS // 1_000 + 2 * DAY_S)
    return made | {name: later.give(name) for name in ("d", "afterwards", *[f"more {n}" for n in range(20)])}


@pytest.fixture
def run_until(tmp_path, monkeypatch, offer):
    """Return a function that lives until the n-th statement; it returns (statements seen, heights told, folder left behind)."""
    connect = sqlite3.connect
    runs = iter(range(10_000))

    def run(strikes_at, *, is_after=False):
        number = next(runs)
        folder, image = tmp_path / f"lived-{number}", tmp_path / f"left-{number}"
        fate, told = Fate(folder, image, strikes_at, is_after), []
        with monkeypatch.context() as patched:
            patched.setattr(store.sqlite3, "connect", lambda *args, **options: Mortal(connect(*args, **options), fate))
            try:
                live(folder, told, offer)
            except Crash:
                return fate.statements, told, image
        return fate.statements, told, folder

    return run


@pytest.mark.slow
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_statement_leaves_whole_blocks_and_all_that_were_told(run_until, offer, is_after):
    statements, heights, folder = run_until(None)
    whole = Replica.open(folder, make_genesis())
    app_hashes = [whole.block(height).app_hash if height else None for height in heights]
    whole.close()
    assert (heights, statements > 50) == ([0, 1, 2, 3, 4], True)
    found = set()
    for number in range(statements):
        _, told, image = run_until(number, is_after=is_after)
        replica = Replica.open(image, make_genesis())
        height = replica.chain.height
        assert height in (len(told) - 1, len(told)), f"statement {number}: told {told}, found {height}"
        assert height >= max(told, default=0), f"statement {number}: block {max(told)} was told and is gone"
        if height:
            assert replica.chain.app_hash == app_hashes[height]
        found.add(height)
        replica.advance(NOW_MS + 2 * DAY_S * 1_000, [offer["afterwards"]])
        assert fsck(replica).height == height + 1
        replica.close()
    assert found == {0, 1, 2, 3, 4}
