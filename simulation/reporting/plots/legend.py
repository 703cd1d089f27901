"""Legends: above the axes, beside the title or below it and never on either; or within them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties

from simulation.reporting.plots.canvas import size_in
from simulation.reporting.plots.text import POINTS_PER_INCH, fit, width_in, wrap

SIZE = 8.5
TITLE_LINES_MAX = 3
HANDLE_IN, LINE_IN = 0.42, 0.19
"""How wide the sign of an entry is with the gaps around it, and how high a line of the legend, in inches."""


def legend_width(handles: Sequence[Artist]) -> float:
    """Return how much room a legend in one line takes, in inches."""
    return sum(width_in(str(handle.get_label()), SIZE) + HANDLE_IN for handle in handles)


def legend_above(axes: Axes, handles: Sequence[Artist]) -> None:
    """Put a legend to the right of the title; where that is too long, between title and axes, in lines that fit.

    The title must have been set.
    """
    room = size_in(axes)[0]
    entries = [width_in(str(handle.get_label()), SIZE) + HANDLE_IN for handle in handles]
    title = _title(axes)
    beside = _title_width(axes) + sum(entries) + 0.25 <= room
    columns = len(handles) if beside else _columns(entries, room)
    axes.legend(
        handles=handles,
        loc="lower right" if beside else "lower left",
        bbox_to_anchor=(1.0 if beside else 0.0, 1.0),
        ncols=max(columns, 1),
        fontsize=SIZE,
        borderaxespad=0.4,
        handlelength=1.6,
        handletextpad=0.5,
        columnspacing=1.4,
    )
    if not beside and handles and title:
        lines = -(-len(handles) // columns)
        size, _ = _title_font(axes)
        axes.set_title(title, size=size, pad=5 + (lines * LINE_IN + 0.04) * POINTS_PER_INCH)


def legend_within(
    axes: Axes,
    handles: Sequence[Artist],
    *,
    loc: Literal["best", "lower left", "lower right", "upper left"] = "best",
    title: str | None = None,
) -> None:
    """Put a legend into the axes, over a patch that lets little of what is below it through."""
    axes.legend(
        handles=handles,
        loc=loc,
        title=title,
        fontsize=SIZE,
        frameon=True,
        framealpha=0.8,
        edgecolor="none",
        fancybox=False,
        borderaxespad=0.6,
        borderpad=0.3,
        handlelength=2.2,
    )


def _title(axes: Axes) -> str:
    return axes.get_title("left") or axes.get_title("center") or axes.get_title("right")


def _title_width(axes: Axes) -> float:
    size, weight = _title_font(axes)
    return max(width_in(line, size, weight) for line in _title(axes).split("\n"))


def _title_font(axes: Axes) -> tuple[float, str]:
    font: FontProperties = getattr(axes, "_left_title" if axes.get_title("left") else "title").get_fontproperties()
    return font.get_size_in_points(), str(font.get_weight())


def set_title(axes: Axes, title: str, *, lines_max: int = TITLE_LINES_MAX) -> None:
    """Set the title of axes, in as many lines as it takes for none to be wider than they are, or else cut."""
    size, weight = _title_font(axes)
    if lines_max == 1:
        title, size = fit(title, size_in(axes)[0], size, weight)
        axes.set_title(title, size=size)
        return
    axes.set_title("\n".join(wrap(title, size_in(axes)[0], size, lines_max, weight)))


def _columns(entries: Sequence[float], room: float) -> int:
    """Return how many columns of entries fit, at least one; a column is as wide as its widest entry."""
    for columns in range(len(entries), 1, -1):
        if sum(max(entries[column::columns]) for column in range(columns)) <= room:
            return columns
    return 1
