"""What is seen of many runs."""

import io
import math
import re

import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from simulation.reporting.terminal.run_view import LATEST, RunsView
from simulation.results.progress import FinishedCell
from simulation.scenario.metrics import MetricKind
from simulation.scenario.space import short_names

FIGURES = {"sent_fraction": MetricKind.SHARE, "delivery_time_s.p99": MetricKind.QUANTILE, "dlq.peak": MetricKind.COUNT}


class Watched:
    """A view, and a clock that stands still until it is set."""

    def __init__(self, *arguments, **options):
        self.now = 100.0
        self.view = RunsView(*arguments, **options, clock=lambda: self.now)

    def update(self, at, *news):
        self.now = 100.0 + at
        self.view(*news)

    def text(self, width=100):
        console = Console(file=io.StringIO(), force_terminal=True, width=width, _environ={}, highlight=False)
        for line in self.view.lines(width):
            console.print(line, end="")
            console.print()
        return re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue())

    def row(self, name):
        return next(line for line in self.text().splitlines() if line.startswith(name))


def cell(label, value, **others):
    return FinishedCell(label, {"sent_fraction": value, **others})


def test_time_left_goes_by_those_that_are_over_since_it_began():
    watched = Watched("runs")
    watched.update(0, 0, 40)
    assert " left" not in watched.text()
    watched.update(10, 10, 40)
    assert watched.text().startswith("10 of 40 runs · 1 runs/s · 30 s left")
    watched.view.now = "the case of seed 9 is being made smaller"
    assert watched.view.in_a_line() == "10 of 40 runs, the case of seed 9 is being made smaller"


@given(before=st.integers(0, 900), done=st.integers(1, 50), rest=st.integers(1, 5000), seconds=st.integers(1, 100))
def test_what_had_finished_before_takes_no_part_in_the_estimate(before, done, rest, seconds):
    resumed, fresh = Watched(), Watched()
    for watched, earlier in ((resumed, before), (fresh, 0)):
        watched.update(0, earlier, earlier + done + rest)
        watched.update(seconds, earlier + done, earlier + done + rest)
    lefts = [re.search(r"[\d.]+ \w+ left", watched.text(200)) for watched in (resumed, fresh)]
    assert lefts[0] is not None
    assert lefts[0][0] == lefts[1][0]
    assert (f"{before:,} finished before" in resumed.text(200)) == (before > 0)


def test_time_left_shrinks_while_nothing_is_told_only_by_what_is_told():
    watched = Watched("cases")
    watched.update(0, 0, 4)
    watched.update(60, 1, 4)
    assert "1 cases/min · 3 min left" in watched.text()
    watched.now += 60  # the next one takes longer than that
    assert "0.5 cases/min · 6 min left" in watched.text()


def test_when_all_are_over_at_the_beginning_nothing_is_left():
    watched = Watched()
    watched.update(0, 40, 40)
    watched.now += 5
    assert watched.text().startswith("40 of 40 runs · 40 finished before\n")


def test_nothing_is_known_before_the_first_word():
    assert Watched("trials").text().startswith("0 trials\n")


@pytest.mark.parametrize(
    ("better", "names"), [("more", ("best", "worst")), ("less", ("worst", "best")), (None, ("highest", "lowest"))]
)
def test_the_extremes_among_the_finished_cells(better, names):
    watched = Watched(figures=FIGURES, better=better)
    watched.update(0, 0, 5, cell("first", 0.5))
    assert not any(name in watched.text() for name in names)  # of one alone
    for number, (label, value) in enumerate([("a", 0.5), ("b", 0.9), ("c", None), ("d", 0.1), ("e", 0.9)]):
        watched.update(number, number, 5, cell(label, value))
    most, least = names
    assert watched.row(most).split()[1:3] == ["b", "0.90000"]  # of equal ones the first
    assert watched.row(least).split()[1:3] == ["d", "0.10000"]
    if better:
        assert watched.text().index("best") < watched.text().index("worst")


def test_the_chosen_figure_decides_and_must_be_one_of_those_shown():
    watched = Watched(figures=FIGURES, chosen="dlq.peak", better="less")
    for label, share, peak in (("a", 0.9, 7), ("b", 0.8, 3)):
        watched.update(1, 1, 5, FinishedCell(label, {"sent_fraction": share, "dlq.peak": peak}))
    assert watched.row("best").split()[1] == "b"
    with pytest.raises(ValueError, match=r"wanted one of the metrics sent_fraction, .*, got 'attempts'"):
        RunsView(figures=FIGURES, chosen="attempts")


def test_one_that_is_never_in_a_run_is_above_all_that_are_never_in_none():
    figures = {"delivery_time_s.p99": MetricKind.QUANTILE, "delivery_time_s.never": MetricKind.COUNT}
    watched = Watched(figures=figures, better="less")
    for label, p99, never in (("some", 2.0, 3), ("none", 90.0, 0), ("all", math.inf, 20), ("most", math.inf, 12)):
        cell = FinishedCell(label, {"delivery_time_s.p99": p99}, {"delivery_time_s.p99": never} if never else {})
        watched.update(1, 1, 5, cell)
    assert watched.row("best").split() == ["best", "none", "90", "s", "–"]
    assert watched.row("worst").split()[:5] == ["worst", "all", "never", "(20", "never)"]
    assert "some 2 s (3 never)" in " ".join(watched.text().split())


def test_the_latest_cells_come_first_and_older_ones_make_room():
    watched = Watched(figures=FIGURES)
    for number in range(LATEST + 3):
        watched.update(number, number, 99, cell(f"cell-{number}", 0.5))
    lines = watched.text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("latest"))
    shown = [re.search(r"cell-\d+", line)[0] for line in lines[first:]]
    assert shown == [f"cell-{number}" for number in range(LATEST + 2, 2, -1)]


def test_figures_are_written_as_their_kind_is_and_missing_ones_as_a_dash():
    watched = Watched(figures=FIGURES)
    watched.update(1, 1, 2, FinishedCell("a", {"sent_fraction": 0.5, "delivery_time_s.p99": 90.0, "dlq.peak": None}))
    assert watched.row("latest").split() == ["latest", "a", "0.50000", "90", "s", "–"]


def test_cells_without_figures_have_their_names_shown():
    watched = Watched()
    watched.update(1, 1, 2, FinishedCell("jitter=full", {}))
    assert watched.row("latest").split() == ["latest", "jitter=full"]


@given(st.integers(1, 200), st.text(min_size=1, max_size=100))
def test_no_line_is_longer_than_the_terminal_is_wide(width, label):
    watched = Watched(figures=FIGURES, chosen="dlq.peak")
    watched.update(0, 100, 8000)
    watched.update(3, 120, 8000, FinishedCell(label, {"sent_fraction": 0.98765, "dlq.peak": 12345}))
    text = watched.text(width)
    assert all(len(line) <= width for line in text.splitlines() if line.isascii())
    if width >= 80:
        assert "dlq.peak" in text
        assert "12,345" in text


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join), unique=True, max_size=6))
def test_headings_tell_figures_apart_and_are_the_ends_of_their_paths(paths):
    found = short_names(paths, keys_min=2)
    assert len(set(found.values())) == len(paths)
    for path, heading in found.items():
        assert f".{path}".endswith(f".{heading}")
        assert heading.count(".") >= min(1, path.count("."))
