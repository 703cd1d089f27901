"""The panels of counts over time: rates, in flight, dead letters; and the axis of time, whose unit suits the run."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.patches import StepPatch
from matplotlib.scale import SymmetricalLogTransform
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from simulation.reporting.plots.looks import REDRIVEN, SMALL_SIZE
from simulation.reporting.plots.source import Taken
from simulation.results.formatting import duration_text
from simulation.scenario import EventWorkload, Scenario
from simulation.scenario.workload import ChannelWorkload

BINS_MAX = 600
"""More buckets than that are drawn as wider ones."""

HEADROOM = 1.2
"""How far the axis goes beyond the highest value: room for the letters of windows."""

SPIKE = 12
"""Above this ratio to the usual rate a rate would flatten all others, so the axis is logarithmic."""

ARRIVALS, DELIVERED, FAILED, IN_FLIGHT, DEAD = "#b8b8b8", "#0072b2", "#d55e00", "#333333", "#8c3b7e"


def bins(series: pd.DataFrame, end_s: float, bins_max: int = BINS_MAX) -> tuple[pd.DataFrame, float]:
    """Return the buckets of ``result.series``, joined to at most `bins_max`, and their width in seconds.

    Counts are added up; in flight and DLQ size keep the highest value.
    """
    width_s = float(series["time_s"].iloc[1] - series["time_s"].iloc[0]) if len(series) > 1 else end_s
    factor = -(-len(series) // bins_max)
    if factor == 1:
        return series, width_s
    how = {column: fold for column, fold in _FOLDS.items() if column in series.columns}
    how |= {column: "max" for column in series.columns if column.startswith(QUEUE)}
    return series.groupby(series.index // factor).agg(how), width_s * factor


QUEUE = "queue_"
"""The prefix of the columns of attempts that wait at a provider."""

_FOLDS = {"time_s": "first", "arrivals": "sum", "sent": "sum", "failed": "sum", "in_flight": "max", "dlq_size": "max"}


def stairs(axes: Axes, values: Any, edges: Any, *, baseline: Any = 0, fill: bool = False, **look: Any) -> StepPatch:
    """Draw steps as `Axes.stairs` does, but do not let the axes find their limits, which takes half of the time."""
    color = look.pop("color", None)
    if color is not None:
        look |= {"facecolor": color, "edgecolor": "none"} if fill else {"edgecolor": color}
    patch = StepPatch(values, edges, baseline=baseline, fill=fill, **look)
    axes.add_artist(patch)
    return patch


def draw_rates(axes: Axes, binned: pd.DataFrame, width_s: float, arriving: str = "arrivals") -> str:
    """Draw arrivals, deliveries and failed attempts, a second; return the steps, and how they are scaled, in words."""
    edges = [*binned["time_s"], binned["time_s"].iloc[-1] + width_s]
    rates = {name: binned[name].to_numpy() / width_s for name in ("arrivals", "sent", "failed")}
    stairs(axes, rates["arrivals"], edges, fill=True, color=ARRIVALS, alpha=0.75, label=arriving)
    if rates["failed"].max() > 0:  # else they are not hidden by what fails
        outline: dict[str, Any] = {"color": "#6f6f6f", "linewidth": 0.8, "zorder": 2.5, "label": "_arrivals"}
        stairs(axes, rates["arrivals"], edges, baseline=None, **outline)
    stairs(axes, rates["sent"], edges, color=DELIVERED, linewidth=1.4, label="delivered", baseline=None, zorder=3)
    stairs(axes, rates["failed"], edges, fill=True, color=FAILED, alpha=0.85, label="failed attempts", zorder=2)
    steps = f"in steps of {duration_text(width_s)}"
    highest = max(float(rate.max()) for rate in rates.values())
    usual = _usual(np.concatenate(list(rates.values())))
    if highest > SPIKE * usual > 0:
        steps += f", logarithmic above {usual:,.9g}"
        axes.set_yscale("symlog", linthresh=usual, linscale=1.0)
    rate_axis(axes, highest)
    return steps


def rate_axis(axes: Axes, highest: float) -> None:
    """Let the axis of rates, linear or logarithmic from some rate on, go up to the highest, and a tick as far."""
    scale = axes.yaxis.get_transform()
    if not isinstance(scale, SymmetricalLogTransform):
        count_axis(axes, highest, whole=False)
        return
    last = _round_up(highest)
    decades = [10.0**power for power in range(-9, 10) if scale.linthresh * 2 < 10.0**power <= last / 5]
    axes.set_ylim(0, max(highest * 1.3, last))
    axes.yaxis.set_major_locator(FixedLocator([0, scale.linthresh, *decades, last]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(number_text))
    axes.grid(axis="y")


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if value <= step * power * (1 + 1e-9))


def _usual(rates: npt.NDArray[np.float64]) -> float:
    """Return a round number below which nine of ten rates that are not 0 lie; 0 when all are."""
    rates = rates[rates > 0]
    if not rates.size:
        return 0.0
    return _round_up(float(np.quantile(rates, 0.9)))


def draw_level(axes: Axes, binned: pd.DataFrame, width_s: float, end_s: float, column: str, color: str) -> None:
    """Draw a level, such as how many are in flight: the value at the end of each bucket, the last one at the end."""
    times = [0.0, *(binned["time_s"] + width_s).clip(upper=max(end_s, float(binned["time_s"].iloc[-1])))]
    values = [0, *binned[column]]
    axes.fill_between(times, values, color=color, alpha=0.22, linewidth=0)
    axes.plot(times, values, color=color, linewidth=1.3, label=column)
    count_axis(axes, max(values), whole=True)


def mark_redrives(axes: Axes, part: Taken) -> None:
    """Mark below a panel when dead letters were redriven, and say how many."""
    dlq = part.table("dlq")
    times = dlq.loc[dlq["left"] == "redriven", "left_at_s"].to_numpy(float)
    if not len(times):
        return
    shown = np.unique(np.round(times / (axes.get_xlim()[1] or 1.0) * BINS_MAX), return_index=True)[1]
    text = f"▲ {len(times):,} redriven"
    look: dict[str, Any] = {"color": REDRIVEN.color, "markersize": 5, "clip_on": False, "zorder": 4}
    axes.plot(times[shown], np.zeros(len(shown)), REDRIVEN.marker, label="redriven", **look)
    axes.text(0.995, 0.95, text, transform=axes.transAxes, ha="right", va="top", size=SMALL_SIZE, color=REDRIVEN.color)


def peak(binned: pd.DataFrame, width_s: float, column: str) -> tuple[int, float]:
    row = int(binned[column].to_numpy().argmax())
    return int(binned[column].iloc[row]), float(binned["time_s"].iloc[row]) + width_s


def count_axis(axes: Axes, highest: float, *, whole: bool) -> None:
    """Let the axis go from 0 to somewhat more than the highest value, with few ticks."""
    top = highest * HEADROOM or 1.0
    ticks = MaxNLocator(4, integer=whole).tick_values(0, top) if highest else [0.0]
    top = max(top, min((float(tick) for tick in ticks if tick >= highest), default=top))  # no data above all ticks
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick <= top]))
    axes.yaxis.set_major_formatter(FuncFormatter(number_text))
    axes.set_axisbelow(True)
    axes.grid(axis="y")


def number_text(value: float, _position: int | None = None) -> str:
    return f"{value:,.9g}"


# ── the axis of time ──────────────────────────────────────────────────────────────────────────────────────────────────


TICKS_MAX = 11


class Unit(NamedTuple):
    name: str
    seconds: float
    steps: tuple[float, ...]
    up_to_s: float
    """The longest run that is shown in it."""


_DECIMAL = tuple(step * 10.0**power for power in range(-9, 3) for step in (1, 2, 5))
UNITS = (
    Unit("ms", 0.001, _DECIMAL, 1.0),
    Unit("s", 1.0, (*_DECIMAL[: _DECIMAL.index(10.0)], 10.0, 15.0, 20.0, 30.0), 180.0),
    Unit("min", 60.0, (0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0), 3 * 3600.0),
    Unit("h", 3600.0, (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0), 3 * 86_400.0),
    Unit("days", 86_400.0, (0.5, 1.0, 2.0, 5.0, 7.0, 14.0, 28.0, 91.0, 182.0, 365.0, 3652.5), float("inf")),
)


_CLOCKS = {"days": "%m-%d", "s": "%H:%M:%S", "ms": "%H:%M:%S"}
"""The part of the time of day at a tick, where it is not hours and minutes."""


def unit_of(end_s: float) -> Unit:
    return next(unit for unit in UNITS if end_s <= unit.up_to_s)


def ticks_s(end_s: float) -> list[float]:
    """Return where the ticks are, in seconds: some ten at round numbers of the unit, from 0."""
    unit = unit_of(end_s)
    length = end_s / unit.seconds
    step = next((step for step in unit.steps if length / step < TICKS_MAX), unit.steps[-1])
    return [number * step * unit.seconds for number in range(int(length / step) + 1)]


def minds_the_clock(scenario: Scenario) -> bool:
    """Return whether the time of day matters in `scenario`: there are quiet hours, or arrivals with a rhythm."""
    return bool(scenario.quiet_hours) or any(
        any((entry.arrivals.diurnal, entry.arrivals.weekly, entry.arrivals.daily))
        for entry in scenario.workload
        if isinstance(entry, (EventWorkload, ChannelWorkload))
    )


_LOGARITHMIC = (
    *(step * 10.0**power for power in range(-9, 0) for step in (1, 2, 5)),
    *(1.0, 2.0, 5.0, 10.0, 30.0),
    *(60.0 * count for count in (1, 2, 5, 10, 30)),
    *(3600.0 * count for count in (1, 2, 6, 12)),
    *(86_400.0 * count for count in (1, 2, 7, 30, 91, 365, 3652.5)),
)
_COARSE = (
    *(10.0**power for power in range(-9, 2)),
    *(60.0, 600.0, 3600.0, 36_000.0),
    *(86_400.0 * count for count in (1, 10, 100, 1000)),
)


def log_durations(low_s: float, high_s: float, ticks_max: int = 11) -> list[float]:
    """Return round durations from low to high that stand well on a logarithmic axis."""
    fine = [tick for tick in _LOGARITHMIC if low_s <= tick <= high_s]
    coarse = [tick for tick in _COARSE if low_s <= tick <= high_s]
    found = fine if len(fine) <= ticks_max or not coarse else coarse
    return found[:: max(-(-len(found) // ticks_max), 1)]


def draw_log_durations(axis: Axis, low_s: float, high_s: float, ticks_max: int = 11) -> None:
    axis.set_major_locator(FixedLocator(log_durations(low_s, high_s, ticks_max)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda seconds, _position: duration_text(seconds)))


def draw_time_axis(
    axes: Axes, scenario: Scenario | None, end_s: float, *, since: str = "the start", origin_s: float = 0.0
) -> None:
    """Put ticks and a label on the time axis; the time of day (UTC) below, where that matters.

    The axis counts from `origin_s` of the run, which the label calls `since`.
    """
    unit = unit_of(end_s)
    start = None if scenario is None or not minds_the_clock(scenario) else scenario.start

    def label(at_s: float, _position: int | None = None) -> str:
        text = f"{at_s / unit.seconds:.9g}"
        if start is None:
            return text
        clock = start + timedelta(seconds=origin_s + at_s)
        return f"{text}\n{clock.strftime(_CLOCKS.get(unit.name, '%H:%M'))}"

    axes.set_xlim(0, end_s)
    axes.xaxis.set_major_locator(FixedLocator(ticks_s(end_s)))
    axes.xaxis.set_major_formatter(FuncFormatter(label))
    below = ", and the date" if unit.name == "days" else ", and the time of day (UTC)"
    axes.set_xlabel(f"time since {since} ({unit.name}){'' if start is None else below}")
