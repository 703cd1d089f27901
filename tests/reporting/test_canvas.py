"""A picture that is drawn over and over: whatever happens meanwhile, nothing of it is left."""

import io
import os
import signal
import threading

import pytest
from hypothesis import given, strategies as st
from rich.console import Console, Group
from rich.text import Text
from screen import Screen

from simulation.reporting.terminal import canvas
from simulation.reporting.terminal.canvas import PAUSE_S, SHARE_MAX, Canvas, drawing, pause_after

WIDTHS = st.integers(5, 120)


class Terminal:
    """A screen, and a console that writes on it."""

    def __init__(self, width=100, height=1000, file=None):
        self.screen = Screen(width, height)
        self.file = file or io.StringIO()
        self.console = Console(file=self.file, force_terminal=True, width=width, height=height, _environ={})

    def show(self):
        self.screen.feed(self.file.getvalue())
        self.file.seek(0)
        self.file.truncate()

    @property
    def seen(self):
        self.show()
        return self.screen.text, self.screen.cursor_is_seen

    def resize(self, width):
        self.show()
        self.screen.resize(width)
        self.console.width = width


def lines(*lengths):
    """Lines of these lengths, or as long as there is room."""
    return lambda: Group(*(Text("x" * length, no_wrap=True, overflow="crop") for length in lengths))


def test_only_the_latest_picture_is_seen_and_none_at_the_end():
    terminal = Terminal()
    shown = ["one", "two"]
    with Canvas(lambda: Group(*shown), terminal.console) as canvas:
        canvas.refresh()
        assert terminal.seen == ("one\ntwo", False)
        shown[:] = ["three"]
        canvas.refresh()
        assert terminal.seen == ("three", False)
    assert terminal.seen == ("", True)


@given(st.lists(st.integers(0, 130), min_size=1, max_size=8), st.lists(WIDTHS, max_size=6), WIDTHS, WIDTHS)
def test_nothing_is_left_however_the_terminal_is_resized(lengths, widths, first, last):
    terminal = Terminal(first)
    terminal.screen.feed("above\r\n")
    with Canvas(lines(*lengths), terminal.console) as canvas:
        canvas.refresh()
        for width in widths:
            terminal.resize(width)
            canvas.refresh()
            expected = ["x" * min(length, max(1, width - 2)) for length in lengths]
            assert terminal.seen[0] == "\n".join(["above", *expected]).rstrip()
        terminal.resize(last)
    assert terminal.seen == ("above", True)


def draw_twice(picture, console, error=None):
    with Canvas(picture, console) as canvas:
        canvas.refresh()
        canvas.refresh()
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_and_an_interrupt_leave_nothing_behind_either(error):
    terminal = Terminal()
    with pytest.raises(error):
        draw_twice(lines(10, 20), terminal.console, error)
    assert terminal.seen == ("", True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nor_does_one_in_the_middle_of_drawing(error):
    terminal = Terminal()
    drawn = []

    def picture():
        if drawn:
            raise error
        drawn.append(1)
        return Group("one", "two")

    with pytest.raises(error):
        draw_twice(picture, terminal.console)
    assert terminal.seen == ("", True)


def test_what_is_printed_meanwhile_stands_above_and_stays():
    terminal = Terminal()
    with Canvas(lines(10, 20), terminal.console) as canvas:
        canvas.refresh()
        terminal.console.print("a warning")
        canvas.refresh()
    assert terminal.seen == ("a warning", True)


def test_no_more_lines_than_the_terminal_has():
    terminal = Terminal(height=3)
    with Canvas(lines(*range(1, 10)), terminal.console) as canvas:
        canvas.refresh()
        assert terminal.seen[0] == "x\nxx\nxxx"
    assert terminal.seen[0] == ""


@pytest.fixture
def draws_on(monkeypatch):
    """Have `drawing` draw at once, on a terminal."""

    def use(terminal, after_s=0.0):
        monkeypatch.setattr(canvas, "AFTER_S", after_s)
        monkeypatch.setattr(canvas, "Console", lambda **_: terminal.console)

    return use


def test_an_interrupt_while_it_is_written_waits_until_it_is(draws_on):
    class Interrupting(io.StringIO):
        def flush(self):
            super().flush()
            if "x" in self.getvalue():
                os.kill(os.getpid(), signal.SIGINT)

    terminal = Terminal(file=Interrupting())
    draws_on(terminal)
    with pytest.raises(KeyboardInterrupt), drawing(lines(10, 20)):
        threading.Event().wait(60)
    assert terminal.seen == ("", True)


def test_an_error_in_the_thread_that_draws_is_raised_when_the_block_ends(draws_on):
    terminal = Terminal()
    draws_on(terminal)
    called = threading.Event()

    def picture():
        called.set()
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"), drawing(picture):
        assert called.wait(60)
    assert terminal.seen == ("", True)


def test_what_ends_at_once_is_not_drawn(draws_on):
    terminal = Terminal()
    draws_on(terminal, after_s=60)
    with drawing(lines(10)):
        pass
    assert terminal.file.getvalue() == ""


@pytest.mark.parametrize("cost_s", [0.0, 0.001, 0.01, 1.0])
def test_drawing_takes_a_small_share_of_the_time(cost_s):
    pause_s = pause_after(cost_s)
    assert pause_s >= PAUSE_S
    assert cost_s / (cost_s + pause_s) <= SHARE_MAX


def test_a_terminal_that_is_gone_ends_the_drawing_and_nothing_else(draws_on):
    class Gone(io.StringIO):
        def write(self, _):
            tried.set()
            raise OSError(5, "Input/output error")

    tried = threading.Event()
    draws_on(Terminal(file=Gone()))
    with drawing(lines(10)):
        assert tried.wait(60)
