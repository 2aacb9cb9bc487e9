"""Mutants: each kind of edit is made, nothing that is mere wording is touched, and a weak test is told from a strong one."""

import os
import signal
import subprocess
import sys

import pytest

from mutants import mutants_of
from mutation_runs import end_after, verdict


def becomes(source: str) -> list[str]:
    """Return the changed lines of all mutants of a source."""
    code = source.encode()
    return [mutant.lines(code)[1] for mutant in mutants_of("x.py", code)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["(a <= b)", "(a >= b)"]),
        ("a >= b", ["(a < b)", "(a > b)"]),
        ("a == b", ["(a != b)"]),
        ("a not in b", ["(a in b)"]),
        ("a is b", ["(a is not b)"]),
        ("a < b < c", ["(a < b <= c)", "(a < b >= c)", "(a <= b < c)", "(a >= b < c)"]),
        ("a and b", ["(a or b)", "(a)", "(b)"]),
        ("a or b or c", ["(a and b and c)", "(a or b)", "(a or c)", "(b or c)"]),
        ("not a", ["(a)"]),
        ("x = 0", ["x = 1"]),
        ("x = 7", ["x = 6", "x = 8"]),
        ("x = True", ["x = False"]),
        ("x = 'word'", ["x = 'word!'"]),
        ("x = b'tag'", ["x = b'tag!'"]),
        ("a // b", ["(a * b)"]),
        ("a % b", ["(a // b)"]),
        ("x += y", ["x -= y"]),
        ("x = a if b else c", ["x = (c if b else a)"]),
        ("x = Reason.GRANT_ENDED", ["x = Reason.BAD_BYTES"]),
        ("f(a, b)", ["(f(b, a))", "pass"]),
        ("x = replace(a, b=c)", ["x = (replace(a))"]),
        ("require(a)", ["pass"]),
        ("x = [a for a in b if c]", ["x = [a for a in b if (not (c))]"]),
    ],
)
def test_each_kind_of_edit_is_made(source, expected):
    assert sorted(becomes(source)) == sorted(expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return x", ["return None"]),
        ("if x:\n  f()", ["if not (x):", "pass"]),
        ("while x:\n  f()", ["while False:", "pass"]),
        ("for x in y:\n  break", ["continue"]),
        ("for x in y:\n  continue", ["break"]),
        ("raise ValueError('words of our own defect', 7)", ["pass"]),
        ("raise Refused(Reason.LATE, at=a)", ["pass", "raise (Refused(Reason.LATE))", "raise Refused(Reason.BAD_BYTES, at=a)"]),
    ],
)
def test_statements_are_turned_or_left_out(body, expected):
    inside = "\n".join(f" {line}" for line in body.splitlines())
    assert sorted(becomes(f"def f():\n{inside}\n")) == sorted(expected)


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring with 7 words."""',
        "def f():\n    'A docstring.'",
        "__all__ = ['a', 'b']",
        "@dataclass(frozen=True)\nclass A:\n    b: Literal[7]",
        "def f(a: Literal[7] = None) -> Literal[8]:\n    pass",
        "x = f'{a + 1} words'",
        "import a",
    ],
)
def test_mere_wording_is_left_alone(source):
    assert becomes(source) == []


def test_an_edit_is_placed_right_behind_letters_of_more_than_one_byte():
    assert becomes("x = '授权', a < b") == ["x = '授权!', a < b", "x = '授权', (a <= b)", "x = '授权', (a >= b)"]


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (lambda: os._exit(0), "survived"),
        (lambda: os._exit(1), "killed"),
        (lambda: os._exit(2), "not collected"),
        (lambda: os._exit(3), "crashed"),
        (lambda: os._exit(70), "crashed"),
        (lambda: (end_after(60), os.kill(os.getpid(), signal.SIGALRM)), "timed out"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "crashed"),
    ],
)
def test_nothing_but_a_test_that_failed_is_a_kill(ends, said):
    child = os.fork()
    if child == 0:
        try:
            ends()
        finally:
            os._exit(99)
    assert verdict(os.waitpid(child, 0)[1]) == said


RULE = """def permit(now_s, until_s):
    if now_s >= until_s:
        return "ended"
    return "open"


def nobody_asks():
    return 1
"""
WEAK = "from yilian.rule import permit\n\ndef test_permits():\n    assert permit(1, 9) == 'open' and permit(99, 9) == 'ended'\n"
STRONG = WEAK.replace("permit(99, 9)", "permit(9, 9)")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("test", "status", "last"),
    [
        (WEAK, 1, "src/yilian/rule.py: 6 of 9 killed, 1 survived, 2 not reached"),
        (STRONG, 1, "src/yilian/rule.py: 7 of 9 killed, 2 not reached"),
    ],
)
def test_a_weak_test_lets_the_boundary_live_and_a_strong_one_does_not(tmp_path, root, test, status, last):
    run = mutate(tmp_path, root, RULE, test)
    assert (run.returncode, [line for line in run.stdout.splitlines() if line.startswith("src/yilian/rule.py: ")]) == (status, [last])


def mutate(tmp_path, root, rule, test):
    for path, text in {"src/yilian/__init__.py": "", "src/yilian/rule.py": rule, "tests/unit/test_rule.py": test}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['src']\nmarkers = ['slow']\n")
    return subprocess.run(
        [sys.executable, str(root / "tools/mutate.py"), "src/yilian", "--jobs", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


LOOPS = """LONGEST = 3


def count(limit):
    found = 0
    while found < limit:
        found += 1
    return found


assert LONGEST == 3
"""
COUNTS = "from yilian.rule import count\n\ndef test_counts():\n    assert count(3) == 3\n"


@pytest.mark.slow
def test_a_loop_without_end_and_a_file_that_does_not_load_are_no_kills(tmp_path, root):
    run = mutate(tmp_path, root, LOOPS, COUNTS)
    shown = run.stdout.splitlines()

    def becomes_of(verdict):
        return {shown[number + 2].strip("+ ") for number, line in enumerate(shown) if line.endswith(f": {verdict}")}

    assert run.returncode == 1
    assert becomes_of("not collected") >= {"LONGEST = 2", "LONGEST = 4"}
    assert "found -= 1" in becomes_of("timed out")
    assert becomes_of("crashed") == set()
