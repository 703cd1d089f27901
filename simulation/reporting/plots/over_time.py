"""What happened over the time of a run, one quantity a plot, with the windows of faults and quiet hours shaded."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from actors.formatting import plain_number
from simulation.reporting.plots.breakers import breakers_in, draw_breakers
from simulation.reporting.plots.canvas import canvas, say, size_in
from simulation.reporting.plots.legend import legend_above
from simulation.reporting.plots.looks import BLUE, VERMILION
from simulation.reporting.plots.panels import DEAD, IN_FLIGHT, bins, count_axis, draw_level, draw_rates
from simulation.reporting.plots.shading import shade_and_label
from simulation.reporting.plots.source import Source, Taken, arrivals_end_of, taken
from simulation.reporting.plots.time_axis import draw_time_axis
from simulation.results.formatting import duration_text

WIDTH, HEIGHT = 8.6, 3.3
"""Of a figure of its own, in inches."""

LANE = 0.3
"""Of a breaker, in inches."""

LANES_SHARE_MAX = 0.6
"""How much of the height the lanes of breakers may take."""

AMPLIFICATION_BINS_MAX = 120
"""A ratio of small counts jumps about, so there are fewer and wider steps than elsewhere."""


def throughput(source: Source, ax: Axes | None = None) -> Axes:
    """Draw what arrives, what is delivered and which attempts fail, a second.

    Where a burst would flatten all else, the axis is logarithmic from the usual rate on, and the title says so.

    Args:
        source: a result, or its frame `series`.
        ax: where to draw; axes of a figure of its own when None.
    """
    found = taken(source, "series", "time", "arrivals", "sent", "failed")
    with canvas(ax, WIDTH, HEIGHT) as ax:
        binned, bin_s, end_s = _binned(found)
        ax.set_title(f"Per second, {draw_rates(ax, binned, bin_s)}")
        legend_above(ax, ax.get_legend_handles_labels()[0])
        ax.set_ylabel("per second")
        _finish(ax, found, end_s)
    return ax


def in_flight(source: Source, ax: Axes | None = None) -> Axes:
    """Draw how many notifications were accepted and had not ended; see :func:`throughput` for the arguments."""
    found = taken(source, "series", "time", "in_flight")
    with canvas(ax, WIDTH, HEIGHT) as ax:
        binned, bin_s, end_s = _binned(found)
        draw_level(ax, binned, bin_s, end_s, "in_flight", IN_FLIGHT)
        ax.set_title(f"In flight, at the end of each step of {duration_text(bin_s)}")
        ax.set_ylabel("notifications")
        _finish(ax, found, end_s)
    return ax


def dlq_growth(source: Source, ax: Axes | None = None) -> Axes:
    """Draw how many dead letters there were; see :func:`throughput` for the arguments."""
    found = taken(source, "series", "time", "dlq_size")
    with canvas(ax, WIDTH, HEIGHT) as ax:
        binned, bin_s, end_s = _binned(found)
        draw_level(ax, binned, bin_s, end_s, "dlq_size", DEAD)
        ax.set_title("Dead letter queue" if binned["dlq_size"].any() else "Dead letter queue: empty all the time")
        ax.set_ylabel("dead letters")
        _finish(ax, found, end_s)
    return ax


def breaker_states(source: Source, ax: Axes | None = None) -> Axes:
    """Draw the states of the circuit breakers as bands, a lane each, above the traffic.

    Args:
        source: a result; or its frame `breaker`, without the traffic, which says nothing of a breaker that never
            changed its state, and ends with the last transition.
        ax: where to draw; axes of a figure of its own when None. The lanes are in axes within it,
            ``ax.child_axes[0]``.
    """
    found = taken(source, "breaker", "time", "channel", "from", "to", "host")
    breakers = breakers_in(found.frame) if found.scenario is None else found.scenario.breakers
    with canvas(ax, WIDTH, HEIGHT + LANE * len(breakers)) as ax:
        if not breakers:
            say(ax, "no transitions")
            ax.set_title("Circuit breakers")
            return ax
        end_s = found.end_s or float(found.frame["time"].iloc[-1]) or 1.0
        share = 1.0 if found.run is None else min(LANE * (len(breakers) + 0.6) / size_in(ax)[1], LANES_SHARE_MAX)
        if found.run is not None:
            binned, bin_s = bins(found.run.series, end_s)
            ax.set_ylabel("per second\n" + draw_rates(ax, binned, bin_s).replace(", ", "\n"), y=(1 - share) / 2)
        else:
            ax.yaxis.set_visible(False)
        lanes = ax.inset_axes((0.0, 1.0 - share, 1.0, share), sharex=ax, label="breakers")
        lanes.patch.set_visible(False)
        lanes.spines[:].set_visible(False)
        handles = draw_breakers(lanes, found.frame, breakers, end_s)
        ax.set_title("Circuit breakers" if found.run is None else "Circuit breakers and traffic")
        legend_above(ax, [*handles, *ax.get_legend_handles_labels()[0]])
        _finish(ax, found, end_s, top=1.0 - share)
        lanes.tick_params(axis="x", labelbottom=False, length=0)
    return ax


def amplification(source: Source, ax: Axes | None = None) -> Axes:
    """Draw the retry amplification over time: in each step, the attempts that started for each that was the first of
    its notification.

    A step with attempts but without a first one has no such ratio; a triangle on top marks it.

    Args:
        source: a result, or its frame `attempts`. With ``record: aggregates``, which keeps no attempts, what is drawn
            is attempts that ended for each arrival, and the legend says so.
        ax: where to draw; axes of a figure of its own when None.
    """
    found = taken(source, "attempts", "id", "start")
    with canvas(ax, WIDTH, HEIGHT) as ax:
        end_s = _end_of_attempts(found)
        of, counts, width_s = _attempts_by_step(found, end_s)
        edges = [*counts["time"], counts["time"].iloc[-1] + width_s]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = counts["attempts"].to_numpy(float) / counts["first"].to_numpy(float)
        unbounded = np.isinf(ratio)
        ratio[unbounded] = np.nan
        overall = None if found.run is None else found.run.summary["retry_amplification"]
        highest = max(float(np.nanmax(ratio)) if np.isfinite(ratio).any() else 1.0, overall or 1.0, 1.5)
        ax.stairs(ratio, edges, color=BLUE, linewidth=1.5, baseline=None, label=f"attempts for each {of}", zorder=3)
        count_axis(ax, highest, whole=False)
        ax.axhline(1.0, color="#888888", linewidth=0.8, label="without retries")
        handles = ax.get_legend_handles_labels()[0][:1]
        if overall is not None:
            label = f"whole run: ×{plain_number(overall)}"
            handles.append(ax.axhline(overall, color=VERMILION, linewidth=1.2, linestyle=(0, (5, 2)), label=label))
        _finish(ax, found, end_s)
        if unbounded.any():
            times = counts["time"].to_numpy(float)[unbounded] + width_s / 2
            heights = np.full(len(times), highest * 1.08)
            handles += ax.plot(times, heights, "^", color=VERMILION, markersize=5, clip_on=False, label="retries only")
        ax.set_title(f"Retry amplification, in steps of {duration_text(width_s)}")
        ax.set_ylabel("ratio")
        legend_above(ax, handles)
    return ax


def _attempts_by_step(found: Taken, end_s: float) -> tuple[str, pd.DataFrame, float]:
    """Return what attempts are counted against, both counts for each step, and how wide steps are, in seconds."""
    width_s = end_s / AMPLIFICATION_BINS_MAX
    if found.run is not None:
        series, width_s = bins(found.run.series, end_s, AMPLIFICATION_BINS_MAX)
        if found.run.scenario.record != "full":
            ended = series["sent"] + series["failed"]
            counts = pd.DataFrame({"time": series["time"], "attempts": ended, "first": series["arrivals"]})
            return "arrival", counts.reset_index(drop=True), width_s
    edges = np.arange(int(end_s // width_s) + 2) * width_s
    attempts, _ = np.histogram(found.frame["start"], edges)
    starts = found.frame.sort_values("start", kind="stable")
    firsts, _ = np.histogram(starts.drop_duplicates("id")["start"], edges)
    counts = pd.DataFrame({"time": edges[:-1], "attempts": attempts, "first": firsts})
    return "first one", counts, width_s


def _end_of_attempts(found: Taken) -> float:
    if found.end_s is not None:
        return found.end_s
    return (float(found.frame["start"].max()) if len(found.frame) else 0.0) or 1.0


def _binned(found: Taken) -> tuple[pd.DataFrame, float, float]:
    """Return the buckets of a series, how wide they are, and when it ends, in seconds."""
    binned, bin_s = bins(found.frame, found.end_s or 1.0)
    return binned, bin_s, found.end_s or float(binned["time"].iloc[-1]) + bin_s


def _finish(ax: Axes, found: Taken, end_s: float, top: float = 1.0) -> None:
    """Shade and label the windows, and draw the time axis."""
    arrivals_end_s = None if found.run is None else arrivals_end_of(found.run)
    shade_and_label(ax, found.windows(end_s), end_s, arrivals_end_s, top)
    draw_time_axis(ax, found.scenario, end_s)
