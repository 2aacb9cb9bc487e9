"""The parts of the documents that are run: console blocks after `<!-- run -->`, help texts after `<!-- help: COMMAND -->`.

Usage    python tools/documents.py         writes the help texts anew
Source   CONTRIBUTING.md, "Documents that are run"; tests/docs/test_documents.py executes and compares.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

RUN = re.compile(r"^<!-- run -->\n+```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HELP = re.compile(r"^(<!-- help: (yilian[a-z -]*) -->\n+```text\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)
COLUMNS = "100"  # the width in which help texts are printed in the documents


@dataclass(frozen=True)
class Command:
    """One command of a document, and the lines the document says it prints."""

    page: str
    line: int
    command: str
    prints: tuple[str, ...]


def pages(root: Path) -> list[Path]:
    """Return the documents of a checkout."""
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def commands(root: Path, page: Path) -> list[Command]:
    """Return the commands of a page's console blocks that are marked to be run."""
    text = page.read_text()
    found: list[Command] = []
    for block in RUN.finditer(text):
        first = text.count("\n", 0, block.start(1)) + 1
        lines = block[1].splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
        for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
            prints = tuple(line.rstrip() for line in lines[start + 1 : stop] if line.strip())
            found.append(Command(str(page.relative_to(root)), first + start, lines[start][2:], prints))
    return found


def missing(expected: tuple[str, ...], printed: str) -> str | None:
    """Return the first expected line that does not follow in what was printed, or None. `...` stands for anything."""
    rest = iter(printed.splitlines())
    for line in expected:
        if line.strip() == "...":
            continue
        pattern = re.compile(".*?".join(re.escape(part) for part in line.strip().split("...")))
        if not any(pattern.fullmatch(candidate.strip()) for candidate in rest):
            return line
    return None


def environment(root: Path) -> dict[str, str]:
    """Return the environment in which a document's commands run: the project's own `yilian` first, plain text, a fixed width."""
    return {**os.environ, "PATH": f"{root}/.venv/bin:{os.environ['PATH']}", "COLUMNS": COLUMNS, "NO_COLOR": "1", "TERM": "dumb"}


def help_of(root: Path, command: str) -> str:
    """Return what `command --help` prints."""
    run = subprocess.run([*shlex.split(command), "--help"], cwd=root, env=environment(root), capture_output=True, text=True, check=True)
    return "".join(f"{line.rstrip()}\n" for line in run.stdout.splitlines())


def with_help(root: Path, text: str) -> str:
    """Return a page with each help text as the command prints it now."""
    return HELP.sub(lambda block: block[1] + help_of(root, block[2].strip()) + block[4], text)


def main() -> int:
    """Write the help texts anew; say which pages changed."""
    root = Path(__file__).parent.parent
    for page in pages(root):
        text = page.read_text()
        written = with_help(root, text)
        if written != text:
            page.write_text(written)
            print(f"{page.relative_to(root)}: help written anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
