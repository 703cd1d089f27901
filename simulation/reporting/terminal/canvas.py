"""Lines at the bottom of a terminal that are drawn over and over, and vanish."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment

Lines: TypeAlias = Callable[[int], Sequence[RenderableType]]
"""Returns the lines of a terminal of the given width in columns, from the top down."""

PAUSE_S = 1 / 8
"""At least so long from one drawing to the next."""

SHARE_MAX = 0.01
"""Of the time may be spent on drawing, at most."""

AFTER_S = 0.25
"""Seconds; shorter work is not drawn at all: there would be no time to read it."""

TICK_S = 0.5


class View(Protocol):
    def lines(self, width: int) -> Sequence[RenderableType]:
        """Return the lines of a terminal of this width in columns, from the top down."""

    def in_a_line(self) -> str:
        """Return in a line how much of the work is done, and how long the rest takes where that is known."""


class Drawn(Protocol):
    def is_due(self) -> bool:
        """Return whether it is time to."""

    def draw(self) -> None:
        """Do it."""


def stderr() -> Console:
    return Console(stderr=True, highlight=False)


class Canvas:
    """A view at the bottom of a terminal, for as long as the block lasts.

    All other output meanwhile stands above it. When the block is left, by an error or an interrupt too, it is gone and
    the cursor is back. A terminal that is gone itself ends the drawing, and nothing else.
    """

    def __init__(self, lines: Lines, console: Console, clock: Callable[[], float] = time.perf_counter) -> None:
        self._lines = lines
        self._console = console
        self._clock = clock
        self._live = Live(
            self,
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file is not for the terminal
            vertical_overflow="crop",
        )
        self._lock = threading.RLock()
        self._due_s = clock() + AFTER_S
        self._shown = True
        self._has_drawn = False
        self._width = 0
        self._drawn: list[int] = []
        """How long each line was when it was last drawn."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock, _uninterrupted():
            self._make_room()
            self._shown = False  # so that Live's last drawing is one of nothing
            with suppress(OSError):  # the terminal is gone
                self._live.stop()

    def is_due(self) -> bool:
        return self._shown and self._clock() >= self._due_s

    def draw(self) -> None:
        with self._lock, _uninterrupted():
            if not self._shown:
                return
            begun_s = self._clock()
            try:
                self._make_room()
                self._live.start()
                self._live.refresh()
            except OSError:
                self._shown = False
            ended_s = self._clock()
            # The first drawing imports what it needs, so its cost says nothing of the next one.
            cost_s = ended_s - begun_s if self._has_drawn else 0.0
            self._has_drawn = True
            self._due_s = ended_s + max(PAUSE_S, cost_s / SHARE_MAX)

    def _make_room(self) -> None:
        """Take away the rows into which lines were broken that have become too long for the terminal.

        It breaks them itself when it becomes narrower, as most terminals do; Live knows of the lines alone.
        """
        width = self._console.width
        if self._drawn and width < self._width:
            broken = sum(max(1, -(-length // width)) for length in self._drawn) - len(self._drawn)
            up = [(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)] * broken
            self._console.control(Control(*up))
        self._width = width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self._shown:
            return
        options = options.update_width(max(1, options.max_width - len("^C")))  # its echo would break the last line
        rendered = [
            line for each in self._lines(options.max_width) for line in console.render_lines(each, options, pad=False)
        ]
        rendered = rendered[: options.size.height]
        self._drawn = [Segment.get_line_length(line) for line in rendered]
        for number, line in enumerate(rendered):
            if number:
                yield Segment.line()
            yield from line


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay an interrupt until the end of the block, since a half-finished drawing could not be removed."""
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():  # an interrupt comes elsewhere
        yield
        return
    interrupts: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupts:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def ticking(canvas: Drawn) -> Iterator[None]:
    """Draw now and then, in a thread, for as long as the block lasts."""
    finished = threading.Event()

    def tick() -> None:
        while not finished.wait(TICK_S):
            if canvas.is_due():
                canvas.draw()

    thread = threading.Thread(target=tick, name="ticking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
