"""What the environment's maker says when it cannot do its work: one sentence, and nothing half made."""

import os
import shutil
import subprocess
import sys

import pytest

REAL_PYTHON = f"{sys.base_prefix}/bin/python3"
NEEDED = ("bash", "dirname", "sha256sum", "cut", "cat", "id", "mkdir", "rm", "grep", "flock")


@pytest.fixture
def checkout(tmp_path, root):
    """Return a bare checkout: the script, the locks and the metadata, no environment."""
    (tmp_path / "tools").mkdir()
    shutil.copy(root / "tools/bootstrap.sh", tmp_path / "tools")
    shutil.copy(root / "pyproject.toml", tmp_path)
    shutil.copytree(root / "requirements", tmp_path / "requirements")
    (tmp_path / "bin").mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        if found:
            (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


def bootstrap(checkout, wanted: str, **environment: str) -> tuple[int, str]:
    """Run the script with nothing on PATH but what the checkout's own bin holds; return exit status and last line."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "VIRTUAL_ENV", "PYTHON"))}
    run = subprocess.run(
        ["bash", "tools/bootstrap.sh", wanted],
        cwd=checkout,
        env={**clean, "PATH": str(checkout / "bin"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stderr.splitlines()[-1]


def fake_python(checkout, script: str) -> None:
    """Put a `python3` on the checkout's PATH that answers as the script says."""
    fake = checkout / "bin/python3"
    fake.write_text(f"#!/bin/bash\n{script}\n")
    fake.chmod(0o755)


def test_an_unknown_environment_is_named_with_the_two_that_exist(checkout):
    assert bootstrap(checkout, "prod") == (1, "stopped: there is no requirements/prod.txt; the two kinds of environment are run and dev.")


def test_a_python_that_cannot_make_environments_is_told_what_to_install(checkout):
    fake_python(checkout, 'case "$*" in *version_info*) exit 0;; *platform*) echo 3.11.2;; *) exit 1;; esac')
    status, says = bootstrap(checkout, "run", PYTHON=str(checkout / "bin/python3"))
    assert (status, (checkout / ".venv").exists()) == (1, False)
    assert says.endswith("install its venv module (on Debian: apt-get install python3-venv), then run the same command again.")


@pytest.mark.slow
def test_without_packages_it_says_so_and_leaves_no_stamp(checkout):
    status, says = bootstrap(checkout, "run", PYTHON=REAL_PYTHON, PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    assert (status, list((checkout / ".venv").glob(".made-*"))) == (1, [])
    assert says.startswith("stopped: the packages of requirements/run.txt could not be installed.")


@pytest.mark.slow
def test_debians_missing_venv_package_is_installed_where_we_may(checkout):
    real, done = REAL_PYTHON, checkout / "installed"
    fake_python(checkout, f'case "$*" in *ensurepip*) [ -f {done} ] || exit 1;; esac; exec {real} "$@"')
    for name, script in {
        "id": "echo 0",
        "env": 'while [[ "$1" == *=* ]]; do shift; done; exec "$@"',
        "apt-get": f'echo "$*" >> {done}',
    }.items():
        (checkout / "bin" / name).unlink(missing_ok=True)
        (checkout / "bin" / name).write_text(f"#!/bin/bash\n{script}\n")
        (checkout / "bin" / name).chmod(0o755)
    status, says = bootstrap(checkout, "run", PYTHON=str(checkout / "bin/python3"), PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    assert done.read_text() == "install -y -qq python3-venv\n"
    assert (status, says.startswith("stopped: the packages of requirements/run.txt could not be installed.")) == (1, True)
