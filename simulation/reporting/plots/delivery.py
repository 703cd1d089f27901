"""How long delivery took: the share of notifications that took longer, for every time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FuncFormatter, NullFormatter

from simulation.reporting.plots.canvas import canvas, say, size_in
from simulation.reporting.plots.findings import listed, quantile, quantile_text
from simulation.reporting.plots.looks import SMALL_SIZE, series_look
from simulation.reporting.plots.panels import draw_log_durations
from simulation.reporting.plots.source import PlottedRun, Source, taken, why_empty
from simulation.reporting.plots.text import cut, drawable, legend_within, set_title
from simulation.results.formatting import duration_text
from simulation.results.tables import requests_of

WIDTH, HEIGHT = 7.6, 4.2
POINTS_MAX = 1500
"""The steps of a curve that are distinguished; of more, those are drawn that lie evenly on the axes."""

LABEL_ROOM = 3.4
TICK_IN = 0.62
"""How far apart the ticks of times are at least, in inches."""

FEWER_THAN_ONE = 0.5
"""The remaining requests below which none is left, but for rounding."""


class Curve(NamedTuple):
    times_s: npt.NDArray[np.float64]
    """In order, each once."""

    longer: npt.NDArray[np.float64]
    """The share that took longer than each of them; the last is the share that was never delivered."""

    size: int
    """The number of requests."""


NEVER_IN, NEVER_SHARE = 0.16, 0.12
"""The size of the text at the level of requests never delivered: height in inches, width as a share of the axes."""


BEYOND = 6.0
"""The end of the axis where a curve levels off, in longest times, so that its level can be seen and named."""


def delivery_times(source: Source | Mapping[str, Source], ax: Axes | None = None) -> Axes:
    """Draw for every time t the share of requests that took longer, P(delivery time > t).

    Both axes are logarithmic, so that a tail is seen as well as the bulk: where the curve crosses 0.01 is the 99th
    percentile. A request never delivered took longer than any time: the curve levels off at the share of these.

    Args:
        source: a result, or its frame `notifications`: a curve for each channel. Or several by their labels: a curve
            for each.
        ax: where to draw; axes of a figure of its own when None.
    """
    with canvas(ax, WIDTH, HEIGHT) as ax:
        lowest, shortest, longest = 1.0, np.inf, 0.0
        why = ""
        found: dict[str, npt.NDArray[np.float64]] = {}
        never: dict[int, tuple[float, float]] = {}  # from when on, and the share at which a curve levels off
        for number, (label, rows, run, refused) in enumerate(_groups(source)):
            times = rows["time_s"].to_numpy(float)
            times = times[np.isfinite(times)].round(9)  # whole nanoseconds, as they were before they became seconds
            if len(rows):
                found[label] = rows["time_s"].to_numpy(float)
            if not len(times):
                why = why or ("nothing was delivered" if len(rows) else why_empty(run))
                continue
            offered = len(rows) + refused
            curve = survival(times, offered)
            share = _draw(ax, number, _label(label, len(times), offered), curve)
            if share is not None:
                never[number] = float(curve.times_s[-1]), share
            lowest = min(lowest, 1 / curve.size)
            above_0 = curve.times_s[curve.times_s > 0]
            if above_0.size:
                shortest, longest = min(shortest, float(above_0[0])), max(longest, float(above_0[-1]))
        set_title(ax, _title(found))
        if not ax.lines:
            say(ax, why or "no notifications")
            return ax
        _draw_axes(ax, lowest, shortest, longest, never)
    return ax


SHARES = (0.99, 0.9, 0.5)
"""Curves are compared at one of these shares: where they differ most, or else at the first."""


def _title(found: Mapping[str, npt.NDArray[np.float64]]) -> str:
    if not found:
        return "Delivery time: no notifications"
    share = max(SHARES, key=lambda share: _apart([quantile(times, share) for times in found.values()]))
    said = {label: quantile_text(times, share).replace(" ", "\N{NO-BREAK SPACE}") for label, times in found.items()}
    each = [f"{time} ({drawable(label)})" for label, time in said.items()] if len(said) > 1 else said.values()
    return f"Delivery time of {share:.0%}: {listed(each, 4)}"


def _apart(times_s: Sequence[float]) -> float:
    """Return the ratio of the longest to the shortest; a time that is never is the farthest, unless all are."""
    longest, shortest = max(times_s), min(times_s)
    return 1.0 if longest == shortest else longest / max(shortest, 1e-9)


def survival(times_s: npt.NDArray[np.float64], offered: int) -> Curve:
    """Return the empirical survival curve of `offered` requests, of which `times_s` were delivered."""
    values, counts = np.unique(times_s, return_counts=True)
    return Curve(values, 1.0 - np.cumsum(counts) / offered, offered)


def _groups(source: Source | Mapping[str, Source]) -> Iterator[tuple[str, pd.DataFrame, PlottedRun | None, int]]:
    needed = ("channel", "waited_since_s", "outcome", "finished_at_s")
    if isinstance(source, Mapping):
        for label, one in source.items():
            found = taken(one, "notifications", *needed)
            rows = requests_of(found.frame) if found.run is None else found.run.requests
            yield str(label), rows, found.run, found.refused
        return
    found = taken(source, "notifications", *needed)
    requests = requests_of(found.frame) if found.run is None else found.run.requests
    channels = requests["channel"].unique() if found.scenario is None else found.scenario.channels_used
    for channel in channels:
        refused = found._replace(where={"channel": str(channel)}).refused
        yield str(channel), requests[requests["channel"] == channel], found.run, refused


def _label(label: str, delivered: int, offered: int) -> str:
    rest = "" if delivered == offered else f", {offered - delivered:,} never"
    return f"{cut(drawable(label), LABEL_ROOM, 8.5)} ({delivered:,} delivered{rest})"


def _draw(ax: Axes, number: int, label: str, curve: Curve) -> float | None:
    """Draw a curve from 1 to the last time, which has a mark; the share 0 has no place on a logarithmic axis.

    Returns the share that was never delivered; None: all was.
    """
    look = series_look(number)
    times, longer = _thinned(curve)
    before = float(longer[-2]) if len(longer) > 1 else 1.0
    last = float(longer[-1]) if longer[-1] > FEWER_THAN_ONE / curve.size else before
    ax.step(
        [times[0], *times],
        [1.0, *longer[:-1], last],
        where="post",
        color=look.color,
        linestyle=look.line,
        linewidth=1.6,
        label=label,
    )
    ax.plot([times[-1]], [last], look.marker, color=look.color, markersize=5, label=f"{label}: longest")
    return last if longer[-1] > FEWER_THAN_ONE / curve.size else None


def _thinned(curve: Curve) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the curve, or points of it so dense that the difference cannot be seen."""
    if len(curve.times_s) <= POINTS_MAX:
        return curve.times_s, curve.longer
    ranks = np.arange(len(curve.times_s))
    even = np.linspace(0, len(ranks) - 1, POINTS_MAX // 2)
    tail = len(ranks) - np.geomspace(1, len(ranks), POINTS_MAX // 2)
    chosen = np.unique(np.concatenate([even, tail]).round().astype(int).clip(0, len(ranks) - 1))
    return curve.times_s[chosen], curve.longer[chosen]


def _draw_axes(
    ax: Axes, lowest: float, shortest: float, longest: float, never: Mapping[int, tuple[float, float]]
) -> None:
    ax.set_yscale("log")
    ax.set_ylim(lowest / 1.5, 1.25)
    if longest > 0:
        ax.set_xscale("log")
        limits = shortest / 1.2, longest * (BEYOND if never else 1.3)
        ax.set_xlim(*limits)
        draw_log_durations(ax.xaxis, *limits, max(int(size_in(ax)[0] / TICK_IN), 2))
    else:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _position: duration_text(seconds)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _position: f"{share:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("delivery time t" if longest > 0 else "delivery time t: all of them 0")
    ax.set_ylabel("share that took longer than t")
    ax.set_axisbelow(True)
    ax.grid(which="major")
    bottom, top = ax.get_ylim()
    close = NEVER_IN * float(np.log(top / bottom)) / size_in(ax)[1]
    named: list[float] = []
    for number, (from_s, share) in never.items():
        beside = sum(abs(float(np.log(share / other))) < close for other in named)  # else one would lie on the other
        named.append(share)
        look = series_look(number)
        level = [[(max(from_s, shortest), share), (ax.get_xlim()[1], share)]]
        ax.add_collection(LineCollection(level, colors=look.color, linestyles=[look.line], linewidths=1.6))
        ax.annotate(
            f"{share:.3g} never",
            (0.995 - NEVER_SHARE * beside, share),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            size=SMALL_SIZE,
            color=look.color,
        )
    curves = [line for line in ax.lines if not str(line.get_label()).endswith(": longest")]
    legend_within(ax, curves, loc="lower left")
