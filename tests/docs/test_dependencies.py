"""Every dependency has a reason, and what is declared, locked and explained is the same."""

import re
import tomllib

import pytest


def declared(root, lock: str) -> set[str]:
    """Return the package names of one .in file."""
    lines = (root / f"requirements/{lock}.in").read_text().splitlines()
    return {re.split(r"[<>=!~;\[ ]", line)[0].lower() for line in lines if line and not line.startswith(("#", "-"))}


def locked(root, lock: str) -> list[tuple[str, str]]:
    """Return (name and version, hashes) of each package in a lock."""
    text = re.sub(r"^#.*\n", "", (root / f"requirements/{lock}.txt").read_text(), flags=re.MULTILINE)
    return re.findall(r"^(\S+==\S+)(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)


def explained(root) -> dict[str, list[str]]:
    """Return the package names of each table of docs/dependencies.md, by the .in file its heading names."""
    sections = re.split(r"^## .*\(`requirements/(\w+)\.in`\)$", (root / "docs/dependencies.md").read_text(), flags=re.MULTILINE)[1:]
    return {
        name: re.findall(r"^\| ([a-z0-9-]+) \| \S", text, re.MULTILINE)[1:]
        for name, text in zip(sections[::2], sections[1::2], strict=True)
    }


@pytest.mark.parametrize("lock", ["run", "dev", "go"])
def test_each_dependency_has_one_line_that_says_why(root, lock):
    assert declared(root, lock) != set()
    assert sorted(explained(root)[lock]) == sorted(declared(root, lock))


def test_the_package_declares_what_a_node_is_locked_to(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = (root / "requirements/run.in").read_text().splitlines()
    wanted = {line for line in lines if line and not line.startswith("#")}
    tool = {line for line in wanted if line.startswith("flit-core")}
    assert len(tool) == 1
    assert {dependency.split(";")[0] for dependency in project["dependencies"]} == wanted - tool


@pytest.mark.parametrize("lock", ["run", "dev", "go"])
def test_every_locked_package_carries_hashes_and_no_address(root, lock):
    packages = locked(root, lock)
    assert {name.split("==")[0] for name, _ in packages} >= declared(root, lock)
    assert [name for name, rest in packages if "--hash=sha256:" not in rest] == []
    assert "://" not in (root / f"requirements/{lock}.txt").read_text()


def test_the_tests_run_on_the_versions_a_node_runs_on(root):
    run, dev = ({name for name, _ in locked(root, lock)} for lock in ("run", "dev"))
    assert len(run) > 15
    assert run - dev == set()
