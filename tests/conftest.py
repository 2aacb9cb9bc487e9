"""What every test may rely on: repeatable Hypothesis runs, and the shared test data where it lies beside the checkout."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

# A test never flakes: examples are derived from the test itself, and no example is judged by how long it took.
settings.register_profile(
    "fast", derandomize=True, deadline=None, max_examples=60, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("brief", parent=settings.get_profile("fast"), max_examples=15)
settings.register_profile("deep", parent=settings.get_profile("fast"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the checkout's own folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of test data made by others: $YILIAN_SHARED, or ../shared beside the checkout."""
    folder = Path(os.environ.get("YILIAN_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared test data at {folder} (set YILIAN_SHARED to a folder that has data/)")
    return folder
