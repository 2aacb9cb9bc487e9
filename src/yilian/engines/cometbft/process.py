"""The CometBFT process of one member: found, checked, started, started again when it dies, and ended cleanly."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from yilian.engines.cometbft.faults import (
    BinaryMissing,
    ConsensusFailed,
    Diverged,
    KeepsDying,
    OutOfStep,
    PortInUse,
    RestoredAlone,
    SeatIncomplete,
    WrongVersion,
)
from yilian.engines.cometbft.settings import HOME, VERSION, Ports
from yilian.engines.cometbft.votelog import trim
from yilian.engines.faults import EngineStopped

END_S_MAX = 10.0  # for a clean end before it is killed; it takes under a second
VERSION_S_MAX = 10.0  # for a program to say its version; it takes 0.1 s
SHORT_LIFE_S = 5.0  # a process that lives less than this did not really start
SHORT_LIVES_MAX = 5
PAUSE_S = 0.2  # before the next start
LOG = "cometbft.log"
SEAT_FILES = ("config/priv_validator_key.json", "config/node_key.json", "data/priv_validator_state.json")
LAST_LINES = 100  # of the log, where a dying Go program says why
LOG_SIZE_BYTES_MAX = 16 * 1024 * 1024  # then the log begins anew, the last one is kept beside it
TIMER_SLACK_NS = 5_000_000  # how late a timer of CometBFT may be: it asks for 10,000 ticks a second, which nobody needs (ADR-0114)
# For Go's runtime, unless the operator says otherwise (ADR-0114): on more threads than two its goroutines spend more on waking them than on
# their work, on one its ABCI client starves itself; its heap is small, so it may grow fivefold before it is looked through.
GO = {"GOMAXPROCS": "2", "GOGC": "400"}


def binary() -> Path:
    """Return the program to run: YILIAN_COMETBFT, or what `make cometbft` built.

    Raises   BinaryMissing
    """
    named = os.environ.get("YILIAN_COMETBFT")
    path = Path(named) if named else Path(__file__).resolve().parents[4] / ".tools/bin/cometbft"
    if not path.is_file():
        raise BinaryMissing(path)
    return path


_TOO_HIGH = re.compile(r"app block height \((\d+)\) is higher than core \((\d+)\)")
_RESET = "Did you reset CometBFT without resetting your application's data?"  # consensus/replay.go
# state/validation.go; consensus/replay.go, assertAppHash...: where no hash was expected, CometBFT's own state is what was reset
_DIVERGED = re.compile(r"wrong Block\.Header\.AppHash\. +Expected \w+, got \w+|AppHash after replay\. Got\s\w*, expected \w+")
_FAILED = re.compile(r'CONSENSUS FAILURE!!!.*?err="([^"]{0,500})[^\n]*')
_TOO_LOW = re.compile(r"app block height \((\d+)\) is too far below block store base \((\d+)\)")


class Process:
    """Keeps one CometBFT alive; its home is `FOLDER/validator`, its log `FOLDER/cometbft.log`."""

    def __init__(self, folder: Path, ports: Ports, started: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        """Check that it can run. `started` is called after each start: a fresh process has an empty mempool.

        Raises   BinaryMissing, WrongVersion, SeatIncomplete, PortInUse
        """
        self._program = binary()
        _require_version(self._program)
        _require_seat(folder / HOME)
        config = folder / HOME / "config/config.toml"
        _require_free(ports.p2p_host, ports.p2p, config, "p2p")
        _require_free("127.0.0.1", ports.rpc, config, "rpc")
        self._folder = folder
        self._log = folder / LOG
        self._started = started
        self._failed = failed
        self._ending = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._began_at = 0  # in the log
        self._thread = threading.Thread(target=self._guarded, name="yilian-cometbft", daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    @property
    def id(self) -> int | None:
        """The id of the running process."""
        child = self._child
        return None if child is None or child.poll() is not None else child.pid

    def failure(self) -> EngineStopped | None:
        """Return why the running process takes part in nothing any more; None if it does, for all that its log says.

        A panic in its consensus ends that part of it and leaves the rest alive: CometBFT v0.38.25, consensus/state.go receiveRoutine.
        """
        try:
            with self._log.open("rb") as log:
                log.seek(self._began_at)
                text = log.read(LOG_SIZE_BYTES_MAX).decode(errors="replace")
        except FileNotFoundError:
            return None
        failed = _FAILED.search(text)
        return None if failed is None else cause(failed[0]) or ConsensusFailed(self._log, failed[1])

    def renew(self) -> None:
        """End the running process, so that a new one begins with an empty mempool; any thread, does not wait."""
        child = self._child
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM)

    def let_go(self) -> None:
        """Ask it to end, and do not start it again; any thread."""
        self._ending.set()
        self.renew()

    def end(self) -> None:
        """Ask it to end, wait, and kill it if it does not."""
        self.let_go()
        self._thread.join(END_S_MAX)
        child = self._child
        if child is not None and child.poll() is None:
            child.kill()
        self._thread.join()

    def _guarded(self) -> None:
        try:
            self._keep_alive()
        except BaseException as error:  # noqa: BLE001 - handed on: the engine stops with it
            self._failed(error)

    def _keep_alive(self) -> None:
        _slacken_timers()
        short_lives = 0
        while not self._ending.is_set():
            since = time.monotonic()
            status = self._run()
            if self._ending.is_set():
                return
            short_lives = short_lives + 1 if time.monotonic() - since < SHORT_LIFE_S else 0
            if short_lives >= SHORT_LIVES_MAX:
                raise self._why(status)
            self._ending.wait(PAUSE_S)

    def _run(self) -> int:
        if self._log.exists() and self._log.stat().st_size > LOG_SIZE_BYTES_MAX:
            self._log.replace(self._log.with_suffix(".log.1"))
        trim(self._folder / HOME)
        with self._log.open("ab") as log:
            self._began_at = log.tell()
            # Its own session: a Ctrl-C at the terminal reaches our node alone, which then ends it in order.
            command = [str(self._program), "start", "--home", HOME]
            self._child = subprocess.Popen(  # noqa: S603 - our own
                command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True, env=GO | os.environ
            )
        if self._ending.is_set():
            self._child.send_signal(signal.SIGTERM)
        self._started()
        return self._child.wait()

    def _why(self, status: int) -> EngineStopped:
        """Return the cause that the last words of its last life stand for. Source: CometBFT v0.38.25, state/errors.go."""
        with self._log.open("rb") as log:
            log.seek(self._began_at)
            lines = log.read(LOG_SIZE_BYTES_MAX).decode(errors="replace").strip().splitlines()[-LAST_LINES:]
        text = "\n".join(lines)
        known = cause(text)
        if known is not None:
            return known
        says = [line for line in lines if line.startswith(("ERROR", "panic", "failed", "Error"))] or lines or ["(nothing)"]
        return KeepsDying(status, self._log, says[-1][:500])


def _slacken_timers() -> None:
    """Let the timers of this thread, and so of the processes that it starts, be late. Source: proc(5), `timerslack_ns`; prctl(2)."""
    try:
        Path(f"/proc/{threading.get_native_id()}/timerslack_ns").write_text(str(TIMER_SLACK_NS))
    except OSError:
        return  # a kernel or a container that does not let us: it costs CPU, nothing else


def cause(text: str) -> EngineStopped | None:
    """Return what CometBFT's own words about its ledger and ours stand for; None if they say nothing of it."""
    for pattern in (_TOO_HIGH, _TOO_LOW):
        found = pattern.search(text)
        if found is not None:
            return OutOfStep(int(found[1]), int(found[2]))
    diverged = _DIVERGED.search(text)
    if diverged is not None:
        return Diverged(" ".join(diverged[0].split()))
    return RestoredAlone("CometBFT has no blocks and the ledger here has") if _RESET in text else None


def _require_seat(home: Path) -> None:
    """What is missing CometBFT would draw anew and say nothing: another key, or a record in which no vote was ever given."""
    for name in SEAT_FILES:
        if not (home / name).is_file():
            raise SeatIncomplete(home / name)


def _require_version(program: Path) -> None:
    try:
        said = subprocess.run(  # noqa: S603 - our own
            [str(program), "version"], check=False, capture_output=True, text=True, timeout=VERSION_S_MAX
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    if said != VERSION:
        raise WrongVersion(said, program)


def _require_free(host: str, port: int, config: Path, section: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(host, port, config, section) from error
