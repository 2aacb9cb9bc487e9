"""Consortia of real processes, a ward whose time is given: fixtures of several files. A failure shows the ends of the nodes' logs."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests import namespaces as region
from tests.consortium import NAMES, Consortium, within
from tests.release_worlds import ward

LAST_LINES = 15


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        folders = {each for has in item.funcargs.values() for each in (has, getattr(has, "folder", None)) if isinstance(each, Path)}
        for log in sorted(log for folder in folders for log in folder.rglob("*.log") if log.parent.suffix != ".db"):  # CometBFT's databases
            report.sections.append((f"end of {log}, {height(log.with_name('ledger.sqlite'))}", last_lines(log)))
    return report


def last_lines(log):
    return "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])


def height(ledger):
    """Return a sentence of how far a copy of the ledger is; of nothing else that may be wrong with it."""
    try:
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as rows:
            ((found,),) = rows.execute("SELECT max(height) FROM blocks")
            return f"the ledger at height {found}"
    except sqlite3.Error as error:
        return f"no ledger beside it: {error}"


@pytest.fixture
async def founded(tmp_path):
    """Return how to found consortia with folders of their own; whoever is started in this process is ended."""
    made = []

    def found(*names, **options):
        made.append(Consortium(tmp_path, names or NAMES, **options))
        return made[-1]

    yield found
    for each in made:
        await within(each.stop())


@pytest.fixture
def consortium(founded):
    """Four founders."""
    return founded()


@pytest.fixture
def namespaces():
    """Skip where the machine allows no network namespaces, and say why."""
    if (why := region.why_not()) is not None:
        pytest.skip(why)


@pytest.fixture
async def here(tmp_path):
    """A hospital and a clinic, and everything around the release gate."""
    async with ward(tmp_path) as running:
        yield running


@pytest.fixture
async def lan(here):
    """Somebody who enrolled at the hospital."""
    patient = here.person("lan")
    await here.enrol(patient)
    return patient
