"""Fixtures that several files share: a consortium of real processes, a ward whose time is given."""

import pytest

from tests import namespaces as region
from tests.consortium import Consortium
from tests.release_worlds import ward


@pytest.fixture
async def consortium(tmp_path):
    """Four founders with folders of their own; whoever is started in this process is ended."""
    made = Consortium(tmp_path)
    yield made
    await made.stop()


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
