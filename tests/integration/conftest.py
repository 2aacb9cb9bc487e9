"""Fixtures that several files of real networks share."""

import pytest

from tests import namespaces as region
from tests.consortium import Consortium


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
