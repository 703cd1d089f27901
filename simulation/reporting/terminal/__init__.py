"""The progress of a run, or of many, on standard error.

A terminal shows a view that vanishes when they have finished. Where standard error is a file or a pipe, or the terminal
cannot move its cursor, there is a line a minute instead. A view is imported only where it is shown: a run that ends
within a minute needs none in a log.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from simulation.reporting.terminal.minutes import MinuteLines

if TYPE_CHECKING:
    from simulation.reporting.terminal.canvas import Drawn, View
    from simulation.reporting.terminal.run_view import Better, RunsView, RunView
    from simulation.results.progress import RunSnapshot
    from simulation.scenario import Scenario
    from simulation.scenario.metrics import MetricKind


@contextmanager
def watch_run(
    scenario: Scenario, *, quiet: bool = False, part: str = ""
) -> Iterator[Callable[[RunSnapshot], None] | None]:
    """Show a run on standard error for as long as the block lasts; gives the `progress` argument of `simulation.run`.

    Args:
        scenario: the scenario of the run.
        quiet: show nothing; None is given.
        part: which one it is where there are several, such as ``2 of 5``.
    """
    if quiet:
        yield None
        return
    begun_s = time.perf_counter()

    @cache
    def view() -> RunView:
        from simulation.reporting.terminal.run_view import RunView

        return RunView(scenario, part, begun_s=begun_s)

    with _shown(view) as canvas:

        def show(run: RunSnapshot) -> None:
            if canvas.is_due():
                view().look(run)
                canvas.draw()

        yield show


@contextmanager
def watch_runs(
    what: str = "runs",
    *,
    quiet: bool = False,
    figures: Mapping[str, MetricKind] | None = None,
    chosen: str | None = None,
    better: Better | None = None,
    cell: str = "cell",
) -> Iterator[RunsView | None]:
    """Show on standard error how many runs have finished, for as long as the block lasts; gives the view to call.

    It is called as :class:`simulation.results.progress.RunsProgress` says: before the first run begins, and
    whenever one has finished; by one thread at a time. It costs no more than a few numbers.

    Args:
        what: the things that are counted.
        quiet: show nothing; None is given.
        figures: by path, the kind of each metric that is shown of a finished cell, in the order of the columns. A
            narrow terminal leaves out the last ones.
        chosen: the metric whose extremes are shown among the finished cells; the first of `figures` when None.
        better: which of the extremes is the better one; they are called the highest and the lowest when None.
        cell: the word for a finished cell.
    """
    if quiet:
        yield None
        return
    from simulation.reporting.terminal.canvas import ticking
    from simulation.reporting.terminal.run_view import RunsView

    view = RunsView(what, figures or {}, chosen, better, cell=cell)
    with _shown(lambda: view) as canvas, ticking(canvas):
        yield view


@contextmanager
def _shown(view: Callable[[], View]) -> Iterator[Drawn]:
    """Give the drawer of a view, which is made when it is first shown: on the terminal, or in a line a minute."""
    if not is_seen():
        yield MinuteLines(lambda: view().in_a_line())
        return
    from simulation.reporting.terminal.canvas import Canvas, stderr

    with Canvas(view().lines, stderr()) as canvas:
        yield canvas


def is_seen() -> bool:
    """Return whether standard error is a terminal that shows drawings at once."""
    if sys.stderr is None or not sys.stderr.isatty():  # None: it was closed from the start
        return False
    from rich.console import Console

    return Console(stderr=True).is_interactive
