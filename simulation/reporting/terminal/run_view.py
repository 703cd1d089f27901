"""One run while it goes on: its clock, a table of its channels, and what is wrong at this instant; and many runs, with
how many have finished and the results so far. Texts and tables fit the terminal."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from rich.cells import cell_len
from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.text import Text

from actors.formatting import counted, plain_number
from actors.instants import NS_PER_S
from actors.messages import BreakerState, NotificationChannel
from actors.pipeline.lane import breaker_name
from actors.policies.breaker.states import NOT_CLOSED
from simulation.reporting.fault_windows import Window, windows
from simulation.results.counters import BreakerNow
from simulation.results.formatting import LABEL_MAX, NOTHING, amplification_text, duration_text, metric_text
from simulation.results.progress import FinishedCell, RunSnapshot
from simulation.scenario import Scenario
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.metrics import MetricKind
from simulation.scenario.space import short_names

# ── lines and tables ──────────────────────────────────────────────────────────────────────────────────────────────────


GAP = 2
"""Between columns; half of that where it is narrow."""

SEPARATOR = " · "
BAR_WIDTH_MAX = 100


def packed(parts: Sequence[Text], width: int, *, lines_max: int) -> list[Text]:
    """Return parts one after the other in the fewest lines that fit, at most `lines_max`, with an ellipsis."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(SEPARATOR) + part.cell_len <= width:
            lines[-1].append(SEPARATOR, style="dim").append_text(part)
        elif len(lines) < lines_max:
            lines.append(Text(no_wrap=True).append_text(part))
        else:
            lines[-1].append(f"{SEPARATOR}…", style="dim")
            break
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def in_a_line(facts: Iterable[Text]) -> str:
    return " ".join(", ".join(fact.plain for fact in facts).split())


def bar(done: float, of: float, width: int) -> ProgressBar:
    """Return a bar that shows how much is done; not in the colour of problems."""
    return ProgressBar(
        total=of, completed=done, width=min(width, BAR_WIDTH_MAX), complete_style="cyan", finished_style="cyan"
    )


class Column(NamedTuple):
    heading: str
    least: int = 0
    """How wide it is from the beginning, for the figures to come."""

    need: int = 0
    """Where room is short, the columns with the smallest need go first; those of 0 stay."""

    left: bool = False
    """Whether its text begins at the left; figures end at the right."""

    cut_to: int | None = None
    """Where room is short, it is cut to so many characters before another column goes; None: never."""


class SteadyTable:
    """Rows under headings, drawn anew with other figures, in columns that grow and never shrink.

    So nothing jumps to and fro when a figure has a digit more for a moment.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths = [max(cell_len(column.heading), column.least) for column in columns]

    def draw(self, rows: Sequence[tuple[str, Sequence[Text]]], width: int) -> list[Text]:
        """Return the lines of a table of some rows, each with its style; only with the columns that have room.

        Each line is one text: a table of rich's is measured anew each time, which takes several times as long.
        """
        for _, cells in rows:
            self._widths = [max(old, cell.cell_len) for old, cell in zip(self._widths, cells, strict=True)]
        kept, gap, widths = self._fitting(width)
        headings = [Text(column.heading) for column in self._columns]
        lines = []
        for style, cells in [("bold", headings), *rows]:
            shown = [cells[number].copy() for number in kept]
            for cell, number in zip(shown, kept, strict=True):
                cell.truncate(widths[number], overflow="ellipsis")
                cell.align("left" if self._columns[number].left else "right", widths[number])
            line = Text(" " * gap, style=style, no_wrap=True).join(shown)
            line.rstrip()
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
        return lines

    def _fitting(self, width: int) -> tuple[list[int], int, list[int]]:
        kept, gap = list(range(len(self._columns))), GAP
        widths = [
            full if column.cut_to is None else min(full, column.cut_to)
            for full, column in zip(self._widths, self._columns, strict=True)
        ]

        def room() -> int:
            return width - sum(widths[number] for number in kept) - gap * (len(kept) - 1)

        needed = sorted((number for number in kept if self._columns[number].need), key=lambda n: self._columns[n].need)
        while room() < 0:
            if gap > 1:
                gap = 1
            elif needed:
                kept.remove(needed.pop(0))
            else:
                break
        for number in kept:
            widths[number] += min(max(room(), 0), self._widths[number] - widths[number])
        return kept, gap, widths


# ── pace ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


WINDOW_S = 5.0
"""The length of a pace's window, in seconds."""


class Pace:
    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def see(self, now_s: float, count: float) -> None:
        self._seen.append((now_s, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - WINDOW_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Its rise a second; None where not enough has been seen."""
        if len(self._seen) < 2:
            return None
        (from_s, low), (to_s, high) = self._seen[0], self._seen[-1]
        return (high - low) / (to_s - from_s) if to_s > from_s else None


def time_left(elapsed_s: float, share: float) -> float | None:
    """Return the seconds that the rest takes, if the pace stays the same; None at the beginning."""
    return elapsed_s * (1 - share) / share if share > 0 else None


FAULT_LINES_MAX = 3

_COLUMNS = (
    Column("channel", left=True),
    Column("accepted", need=3),
    Column("sent", 7),
    Column("dead", 5),
    Column("in flight"),
    Column("attempts", need=2),
    Column("sent p50", need=1),
    Column("sent p99", need=4),
    Column("breaker", 13, left=True),
)

_STYLES = {
    BreakerState.CLOSED: "dim",
    BreakerState.OPEN: "bold red",
    BreakerState.FORCED_OPEN: "bold red",
    BreakerState.HALF_OPEN: "yellow",
    BreakerState.DISABLED: "dim",
    BreakerState.METRICS_ONLY: "dim",
}


class RunView:
    def __init__(
        self,
        scenario: Scenario,
        part: str = "",
        clock: Callable[[], float] = time.perf_counter,
        begun_s: float | None = None,
    ) -> None:
        self._name = Text(f"{part}  " if part else "").append(" ".join(scenario.name.split()), style="bold")
        self._providers = scenario.providers_used
        self._arrivals_end_s = scenario.arrivals_end_ns / NS_PER_S
        self._latest_end_s = self._arrivals_end_s + scenario.drain_ns / NS_PER_S
        self._work = _Work(scenario)
        self._windows = windows(scenario, self._latest_end_s)
        self._clock = clock
        self._begun_s = self._seen_s = clock() if begun_s is None else begun_s
        self._simulated, self._notifications = Pace(), Pace()
        self._simulated.see(self._begun_s, 0.0)
        self._notifications.see(self._begun_s, 0)
        self._table = SteadyTable(_COLUMNS)
        self._run: RunSnapshot | None = None

    def look(self, run: RunSnapshot) -> None:
        self._run = run
        self._seen_s = self._clock()
        self._simulated.see(self._seen_s, run.seconds)
        self._notifications.see(self._seen_s, run.counts_of()["accepted"])

    def lines(self, width: int) -> Sequence[RenderableType]:
        run = self._run
        if run is None:
            return [self._name]
        done_s = min(run.seconds, self._arrivals_end_s)
        return [
            *packed(list(self._clock_facts(run)), width, lines_max=2),
            *packed(list(self._facts(run)), width, lines_max=2),
            bar(done_s, self._arrivals_end_s, width),
            *self._table.draw(list(self._rows(run)), width),
            *self._wrong(run, width),
        ]

    def in_a_line(self) -> str:
        run = self._run
        return self._name.plain if run is None else in_a_line([*self._clock_facts(run), *self._facts(run)])

    def _clock_facts(self, run: RunSnapshot) -> Iterator[Text]:
        yield self._name
        end_s = self._arrivals_end_s
        if run.seconds > end_s:
            yield Text(duration_text(run.seconds))
            yield Text(f"nothing arrives any more, ends by {duration_text(self._latest_end_s)}")
            return
        yield Text(f"{duration_text(run.seconds)} of {duration_text(end_s)}")
        left_s = time_left(self._seen_s - self._begun_s, self._work.share_by(run.seconds))
        if left_s is not None:
            yield Text(f"{duration_text(max(1.0, round(left_s)))} left")

    def _facts(self, run: RunSnapshot) -> Iterator[Text]:
        faster, notifications = self._simulated.per_second, self._notifications.per_second
        if faster is not None:
            yield Text(f"×{_figure(faster)} real time")
        if notifications is not None and run.seconds <= self._arrivals_end_s:
            yield Text(f"{_figure(notifications)} notifications/s")
        size, peak = run.dlq_of()
        yield Text(f"{size:,} in the DLQ{f' ({peak:,} at its peak)' if peak > size else ''}")
        if run.refused_arrivals:
            yield Text(f"{run.refused_arrivals:,} refused")

    def _rows(self, run: RunSnapshot) -> Iterator[tuple[str, list[Text]]]:
        for channel, names in self._providers.items():
            several = len(names) > 1
            breaker = Text() if several else _breaker_text(run.breaker(channel.value), run.at_ns)
            yield "", [*_figures(str(channel), run, channel), breaker]
            for number, (name, figures) in enumerate(run.providers_of(channel).items()):
                breaker = _breaker_text(run.breaker(breaker_name(channel, number, name)), run.at_ns)
                sent = Text(f"{figures['sent']:,}")
                yield "", [Text(f"  {name}"), Text(), sent, *(Text() for _ in range(5)), breaker]
        if len(self._providers) > 1:
            yield "bold", [*_figures("all", run, None), Text()]

    def _wrong(self, run: RunSnapshot, width: int) -> list[Text]:
        """Return the faults and quiet hours that hold now; a line in any case where there are any at some time."""
        if not self._windows:
            return []
        now = [_window_text(window, run.seconds) for window in self._windows if _holds(window.spans, run.seconds)]
        if not now:
            return [Text(f"now  {NOTHING}", style="dim")]
        now[0] = Text().append("now  ", style="dim").append_text(now[0])
        return packed(now, width, lines_max=FAULT_LINES_MAX)


class _Work:
    """How much of a run's work is done, in notifications, since time passes faster where there are few."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._whole = self._by(math.inf)
        self._end_s = scenario.arrivals_end_ns / NS_PER_S

    def share_by(self, at_s: float) -> float:
        """Return the share that is done by an instant of the run, on average."""
        return self._by(at_s) / self._whole if self._whole else min(1.0, at_s / self._end_s)

    def _by(self, until_s: float) -> float:
        return math.fsum(expected_notifications(self._scenario, entry, until_s) for entry in self._scenario.workload)


def _figures(name: str, run: RunSnapshot, channel: NotificationChannel | None) -> list[Text]:
    counts = run.counts_of(channel)
    dead = counts["dead_lettered"]
    return [
        Text(name),
        Text(f"{counts['accepted']:,}"),
        Text(f"{counts['sent']:,}"),
        Text(f"{dead:,}", style="red" if dead else ""),
        Text(f"{counts['in_flight']:,}"),
        Text(amplification_text(run.amplification_of(channel))),
        *(Text(duration_text(run.delivery_time_of(channel, share))) for share in (0.5, 0.99)),
    ]


def _breaker_text(by_host: Mapping[str | None, BreakerNow], at_ns: int) -> Text:
    if len(by_host) > 1 or None not in by_host:
        return _breakers_text([now.state for now in by_host.values()])
    state, since_ns = by_host[None]
    since = f" {duration_text((at_ns - since_ns) / NS_PER_S)}" if state in NOT_CLOSED else ""
    return Text(f"{state}{since}", style=_STYLES[state])


def _breakers_text(states: Sequence[BreakerState]) -> Text:
    shut = sum(state in NOT_CLOSED for state in states)
    if not shut:
        return Text("closed", style=_STYLES[BreakerState.CLOSED])
    return Text(f"{shut:,} host{'s' * (shut > 1)} not closed", style=_STYLES[BreakerState.OPEN])


def _window_text(window: Window, at_s: float) -> Text:
    down = " (down now)" if _holds(window.dips, at_s) else ""
    return Text(f"{window.text}{down}", style="dim" if window.quiet else "yellow")


def _holds(spans: Sequence[tuple[float, float]], at_s: float) -> bool:
    return any(from_s <= at_s < until_s for from_s, until_s in spans)


def _figure(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


# ── many runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


Better: TypeAlias = Literal["more", "less"]

LATEST = 5
"""The number of the latest finished cells that are shown."""


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
        self.now = ""
        """What goes on after the runs that are counted, in words; empty while they do."""
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

    def __call__(self, done: int, of: int, cell: FinishedCell | None = None, /) -> None:
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
        done, of = self._done, self._of
        lines: list[RenderableType] = [*packed(list(self._facts()), width, lines_max=2), bar(done, max(of, 1), width)]
        if self._latest:
            lines += self._table.draw(list(self._rows()), width)
        return lines

    def in_a_line(self) -> str:
        return in_a_line(self._facts())

    def _facts(self) -> Iterator[Text]:
        if self._base is None:
            yield Text(self.now or f"0 {self._what}")
            return
        begun_s, done_before = self._base
        elapsed_s, done = self._clock() - begun_s, self._done - done_before
        yield Text(f"{self._done:,} of {self._of:,} {self._what}", style="bold")
        if done_before:
            yield Text(f"{done_before:,} finished before")
        if self.now:
            yield Text(self.now)
            return
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
        """Return the sort key of a cell: cells whose metric is never in more runs are above the others."""
        return 0 if self._chosen is None else cell.never.get(self._chosen, 0), self._value(cell) or 0.0


def _rate_text(per_second: float, what: str) -> str:
    return f"{plain_number(per_second)} {what}/s" if per_second >= 1 else f"{per_second * 60:.2g} {what}/min"
