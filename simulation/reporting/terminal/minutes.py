"""A line a minute about something long, for a log: where standard error is no terminal that could be drawn on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

MINUTE_S = 60.0


class MinuteLines:
    """Prints a line on standard error for each full minute in which it is asked to.

    So work that ends within a minute prints nothing, and a job whose log is watched for signs of life is not taken for
    dead. Where the log cannot be written any more, nothing is said, and nothing else ends.
    """

    def __init__(self, said: Callable[[], str], clock: Callable[[], float] | None = None) -> None:
        self._said = said
        self._clock = time.perf_counter if clock is None else clock
        self._begun_s = self._clock()
        self._minutes = 0
        """How many minutes had passed at the last line."""

    def is_due(self) -> bool:
        return self._passed() > self._minutes

    def draw(self) -> None:
        self._minutes = self._passed()
        if sys.stderr is None:  # it was closed from the start; print would take standard output
            return
        with suppress(OSError, ValueError):  # ValueError: it is closed
            print(f"after {self._minutes} min: {self._said()}", file=sys.stderr, flush=True)

    def _passed(self) -> int:
        return int((self._clock() - self._begun_s) / MINUTE_S)
