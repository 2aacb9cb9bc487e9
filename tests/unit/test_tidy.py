"""The house rules: each is broken once in a tree of its own, and must be found at that line, and nothing else."""

from pathlib import Path

import pytest

import tidy

CORE = "src/yilian/base/things.py"
UPPER = "src/yilian/node/things.py"
TEST = "tests/unit/test_things.py"
MARK, MACHINE, HOST = "TO" + "DO", "/wo" + "rk/main", "py" + "pi.org"  # in pieces: this file is checked too

CORE_PLANTS = [
    ("x = 1.5", "float", 1),
    ("y = 7 / 2", "float", 1),
    ("y = 7\ny /= 2", "float", 2),
    ("y = float(7)", "float", 1),
    ("import math\ny = math.sqrt(7)", "float", 2),
    ("import numpy as np\ny = np.float64(7)", "float", 2),
    ("import time", "clock", 1),
    ("from datetime import datetime\ny = datetime.now(None)", "clock", 2),
    ("import datetime\ny = datetime.date.today()", "clock", 2),
    ("from datetime import datetime\ny = datetime.utcnow()", "clock", 2),
    *((f"import {name}", "chance", 1) for name in ("random", "secrets", "uuid")),
    *(
        (f"import {name}.inner", "outside", 1)
        for name in ["asyncio", "concurrent", "http", "httpx", "io", "logging", "multiprocessing", "os", "pathlib"]
    ),
    *(
        (f"import {name}", "outside", 1)
        for name in ["queue", "selectors", "shutil", "socket", "ssl", "starlette", "subprocess", "tempfile", "threading"]
    ),
    *((f"import {name}", "outside", 1) for name in ("urllib", "uvicorn")),
    ("y = 2j", "float", 1),
    ("import numpy\ny = numpy.complex128(7)", "float", 2),
    ("y = system.urandom(32)", "chance", 1),
    ("y = open(7)", "outside", 1),
    ("y = input()", "outside", 1),
    ("from secrets import token_bytes", "chance", 1),
    ("import nacl.utils", "chance", 1),
    ("key = SigningKey.generate()", "chance", 1),
    ("import sqlite3", "outside", 1),
    ("from os.path import join", "outside", 1),
    ("print(1)", "outside", 1),
    ("async def f(): ...", "outside", 1),
    ("y = hash(b'')", "hash", 1),
    ("y = id(b'')", "hash", 1),
    ("try:\n    f()\nexcept Exception:\n    raise", "except", 3),
    ("try:\n    f()\nexcept (KeyError, BaseException):\n    raise", "except", 3),
    ("try:\n    f()\nexcept:\n    raise", "except", 3),
    ("for x in {1, 2}:\n    f(x)", "set order", 1),
    ("for x in {y for y in f()}:\n    f(x)", "set order", 1),
    ("for x in frozenset(f()):\n    for y in f():\n        g(x)", "set order", 1),
    *((f"y = {name}({{1, 2}})", "set order", 1) for name in ("bytes", "enumerate", "iter", "list", "tuple", "dict")),
    *((f"y = {name}(f, {{1, 2}})", "set order", 1) for name in ("filter", "map", "zip")),
    *((f"y: {name}[int] = f()\nz = list(y)", "set order", 2) for name in ("set", "frozenset", "t.Set", "abc.AbstractSet", "MutableSet")),
    *((f"def f(a: set[int], b: set[int]) -> list:\n    return list(a {sign} b)", "set order", 2) for sign in "|&^-"),
    ("def f(a: set[int]) -> list:\n    def g() -> list:\n        return list(a)\n    return g()", "set order", 3),
    ("def f(*, a: set[int]) -> list:\n    if a:\n        return sum(list(a) for _ in ())", "set order", 3),
    ("y = f(key={1}.pop())", "set order", 1),
    ("def f(keys: frozenset[bytes]) -> list:\n    return [k for k in keys]", "set order", 2),
    ("def f(keys: set[bytes]) -> list:\n    return list(keys - {b''})", "set order", 2),
    ("def f(keys: set[bytes]) -> bytes:\n    return b''.join(keys)", "set order", 2),
    ("def f(keys: set[bytes]) -> bytes:\n    return keys.pop()", "set order", 2),
    ("def f(keys: set[bytes]) -> list:\n    return [*keys]", "set order", 2),
    ("def f(a):\n    seen = set(a)\n    return tuple(seen)", "set order", 3),
    ("class Act:\n    approved: frozenset[bytes]\n\ndef f(act):\n    return {k: 1 for k in act.approved}", "set order", 5),
]

CORE_CLEAN = [
    "y = 7 // 2",
    *(f"import math\ny = math.{name}(7)" for name in ("comb", "factorial", "gcd", "isqrt", "lcm", "perm", "prod")),
    *(f"y = {name}(x + 1 for x in {{1, 2}})" for name in ("all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum")),
    "import timeit",
    "import numpy as np\ny = np.uint16(7)",
    "y = table.open(1).now()",
    "def f(a: set[int]) -> int:\n    return 1\ndef g(a: list[int]) -> list:\n    return list(a)",
    "def f(a: list[int], b: list[int]) -> list:\n    return list(a + b)",
    "a = [1].pop()",
    "def f(keys: set[bytes]) -> list:\n    return sorted(keys)",
    "def f(keys: set[bytes]) -> bool:\n    return all(k for k in keys) and b'' in keys",
    "def f(keys: set[bytes]) -> set:\n    return {*keys, b''} | {k for k in keys}",
    "def f(keys: set[bytes]) -> list:\n    return [k for k in sorted(keys)]",
    "class B:\n    keys: list[int]\nclass A:\n    keys: set[int]\ndef f(b):\n    return [k for k in b.keys]",
    "class A:\n    keys: set[int]\nclass B:\n    keys: list[int]\ndef f(b):\n    return [k for k in b.keys]",
    "try:\n    f()\nexcept KeyError:\n    pass",
]

TREE_PLANTS = [
    ("src/yilian/base/helpers.py", "", ("src/yilian/base/helpers.py", 0, "empty name")),
    ("src/yilian/node/key_utils.py", "", ("src/yilian/node/key_utils.py", 0, "empty name")),
    (UPPER, "x = 1\ny = )", (UPPER, 2, "syntax")),
    (UPPER, "class GrantManager: ...", (UPPER, 1, "empty name")),
    (UPPER, "from yilian.records.sqlite import Store", (UPPER, 1, "door")),
    (UPPER, "from yilian.contracts.consent.rules import use", (UPPER, 1, "door")),
    (UPPER, f"# {MARK} later", (UPPER, 1, "unfinished")),
    (UPPER, "x = 1  # noqa: S101", (UPPER, 1, "unexplained exemption")),
    (UPPER, "x = f()  # type: ignore[no-any-return]", (UPPER, 1, "unexplained exemption")),
    ("docs/page.md", f"look into {MACHINE}/src", ("docs/page.md", 1, "machine path")),
    ("requirements/run.txt", f"--index https://{HOST}/simple", ("requirements/run.txt", 1, "registry")),
    (TEST, "def test_works():\n    assert f()", (TEST, 1, "test name")),
    (TEST, "class TestIt:\n    def test_it_really_works(self):\n        assert f()", (TEST, 2, "test name")),
    (TEST, "import time\ntime.sleep(1)", (TEST, 2, "test sleeps")),
    (TEST, "asyncio.sleep()", (TEST, 1, "test sleeps")),
    ("docs/adr/0001-a-page.md", "# x\n", ("docs/adr/0001-a-page.md", 0, "adr")),
    ("docs/adr/One.md", "# x\n", ("docs/adr/One.md", 0, "adr")),
]


def plant(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def seen(root: Path) -> list[tuple[str, int, str]]:
    return [(found.path, found.line, found.rule) for found in tidy.check(root)]


@pytest.mark.parametrize(("code", "rule", "line"), CORE_PLANTS)
def test_what_floors_0_to_2_may_not_do_is_found_and_left_alone_above(tmp_path, code, rule, line):
    plant(tmp_path, CORE, code)
    plant(tmp_path, UPPER, code)
    assert seen(tmp_path) == [(CORE, line, rule)]


@pytest.mark.parametrize("code", CORE_CLEAN)
def test_what_is_exact_and_ordered_is_left_alone(tmp_path, code):
    plant(tmp_path, CORE, code)
    assert seen(tmp_path) == []


@pytest.mark.parametrize(("path", "text", "found"), TREE_PLANTS)
def test_each_rule_of_the_tree_is_found_where_it_is_broken(tmp_path, path, text, found):
    plant(tmp_path, path, text)
    assert seen(tmp_path) == [found]


@pytest.mark.parametrize(
    "text",
    [
        "from yilian.base.codec import encode",
        "from yilian.contracts.consent import use",
        "from yilian.engines.embedded import open_engine",
        "from yilian.node.screening.scores import score2",
        "x = 1  # noqa: S101 - because the node must stop",
        "# a compiled wheel without types\nx = f()  # type: ignore[no-any-return]",
    ],
)
def test_doors_and_explained_exemptions_are_left_alone(tmp_path, text):
    plant(tmp_path, UPPER, text)
    assert seen(tmp_path) == []


@pytest.mark.parametrize(
    "code",
    [
        "def test_nobody_else_and_not_after():\n    assert f()",
        "async def test_it_yields_and_goes_on():\n    await asyncio.sleep(0)\n    assert f()",
        "def helps():\n    return sleep",
    ],
)
def test_sentences_that_do_not_wait_are_left_alone(tmp_path, code):
    plant(tmp_path, TEST, code)
    assert seen(tmp_path) == []


@pytest.mark.parametrize(("path", "most"), [(CORE, 40), (UPPER, 60), ("tools/thing.py", 60), (TEST, 60)])
def test_a_function_one_line_longer_than_its_floor_allows_is_found(tmp_path, path, most):
    plant(tmp_path, path, "def fill():\n" + "    f()\n" * (most - 1))
    assert seen(tmp_path) == []
    plant(tmp_path, path, "def fill():\n" + "    f()\n" * most)
    assert seen(tmp_path) == [(path, 1, "function length")]


@pytest.mark.parametrize(("path", "most"), [(CORE, 300), (UPPER, 400), ("bench/thing.py", 400)])
def test_a_file_one_line_longer_than_its_floor_allows_is_found(tmp_path, path, most):
    plant(tmp_path, path, "f()\n" * most)
    assert seen(tmp_path) == []
    plant(tmp_path, path, "f()\n" * (most + 1))
    assert seen(tmp_path) == [(path, 0, "file length")]


def test_the_ratchet_holds_what_is_listed_and_only_ever_shrinks(tmp_path):
    plant(tmp_path, UPPER, "def fill():\n" + "    f()\n" * 69)
    plant(tmp_path, "tools/tidy.toml", f'[functions]\n"{UPPER}::fill" = 70\n')
    assert seen(tmp_path) == []
    plant(tmp_path, "tools/tidy.toml", f'[functions]\n"{UPPER}::fill" = 69\n')
    assert seen(tmp_path) == [(UPPER, 1, "function length")]
    plant(tmp_path, "tools/tidy.toml", f'[functions]\n"{UPPER}::fill" = 71\n')
    assert seen(tmp_path) == [(UPPER, 1, "ratchet")]
    plant(tmp_path, "tools/tidy.toml", f'[functions]\n"{UPPER}::gone" = 71\n')
    assert seen(tmp_path) == [(UPPER, 1, "function length"), ("tools/tidy.toml", 0, "ratchet")]


def test_an_exception_needs_a_reason_and_falls_when_nothing_needs_it(tmp_path):
    plant(tmp_path, CORE, "import secrets")
    plant(tmp_path, "tools/tidy.toml", f'[[allowed]]\npath = "{CORE}"\nrule = "chance"\nwhy = "sealing draws a key"\n')
    assert seen(tmp_path) == []
    plant(tmp_path, CORE, "import cbor2")
    assert seen(tmp_path) == [("tools/tidy.toml", 0, "ratchet")]
    plant(tmp_path, "tools/tidy.toml", f'[[allowed]]\npath = "{CORE}"\nrule = "chance"\n')
    with pytest.raises(KeyError):
        seen(tmp_path)


def room(root: Path, headings: str = "Concepts State Transactions Refusals Lifecycle") -> str:
    base = "src/yilian/contracts/loan"
    for name in ("__init__.py", "state.py", "messages.py", "rules.py"):
        plant(root, f"{base}/{name}", "")
    plant(root, f"{base}/README.md", "# Loan\n" + "".join(f"## {h}\n" for h in headings.split()))
    return base


def test_a_contract_room_has_the_five_files_and_later_rule_versions_only(tmp_path):
    base = room(tmp_path)
    plant(tmp_path, f"{base}/rules_2.py", "")
    assert seen(tmp_path) == []
    plant(tmp_path, f"{base}/fees.py", "")
    (tmp_path / base / "state.py").unlink()
    assert seen(tmp_path) == [(base, 0, "room shape"), (f"{base}/fees.py", 0, "room shape")]


def test_a_contract_room_says_the_five_things_in_order(tmp_path):
    base = room(tmp_path, "Concepts Transactions State Refusals Lifecycle")
    assert seen(tmp_path) == [(f"{base}/README.md", 0, "room shape")]


def test_a_decision_is_one_page_and_its_number_is_taken_once(tmp_path):
    page = "# A\n## Context\n## Decision\n## Consequences\n## Enforced by\n"
    plant(tmp_path, "docs/adr/0001-a.md", page)
    plant(tmp_path, "docs/adr/0002-a.md", "# A\n**Context.** x\n**Decision.**\n**Consequences.** x\n**Enforced by.** x\n")
    assert seen(tmp_path) == []
    plant(tmp_path, "docs/adr/0001-b.md", page + "x\n" * 60)
    assert seen(tmp_path) == [("docs/adr/0001-b.md", 0, "adr"), ("docs/adr/0001-b.md", 0, "adr")]


def test_the_command_prints_the_place_and_the_rule_and_fails(tmp_path, monkeypatch, capsys):
    plant(tmp_path, CORE, "x = 1.5")
    monkeypatch.setattr("sys.argv", ["tidy.py", str(tmp_path)])
    assert tidy.main() == 1
    assert capsys.readouterr().out.splitlines()[0] == f"{CORE}:1: float: the literal 1.5"
    plant(tmp_path, CORE, "x = 1")
    assert tidy.main() == 0
    assert capsys.readouterr().out == ""
