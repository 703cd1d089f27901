"""A picture at the bottom of a terminal that is drawn over and over, and vanishes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, SegmentLines

PAUSE_S = 0.5
"""The shortest time from one drawing to the next."""

SHARE_MAX = 0.01
"""The largest share of the time that is spent on drawing."""

AFTER_S = 0.25
"""What ends sooner is not drawn at all: it could not be read."""


class Canvas(Live):
    """Draws a picture with each `refresh`; what is printed meanwhile stands above it. When it stops, nothing is left.

    Beyond what `Live` does, a terminal that becomes narrower does not leave parts of earlier pictures behind.
    """

    def __init__(self, picture: Callable[[], RenderableType], console: Console) -> None:
        self._picture = picture
        self._width = 0
        self._drawn: list[int] = []
        """How long each line was when it was last drawn."""
        super().__init__(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file is not for the terminal
            vertical_overflow="crop",
        )

    def get_renderable(self) -> RenderableType:
        """Return what is drawn."""
        return self

    def refresh(self) -> None:
        """Draw; first remove the rows into which a terminal that has become narrower broke the lines."""
        with self._lock:
            width = self.console.width
            if width < self._width:
                broken = sum(max(1, -(-length // width)) for length in self._drawn) - len(self._drawn)
                self.console.control(Control(*[(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)] * broken))
            self._width = width
            super().refresh()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the picture; nothing when it has stopped, so that nothing is left."""
        if self.is_started:
            options = options.update_width(max(1, options.max_width - len("^C")))  # its echo would break the last line
            lines = console.render_lines(self._picture(), options, pad=False)[: options.size.height]
            self._drawn = [Segment.get_line_length(line) for line in lines]
            yield SegmentLines(lines, new_lines=True)


@contextmanager
def drawing(picture: Callable[[], RenderableType]) -> Iterator[None]:
    """Draw a picture on standard error over and over, for as long as the block lasts.

    When the block is left, by an error or an interrupt too, nothing of it is left and the cursor is back. A terminal
    that is gone itself ends the drawing, and nothing else. A thread draws, which an interrupt cannot stop half-way.
    """
    finished = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        drawn = executor.submit(_draw, picture, Console(stderr=True, highlight=False), finished)
        try:
            yield
        finally:
            finished.set()
            drawn.result()


def _draw(picture: Callable[[], RenderableType], console: Console, finished: threading.Event) -> None:
    if finished.wait(AFTER_S):
        return
    with suppress(OSError), Canvas(picture, console) as canvas:  # the terminal is gone
        pause_s = 0.0
        while not finished.wait(pause_s):
            begun_s = time.thread_time()
            canvas.refresh()
            pause_s = pause_after(time.thread_time() - begun_s)


def pause_after(cost_s: float) -> float:
    """Return how long to wait after a drawing that took so much of the processor's time."""
    return max(PAUSE_S, cost_s / SHARE_MAX)
