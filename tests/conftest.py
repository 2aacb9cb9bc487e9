"""What every test may rely on: repeatable Hypothesis runs, and the shared test data where it lies beside the checkout."""

import asyncio
import gc
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.excinfo is not None and "from pytest-timeout" in str(call.excinfo.value):  # it shows threads, and of tasks the loop only
        waiting = [task for task in gc.get_objects() if isinstance(task, asyncio.Task) and not task.done()]
        report.sections.append(("tasks that wait", "\n".join(f"{task.get_name()}: {' > '.join(awaited(task))}" for task in waiting)))
    return report


def awaited(task):
    """Yield where a task waits: its own line, and that of each coroutine inside."""
    coroutine = task.get_coro()
    while frame := getattr(coroutine, "cr_frame", None):
        yield f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
        coroutine = coroutine.cr_await


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
