"""The frame of the command line: exit codes, what is said on which stream, and advice for every refusal."""

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from yilian.base.refusals import Reason, Refused
from yilian.cli import COMMANDS, main, parser
from yilian.cli.advice import ADVICE
from yilian.cli.frame import Declined, Misused, Output, Unreachable, attempt
from yilian.node.refusals import No, NodeRefused


class Raising:
    """A command that raises what it was given."""

    SUMMARY = "raises"

    def __init__(self, failure):
        self.failure = failure

    def options(self, parser):
        pass

    def run(self, options, output):
        if self.failure is not None:
            raise self.failure
        output.answer({"id": b"\x01\x02", "names": ("a", "b")}, "done 0102")


def tried(failure, capsys, *, is_json=False):
    code = attempt(Raising(failure), argparse.Namespace(home=None), Output(is_json=is_json))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_every_refusal_has_exactly_one_sentence_of_advice():
    assert set(ADVICE) == {int(reason) for reason in Reason} | {int(no) for no in No}
    assert [number for number, text in ADVICE.items() if not text.endswith(".") or "\n" in text or len(text) < 20] == []


def test_an_answer_goes_to_stdout_as_lines_or_as_the_same_facts(capsys):
    assert tried(None, capsys) == (0, "done 0102\n", "")
    code, out, err = tried(None, capsys, is_json=True)
    assert (code, json.loads(out), err) == (0, {"id": "0102", "names": ["a", "b"]}, "")


@pytest.mark.parametrize(
    ("failure", "code", "first_line"),
    [
        (Refused(Reason.USES_NOT_ALLOWED, uses_max=7), 3, "refused 1004 USES_NOT_ALLOWED(uses_max=7)"),
        (NodeRefused(No.NO_GRANT), 3, "refused 9020 NO_GRANT"),
        (NodeRefused(No.HOLDER_UNREACHABLE, holder="hospital-1"), 4, "refused 9122 HOLDER_UNREACHABLE(holder=hospital-1)"),
        (Declined("the file says otherwise"), 3, "refused: the file says otherwise"),
        (Misused("there is no file x"), 2, "usage: there is no file x"),
        (Unreachable("no node answers"), 4, "unreachable: no node answers"),
    ],
)
def test_each_failure_has_its_exit_code_and_its_line_on_stderr(failure, code, first_line, capsys):
    got, out, err = tried(failure, capsys)
    assert (got, out, err.splitlines()[0]) == (code, "", first_line)


def test_a_refusal_is_followed_by_its_advice(capsys):
    _, _, err = tried(Refused(Reason.USES_NOT_ALLOWED, uses_max=7), capsys)
    assert err.splitlines()[1:] == [ADVICE[Reason.USES_NOT_ALLOWED]]


def test_a_refusal_as_json_has_number_reason_facts_and_advice(capsys):
    _, _, err = tried(Refused(Reason.USES_NOT_ALLOWED, uses_max=7), capsys, is_json=True)
    assert json.loads(err) == {
        "error": "refused",
        "number": 1004,
        "reason": "USES_NOT_ALLOWED",
        "facts": {"uses_max": 7},
        "advice": ADVICE[1004],
    }


def test_our_defect_shows_no_trace_and_names_the_file_that_holds_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    code, out, err = tried(KeyError("chart of a person"), capsys)
    log = tmp_path / "yilian" / "yilian-defects.log"
    assert (code, out, "Traceback" in err, "chart" in err, str(log) in err) == (70, "", False, False, True)
    assert "KeyError: 'chart of a person'" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_each_command_is_listed_and_has_help_and_json(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        said = capsys.readouterr().out
        assert (end.value.code, said.startswith(f"usage: yilian {command}")) == (0, True)
    listed = [line.split()[0] for line in parser().format_help().splitlines() if line.startswith("    ") and line.strip()]
    assert [command for command in COMMANDS if command not in listed] == []


def test_without_a_word_the_help_is_shown_and_nothing_done(capsys):
    assert main([]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", parser().format_help())


def test_the_version_is_that_of_what_is_installed(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert (end.value.code, capsys.readouterr().out) == (0, f"yilian {version('yilian')}\n")


@pytest.mark.parametrize("words", [["fly"], ["verify"], ["verify", "a", "b"], ["grant", "--uses"]])
def test_what_is_not_understood_is_usage(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert (end.value.code, capsys.readouterr().out) == (2, "")


@pytest.mark.parametrize(("closed", "ends"), [("stdout", "output.answer({}, 'said')"), ("stderr", "open('/nowhere')")])
def test_a_reader_that_went_away_is_no_defect_and_gets_no_trace(closed, ends, tmp_path):
    code = (
        "import sys; from types import SimpleNamespace as Command; from yilian.cli.frame import Output, attempt\n"
        f"sys.exit(attempt(Command(run=lambda _, output: {ends}), None, Output()))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    other = "stderr" if closed == "stdout" else "stdout"
    streams = {closed: writing, other: subprocess.PIPE}
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}, check=False, text=True, **streams
    )
    os.close(writing)
    assert (run.returncode, getattr(run, other)) == (141, "")


def test_help_imports_none_of_the_rooms_that_are_slow_to_import():
    slow = "{'httpx', 'starlette', 'uvicorn', 'cryptography', 'numpy', 'rich', 'nacl', 'sqlite3', 'asyncio', 'fhirkit'}"
    code = f"import sys, yilian.cli; yilian.cli.parser().format_help(); print(sorted({slow} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
