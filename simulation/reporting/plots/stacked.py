"""Parts of a run below each other, on the same scales: axes within the axes that a plot is drawn on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.scale import SymmetricalLogTransform
from matplotlib.ticker import FixedLocator, NullLocator

from simulation.reporting.plots.canvas import canvas, say, size_in
from simulation.reporting.plots.panels import draw_time_axis
from simulation.reporting.plots.shading import shade_and_label
from simulation.reporting.plots.source import Taken, arrivals_end_of, why_empty
from simulation.reporting.plots.text import legend_above, set_title

WIDTH, HEIGHT, PART = 8.6, 3.3, 1.75
"""Of a figure of its own, in inches; and how high a part of several is, with its title."""

TITLE_IN = 0.3
"""How much of a part is between it and the one above, in inches."""

PARTS_MAX = 12
"""Of more parts only the first are drawn, and the last title says how many are left out."""

Draw = Callable[[Axes, Taken], tuple[str, Sequence[Artist]]]
"""Draws a part, with the limits of the y axis as the data would have them; returns a title and a legend's entries."""


def over_time(found: Sequence[Taken], ax: Axes | None, draw: Draw, ylabel: str, *, height: float = HEIGHT) -> Axes:
    """Draw one part or several over time, each with its windows, and return the axes.

    Several are in axes within those that are returned, ``ax.child_axes``, from top to bottom.
    """
    shown = found[:PARTS_MAX]
    with canvas(ax, WIDTH, height if len(shown) == 1 else 0.6 + PART * len(shown)) as ax:
        if not shown:
            say(ax, why_empty(None))
            return ax
        if len(shown) == 1:
            _draw_one(ax, shown[0], draw, ylabel)
            return ax
        panels = _divided(ax, len(shown))
        drawn = [(*draw(panel, part), panel, part) for panel, part in zip(panels, shown, strict=True)]
        scale = scale_of_all(panels)
        on_one_scale(panels)
        legend: dict[str, Artist] = {}
        for number, (title, handles, panel, part) in enumerate(drawn, start=1):
            left_out = f"; and {len(found) - PARTS_MAX:,} more" if number == PARTS_MAX < len(found) else ""
            set_title(panel, _short(title, scale) + left_out, lines_max=1)
            panel.set_ylabel(ylabel)
            legend.update({str(handle.get_label()): handle for handle in handles})
            _finish(panel, part)
            panel.tick_params(axis="x", labelbottom=number == len(shown), bottom=number == len(shown))
            if number < len(shown):
                panel.set_xlabel("")
        top = max(panel.get_ylim()[1] for panel in panels)  # some have more windows named above the data
        for panel in panels:
            panel.set_ylim(top=top)
        if legend:
            _legend_on_top(ax, list(legend.values()))
    return ax


def _short(title: str, scale: str) -> str:
    """Return a title without its steps, which all share, and with the scale of all, to fit on one line."""
    return title.partition(", in steps of")[0] + scale


def _highest(panels: Sequence[Axes]) -> Axes:
    return max(panels, key=lambda panel: panel.get_ylim()[1])


def scale_of_all(panels: Sequence[Axes]) -> str:
    """Return the words for the scale of the panel that goes highest; empty where that is linear."""
    transform = _highest(panels).yaxis.get_transform()
    return f", logarithmic above {transform.linthresh:,.9g}" if isinstance(transform, SymmetricalLogTransform) else ""


def _draw_one(ax: Axes, part: Taken, draw: Draw, ylabel: str) -> None:
    title, handles = draw(ax, part)
    set_title(ax, title)
    legend_above(ax, handles)
    ax.set_ylabel(ylabel)
    _finish(ax, part)


def on_one_scale(panels: Sequence[Axes]) -> None:
    """Let all panels have the scale, the limits and the ticks of the one that goes highest."""
    highest = _highest(panels)
    transform, limits, ticks = highest.yaxis.get_transform(), highest.get_ylim(), list(highest.get_yticks())
    if not all(panel.get_yscale() in ("linear", "symlog") for panel in panels):
        return
    for panel in panels:
        if isinstance(transform, SymmetricalLogTransform) and panel is not highest:
            panel.set_yscale("symlog", linthresh=transform.linthresh, linscale=transform.linscale)
            panel.yaxis.set_major_formatter(highest.yaxis.get_major_formatter())
            panel.yaxis.set_minor_locator(NullLocator())
        panel.set_ylim(limits)
        panel.yaxis.set_major_locator(FixedLocator(ticks))


def _divided(ax: Axes, count: int) -> list[Axes]:
    ax.set_axis_off()
    share = 1 / count
    above = min(TITLE_IN / size_in(ax)[1], share / 3)
    panels: list[Axes] = []
    for number in range(count):
        box = (0.0, 1 - (number + 1) * share, 1.0, share - above)
        first = panels[0] if panels else None
        panels.append(ax.inset_axes(box, sharex=first))
    return panels


def _legend_on_top(ax: Axes, handles: Sequence[Artist]) -> None:
    ax.legend(
        handles=list(handles),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=max(len(handles), 1),
        borderaxespad=0.0,
        handlelength=1.6,
        columnspacing=1.4,
    )


def _finish(ax: Axes, part: Taken) -> None:
    end_s = ends_s(part)
    arrivals_end_s = None if part.run is None else arrivals_end_of(part.run)
    shade_and_label(ax, part.windows(end_s), end_s, arrivals_end_s)
    draw_time_axis(ax, part.scenario, end_s)


def ends_s(part: Taken) -> float:
    """Return when a part ends, in seconds; a frame of its own, with its last bucket or row."""
    if part.end_s is not None:
        return part.end_s
    frame = part.frame
    if "arrivals" in frame.columns or "in_flight" in frame.columns or "dlq_size" in frame.columns:
        times = frame["time_s"]
        return float(times.iloc[-1] + (times.iloc[1] - times.iloc[0] if len(times) > 1 else 1.0))
    latest = [
        float(frame[name].max()) for name in ("start_s", "finished_at_s", "requested_at_s") if name in frame.columns
    ]
    return max((value for value in latest if value == value), default=0.0) or 1.0
