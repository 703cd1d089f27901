"""The time axis: seconds from the start, written in the unit that suits the length of the run."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from simulation.results.formatting import duration_text
from simulation.scenario import EventWorkload, Scenario
from simulation.scenario.workload import ChannelWorkload

TICKS_MAX = 11


class Unit(NamedTuple):
    """A unit of time, and the distances of ticks that look natural in it."""

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
"""What of the time of day stands at a tick, where it is not hours and minutes."""


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
    """Put ticks at round durations on a logarithmic axis from low to high."""
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
