"""Floor 7: the command line. One file per command; this door finds the command, runs it, and turns what it raises into an exit code.

Exit     0 done, 2 usage, 3 refused, 4 unreachable, 70 our defect (design 08). `--json` prints the same facts as the text.
Source   design 09 "A command"; ADR-0100.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module

from yilian.cli.frame import Command, Output, attempt

# In the order of `yilian --help`: what a newcomer tries first stands first.
COMMANDS = (
    "demo",
    "node",
    "network",
    "import",
    "grant",
    "revoke",
    "read",
    "log",
    "verify",
    "verify-record",
    "show",
    "snapshot",
    "bench",
)
_FILES = {"import": "importing"}  # `import` is a word of Python


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    command: Command = options.command
    return attempt(command, options, Output(is_json=options.json))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line. The commands' files import little until they run, so that `--help` is instant."""
    top = argparse.ArgumentParser(
        prog="yilian",
        description="Health records stay where they were made; what crosses between members is on one ledger that holds no health data.",
        epilog="Exit codes: 0 done, 2 usage, 3 refused, 4 unreachable, 70 our defect. `yilian demo` is the place to begin.",
    )
    commands = top.add_subparsers(title="commands", required=True)
    for name in COMMANDS:
        command: Command = import_module(f"yilian.cli.{_FILES.get(name, name.replace('-', '_'))}")
        one = commands.add_parser(
            name, help=command.SUMMARY, description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.options(one)
        one.add_argument("--json", action="store_true", help="print the same facts as JSON")
        one.set_defaults(command=command)
    return top
