"""Lines that are drawn over and over: whatever happens meanwhile, nothing of them is left."""

import io
import signal

import pytest
from hypothesis import given, strategies as st
from rich.console import Console
from rich.text import Text
from screen import Screen

from simulation.reporting.terminal.canvas import AFTER_S, PAUSE_S, SHARE_MAX, Canvas

WIDTHS = st.integers(5, 120)


class Terminal:
    """A screen, and a console that writes on it."""

    def __init__(self, width=100, height=1000):
        self.screen = Screen(width, height)
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=True, width=width, height=height, _environ={})
        self.now = 0.0

    def clock(self):
        return self.now

    def show(self):
        self.screen.feed(self.file.getvalue())
        self.file.seek(0)
        self.file.truncate()

    def resize(self, width):
        self.show()
        self.screen.resize(width)
        self.console.width = width


def fitting(*lengths):
    """Lines of these lengths, or as long as there is room."""
    return lambda width: [Text("x" * min(length, width)) for length in lengths]


def test_only_the_latest_lines_are_seen_and_none_at_the_end():
    terminal = Terminal()
    shown = ["one", "two"]
    with Canvas(lambda _: [Text(line) for line in shown], terminal.console) as canvas:
        canvas.draw()
        terminal.show()
        assert (terminal.screen.text, terminal.screen.cursor_is_seen) == ("one\ntwo", False)
        shown[:] = ["three"]
        canvas.draw()
        terminal.show()
        assert terminal.screen.text == "three"
    terminal.show()
    assert (terminal.screen.text, terminal.screen.cursor_is_seen) == ("", True)


@given(st.lists(st.integers(0, 130), min_size=1, max_size=8), st.lists(WIDTHS, max_size=6), WIDTHS, WIDTHS)
def test_nothing_is_left_however_the_terminal_is_resized(lengths, widths, first, last):
    terminal = Terminal(first)
    terminal.screen.feed("above\r\n")
    with Canvas(fitting(*lengths), terminal.console) as canvas:
        canvas.draw()
        for width in widths:
            terminal.resize(width)
            canvas.draw()
            terminal.show()
            expected = ["x" * min(length, max(1, width - 2)) for length in lengths]
            assert terminal.screen.text == "\n".join(["above", *expected]).rstrip()
        terminal.resize(last)
    terminal.show()
    assert (terminal.screen.text, terminal.screen.cursor_is_seen) == ("above", True)


def draw_twice(lines, console, error=None):
    with Canvas(lines, console) as canvas:
        canvas.draw()
        canvas.draw()
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_and_an_interrupt_leave_nothing_behind_either(error):
    terminal = Terminal()
    with pytest.raises(error):
        draw_twice(fitting(10, 20), terminal.console, error)
    terminal.show()
    assert (terminal.screen.text, terminal.screen.cursor_is_seen) == ("", True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nor_does_one_in_the_middle_of_drawing(error):
    terminal = Terminal()
    drawn = []

    def lines(width):
        if drawn:
            raise error
        drawn.append(width)
        return [Text("one"), Text("two")]

    with pytest.raises(error):
        draw_twice(lines, terminal.console)
    terminal.show()
    assert (terminal.screen.text, terminal.screen.cursor_is_seen) == ("", True)


def test_an_interrupt_while_it_is_written_waits_until_it_is():
    class Interrupting(io.StringIO):
        def flush(self):
            super().flush()
            if "x" in self.getvalue():
                signal.raise_signal(signal.SIGINT)

    terminal = Terminal()
    terminal.file = terminal.console.file = Interrupting()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        draw_twice(fitting(10, 20), terminal.console)
    terminal.show()
    assert (terminal.screen.text, terminal.screen.cursor_is_seen) == ("", True)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_printed_meanwhile_stands_above_and_stays():
    terminal = Terminal()
    with Canvas(fitting(10, 20), terminal.console) as canvas:
        canvas.draw()
        terminal.console.print("a warning")
        canvas.draw()
    terminal.show()
    assert terminal.screen.text == "a warning"


def test_no_more_lines_than_the_terminal_has():
    terminal = Terminal(height=3)
    with Canvas(fitting(*range(1, 10)), terminal.console) as canvas:
        canvas.draw()
        terminal.show()
        assert terminal.screen.text == "x\nxx\nxxx"
    terminal.show()
    assert terminal.screen.text == ""


def test_what_is_over_at_once_is_not_drawn_and_drawing_takes_a_small_share_of_the_time():
    terminal = Terminal()
    cost = 0.0

    def lines(_):
        terminal.now += cost
        return [Text("x")]

    with Canvas(lines, terminal.console, terminal.clock) as canvas:
        assert not canvas.is_due()
        terminal.now += AFTER_S
        for cost in (0.0, 1.0):
            assert canvas.is_due()
            canvas.draw()
            pause = max(PAUSE_S, cost / SHARE_MAX)
            terminal.now += pause * 0.99
            assert not canvas.is_due()
            terminal.now += pause * 0.02


def test_a_terminal_that_is_gone_ends_the_drawing_and_nothing_else():
    class Gone(io.StringIO):
        def write(self, _):
            raise OSError(5, "Input/output error")

    console = Console(file=Gone(), force_terminal=True, width=80, _environ={})
    with Canvas(fitting(10), console) as canvas:
        canvas.draw()
        assert not canvas.is_due()
        canvas.draw()
