"""The picture of an explanation: when attempts are made, against how long outages last and when the breaker is open."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from actors.formatting import counted, plain_number
from simulation.experiments.explaining.channel import ChannelExplained
from simulation.experiments.explaining.outages import OUTAGES_S
from simulation.experiments.explaining.schedule import Schedule
from simulation.reporting.plots.canvas import DPI, STYLE, Picture
from simulation.reporting.plots.looks import BLACK, BLUE, VERMILION
from simulation.reporting.plots.panels import draw_log_durations
from simulation.reporting.plots.text import wrap
from simulation.results.formatting import duration_text

WIDTH = 8.2
ROW_HEIGHT = 0.21
AROUND = 1.75
"""The space above and below the rows, in inches."""

ROWS_MIN = 4
"""With fewer rows the legend would not have its place below them."""

_LOWEST_S = 0.05


def picture(name: str, channels: Sequence[ChannelExplained]) -> Picture:
    heights = [AROUND + ROW_HEIGHT * (max(ROWS_MIN, len(each.schedules[0].attempts)) + 1) for each in channels]
    with matplotlib.style.context(STYLE, after_reset=True):
        figure = Picture(figsize=(WIDTH, sum(heights)), dpi=DPI, layout="constrained")
        axes = figure.subplots(len(channels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for ax, channel in zip(axes, channels, strict=True):
            _draw(ax, name, channel)
        figure.draw_without_rendering()
    return figure


def _draw(ax: Axes, name: str, channel: ChannelExplained) -> None:
    schedule = channel.schedules[0]
    rows = len(schedule.attempts)
    high = max(2.0 * OUTAGES_S[-1], 1.5 * schedule.last.start.longest)
    starts = [each.start.longest for each in schedule.attempts if each.start.longest > 0]
    low = max(high * 1e-7, min([_LOWEST_S * 2, *starts]) / 2.0)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    draw_log_durations(ax.xaxis, low, high)
    ax.set_ylim(rows + 1.0, -0.7)
    _draw_outages(ax, channel)
    _draw_attempts(ax, schedule, low)
    _draw_breaker(ax, channel, rows, high)
    labels = ["1", *(str(each.number) for each in schedule.attempts[1:])]
    ax.set_yticks([*range(rows), rows + 0.3], [*labels, "breaker"])
    ax.tick_params(axis="y", length=0)
    ax.set_ylabel("attempt")
    ax.set_xlabel("time since the first attempt, and since the beginning of the outage")
    title = wrap(f"{name}, {channel.channel}: {_finding(channel)}", WIDTH - 0.9, 10, 2, "bold")
    slower = any(each.rate < channel.load for each in channel.under_load)  # its label has a third line
    ax.set_title("\n".join(title), pad=40 if slower else 30)
    handles: list[Artist] = [
        Line2D([], [], color=BLUE, marker="o", linestyle="", markersize=5, label="attempt; half of all calls by then")
    ]
    if any(not each.start.is_certain for each in schedule.attempts):
        handles.append(Patch(facecolor=BLUE, alpha=0.35, label="earliest to latest"))
    if channel.open_spells:
        handles.append(Patch(facecolor=VERMILION, alpha=0.6, label="breaker open while the outage goes on, |: a probe"))
    below = -0.04 - 0.45 / (0.3 + ROW_HEIGHT * max(ROWS_MIN, rows))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, below), ncols=3)


def _finding(channel: ChannelExplained) -> str:
    schedule = channel.schedules[0]
    if schedule.last.number == 1:
        return "one attempt"
    attempts = counted(schedule.last.number, "attempt")
    more = f"the first {attempts}" if schedule.is_cut else attempts
    breaker = ", beside what an open breaker keeps waiting" if _keeps_waiting(channel) else ""
    return f"{more} within {duration_text(schedule.last.start.longest)}{breaker}, {schedule.policy}"


def _keeps_waiting(channel: ChannelExplained) -> bool:
    last_s = channel.schedules[0].last.start.longest
    return any(
        each.outage_s > last_s and each.opens_s is not None and each.lost < each.calls for each in channel.under_load
    )


def _draw_attempts(ax: Axes, schedule: Schedule, low: float) -> None:
    for row, attempt in enumerate(schedule.attempts):
        start = attempt.start
        if attempt.number == 1:
            ax.plot([low], [row], marker="o", color=BLUE, markersize=5, clip_on=False, zorder=4)
            ax.annotate("at once", (low, row), (7, 0), textcoords="offset points", va="center", fontsize=8)
            continue
        if not start.is_certain:
            left = max(start.shortest, low)
            ax.barh(row, start.longest - left, left=left, height=0.62, color=BLUE, alpha=0.35, linewidth=0)
        if start.median is not None:
            ax.plot([max(start.median, low)], [row], marker="o", color=BLUE, markersize=5, zorder=4)


def _draw_outages(ax: Axes, channel: ChannelExplained) -> None:
    ax.annotate(
        f"outage of\nat {plain_number(channel.load)}/s",
        (0.0, 1.0),
        (0, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="left",
        va="bottom",
        fontsize=8,
        color="#666666",
    )
    for found in channel.under_load:
        ax.axvline(found.outage_s, color=BLACK, linewidth=0.8, linestyle=(0, (4, 2)), alpha=0.6)
        lost = "none lost" if not found.lost else f"{100 * found.lost_share:.3g}% lost"
        lost += f"\nat {plain_number(found.rate)}/s" if found.rate < channel.load else ""
        ax.annotate(
            f"{duration_text(found.outage_s)}\n{lost}",
            (found.outage_s, 1.0),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color=VERMILION if found.lost else BLACK,
        )


def _draw_breaker(ax: Axes, channel: ChannelExplained, rows: int, high: float) -> None:
    low = ax.get_xlim()[0]
    if channel.open_spells:
        left = max(channel.open_spells[0].start_s, low)
        ax.barh(rows + 0.3, high - left, left=left, height=0.5, color=VERMILION, alpha=0.6, linewidth=0)
    for spell in channel.open_spells:
        if low < spell.end_s < high:
            ax.plot([spell.end_s], [rows + 0.3], marker="|", color=BLACK, markersize=8)
    if not channel.open_spells:
        ax.annotate("never opens", (low, rows + 0.3), (7, 0), textcoords="offset points", va="center", fontsize=8)
