"""One run while it goes on: its clock, a table of its channels, and what is wrong at this instant."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from actors.instants import NS_PER_S
from actors.messages import BreakerState, NotificationChannel
from actors.pipeline.lane import breaker_name
from actors.policies.breaker.states import NOT_CLOSED
from simulation.reporting.fault_windows import Window, windows
from simulation.reporting.terminal.layout import Column, Pace, SteadyTable, bar, in_a_line, packed, time_left
from simulation.results.counters import BreakerNow
from simulation.results.formatting import NOTHING, amplification_text, duration_text
from simulation.results.progress import RunSnapshot
from simulation.scenario import Scenario
from simulation.scenario.expected_arrivals import expected_notifications

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
        """Begin to watch a run."""
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
        """Return what is shown in a terminal that is so many columns wide."""
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
        """Return how far it is, and how it stands, for a log."""
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
