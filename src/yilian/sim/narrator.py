"""How the story is told: scenes with a heading, plain sentences in Chinese and English, and what was measured under them."""

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

LANGUAGES: Final = ("both", "zh", "en")
_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class Narrator:
    """Prints the story line by line. `clock` is a steady clock's seconds."""

    def __init__(self, language: str = "both", out: TextIO = sys.stdout, clock: Callable[[], float] = time.perf_counter) -> None:
        """Tell in `language`, one of LANGUAGES."""
        self._language = language
        self._out = out
        self._clock = clock
        self._scenes = 0
        self._is_colourful = out.isatty()

    def scene(self, zh: str, en: str) -> None:
        """Begin a scene."""
        self._scenes += 1
        heading = {"zh": zh, "en": en, "both": f"{zh}  ·  {en}"}[self._language]
        self._line("")
        self._line(self._in(_BOLD, f"{self._scenes:>2}  {heading}"))

    def say(self, zh: str, en: str) -> None:
        """Say one thing that happened."""
        if self._language != "en":
            self._line(f"    {zh}")
        if self._language != "zh":
            self._line(f"    {en}")

    def fact(self, name: str, value: object) -> None:
        """Show something measured or returned, as it is."""
        self._line(self._in(_DIM, f"      {name:<10} {value}"))

    def command(self, text: str) -> None:
        """Show a command to copy."""
        self._line(f"    $ {text}")

    def elapsed_ms(self, since: float) -> float:
        """Return the milliseconds since `since`, a value of `now`."""
        return (self._clock() - since) * 1_000

    def now(self) -> float:
        """Return the steady clock's seconds."""
        return self._clock()

    def _in(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._is_colourful else text

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)
