"""Many notifications as a raster: a line for each, from when it was accepted to its end, with its attempts on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from actors.errors import ConfigurationError
from actors.formatting import counted
from simulation.reporting.fault_windows import windows
from simulation.reporting.plots.canvas import canvas, say
from simulation.reporting.plots.looks import ENDS, OUTCOMES, Mark, outcome_look
from simulation.reporting.plots.panels import draw_time_axis
from simulation.reporting.plots.shading import shade_and_label
from simulation.reporting.plots.source import PlottedRun, arrivals_end_of, check_run, end_of, taken, why_empty
from simulation.reporting.plots.text import legend_above

WIDTH, AROUND, TALLEST = 8.6, 1.4, 6.0
LIMIT_MAX = 5_000
"""More lines than that cannot be distinguished on paper."""


def raster(result: PlottedRun, *, channel: str | None = None, limit: int = 200, ax: Axes | None = None) -> Axes:
    """Draw notifications below each other in the order of acceptance: a thin line from acceptance to end, with a mark
    where each attempt ended, and another at the end of a notification that was not sent.

    Args:
        result: a result, or one that was saved and opened again.
        channel: of which channel; of all when None.
        limit: how many to draw at most, 1 to 5,000. Of more notifications every n-th is drawn, and the title has their
            number.
        ax: where to draw; axes of a figure of its own when None.

    Raises:
        ConfigurationError: the run does not use the channel, or the limit is out of range.
        WrongType: it is no result.
    """
    check_run(result)
    problems = []
    if channel is not None and channel not in result.scenario.channels_used:
        used = ", ".join(result.scenario.channels_used)
        problems.append(f"channel: wanted a channel that the scenario uses ({used}), got {channel!r}")
    if not 1 <= limit <= LIMIT_MAX:
        problems.append(f"limit: wanted a whole number from 1 to {LIMIT_MAX:,}, got {limit!r}")
    if problems:
        raise ConfigurationError(problems)
    rows = taken(result, "notifications", "id", "channel", "requested_at_s", "outcome", "finished_at_s").frame
    rows = rows if channel is None else rows[rows["channel"] == channel]
    shown = rows.iloc[np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(int)]
    end_s = end_of(result)
    with canvas(ax, WIDTH, AROUND + min(TALLEST, 1.0 + 0.025 * len(shown))) as ax:
        if shown.empty:
            say(ax, why_empty(result))
        handles = _draw(ax, shown, result.attempts, end_s)
        ax.set_ylim(max(len(shown), 1) - 0.5, -0.5)
        ax.set_yticks([])
        ax.set_ylabel("each line a notification")
        ax.set_title(_title(shown, len(rows), channel))
        shade_and_label(ax, windows(result.scenario, end_s, channel), end_s, arrivals_end_of(result))
        draw_time_axis(ax, result.scenario, end_s)
        if handles:
            legend_above(ax, handles)
    return ax


def _draw(ax: Axes, shown: pd.DataFrame, attempts: pd.DataFrame, end_s: float) -> list[Artist]:
    lines = np.arange(len(shown))
    ended_s = shown["finished_at_s"].fillna(end_s).to_numpy(float)
    ax.hlines(
        lines, shown["requested_at_s"], ended_s, color="#999999", linewidth=0.7, label="accepted to end", zorder=2
    )
    size = float(np.clip(900 / max(len(shown), 1), 3.0, 22.0))
    place = pd.Series(lines, index=shown["id"].to_numpy())
    place = place[~place.index.duplicated(keep="last")]
    own = attempts[attempts["id"].isin(place.index)]
    handles: list[Artist] = []
    for outcome in [name for name in OUTCOMES if name in set(own["outcome"])]:
        ended = own[own["outcome"] == outcome]
        handles.append(_marks(ax, ended["end_s"], place[ended["id"]], outcome_look(outcome), size))
    for outcome, look in ENDS.items():
        of_these = (shown["outcome"] == outcome).to_numpy()
        if of_these.any():
            handles.append(_marks(ax, ended_s[of_these], lines[of_these], look, size * 1.6))
    return handles


def _marks(ax: Axes, times: Any, places: Any, look: Mark, size: float) -> Artist:
    filled = look.marker not in "x+"
    ax.scatter(
        times,
        places,
        s=size,
        marker=look.marker,
        color=look.color,
        linewidths=0.0 if filled else 0.8,
        label=look.words,
        zorder=3,
        clip_on=False,
    )
    return Line2D([], [], linestyle="", marker=look.marker, color=look.color, markersize=5, label=look.words)


def _title(shown: pd.DataFrame, of: int, channel: str | None) -> str:
    what = f"{'' if channel is None else f'{channel}, '}{counted(of, 'notification')}"
    sample = "" if len(shown) == of else f", {len(shown):,} of them shown"
    counts = shown["outcome"].value_counts()
    ends = [f"{counts[outcome]:,} {look.words}" for outcome, look in ENDS.items() if outcome in counts]
    said = ", ".join(ends) or "all sent"
    return f"{what}{sample}: {said}" if len(shown) else what
