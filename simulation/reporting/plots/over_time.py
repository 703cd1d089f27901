"""Quantities over the time of a run, one a plot, with the windows of faults and quiet hours shaded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from actors.formatting import instant_text, plain_number
from simulation.reporting.fault_windows import channel_of_breaker
from simulation.reporting.plots import findings
from simulation.reporting.plots.bounds import bounds_of, draw_bounds, draw_requests
from simulation.reporting.plots.breakers import breakers_in, draw_breakers, found_of_breakers, host_counts
from simulation.reporting.plots.canvas import canvas, say, size_in
from simulation.reporting.plots.findings import titled
from simulation.reporting.plots.looks import BLUE, VERMILION
from simulation.reporting.plots.panels import (
    DEAD,
    IN_FLIGHT,
    bins,
    count_axis,
    draw_level,
    draw_rates,
    draw_time_axis,
    mark_redrives,
    peak,
)
from simulation.reporting.plots.shading import shade_and_label
from simulation.reporting.plots.source import By, Source, Taken, are_first, arrivals_end_of, parts
from simulation.reporting.plots.stacked import HEIGHT, WIDTH, ends_s, over_time
from simulation.reporting.plots.text import legend_above, set_title
from simulation.results.formatting import duration_text
from simulation.results.waiting import in_flight_most
from simulation.running.downtimes import downtimes

Floats: TypeAlias = npt.NDArray[np.float64]

LANE = 0.3
"""Of a breaker, in inches."""

LANES_SHARE_MAX = 0.6
"""How much of the height the lanes of breakers may take."""

FEW = 0.4
"""Of the usual number of first attempts around an instant: fewer are none, where there are many retries."""

EXPECTED_MAX = 3.0
"""A bound is within the picture, unless it is more than so many times the highest value."""

CELLS = 600
"""The points of a run's time that have a value of the amplification."""

SMOOTH_SHARE, SMOOTH_FIRSTS, SMOOTH_MAX = 1 / 80, 25, 1 / 10
"""The window around each point for it: this share of the run, or the time of so many first attempts if that is longer,
but no more than the last share."""


def throughput(
    source: Source,
    ax: Axes | None = None,
    *,
    channel: str | None = None,
    entry: str | None = None,
    by: By | None = None,
) -> Axes:
    """Draw arrivals, deliveries and failed attempts, a second.

    Where a burst would flatten all else, the axis is logarithmic from the usual rate on, and the title says so.

    Args:
        source: a result, or its frame `series`.
        ax: where to draw; axes of a figure of its own when None.
        channel: of this channel alone, as for ``retrylab plot --channel``.
        entry: of this entry of the workload alone.
        by: ``channel``, ``entry`` or ``priority``: one below the other on the same scales, in ``ax.child_axes``.

    Raises:
        ConfigurationError: there is no such channel or entry, or the run kept no rows that would tell them apart.
        WrongType: it is neither a result nor such a frame.
    """
    found = parts(source, "series", "time_s", "arrivals", "sent", "failed", channel=channel, entry=entry, by=by)
    return over_time(found, ax, draw_throughput, "per second")


def draw_throughput(ax: Axes, part: Taken) -> tuple[str, Sequence[Artist]]:
    binned, bin_s = bins(part.frame, ends_s(part))
    steps = draw_rates(ax, binned, bin_s, part.arriving)
    handles = ax.get_legend_handles_labels()[0]
    if part.run is not None:
        draw_requests(ax, bounds_of(part.run), part, bin_s)
        draw_bounds(ax, bounds_of(part.run), "rates", part)
    return titled(part.label, findings.of_the_rates(part.frame, part.offered_delivered), steps), handles


def in_flight(
    source: Source,
    ax: Axes | None = None,
    *,
    channel: str | None = None,
    entry: str | None = None,
    by: By | None = None,
) -> Axes:
    """Draw how many notifications were accepted and had not ended; see :func:`throughput`."""
    found = parts(source, "series", "time_s", "in_flight", channel=channel, entry=entry, by=by)
    return over_time(found, ax, partial(draw_level_of, column="in_flight", what="in flight"), "notifications")


def dlq_growth(
    source: Source,
    ax: Axes | None = None,
    *,
    channel: str | None = None,
    entry: str | None = None,
    by: By | None = None,
) -> Axes:
    """Draw how many dead letters there were, leaving out parts without any; see :func:`throughput`."""
    found = parts(source, "series", "time_s", "dlq_size", channel=channel, entry=entry, by=by)
    some = [part for part in found if part.frame["dlq_size"].any()]  # a part without any would be an empty panel
    found = some or parts(source, "series", "time_s", "dlq_size", channel=channel, entry=entry)
    return over_time(found, ax, partial(draw_level_of, column="dlq_size", what="dead letters"), "dead letters")


def draw_level_of(ax: Axes, part: Taken, column: str, what: str) -> tuple[str, Sequence[Artist]]:
    end_s = ends_s(part)
    binned, bin_s = bins(part.frame, end_s)
    draw_level(ax, binned, bin_s, end_s, column, IN_FLIGHT if column == "in_flight" else DEAD)
    if part.run is not None and column == "dlq_size":
        mark_redrives(ax, part)
        draw_bounds(ax, bounds_of(part.run), "dlq", part)
    highest, at_s = peak(binned, bin_s, column)
    steps = f"in steps of {duration_text(bin_s)}, each at its end" if highest else ""
    if part.run is not None and column == "in_flight" and part.run.scenario.record == "full":
        highest, at_s = in_flight_most(part.table("notifications"), part.table("dlq"))
    last = int(part.frame[column].iloc[-1])
    found = findings.of_a_level(highest, min(at_s, end_s), last, what)
    return titled(part.label, found, steps), []


def breaker_states(source: Source, ax: Axes | None = None, *, channel: str | None = None) -> Axes:
    """Draw the states of the circuit breakers as bands, a lane each, above the traffic.

    Where each host has its own, a lane shows how large a share of them is open.

    Args:
        source: a result; or its frame `breaker`, without the traffic, which says nothing of a breaker that never
            changed its state, and ends with the last transition.
        ax: where to draw; axes of a figure of its own when None. The lanes are in axes within it,
            ``ax.child_axes[0]``.
        channel: the breakers of this channel's providers alone, above its own traffic.
    """
    traffic = "series" if hasattr(source, "series") else "breaker"
    (shown,) = parts(source, traffic, "time_s", channel=channel)
    frame = shown.frame if shown.run is None else shown.run.breaker
    (found,) = (
        [shown._replace(frame=frame)] if shown.run is not None else parts(source, "breaker", "from", "to", "host")
    )
    every = breakers_in(found.frame) if found.scenario is None else found.scenario.breakers
    breakers = {name: begins for name, begins in every.items() if channel in (None, channel_of_breaker(name))}
    with canvas(ax, WIDTH, HEIGHT + LANE * len(breakers)) as ax:
        if not breakers:
            say(ax, "no transitions")
            ax.set_title("Circuit breakers")
            return ax
        end_s = found.end_s or float(found.frame["time_s"].iloc[-1]) or 1.0
        share = 1.0 if found.run is None else min(LANE * (len(breakers) + 0.6) / size_in(ax)[1], LANES_SHARE_MAX)
        if found.run is not None:
            binned, bin_s = bins(shown.frame, end_s)
            steps = draw_rates(ax, binned, bin_s, shown.arriving)
            ax.set_ylabel("per second\n" + steps.replace(", ", "\n"), y=(1 - share) / 2)
        else:
            ax.yaxis.set_visible(False)
        lanes = ax.inset_axes((0.0, 1.0 - share, 1.0, share), sharex=ax, label="breakers")
        lanes.patch.set_visible(False)
        lanes.spines[:].set_visible(False)
        hosts = host_counts(found.frame, None if found.run is None else found.run.notifications)
        downs = None if found.scenario is None else downtimes(found.scenario, end_s, found.run)
        handles = draw_breakers(lanes, found.frame, breakers, end_s, hosts, downs)
        windows = found.windows(end_s)
        called = [(f"the fault at {instant_text(window.spans[0][0])}", window) for window in windows]
        set_title(ax, titled(found.label or "Breakers", found_of_breakers(found.frame, breakers, called)))
        legend_above(ax, [*handles, *ax.get_legend_handles_labels()[0]])
        arrivals_end_s = None if found.run is None else arrivals_end_of(found.run)
        shade_and_label(ax, windows, end_s, arrivals_end_s, 1.0 - share)
        draw_time_axis(ax, found.scenario, end_s)
        lanes.tick_params(axis="x", labelbottom=False, length=0)
    return ax


def amplification(
    source: Source,
    ax: Axes | None = None,
    *,
    channel: str | None = None,
    entry: str | None = None,
    by: By | None = None,
) -> Axes:
    """Draw the retry amplification over time: the attempts that started around each instant, for each that was the
    first of its notification, or the first after a redrive. Its bounds are lines, with the places where they broke.

    Both are weighted by how near they are, in a window that slides: so nothing depends on where steps begin. A time
    with attempts but without a first one has no such ratio; a triangle on top marks it.

    Args:
        source: a result, or its frame `attempts`. With ``record: aggregates``, which keeps no attempts, the plot shows
            attempts that ended for each arrival, and the legend says so.
        ax: where to draw; axes of a figure of its own when None.
        channel: see :func:`throughput`, as for `entry` and `by`.
        entry: of the workload.
        by: the division into plots.
    """
    found = parts(source, "attempts", "id", "start_s", channel=channel, entry=entry, by=by)
    return over_time(found, ax, _draw_amplification, "ratio")


def _draw_amplification(ax: Axes, part: Taken) -> tuple[str, Sequence[Artist]]:
    end_s = ends_s(part)
    of, times_s, attempts, firsts = _attempts_by_cell(part, end_s)
    width_s = _width_s(float(firsts.sum()), end_s)
    ratio, unbounded = _smoothed_ratio(attempts, firsts, width_s / (end_s / CELLS))
    last_s = None if part.run is None else arrivals_end_of(part.run)
    if last_s is not None and last_s < end_s:  # from there on more and more of the window has retries alone
        ratio[times_s > last_s - width_s] = np.nan
    total = float(firsts.sum())
    overall = float(attempts.sum()) / total if total else None
    top = float(np.nanmax(ratio)) if np.isfinite(ratio).any() else 1.0
    bounds = [] if part.run is None else [each for each in bounds_of(part.run) if each.panel == "amplification"]
    expected = [each.value for each in bounds if each.value <= EXPECTED_MAX * top]  # else it would flatten the rest
    highest = max(top, overall or 1.0, 1.5, *expected)
    handles: list[Artist] = []
    handles += ax.plot(times_s, ratio, color=BLUE, linewidth=1.5, label=f"attempts for each {of}", zorder=3)
    count_axis(ax, highest, whole=False)
    ax.axhline(1.0, color="#888888", linewidth=0.8, label="without retries")
    said = "nothing was tried" if not attempts.any() else f"×{plain_number(overall or 0.0)} over the whole run"
    if overall is not None:
        label = "whole run" if part.label else f"whole run: ×{plain_number(overall)}"
        handles.append(ax.axhline(overall, color=VERMILION, linewidth=1.2, linestyle=(0, (5, 2)), label=label))
        alone = unbounded & (times_s < (end_s if last_s is None else last_s))
        if alone.any():
            said += f", retries only first at {instant_text(float(times_s[_middles(alone)[0]]))}"
        elif top > overall * 1.2:
            said += f", up to ×{plain_number(top)} at {instant_text(float(times_s[int(np.nanargmax(ratio))]))}"
    draw_bounds(ax, bounds, "amplification", part)
    if unbounded.any():
        places = _middles(unbounded)
        heights = np.full(len(places), highest * 1.08)
        handles += ax.plot(
            times_s[places], heights, "^", color=VERMILION, markersize=5, clip_on=False, label="retries only"
        )
    return titled(part.label, f"retry amplification {said}" if not part.label else said), handles


def _attempts_by_cell(part: Taken, end_s: float) -> tuple[str, Floats, Floats, Floats]:
    """Return the name of the base of the ratio, the middle of each cell in seconds, and both counts in it."""
    edges = np.linspace(0.0, end_s, CELLS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    if part.run is not None and part.run.scenario.record != "full":
        series = part.series()
        weights = {"arrivals": series["arrivals"], "attempts": series["sent"] + series["failed"]}
        places = np.clip(np.searchsorted(edges, series["time_s"], side="right") - 1, 0, CELLS - 1)
        counts = {name: np.bincount(places, each, CELLS).astype(float) for name, each in weights.items()}
        return "arrival", middles, counts["attempts"], counts["arrivals"]
    starts = part.frame.sort_values("start_s", kind="stable")
    attempts, _ = np.histogram(starts["start_s"], edges)
    firsts, _ = np.histogram(starts.loc[are_first(starts), "start_s"], edges)
    return "first one", middles, attempts.astype(float), firsts.astype(float)


def _width_s(firsts: float, end_s: float) -> float:
    """Return how far the window of the amplification reaches to each side, in seconds."""
    wanted_s = max(SMOOTH_SHARE * end_s, SMOOTH_FIRSTS * end_s / firsts if firsts else 0.0)
    return min(wanted_s, SMOOTH_MAX * end_s)


def _smoothed_ratio(attempts: Floats, firsts: Floats, width: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the ratio of both, each weighted by a triangle of this width in cells; and where only the first is there.

    A ratio of weighted sums lies between those of its parts, and does not depend on where cells begin.
    """
    reach = np.arange(-int(width), int(width) + 1)
    weights = 1.0 - np.abs(reach) / (width + 1.0)
    around, around_firsts = (
        np.convolve(counts, weights, mode="full")[int(width) : int(width) + len(counts)]
        for counts in (attempts, firsts)
    )
    some = around_firsts[around_firsts > 1e-9]
    few = FEW * float(np.median(some)) if some.size else 0.0
    # Next to where first attempts stop, hardly any weight is left of them, and the ratio would be that of a rest.
    nothing = (around_firsts < 1e-9) | ((around_firsts < few) & (around > 3 * around_firsts))
    ratio = np.divide(around, around_firsts, out=np.full(len(around), np.nan), where=~nothing)
    return ratio, nothing & (around > 1e-9)


def _middles(marked: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    changes = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(int)))
    return (changes[::2] + changes[1::2] - 1) // 2
