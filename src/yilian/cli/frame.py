"""What every command shares: how it answers, and what becomes of what it raises.

Shape    A command is a module: its docstring is the long help, `SUMMARY` the line in `yilian --help`, `options(parser)` declares, and
         `run(options, output)` does it and returns, or raises: `Refused` (exit 3), `Declined` (3), `Misused` (2), `Unreachable` (4).
         Whatever else is raised is our defect: a sentence on stderr, the trace in a file, exit 70.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from yilian.base.refusals import Refused

DONE, USAGE, REFUSED, UNREACHABLE, DEFECT = 0, 2, 3, 4, 70  # design 08
INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended
_DIGITS_SHOWN_MAX, _DIGITS_BEGUN = 128, 32  # a signature is shown whole
_CLOSED_PIPE = 141  # and of one whose reader went away

Fact = str | int | float | bool | None | bytes | Iterable["Fact"] | Mapping[str, "Fact"]


class Misused(Exception):
    """The command was asked for something that it does not do; the sentence says what instead."""


class Declined(Exception):
    """The answer is no, and no numbered reason of the ledger says why; the sentence does."""


class Unreachable(Exception):
    """A node, a port, a file or a disk that the command needs is not there; the sentence says which, and what to do."""


class Answered(Exception):
    """A node's numbered no, as it came over HTTP; the number is permanent (`Reason` of the rules, `No` of a node)."""

    def __init__(self, number: int, name: str, facts: Mapping[str, int | str]) -> None:
        super().__init__(number, name, dict(facts))
        self.number = number
        self.name = name
        self.facts = facts


class Command(Protocol):
    """A command's module."""

    SUMMARY: str
    __doc__: str | None

    def options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's options."""

    def run(self, options: argparse.Namespace, output: "Output") -> None:
        """Do it."""


class Output:
    """Where a command puts its answer: lines for people, or the same facts as one JSON object."""

    def __init__(self, *, is_json: bool = False) -> None:
        self.is_json = is_json

    def answer(self, facts: Mapping[str, Fact], *lines: str) -> None:
        """Print the answer: `lines`, or `facts` as JSON (bytes as hex)."""
        text = json.dumps(plain(facts), ensure_ascii=False) if self.is_json else "\n".join(lines)
        print(text, flush=True)

    def note(self, line: str) -> None:
        """Print a line that is not part of the answer, on stderr."""
        print(line, file=sys.stderr, flush=True)


def plain(value: Fact) -> object:
    """Return a fact as JSON has it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, str | int | float) or value is None:
        return value
    return [plain(each) for each in value]


def shortened(digits: str) -> str:
    """Return hexadecimal digits as a person reads them: a sealing key has 2,432. `--json` has them all."""
    return digits if len(digits) <= _DIGITS_SHOWN_MAX else f"{digits[:_DIGITS_BEGUN]}... ({len(digits) // 2:,} bytes)"


def counted_as(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many}"


def attempt(command: Command, options: argparse.Namespace, output: Output) -> int:
    """Run a command and return the exit code of what came of it."""
    try:
        return _attempted(command, options, output)
    except BrokenPipeError:  # by the answer, or by the sentence that says why there is none
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # either may lead into that pipe, and Python complains once more at exit
            os.dup2(nowhere, stream.fileno())
        return _CLOSED_PIPE


def _attempted(command: Command, options: argparse.Namespace, output: Output) -> int:  # noqa: PLR0911 - one line for each way it ends
    try:
        command.run(options, output)
    except Refused as no:
        return _say_numbered(Answered(int(no.reason), no.reason.name, _shown(no.facts)), output)
    except Answered as no:
        return _say_numbered(no, output)
    except Declined as no:
        _say("refused", str(no), output)
        return REFUSED
    except Misused as wrong:
        _say("usage", str(wrong), output)
        return USAGE
    except Unreachable as missing:
        _say("unreachable", str(missing), output)
        return UNREACHABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as defect:  # noqa: BLE001 - nothing is hidden: the whole trace goes to the file that the sentence names
        known = _said_by_a_node(defect)
        if known is not None:
            return _say_numbered(known, output)
        _say("defect", f"this is our mistake, not yours: {_record(defect)}", output)
        return DEFECT
    return DONE


def _say(kind: str, sentence: str, output: Output) -> None:
    output.note(json.dumps({"error": kind, "sentence": sentence}, ensure_ascii=False) if output.is_json else f"{kind}: {sentence}")


def _shown(facts: Mapping[str, int | str | bytes]) -> dict[str, int | str]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in facts.items()}


def _said_by_a_node(error: Exception) -> Answered | None:
    """Return the no of a node in this process. Its room is slow to import: who raised one has it imported already."""
    room = sys.modules.get("yilian.node.refusals")
    if room is None or not isinstance(error, room.NodeRefused):
        return None
    return Answered(int(error.no), error.no.name, _shown(error.facts))


def _say_numbered(no: Answered, output: Output) -> int:
    from yilian.cli.advice import ADVICE, UNREACHABLE_NUMBERS

    advice = ADVICE.get(no.number, "This software does not know that reason: compare versions.")
    if output.is_json:
        facts: dict[str, Fact] = {"error": "refused", "number": no.number, "reason": no.name, "facts": no.facts, "advice": advice}
        output.note(json.dumps(plain(facts), ensure_ascii=False))
    else:
        shown = ", ".join(f"{name}={value}" for name, value in no.facts.items())
        output.note(f"refused {no.number} {no.name}" + (f"({shown})" if shown else "") + f"\n{advice}")
    return UNREACHABLE if no.number in UNREACHABLE_NUMBERS else REFUSED


def _record(defect: Exception) -> str:
    """Write the trace to a file and return the sentence's end. A trace may quote messages: the file is its owner's."""
    import traceback

    text = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {' '.join(sys.argv[:2])}\n{''.join(traceback.format_exception(defect))}\n"
    for folder in (state_folder(), Path(tempfile.gettempdir())):
        file = folder / "yilian-defects.log"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as log:  # noqa: PTH123 - its mode
                log.write(text)
        except OSError:
            continue
        return f"please send us {file}"
    return f"{type(defect).__name__}, and no file could be written to say more"


def state_folder() -> Path:
    """Return where a user's own state lies (XDG Base Directory): the note of where the last region runs, and what went wrong."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "yilian"
