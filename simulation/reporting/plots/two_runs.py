"""Two runs over time, one below the other, on the same scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from actors.errors import ConfigurationError
from simulation.reporting.plots.canvas import DPI, STYLE, Picture, size_in
from simulation.reporting.plots.delivery_over_time import course_in, draw_delivery, draw_waits, requests_in, scale_of
from simulation.reporting.plots.over_time import draw_level_of, draw_throughput
from simulation.reporting.plots.panels import draw_time_axis, minds_the_clock
from simulation.reporting.plots.shading import shade
from simulation.reporting.plots.source import By, PlottedRun, Taken, arrivals_end_of, check_run, parts
from simulation.reporting.plots.stacked import ends_s
from simulation.reporting.plots.text import cut, drawable, legend_above

WIDTH, PANEL, AROUND = 7.2, 1.5, 0.8
"""In inches: the figure, the height of a panel, and the space above and below the panels."""

PAIRS_MAX = 24

Draw = Callable[[Axes, Taken], tuple[str, Sequence[Artist]]]


def compare(
    one: PlottedRun | Mapping[str, PlottedRun],
    other: PlottedRun | None = None,
    *,
    channel: str | None = None,
    entry: str | None = None,
    by: By | None = None,
) -> Figure:
    """Return a figure of two runs over time, with a panel of the one above a panel of the other, so that both courses
    and titles can be compared at a glance.

    From top to bottom: arrivals, deliveries and failures a second; delivery times by acceptance; the waits of
    notifications in flight; dead letters, where there are any. The scales of both panels are the same.

    Args:
        one: a result, or one that was saved and opened again. Or both by their labels, in place of `other` too.
        other: the other one.
        channel: of this channel alone.
        entry: of this entry of the workload alone.
        by: ``channel``, ``entry`` or ``priority``: panels for each.

    Raises:
        ConfigurationError: one of them has no such channel or entry; or there are not two.
        WrongType: one of them is no result.
    """
    named = dict(one) if isinstance(one, Mapping) else {} if other is None else _named(one, other)
    if len(named) != 2:
        raise ConfigurationError([f"compare: wanted two results, got {len(named) if named else 1}"])
    for run in named.values():
        check_run(run)
    with matplotlib.style.context(STYLE, after_reset=True):
        return _drawn(named, channel, entry, by)


def _named(one: PlottedRun, other: PlottedRun) -> dict[str, PlottedRun]:
    """Return both by their names, with their differences where the names are the same."""
    check_run(one)
    check_run(other)
    names = [one.scenario.name, other.scenario.name]
    seeds = [one.summary["seed"], other.summary["seed"]]
    if names[0] == names[1]:
        apart = seeds if seeds[0] != seeds[1] else ["first", "second"]
        names = [f"{name}, {'seed ' if apart is seeds else ''}{each}" for name, each in zip(names, apart, strict=True)]
    return dict(zip(names, (one, other), strict=True))


def _drawn(named: Mapping[str, PlottedRun], channel: str | None, entry: str | None, by: By | None) -> Figure:
    columns = [parts(run, "series", "time_s", channel=channel, entry=entry, by=by) for run in named.values()]
    pairs: list[tuple[Draw, str, list[Taken | None]]] = []
    for label in dict.fromkeys(part.label for column in columns for part in column):
        pairs += _pairs_of([next((part for part in column if part.label == label), None) for column in columns])
    pairs = pairs[:PAIRS_MAX]
    end_s = max(ends_s(part) for column in columns for part in column)
    count = sum(part is not None for _, _, pair in pairs for part in pair)
    figure = Picture(figsize=(WIDTH, AROUND + PANEL * count), dpi=DPI, layout="constrained")
    panels = iter(figure.subplots(count, squeeze=False).flat)
    for draw, ylabel, pair in pairs:
        known = {label: part for label, part in zip(named, pair, strict=True) if part is not None}
        _draw_pair(draw, ylabel, known, [next(panels) for _ in known], end_s)
    lowest = figure.axes[-1]
    clocks = {run.scenario.start: run.scenario for run in named.values() if minds_the_clock(run.scenario)}
    draw_time_axis(lowest, next(iter(clocks.values())) if len(clocks) == 1 else None, end_s)
    lowest.tick_params(axis="x", labelbottom=True, bottom=True)
    figure.draw_without_rendering()  # makes the ticks while the style holds
    return figure


def _pairs_of(pair: list[Taken | None]) -> list[tuple[Draw, str, list[Taken | None]]]:
    known = [part for part in pair if part is not None]
    found: list[tuple[Draw, str, list[Taken | None]]] = [(draw_throughput, "per second", pair)]
    if all(part.run is not None and part.run.scenario.record == "full" for part in known):
        requests = [None if part is None else part._replace(frame=requests_in(part)) for part in pair]
        scale = scale_of([course_in(part) for part in requests if part is not None])
        found.append((partial(draw_delivery, scale=scale), "delivery time", list(requests)))
        found.append((draw_waits, "in flight", pair))
    else:
        found.append((partial(draw_level_of, column="in_flight", what="in flight"), "in flight", pair))
    if any(part.frame["dlq_size"].any() for part in known):
        found.append((partial(draw_level_of, column="dlq_size", what="dead letters"), "dead letters", pair))
    return found


def _draw_pair(draw: Draw, ylabel: str, pair: Mapping[str, Taken], panels: Sequence[Axes], end_s: float) -> None:
    legend: dict[str, Artist] = {}
    for (label, part), panel in zip(pair.items(), panels, strict=True):
        title, handles = draw(panel, part)
        text = f"{label}, {title}" if part.label else f"{label}: {title[:1].lower()}{title[1:]}"
        panel.set_title(cut(drawable(text.partition(", in steps of")[0]), size_in(panel)[0], 9, "bold"), size=9)
        legend |= {str(handle.get_label()): handle for handle in handles}
        panel.set_ylabel(ylabel)
    highest = max(panels, key=lambda panel: panel.get_ylim()[1])
    limits, ticks = highest.get_ylim(), list(highest.get_yticks())
    for part, panel in zip(pair.values(), panels, strict=True):
        if panel.get_yscale() == highest.get_yscale():
            panel.set_ylim(limits)
            if panel.get_yscale() == "linear":
                panel.yaxis.set_major_locator(FixedLocator(ticks))
        own_end_s = ends_s(part)
        arrivals_end_s = None if part.run is None else arrivals_end_of(part.run)
        shade([panel], part.windows(own_end_s), arrivals_end_s, own_end_s, tagged=False)
        draw_time_axis(panel, part.scenario, end_s)
        panel.tick_params(axis="x", labelbottom=False, bottom=False)
        panel.set_xlabel("")
    if legend:
        legend_above(panels[0], list(legend.values()))
