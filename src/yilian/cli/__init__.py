"""Floor 7: the command line. One file per command; this door finds the command, runs it, and turns what it raises into an exit code.

Exit     0 done, 2 usage, 3 refused, 4 unreachable, 70 our defect (design 08). `--json` prints the same facts as the text.
Source   design 09 "A command"; ADR-0100.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from yilian.cli.frame import USAGE, Command, Output, attempt

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
    "record-proof",
    "verify-record",
    "show",
    "snapshot",
    "bench",
)
_FILES = {"import": "importing"}  # `import` is a word of Python


class _Version(argparse.Action):
    """Prints the version. Looked up when it is asked for: that takes longer than all of `--help`."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print("yilian", version("yilian"))
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given:
        parser().print_help(sys.stderr)
        return USAGE
    options = parser().parse_args(given)
    command: Command = options.command
    return attempt(command, options, Output(is_json=options.json))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line. The commands' files import little until they run, so that `--help` is instant."""
    top = argparse.ArgumentParser(
        prog="yilian",
        description="Health records stay where they were made; what crosses between members is on one ledger that holds no health data.",
        epilog="Exit codes: 0 done, 2 usage, 3 refused, 4 unreachable, 70 our defect. `yilian demo` is the place to begin.",
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command: Command = import_module(f"yilian.cli.{_FILES.get(name, name.replace('-', '_'))}")
        one = commands.add_parser(
            name, help=command.SUMMARY, description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.options(one)
        one.add_argument("--json", action="store_true", help="print the same facts as JSON")
        one.set_defaults(command=command)
    return top
