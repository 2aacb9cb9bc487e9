"""Write the tables of the contract rooms' READMEs from the code: what is remembered, what may be said, what is refused.

Usage    python tools/contract_tables.py [--check] [ROOM ...]
Writes   between `<!-- generated: NAME -->` and `<!-- end -->` under the headings State, Transactions, Refusals; markers that are missing
         are put behind their heading. `--check` writes nothing and says which room differs; exit status 1 if one does.
Source   ADR-0007.
"""

import argparse
import ast
import difflib
import importlib
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from enum import IntEnum
from inspect import getdoc, getsource
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from yilian.base.refusals import Reason

ROOMS = Path("src/yilian/contracts")
COMPOSER = Path("src/yilian/ledger")  # gives the refusals of what concerns several rooms
BLOCK = 1000  # refusals are numbered by contract: 1000s, 2000s ...
TABLES = ("State", "Transactions", "Refusals")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; a bar inside a cell is escaped."""
    lines = [list(head), *(list(row) for row in rows)]
    marked = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
    return "\n".join([marked[0], "|" + "---|" * len(lines[0]), *marked[1:]])


def first_sentence(documented: object) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((getdoc(documented) or "").split("\n\n")[0].split())


def comments_of(row: type) -> dict[str, str]:
    """Return what the comments behind a class's fields say, by field."""
    return {match[1]: match[2] for match in re.finditer(r"^    (\w+):[^#\n]*#\s*(.+)$", getsource(row), re.MULTILINE)}


def fields_table(row: type) -> str:
    """Return the table of a row's fields; of an enumeration its permanent numbers."""
    notes, hints = comments_of(row), get_type_hints(row)
    rows = []
    for name in (field.name for field in fields(row)):
        hint = hints[name]
        numbers = ", ".join(f"{one.value} {one.name}" for one in hint) if isinstance(hint, type) and issubclass(hint, IntEnum) else ""
        meaning = "; ".join(part for part in (notes.get(name, ""), numbers) if part)
        rows.append((f"`{name}`", f"`{hint.__name__ if isinstance(hint, type) else hint}`", meaning))
    if not any(meaning for _, _, meaning in rows):
        return table(("Field", "Type"), (row[:2] for row in rows))
    return table(("Field", "Type", "Meaning"), rows)


def state_table(door: ModuleType) -> str:
    """Return the table of rows that the room remembers, then the fields of each."""
    parts = [
        table(
            ("Rows at", "Key", "Value", "Remembered for"),
            ((f"`{each.prefix.decode(errors='backslashreplace')}`", each.key, f"`{each.row.__name__}`", each.why) for each in door.STATE),
        )
    ]
    rows: dict[type, None] = dict.fromkeys(each.row for each in door.STATE)
    for row in rows:
        if is_dataclass(row):
            parts += [f"`{row.__name__}`: {first_sentence(row)}", fields_table(row)]
    return "\n\n".join(parts)


def transactions_table(door: ModuleType) -> str:
    """Return the table of kinds: number, name, fields, who approves, what it says."""

    def says(kind: Any) -> str:  # noqa: ANN401 - yilian.base.kinds.Kind, of any message
        return first_sentence(kind.message) + (" Composed by `ledger`." if kind.decide is None else "")

    def shape(kind: Any) -> str:  # noqa: ANN401 - as above
        return "<br>".join(f"{f.number} `{f.name}` {f.type.name}{', may be absent' if f.is_optional else ''}" for f in kind.fields)

    rows = ((str(k.number), f"`{k.name}`", shape(k), k.approved_by, says(k)) for k in sorted(door.KINDS, key=lambda k: k.number))
    return table(("Kind", "Name", "Fields", "Approved by", "Says"), rows)


def given(tree: ast.Module) -> list[tuple[str, str, str]]:
    """Return `(reason, facts, function)` for every `require` and `Refused` of a file."""
    found = []
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)):
        for call in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            place = {"require": 1, "Refused": 0}.get(name)
            if place is None or len(call.args) <= place:
                continue
            facts = ", ".join(keyword.arg or "**" for keyword in call.keywords)
            reasons = [n.attr for n in ast.walk(call.args[place]) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "Reason"]
            found += [(reason, facts, function.name) for reason in reasons]
    return found


def mentioned(tree: ast.Module) -> list[tuple[str, str, str]]:
    """Return `(reason, "", function)` for reasons that are named elsewhere: handed on to a function that refuses."""
    inside = [(f.name, n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)]
    return [(n.attr, "", name) for name, n in inside if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "Reason"]


def refusals_table(room: Path) -> str:
    """Return the table of refusals: number, name, facts, the functions that give it."""
    trees = [ast.parse(file.read_text()) for file in sorted(room.glob("*.py"))]
    own = [one for tree in trees for one in given(tree)]
    seen = {reason for reason, _, _ in own}
    own += [one for tree in trees for one in mentioned(tree) if one[0] not in seen]
    numbers = Counter(Reason[reason].value // BLOCK for reason, _, _ in own if Reason[reason].value >= BLOCK)
    block = numbers.most_common(1)[0][0] if numbers else -1
    composed = [one for file in sorted(COMPOSER.glob("*.py")) for one in given(ast.parse(file.read_text()))]
    own += [(reason, facts, f"ledger: {by}") for reason, facts, by in composed if Reason[reason].value // BLOCK == block]
    rows = []
    for reason in sorted({Reason[name] for name, _, _ in own} | {r for r in Reason if r.value // BLOCK == block}):
        facts = dict.fromkeys(facts or "none" for name, facts, _ in own if name == reason.name)
        by = dict.fromkeys(f"`{function}`" for name, _, function in own if name == reason.name)
        rows.append((str(reason.value), f"`{reason.name}`", " or ".join(facts), ", ".join(by) or "no rule of this version"))
    return table(("Number", "Name", "Facts", "Given by"), rows)


def with_tables(text: str, made: dict[str, str]) -> str:
    """Return a README with its tables as made; markers that are missing are put behind their heading."""
    for name, content in made.items():
        begin, end = f"<!-- generated: {name} -->", "<!-- end -->"
        if begin not in text:
            text = re.sub(rf"^(## {name}\n)", rf"\1\n{begin}\n{end}\n", text, count=1, flags=re.MULTILINE)
        before, found, rest = text.partition(begin)
        if found:
            text = f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"
    return text


def tables_of(room: Path) -> dict[str, str]:
    """Return the three tables of a room."""
    door = importlib.import_module(f"yilian.contracts.{room.name}")
    return dict(zip(TABLES, (state_table(door), transactions_table(door), refusals_table(room)), strict=True))


def main() -> int:
    """Write or check every room's README; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", help="names of rooms (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a table is not what the code says")
    chosen = parser.parse_args()
    status = 0
    for room in sorted(path.parent for path in ROOMS.glob("*/__init__.py")):
        page = room / "README.md"
        if chosen.rooms and room.name not in chosen.rooms:
            continue
        old = page.read_text() if page.exists() else ""
        new = with_tables(old, tables_of(room))
        lacking = [name for name in TABLES if f"<!-- generated: {name} -->" not in new]
        if lacking:
            print(f"{page}: has no heading {', '.join('## ' + name for name in lacking)} to put its table under")
            status = 1
        elif new != old and chosen.check:
            print(f"{page}: its tables are not what the code says; `make tables` writes them")
            print("\n".join(list(difflib.unified_diff(old.splitlines(), new.splitlines(), "README", "code", lineterm="", n=0))[2:12]))
            status = 1
        elif new != old:
            page.write_text(new)
            print(f"{page}: written anew")
    return status


if __name__ == "__main__":
    sys.exit(main())
