"""Run tests against mutants, in forked children of one warm process.

Two ways (ADR-0005): *quick* puts the changed function's code into the function that is already loaded, in a fork of a process that has
collected all tests; *whole* loads the changed file in place of the real one before anything of ours is loaded, and collects anew. Quick
is for code inside functions that no import and no collecting has run; what survives it is judged again by the whole way.
"""

import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import _lru_cache_wrapper, partial
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

from mutants import Mutant

QUIET = ["-q", "--disable-warnings", "-o", "cache_dir=.cache/mutate", "-p", "no:xdist", "-m", "not slow", "--no-header", "--tb=line"]
QUIET += ["-o", "timeout=0"]  # the alarm that ends a child is ours, and not that of pytest-timeout
GRACE_S = 10  # a mutant that loops for ever is stopped after this and five times what its tests took
KILLED, SURVIVED, NOT_REACHED = "killed", "survived", "not reached"
TIMED_OUT, NOT_COLLECTED, CRASHED = "timed out", "not collected", "crashed"
# What a child ends with. Nothing but a test that failed is a kill.
_ALIVE, _FAILED, _UNCOLLECTED, _BROKEN = range(4)
_OF_STATUS = {_ALIVE: SURVIVED, _FAILED: KILLED, _UNCOLLECTED: NOT_COLLECTED}
# Who walks a line besides tests: every test (on import), every test of a file (on collecting it, or in a fixture that tests share).
ALL, FILE, SHARED = "all:", "file:", "shared:"


def module_of(path: str) -> str:
    """Return the dotted name of the module in a file under src/ or tools/."""
    return ".".join(Path(path).with_suffix("").parts[1:]).removesuffix(".__init__")


class Reading(importlib.machinery.SourceFileLoader):
    """Loads one module from changed source."""

    changed = b""

    def get_code(self, fullname: str) -> CodeType:
        """Return the changed file, compiled."""
        return compile(self.changed, self.get_filename(fullname), "exec")


class Instead(importlib.abc.MetaPathFinder):
    """Finds the changed file before the real one."""

    def __init__(self, name: str, path: str, changed: bytes) -> None:
        self.name, self.path, self.changed = name, path, changed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the changed module's spec; for any other name look on."""
        del path, target
        if fullname != self.name:
            return None
        loader = Reading(fullname, self.path)
        loader.changed = self.changed
        inside = [str(Path(self.path).parent)] if self.path.endswith("__init__.py") else None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader, submodule_search_locations=inside)


@dataclass
class Walk:
    """What the tests do without any mutant: seconds per test, and per file and line the tests that walk it."""

    took_s: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    def walkers(self, mutant: Mutant) -> set[str]:
        """Return who walks the mutant's lines: tests, and ALL, FILE or SHARED ones."""
        if mutant.function:
            return {who for line in range(mutant.first_line, mutant.last_line + 1) for who in self.lines.get(mutant.path, {}).get(line, ())}
        # It runs when the module is loaded: whoever walks anything of the room depends on it.
        room = str(Path(mutant.path).parent)
        return {who for path, lines in self.lines.items() if path.startswith(room) for some in lines.values() for who in some} - {ALL}

    def tests_for(self, mutant: Mutant) -> list[str]:
        """Return the tests that could notice a mutant, quickest first."""
        walkers = self.walkers(mutant)
        files = {who.split("::")[0].partition(":")[2] for who in walkers if who.startswith((FILE, SHARED))}
        if not mutant.function:  # a test beside a walker may look at what loading made (a number, a table) and walk no line
            files |= {who.split("::")[0] for who in walkers}
        found = [test for test in self.took_s if test in walkers or ALL in walkers or test.split("::")[0] in files]
        return sorted(found, key=lambda name: (self.took_s[name], name))

    def is_quick(self, mutant: Mutant) -> bool:
        """Say whether nothing walked the mutant before the first test began."""
        return bool(mutant.function) and not any(who.startswith((ALL, FILE)) for who in self.walkers(mutant))

    def limit_s(self, tests: Iterable[str]) -> int:
        """Return after how many seconds a run of these tests is stopped."""
        return GRACE_S + int(5 * sum(self.took_s[test] for test in tests))


class Tracer:
    """Notes who walks which line of the files under test."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.names = {str(Path(path).resolve()): path for path in paths}
        self.walk = Walk()
        self.who = ALL

    def global_trace(self, frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401 - the type sys.settrace asks for
        """Follow only frames of the files under test."""
        name = self.names.get(frame.f_code.co_filename)
        if name is None:
            return None
        lines, who = self.walk.lines.setdefault(name, {}), self.who
        lines.setdefault(frame.f_lineno, set()).add(who)

        def local_trace(inner: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - as above
            if event == "line":
                lines.setdefault(inner.f_lineno, set()).add(who)
            return local_trace

        return local_trace

    def trace(self, who: str, work: Callable[[], object]) -> None:
        """Do some work and note what it walks under a name."""
        self.who = who
        sys.settrace(self.global_trace)
        try:
            work()
        finally:
            sys.settrace(None)


def end_after(limit_s: int) -> None:
    """Have this child end by its alarm, whatever pytest-timeout made of the signal where it was forked."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(limit_s)


def silence() -> None:
    """Send what a child prints nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def told_by_child(work: Callable[[], object]) -> Any:  # noqa: ANN401 - whatever `work` returns
    """Return what `work` returns, done in a forked child, so that nothing of it stays here."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            with os.fdopen(write, "wb") as out:
                pickle.dump(work(), out)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as source:
        answer = pickle.load(source)  # noqa: S301 - our own child wrote it
    os.waitpid(child, 0)
    return answer


def verdict(status: int) -> str:
    """Return what a child's wait status says of its mutant. Who was stopped by its alarm, or by anything else, was not killed by a test."""
    if os.WIFSIGNALED(status):
        return TIMED_OUT if os.WTERMSIG(status) == signal.SIGALRM else CRASHED
    return _OF_STATUS.get(os.WEXITSTATUS(status), CRASHED)


def in_turn(mutants: Sequence[Mutant], jobs: int, start: Callable[[Mutant], int]) -> dict[Mutant, str]:
    """Start a child per mutant, so many at a time; return the verdicts by the children's statuses."""
    verdicts: dict[Mutant, str] = {}
    running: dict[int, Mutant] = {}
    waiting = list(reversed(mutants))
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[start(mutant)] = mutant
        child, status = os.wait()
        verdicts[running.pop(child)] = verdict(status)
        if len(verdicts) % 100 == 0:
            print(f"{len(verdicts)} of {len(mutants)}", file=sys.stderr)
    return verdicts


class Quick:
    """A pytest plugin that collects once, notes who walks what, and then judges mutants in forks instead of running the tests."""

    def __init__(self, paths: Sequence[str], mutants: Sequence[Mutant], sources: dict[str, bytes], jobs: int) -> None:
        self.tracer = Tracer(paths)
        self.mutants, self.sources, self.jobs = mutants, sources, jobs
        self.verdicts: dict[Mutant, str] = {}
        self.failed = True
        self.tracer.trace(ALL, lambda: [importlib.import_module(module_of(path)) for path in paths])

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Iterator[None]:
        """Note what collecting a file walks."""
        self.tracer.who = FILE + collector.nodeid
        sys.settrace(self.tracer.global_trace)
        yield
        sys.settrace(None)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> Iterator[None]:
        """Note what a fixture walks that several tests share: it runs in the first of them only."""
        outer = self.tracer.who
        if fixturedef.scope != "function":
            self.tracer.who = SHARED + request.node.nodeid
        yield
        self.tracer.who = outer

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Walk every test once in a fork; then judge the mutants that can be judged here."""
        if session.testsfailed:
            return True
        self.failed, took_s, lines = told_by_child(lambda: self.walk_all(session))
        walk = self.tracer.walk = Walk(took_s, lines)
        if not self.failed:
            items = {item.nodeid: item for item in session.items}
            loaded = self.loaded_functions()
            codes = {mutant: self.changed(mutant, loaded) for mutant in self.mutants if walk.is_quick(mutant) and walk.tests_for(mutant)}
            ready = [mutant for mutant, code in codes.items() if code is not None]
            self.verdicts = in_turn(ready, self.jobs, lambda mutant: self.start(mutant, codes[mutant], session, items))
        return True

    def walk_all(self, session: pytest.Session) -> tuple[bool, dict[str, float], dict[str, dict[int, set[str]]]]:
        """Run every test, traced; return whether one failed, seconds per test, and who walks which line."""
        for item, following in zip_longest(session.items, session.items[1:]):
            began = time.perf_counter()
            self.tracer.trace(item.nodeid, partial(item.config.hook.pytest_runtest_protocol, item=item, nextitem=following))
            self.tracer.walk.took_s[item.nodeid] = time.perf_counter() - began
        return bool(session.testsfailed), self.tracer.walk.took_s, self.tracer.walk.lines

    def loaded_functions(self) -> dict[tuple[str, str], list[FunctionType]]:
        """Return the functions of the files under test that are loaded, by (path, qualified name)."""
        found: dict[tuple[str, str], list[FunctionType]] = defaultdict(list)
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType) and thing.__code__.co_filename in self.tracer.names:
                found[self.tracer.names[thing.__code__.co_filename], thing.__code__.co_qualname].append(thing)
        return found

    def changed(self, mutant: Mutant, loaded: dict[tuple[str, str], list[FunctionType]]) -> tuple[FunctionType, CodeType] | None:
        """Return the loaded function and its changed code, or None where either is not one."""
        codes = [compile(mutant.apply(self.sources[mutant.path]), str(Path(mutant.path).resolve()), "exec")]
        named = []
        while codes:
            code = codes.pop()
            inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
            named += [one for one in inner if one.co_qualname == mutant.function]
            codes += inner
        functions = loaded.get((mutant.path, mutant.function), [])
        if len(named) != 1 or len(functions) != 1 or named[0].co_freevars != functions[0].__code__.co_freevars:
            return None
        return functions[0], named[0]

    def start(self, mutant: Mutant, change: Any, session: pytest.Session, items: dict[str, pytest.Item]) -> int:  # noqa: ANN401 - of `changed`
        """Fork a child that puts the changed code in and runs the tests until one fails."""
        tests = self.tracer.walk.tests_for(mutant)
        child = os.fork()
        if child:
            return child
        try:
            silence()
            session.config.pluginmanager.unregister(name="terminalreporter")  # it has a copy of the real standard output
            end_after(self.tracer.walk.limit_s(tests))
            function, code = change
            function.__code__ = code
            for thing in gc.get_objects():
                if isinstance(thing, _lru_cache_wrapper):
                    thing.cache_clear()
            chosen = [items[test] for test in tests]
            for item, following in zip_longest(chosen, chosen[1:]):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    os._exit(_FAILED)
            os._exit(_ALIVE)
        finally:
            os._exit(_BROKEN)  # whatever was raised: a fork must not go on as its parent


class Chooser:
    """A pytest plugin that keeps the wanted tests, in the wanted order, and ends the process with the first that fails."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self.order = {name: place for place, name in enumerate(wanted)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the wanted tests; all of the files if a mutant changed the tests' very names."""
        kept = [item for item in items if item.nodeid in self.order]
        if kept:
            items[:] = sorted(kept, key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End when a test fails."""
        if report.failed:
            os._exit(_FAILED)


def start_whole(mutant: Mutant, source: bytes, walk: Walk) -> int:
    """Fork a child that loads the changed file in place of the real one; return its process id.

    A file that cannot be collected hides no other: the tests of those that can be are run.
    """
    tests = walk.tests_for(mutant)
    child = os.fork()
    if child:
        return child
    try:
        silence()
        end_after(walk.limit_s(tests))
        sys.meta_path.insert(0, Instead(module_of(mutant.path), str(Path(mutant.path).resolve()), mutant.apply(source)))
        files = sorted({test.split("::")[0] for test in tests})
        ended = pytest.main([*QUIET, "--continue-on-collection-errors", *files], plugins=[Chooser(tests)])
        uncollected = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED, pytest.ExitCode.NO_TESTS_COLLECTED)
        os._exit(_ALIVE if ended == pytest.ExitCode.OK else _UNCOLLECTED if ended in uncollected else _BROKEN)
    finally:
        os._exit(_BROKEN)


def judge(mutants: Sequence[Mutant], sources: dict[str, bytes], tests: Sequence[str], jobs: int) -> dict[Mutant, str]:
    """Return the verdict on each mutant."""
    os.environ.setdefault("HYPOTHESIS_PROFILE", "brief")

    def quickly() -> tuple[bool, Walk, dict[Mutant, str]]:
        plugin = Quick(sorted(sources), mutants, sources, jobs)
        pytest.main([*QUIET, *tests], plugins=[plugin])
        return plugin.failed, plugin.tracer.walk, plugin.verdicts

    failed, walk, verdicts = told_by_child(quickly)
    if failed:
        sys.exit("stopped: the tests fail, or there are none, before anything is mutated")
    settled = {mutant: said for mutant, said in verdicts.items() if said in (KILLED, TIMED_OUT)}
    rest = [mutant for mutant in mutants if mutant not in settled]
    reached = [mutant for mutant in rest if walk.tests_for(mutant)]
    print(f"{len(settled)} settled quickly, {len(reached)} to be judged by loading the file anew", file=sys.stderr)
    whole = in_turn(reached, jobs, lambda mutant: start_whole(mutant, sources[mutant.path], walk))
    return dict.fromkeys(mutants, NOT_REACHED) | settled | whole
