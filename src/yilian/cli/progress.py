"""A progress bar on long work, on a terminal only: a log file wants lines, not movements."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """A bar on stderr while the `with` lasts; nothing at all where stderr is no terminal."""

    def __init__(self, what: str, total: int | None = None) -> None:
        """Name the work, and how much of it there is, where that is known."""
        self._progress = _drawn() if sys.stderr.isatty() else None
        if self._progress is not None:
            self._task = self._progress.add_task(what, total=total)

    def to(self, done: int, total: int | None = None) -> None:
        """Say how far it is."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()


def _drawn() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
