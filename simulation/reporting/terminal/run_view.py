"""One run while it goes on: its clock, a table of its channels, and what is wrong at this instant."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from actors.instants import NS_PER_S
from actors.messages import BreakerState, NotificationChannel
from actors.pipeline.lane import breaker_name
from actors.policies.breaker.states import NOT_CLOSED
from simulation.reporting.terminal.layout import FittingTable, bar, figures_column, joined
from simulation.reporting.terminal.pace import Pace, time_left
from simulation.reporting.windows import Window, windows
from simulation.results.counters import BreakerNow
from simulation.results.formatting import NOTHING, amplification_text, duration_text
from simulation.results.progress import RunSnapshot
from simulation.scenario import Scenario
from simulation.scenario.expected_arrivals import expected_notifications

_SPARE = ("p50", "attempts", "accepted", "p99", "in flight")
"""What a narrow terminal leaves out first."""

_STYLES = {
    BreakerState.CLOSED: "dim",
    BreakerState.OPEN: "bold red",
    BreakerState.FORCED_OPEN: "bold red",
    BreakerState.HALF_OPEN: "yellow",
    BreakerState.DISABLED: "dim",
    BreakerState.METRICS_ONLY: "dim",
}


class RunView:
    """What is to be seen of a run."""

    def __init__(self, scenario: Scenario, part: str = "", clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin to watch a run that begins now.

        Args:
            scenario: what is run.
            part: which one it is where there are several, such as ``2 of 5``.
            clock: the wall clock, in seconds.
        """
        self._name = Text(f"{part}  " if part else "").append(" ".join(scenario.name.split()), style="bold")
        self._providers = scenario.providers_used
        self._arrivals_end_s = scenario.arrivals_end_ns / NS_PER_S
        self._latest_end_s = self._arrivals_end_s + scenario.drain_ns / NS_PER_S
        self._work = _Work(scenario)
        self._windows = windows(scenario, self._latest_end_s)
        self._clock = clock
        self._begun_s = self._seen_s = clock()
        self._simulated, self._notifications = Pace(), Pace()
        self._simulated.see(self._begun_s, 0.0)
        self._notifications.see(self._begun_s, 0)
        self._picture: RenderableType = self._name
        self._is_wanted = True

    def picture(self) -> RenderableType:
        """Return what is to be seen."""
        self._is_wanted = True
        return self._picture

    def look(self, run: RunSnapshot) -> None:
        """See how the run stands now, if the picture has been asked for since the last time."""
        if not self._is_wanted:
            return
        self._is_wanted = False
        self._seen_s = self._clock()
        self._simulated.see(self._seen_s, run.seconds)
        self._notifications.see(self._seen_s, run.counts_of()["accepted"])
        self._picture = Group(
            joined(self._clock_facts(run)),
            joined(self._facts(run)),
            bar(min(run.seconds, self._arrivals_end_s), self._arrivals_end_s),
            self._table(run),
            *self._wrong(run),
        )

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

    def _table(self, run: RunSnapshot) -> FittingTable:
        columns = [
            Column("channel"),
            figures_column("accepted"),
            figures_column("sent", 7),
            figures_column("dead", 5),
            figures_column("in flight"),
            figures_column("attempts"),
            figures_column("p50", 8),
            figures_column("p99", 8),
            Column("breaker", min_width=13),
        ]
        table = FittingTable(columns, _SPARE)
        for channel, names in self._providers.items():
            own = {} if len(names) > 1 else run.breaker(channel.value)
            table.add(*_figures(str(channel), run, channel), _breaker_text(own, run.at_ns) if own else "")
            for number, (name, figures) in enumerate(run.providers_of(channel).items()):
                breaker = _breaker_text(run.breaker(breaker_name(channel, number, name)), run.at_ns)
                table.add(f"  {name}", "", f"{figures['sent']:,}", *[""] * 5, breaker)
        if len(self._providers) > 1:
            table.add(*_figures("all", run, None), style="bold")
        return table

    def _wrong(self, run: RunSnapshot) -> list[Text]:
        """Return the faults and quiet hours that hold now; a line in any case where there are any at some time."""
        if not self._windows:
            return []
        now = [_window_text(window, run.seconds) for window in self._windows if _holds(window.spans, run.seconds)]
        return [Text.assemble(("now  ", "dim"), joined(now) if now else (NOTHING, "dim"))]


class _Work:
    """How much of what a run has to do is done: of its notifications, since time passes faster where there are few."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._whole = self._by(math.inf)
        self._end_s = scenario.arrivals_end_ns / NS_PER_S

    def share_by(self, at_s: float) -> float:
        """Return the share that is done by an instant of the run, on average."""
        return self._by(at_s) / self._whole if self._whole else min(1.0, at_s / self._end_s)

    def _by(self, until_s: float) -> float:
        return math.fsum(expected_notifications(self._scenario, entry, until_s) for entry in self._scenario.workload)


def _figures(name: str, run: RunSnapshot, channel: NotificationChannel | None) -> list[str | Text]:
    counts = run.counts_of(channel)
    dead = counts["dead_lettered"]
    return [
        name,
        f"{counts['accepted']:,}",
        f"{counts['sent']:,}",
        Text(f"{dead:,}", style="red" if dead else ""),
        f"{counts['in_flight']:,}",
        amplification_text(run.amplification_of(channel)),
        *(duration_text(run.delivery_time_of(channel, share)) for share in (0.5, 0.99)),
    ]


def _breaker_text(by_host: Mapping[str | None, BreakerNow], at_ns: int) -> Text:
    if len(by_host) > 1 or None not in by_host:
        return _breakers_text([now.state for now in by_host.values()])
    state, since_ns = by_host[None]
    since = f" {duration_text((at_ns - since_ns) / NS_PER_S)}" if state in NOT_CLOSED else ""
    return Text(f"{state}{since}", style=_STYLES[state])


def _breakers_text(states: Sequence[BreakerState]) -> Text:
    """Return how many hosts' own breakers keep something back, of those that ever did."""
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
    """Return a number that is not negative with three significant digits."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"
