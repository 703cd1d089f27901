"""Every kind of picture by its name, of a run or of several, as the command line draws it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from actors.errors import ConfigurationError
from actors.messages import NotificationChannel
from simulation.reporting.plots.backoff import backoff, policies_by_channels
from simulation.reporting.plots.canvas import figure_of
from simulation.reporting.plots.delivery import delivery_times
from simulation.reporting.plots.delivery_over_time import delivery_over_time, waiting
from simulation.reporting.plots.experiments import ComparedSettings, SearchedSettings, differences, trials
from simulation.reporting.plots.over_time import amplification, breaker_states, dlq_growth, in_flight, throughput
from simulation.reporting.plots.pareto import pareto
from simulation.reporting.plots.picture import overview
from simulation.reporting.plots.raster import raster
from simulation.reporting.plots.source import PlottedRun
from simulation.reporting.plots.sweeps import SweepSource, cells_of, sweep_heatmap, sweep_lines
from simulation.reporting.plots.timeline import timeline
from simulation.reporting.plots.tripping import breaker_causes

METRIC = "sent_fraction"
"""The metric of a sweep that is drawn when none is given."""


class Options(NamedTuple):
    notification: str | None = None
    channel: str | None = None
    metric: str | None = None
    x: str | None = None
    y: str | None = None
    by: str | None = None
    gain: str | None = None
    cost: str | None = None
    entry: str | None = None


class PlotKind(NamedTuple):
    draw: Callable[..., Figure]
    """Called with the run or the sweep, and with the options."""

    options: tuple[str, ...] = ()
    possible: Callable[..., bool] = lambda _source: True
    """Whether it can be drawn of a run or a sweep; when not, it is left out of ``all``."""


def _over_time(plot: Callable[..., Axes], *, needs_rows: bool = False) -> PlotKind:

    def draw(run: PlottedRun, options: Options) -> Figure:
        # Together, what happens on one channel hides what does on another.
        several = len(run.scenario.channels_used) > 1 and run.scenario.record == "full"
        chosen = (options.channel, options.entry, options.by)
        by = "channel" if several and chosen == (None, None, None) else options.by
        return figure_of(plot(run, channel=options.channel, entry=options.entry, by=by))

    possible = _kept_rows if needs_rows else lambda _run: True
    return PlotKind(draw, ("channel", "entry", "by"), possible)


def _kept_rows(run: PlottedRun) -> bool:
    return not run.notifications.empty


def _timeline(run: PlottedRun, options: Options) -> Figure:
    return figure_of(timeline(run, options.notification or _most_tried(run)))


def _most_tried(run: PlottedRun) -> str:
    """Return the id of the notification with the most attempts; of several such, of the one that took longest."""
    rows = run.notifications
    if rows.empty:
        raise ConfigurationError(["timeline: wanted a run that kept its notifications, got one without any"])
    took = rows["finished_at_s"].fillna(float("inf")) - rows["requested_at_s"]
    order = rows.assign(took=took).sort_values(["attempts", "took"], ascending=False, kind="stable")
    return str(order["id"].iloc[0])


def _backoff(run: PlottedRun, options: Options) -> Figure:
    used = run.scenario.channels_used
    if options.channel is not None and options.channel not in used:
        wanted = f"channel: wanted a channel that the scenario uses ({', '.join(used)}), got {options.channel!r}"
        raise ConfigurationError([wanted])
    shown = used if options.channel is None else (NotificationChannel(options.channel),)
    return figure_of(
        backoff(policies_by_channels({channel: run.scenario.channel_config(channel) for channel in shown}))
    )


def _lines(sweep: SweepSource, options: Options) -> Figure:
    return figure_of(sweep_lines(sweep, options.metric or METRIC, x=options.x, by=options.by))


def _heatmap(sweep: SweepSource, options: Options) -> Figure:
    return figure_of(sweep_heatmap(sweep, options.metric or METRIC, x=options.x, y=options.y))


def _pareto(sweep: SweepSource, options: Options) -> Figure:
    return figure_of(pareto(sweep, gain=options.gain or METRIC, cost=options.cost or "requests"))


OF_A_RUN: dict[str, PlotKind] = {
    "overview": PlotKind(lambda run, _options: overview(run)),
    "throughput": _over_time(throughput),
    "in-flight": _over_time(in_flight),
    "dlq-growth": _over_time(dlq_growth),
    "breaker-states": PlotKind(
        lambda run, options: figure_of(breaker_states(run, channel=options.channel)), ("channel",)
    ),
    "breaker-causes": PlotKind(
        lambda run, options: figure_of(breaker_causes(run, channel=options.channel)), ("channel",), _kept_rows
    ),
    "amplification": _over_time(amplification),
    "delivery-over-time": _over_time(delivery_over_time),
    "waiting": _over_time(waiting, needs_rows=True),
    "delivery-times": PlotKind(lambda run, _options: figure_of(delivery_times(run))),
    "raster": PlotKind(lambda run, options: figure_of(raster(run, channel=options.channel)), ("channel",)),
    "timeline": PlotKind(_timeline, ("notification",), lambda run: not run.notifications.empty),
    "backoff": PlotKind(_backoff, ("channel",)),
}
"""The pictures of a run, by name; the first is the default."""

OF_A_SWEEP: dict[str, PlotKind] = {
    "lines": PlotKind(_lines, ("metric", "x", "by")),
    "heatmap": PlotKind(_heatmap, ("metric", "x", "y"), lambda sweep: len(cells_of(sweep).varied) > 1),
    "pareto": PlotKind(_pareto, ("gain", "cost")),
}
"""The pictures of a sweep, by name."""


OF_A_COMPARISON: dict[str, PlotKind] = {"differences": PlotKind(lambda compared, _options: _differences(compared))}
"""The pictures of a comparison, by name."""

OF_A_SEARCH: dict[str, PlotKind] = {"trials": PlotKind(lambda search, options: _trials(search, options), ("metric",))}
"""The pictures of a search of settings, by name."""


def _differences(compared: ComparedSettings) -> Figure:
    return figure_of(differences(compared))


def _trials(search: SearchedSettings, options: Options) -> Figure:
    return figure_of(trials(search, options.metric))


OF_ALL = OF_A_RUN | OF_A_SWEEP | OF_A_COMPARISON | OF_A_SEARCH
"""Every kind of picture, whatever it is of."""


def kinds_to_draw(names: list[str], known: dict[str, PlotKind], what: str, options: Options) -> list[str]:
    """Return the kinds of pictures to draw, each once; ``all`` is all of them.

    Raises:
        ConfigurationError: a kind is none of these, or an option says something about none of them.
    """
    given = [name for name, value in options._asdict().items() if value is not None]
    problems = []
    if not names:
        heeding = [name for name, kind in known.items() if given and set(given) <= set(kind.options)]
        names = heeding[:1] or [next(iter(known))]
    for name in names:
        if name not in known and name != "all":
            problems.append(f"--kind: wanted one of {what} ({', '.join(known)}, all), got {name}")
    wanted = list(known) if "all" in names else [name for name in dict.fromkeys(names) if name in known]
    heeded = {option for name in wanted for option in known[name].options}
    for option in given if not problems else []:
        if option not in heeded:
            takers = [name for name, kind in OF_ALL.items() if option in kind.options]
            problems.append(f"--{option}: wanted only with --kind {' or '.join(takers)}, got {', '.join(wanted)}")
    if problems:
        raise ConfigurationError(problems)
    return wanted
