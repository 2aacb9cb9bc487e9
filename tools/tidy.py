"""Check the house rules that no linter knows, over every file that git tracks or would track.

Usage    python tools/tidy.py [ROOT]
Prints   `path:line: rule: what was seen`, one per line; exit status 1 if there is any.
Ratchet  tools/tidy.toml lists what is longer than it should be (it may only shrink) and what is allowed, each with its reason.
Source   design "The house" and "Style"; CONTRIBUTING.md says the same in prose; ADR-0004.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tidy_code

FUNCTION_LINES_MAX = {"core": 40, "else": 60}
FILE_LINES_MAX = {"core": 300, "else": 400}
ADR_LINES_MAX = 60  # one page
ROOM_FILES = ("__init__.py", "state.py", "messages.py", "rules.py", "README.md")
ROOM_HEADINGS = ["Concepts", "State", "Transactions", "Refusals", "Lifecycle"]
ADR_HEADINGS = ["Context", "Decision", "Consequences", "Enforced by"]
EMPTY_WORDS = frozenset({"utils", "util", "helpers", "helper", "managers", "manager", "common", "misc", "stuff"})
TEXT = frozenset({".py", ".md", ".toml", ".txt", ".in", ".sh", ".html", ".js", ".css", ".json", ".yml", ".yaml", ".cfg", ".service", ""})
DATA = ("vectors/", "bench/results.json")  # not written by hand

# Written so that this file does not contain what it looks for.
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X|HAC[K])\b")
MACHINE = re.compile(r"(?<![\w.$}])/(?:wor[k]|far[m]|roo[t]|hom[e]/\w+|Use[r]s/\w+|tm[p])/(?![$\{])")
REGISTRY = re.compile(
    r"(pypi\.[o]rg|python[h]osted\.|crates\.[i]o|proxy\.golang\.[o]rg|registry\.npm[j]s|npm[j]s\.(?:org|com)|maven\.[o]rg|deb\.debian\.[o]rg)"
)
BARE_EXEMPTION = re.compile(r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[\w, -]+\])?)\s*$")


@dataclass(frozen=True, order=True)
class Finding:
    """One place where a rule does not hold; `line` 0 is the file as a whole."""

    path: str
    line: int
    rule: str
    says: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.says}"


@dataclass
class Ratchet:
    """What tools/tidy.toml permits, and which of it was needed."""

    functions: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    allowed: dict[tuple[str, str], str] = field(default_factory=dict)
    used: set[object] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> "Ratchet":
        """Return the ratchet of a checkout; none where there is no file."""
        said = tomllib.loads(path.read_text()) if path.exists() else {}
        allowed = {(entry["path"], entry["rule"]): entry["why"] for entry in said.get("allowed", [])}
        return cls(said.get("functions", {}), said.get("files", {}), allowed)

    def allows(self, found: Finding) -> bool:
        """Say whether a finding is listed with a reason."""
        key = (found.path, found.rule)
        self.used.add(key)
        return key in self.allowed

    def length(self, kind: str, key: str, lines: int, most: int) -> Iterator[tuple[str, str]]:
        """Yield `(rule, text)` if something is longer than it may be, or listed as longer than it is."""
        listed = (self.functions if kind == "function" else self.files).get(key)
        self.used.add((kind, key))
        if listed is None and lines > most:
            yield f"{kind} length", f"{lines} lines, at most {most}"
        elif listed is not None and lines > listed:
            yield f"{kind} length", f"{lines} lines, the ratchet stands at {listed}"
        elif listed is not None and lines < listed:
            lower = f"lower it to {lines}" if lines > most else "take it out"
            yield "ratchet", f"{key} has {lines} lines, listed with {listed}: {lower}"

    def unused(self) -> Iterator[Finding]:
        """Yield a finding for every entry that nothing needed."""
        wanted: list[tuple[object, str]] = [((k, n), n) for k, names in (("function", self.functions), ("file", self.files)) for n in names]
        wanted += [((path, rule), f"{path} {rule}") for path, rule in self.allowed]
        for key, text in wanted:
            if key not in self.used:
                yield Finding("tools/tidy.toml", 0, "ratchet", f"nothing needs the entry {text}: take it out")


def tracked(root: Path) -> list[str]:
    """Return the names of files that git tracks or would track, or of all files where there is no git."""
    run = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=False)
    names = run.stdout.splitlines() if run.returncode == 0 else [str(path.relative_to(root)) for path in root.rglob("*")]
    return sorted(name for name in set(names) if (root / name).is_file())


def lines_of(path: str, text: str) -> Iterator[Finding]:
    """Yield what single lines of a text file show."""
    product = path.startswith("src/") and path.endswith(".py")
    above = ""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, rule in ((UNFINISHED, "unfinished"), (MACHINE, "machine path"), (REGISTRY, "registry")):
            if pattern.search(line):
                yield Finding(path, number, rule, line.strip()[:100])
        if product and BARE_EXEMPTION.search(line) and not above.strip().startswith("#"):
            yield Finding(path, number, "unexplained exemption", f"say why, behind it or in a comment above: {line.strip()[:60]}")
        above = line


def names_of(path: str) -> Iterator[Finding]:
    """Yield names that say nothing."""
    for part in path.split("/"):
        empty = EMPTY_WORDS & set(part.split(".")[0].lower().split("_"))
        if empty and path.endswith((".py", ".md", ".js")):
            yield Finding(path, 0, "empty name", f"`{part}`: {' '.join(sorted(empty))} says nothing; name what it does")


def lengths_of(path: str, tree: ast.Module, text: str, ratchet: Ratchet) -> Iterator[Finding]:
    """Yield functions and files that are too long for their floor, and ratchet entries that could shrink."""
    floor = "core" if tidy_code.room_of(path) in tidy_code.CORE else "else"
    if not path.startswith("tests/"):
        for rule, says in ratchet.length("file", path, text.count("\n"), FILE_LINES_MAX[floor]):
            yield Finding(path, 0, rule, says)
    for name, function in tidy_code.functions(tree):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        for rule, says in ratchet.length("function", f"{path}::{name}", lines, FUNCTION_LINES_MAX[floor]):
            yield Finding(path, function.lineno, rule, f"{name}: {says}" if rule != "ratchet" else says)


def rooms(names: list[str], root: Path, ratchet: Ratchet) -> Iterator[Finding]:
    """Yield contract rooms that are not the five files, and READMEs without the five headings."""
    base = "src/yilian/contracts/"
    inside = [name.removeprefix(base).split("/", 1) for name in names if name.startswith(base) and name.count("/") > base.count("/")]
    for room in sorted({parts[0] for parts in inside}):
        have = {parts[1] for parts in inside if parts[0] == room}
        for missing in sorted(set(ROOM_FILES) - have):
            yield Finding(f"{base}{room}", 0, "room shape", f"{missing} is missing")
        for extra in sorted(have - set(ROOM_FILES)):
            if re.fullmatch(r"rules_\d+\.py", extra):  # a released rule is copied, never edited
                continue
            found = Finding(f"{base}{room}/{extra}", 0, "room shape", "not one of the five files of a room")
            if not ratchet.allows(found):
                yield found
        if "README.md" in have:
            yield from headings(root, f"{base}{room}/README.md", ROOM_HEADINGS, "room shape")


def headings(root: Path, path: str, wanted: list[str], rule: str) -> Iterator[Finding]:
    """Yield a finding unless the page's headings (`## Name`, or a paragraph that begins `**Name.**`) are the wanted ones, in order."""
    have = [a or b for a, b in re.findall(r"^(?:## (.+?)\s*$|\*\*([A-Z][\w ]+)\.\*\*)", (root / path).read_text(), re.MULTILINE)]
    if have != wanted:
        yield Finding(path, 0, rule, f"its headings are {', '.join(have) or 'none'}; they must be {', '.join(wanted)}")


def decisions(names: list[str], root: Path) -> Iterator[Finding]:
    """Yield ADRs that are not one page of the four headings, and numbers given twice."""
    seen: dict[str, str] = {}
    for path in names:
        match = re.fullmatch(r"docs/adr/(\d{4})-[a-z0-9-]+\.md", path)
        if match is None:
            if path.startswith("docs/adr/") and path != "docs/adr/README.md":
                yield Finding(path, 0, "adr", "a decision is docs/adr/NNNN-its-title.md")
            continue
        if match[1] in seen:
            yield Finding(path, 0, "adr", f"the number is taken by {seen[match[1]]}")
        seen[match[1]] = path
        yield from headings(root, path, ADR_HEADINGS, "adr")
        lines = (root / path).read_text().count("\n")
        if lines > ADR_LINES_MAX:
            yield Finding(path, 0, "adr", f"{lines} lines; a decision is one page of at most {ADR_LINES_MAX}")


def code_of(path: str, tree: ast.Module, set_fields: frozenset[str]) -> Iterator[Finding]:
    """Yield what the syntax tree of one file shows, by where the file stands."""
    room = tidy_code.room_of(path)
    if room in tidy_code.CORE:
        yield from (Finding(path, *seen) for seen in tidy_code.core_rules(tree, set_fields))
    if room is not None:
        yield from (Finding(path, *seen) for seen in tidy_code.doors(tree, path))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and re.search(r"(Utils?|Helpers?|Managers?)$", node.name):
                yield Finding(path, node.lineno, "empty name", f"class {node.name}: name what it does")
    if path.startswith("tests/"):
        yield from (Finding(path, *seen) for seen in tidy_code.test_rules(tree))


def parsed(texts: dict[str, str]) -> tuple[dict[str, ast.Module], list[Finding]]:
    """Return the syntax trees of the Python files, and a finding for each that has none."""
    trees, broken = {}, []
    for name, text in texts.items():
        if name.endswith(".py"):
            try:
                trees[name] = ast.parse(text, name)
            except SyntaxError as error:
                broken.append(Finding(name, error.lineno or 0, "syntax", str(error.msg)))
    return trees, broken


def check(root: Path) -> list[Finding]:
    """Return every place in the checkout where a house rule does not hold, in order of path and line."""
    names = tracked(root)
    ratchet = Ratchet.read(root / "tools/tidy.toml")
    texts = {name: (root / name).read_text(errors="replace") for name in names if Path(name).suffix in TEXT}
    trees, broken = parsed(texts)
    core = [tree for name, tree in trees.items() if tidy_code.room_of(name) in tidy_code.CORE]
    fields = tidy_code.set_fields(core)
    found = [*broken, *rooms(names, root, ratchet), *decisions(names, root)]
    for name in names:
        found += names_of(name)
    for name, text in texts.items():
        if not name.startswith(DATA):
            found += lines_of(name, text)
    for name, tree in trees.items():
        found += code_of(name, tree, fields)
        found += lengths_of(name, tree, texts[name], ratchet)
    kept = [one for one in found if not ratchet.allows(one)]
    return sorted({*kept, *ratchet.unused()})


def main() -> int:
    """Print what does not hold and return the exit status."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = check(root)
    for one in found:
        print(one)
    if found:
        print(f"{len(found)} places do not follow the house rules (CONTRIBUTING.md says them in prose)")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
