"""What the documents promise is run: marked console blocks are executed, help texts compared word for word."""

import re
import subprocess
from pathlib import Path

import pytest

import documents
from documents import Command

ROOT = Path(__file__).parent.parent.parent
MARKED = [command for page in documents.pages(ROOT) for command in documents.commands(ROOT, page)]


@pytest.mark.slow
@pytest.mark.xdist_group("documents")
@pytest.mark.parametrize("command", MARKED, ids=lambda command: f"{command.page}:{command.line}")
def test_each_marked_command_does_what_the_page_says(command):
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command.command],
        cwd=ROOT,
        env=documents.environment(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert (run.returncode, documents.missing(command.prints, run.stdout)) == (0, None), run.stdout


def test_the_readme_has_a_command_that_is_run_and_says_what_it_prints():
    readme = [command for command in MARKED if command.page == "README.md"]
    assert [command for command in readme if command.prints] != []


def test_help_in_the_documents_is_what_the_command_prints():
    texts = {page: page.read_text() for page in documents.pages(ROOT)}
    named = {block[2].strip() for text in texts.values() for block in documents.HELP.finditer(text)}
    assert "yilian" in named
    assert {page.name for page, text in texts.items() if documents.with_help(ROOT, text) != text} == set()


def test_each_command_of_the_help_is_explained_somewhere():
    listed = re.findall(r"^    ([a-z-]+)(?:  |$)", documents.help_of(ROOT, "yilian").partition("COMMAND\n")[2], re.MULTILINE)
    assert {"demo", "verify-record"} <= set(listed)
    text = "".join(page.read_text() for page in documents.pages(ROOT))
    assert [name for name in listed if f"yilian {name}" not in text] == []


def test_each_make_target_that_a_document_names_is_there():
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for page in documents.pages(ROOT) for name in re.findall(r"(?:^|`|\$ )make ([a-z][\w-]*)", page.read_text(), re.MULTILINE)
    }
    assert {"check", "test"} <= named
    assert named - targets == set()


PAGE = """# x
<!-- run -->
```console
$ echo one; echo entry 1f3a; echo two
one
entry ...
two
$ true
```

```console
$ not run
```
"""


def test_only_marked_blocks_are_read_and_each_command_with_its_lines(tmp_path):
    (tmp_path / "README.md").write_text(PAGE)
    assert documents.commands(tmp_path, tmp_path / "README.md") == [
        Command("README.md", 4, "echo one; echo entry 1f3a; echo two", ("one", "entry ...", "two")),
        Command("README.md", 8, "true", ()),
    ]


@pytest.mark.parametrize(
    ("printed", "lacks"),
    [
        ("one\nentry 1f3a\ntwo\n", None),
        ("zero\none\nbetween\n  entry 7\ntwo\nafter\n", None),
        ("one\nentry\ntwo\n", "entry ..."),
        ("entry 1\none\ntwo\n", "entry ..."),
        ("one\nentry 1\n", "two"),
        ("", "one"),
    ],
)
def test_expected_lines_must_follow_in_order_and_dots_stand_for_anything(printed, lacks):
    assert documents.missing(("one", "entry ...", "two"), printed) == lacks
