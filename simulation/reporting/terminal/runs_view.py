"""Many runs while they go on: how many have finished, how long the rest takes, and the results so far."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

from rich.console import RenderableType
from rich.text import Text

from actors.formatting import counted, plain_number
from simulation.reporting.terminal.layout import Column, SteadyTable, bar, in_a_line, packed, time_left
from simulation.results.formatting import LABEL_MAX, NOTHING, duration_text, metric_text
from simulation.results.progress import FinishedCell
from simulation.scenario.metrics import MetricKind
from simulation.scenario.space import short_names

Better: TypeAlias = Literal["more", "less"]

LATEST = 5
"""So many of the cells that were finished last are shown."""


class RunsView:
    def __init__(
        self,
        what: str = "runs",
        figures: Mapping[str, MetricKind] | None = None,
        chosen: str | None = None,
        better: Better | None = None,
        cell: str = "cell",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begin to watch; see :func:`simulation.reporting.terminal.watch_runs`.

        Raises:
            ValueError: `chosen` is not among the metrics.
        """
        self._what = what
        self._figures = dict(figures or {})
        self._chosen = next(iter(self._figures), None) if chosen is None else chosen
        if self._chosen is not None and self._chosen not in self._figures:
            raise ValueError(f"chosen: wanted one of the metrics {', '.join(self._figures)}, got {chosen!r}")
        self._better = better
        self._cell = cell
        self._clock = clock
        self._base: tuple[float, int] | None = None
        """When it was first called, and how many had finished by then."""
        self._done, self._of = 0, 0
        self._finished = 0
        self._latest: deque[FinishedCell] = deque(maxlen=LATEST)
        self._most: FinishedCell | None = None
        self._least: FinishedCell | None = None
        self._headings = short_names(self._figures, keys_min=2)  # a mere `p99` says too little
        self._table = SteadyTable([Column("", left=True), Column("", left=True, cut_to=LABEL_MAX), *self._columns()])

    def _columns(self) -> Iterator[Column]:
        for number, path in enumerate(self._figures):
            need = len(self._figures) - number  # the last ones go first, and the chosen one never
            yield Column(self._headings[path], 8, need=0 if path == self._chosen else need)

    def update(self, done: int, of: int, cell: FinishedCell | None = None, /) -> None:
        """Take in how many have finished, as :class:`simulation.results.progress.RunsProgress` says."""
        if self._base is None:
            self._base = self._clock(), done
        self._done, self._of = done, of
        if cell is None:
            return
        self._finished += 1
        self._latest.append(cell)
        value = self._value(cell)
        if value is not None:
            # Of equal ones the first.
            self._most = max(self._most or cell, cell, key=self._rank)
            self._least = min(self._least or cell, cell, key=self._rank)

    def lines(self, width: int) -> Sequence[RenderableType]:
        """Return what is shown in a terminal that is so many columns wide."""
        done, of = self._done, self._of
        lines: list[RenderableType] = [*packed(list(self._facts()), width, lines_max=2), bar(done, max(of, 1), width)]
        if self._latest:
            lines += self._table.draw(list(self._rows()), width)
        return lines

    def in_a_line(self) -> str:
        """Return how many have finished, and how long the rest takes, for a log."""
        return in_a_line(self._facts())

    def _facts(self) -> Iterator[Text]:
        if self._base is None:
            yield Text(f"0 {self._what}")
            return
        begun_s, done_before = self._base
        elapsed_s, done = self._clock() - begun_s, self._done - done_before
        yield Text(f"{self._done:,} of {self._of:,} {self._what}", style="bold")
        if done_before:
            yield Text(f"{done_before:,} finished before")
        if done and elapsed_s:
            yield Text(_rate_text(done / elapsed_s, self._what))
        rest = self._of - done_before
        left_s = time_left(elapsed_s, done / rest) if rest > 0 else None
        if left_s is not None:
            yield Text(f"{duration_text(max(1.0, round(left_s)))} left")
        if self._finished:
            yield Text(f"{counted(self._finished, self._cell)} finished")

    def _rows(self) -> Iterator[tuple[str, list[Text]]]:
        names = {"more": ("best", "worst"), "less": ("worst", "best"), None: ("highest", "lowest")}[self._better]
        extremes = list(zip(names, (self._most, self._least), strict=True))
        if self._better == "less":
            extremes.reverse()
        named = [(name, cell) for name, cell in extremes if cell is not None and self._finished > 1]
        named += [("" if number else "latest", cell) for number, cell in enumerate(reversed(list(self._latest)))]
        for name, cell in named:
            figures = [self._figure_text(path, cell) for path in self._figures]
            yield "bold" if name in names else "", [Text(name), Text(cell.label), *figures]

    def _figure_text(self, path: str, cell: FinishedCell) -> Text:
        value, never = cell.figures.get(path), cell.never.get(path)
        text = NOTHING if value is None else metric_text(value, self._figures[path])
        return Text(f"{text} ({never} never)" if never else text)

    def _value(self, cell: FinishedCell) -> float | None:
        return None if self._chosen is None else cell.figures.get(self._chosen)

    def _rank(self, cell: FinishedCell) -> tuple[float, float]:
        """Return what cells are ordered by: those that are never in more runs are above the others."""
        return 0 if self._chosen is None else cell.never.get(self._chosen, 0), self._value(cell) or 0.0


def _rate_text(per_second: float, what: str) -> str:
    return f"{plain_number(per_second)} {what}/s" if per_second >= 1 else f"{per_second * 60:.2g} {what}/min"
