"""The results of a sweep: a metric against settings, as lines or as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import Normalize
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from actors.errors import ConfigurationError
from actors.formatting import plain_number
from simulation.reporting.plots.canvas import canvas, size_in
from simulation.reporting.plots.layout import SMALL_SIZE
from simulation.reporting.plots.legend import legend_within
from simulation.reporting.plots.looks import series_look
from simulation.reporting.plots.panels import number_text
from simulation.reporting.plots.sweep_table import (
    Cells,
    SweepSource,
    cells_of,
    error_bars,
    is_number,
    value_text,
)
from simulation.reporting.plots.text import cut, drawable
from simulation.scenario.variations import short_names

WIDTH, HEIGHT = 7.6, 4.2
LINES_MAX = 12
"""Of more combinations of settings than that, the legend names the first ones."""

LABEL_ROOM = 3.0
TICKS_MAX = 12
SPARSE = 4
"""A design with so many times fewer cells than a grid of its values is not drawn as a grid."""

COLORS = "cividis"
"""Of even lightness steps, for the colour-blind and in grey print alike."""

LOGARITHMIC_FROM = 30.0
"""Values of a setting so many times apart stand on a logarithmic axis."""


def sweep_lines(
    sweep: SweepSource, figure: str, *, x: str | None = None, by: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the mean of a metric with its 95% interval against a setting, a line for each value of the others.

    Where hardly two cells lie on one line, as in a random or Latin hypercube design, they are drawn as points.

    Args:
        sweep: a sweep, or its frame `cells`.
        figure: the metric, by its path in the summary, such as ``delivery_time_s.p99``.
        x: the setting on the axis; the first that is a number, or the first, when None.
        by: the setting that distinguishes the lines; all the others together when None. Those that are neither are
            averaged over, without intervals.
        ax: where to draw; axes of a figure of its own when None.

    Raises:
        ConfigurationError: the sweep has no such metric, or did not vary such a setting.
    """
    cells = cells_of(sweep)
    rows, x = cells.of(figure), cells.setting("x", x)
    others = [path for path in cells.varied if path != x] if by is None else [cells.setting("by", by)]
    _check_that_they_differ("by", x, by)
    places, ticks = _places(rows[x])
    rows = rows.assign(place=places)
    averaged = [path for path in cells.varied if path not in (x, *others)]
    rows = _averaged(rows, ["place", *others]) if averaged else rows
    groups = list(rows.groupby(others, sort=False)) if others else [((), rows)]
    scattered = by is None and len(groups) > LINES_MAX and max(len(group) for _, group in groups) == 1
    with canvas(ax, WIDTH, HEIGHT) as ax:
        if scattered:
            groups = [((), rows)]
        for number, (values, group) in enumerate(groups):
            text = ", ".join(
                f"{short_names(cells.varied)[path]}={cells.text(path, value)}"
                for path, value in zip(others, values, strict=False)
            )
            _draw_line(
                ax, number, "each cell" if scattered else text or figure, group.sort_values("place"), not scattered
            )
        _x_axis(ax, cells.axis_label(x), ticks, places)
        ax.set_ylabel(figure)
        ax.yaxis.set_major_formatter(FuncFormatter(number_text))
        ax.set_title(_title(figure, x, averaged))
        ax.set_axisbelow(True)
        ax.grid(axis="y")
        if others and not scattered:
            handles = ax.get_legend_handles_labels()[0]
            more = f"{LINES_MAX} of {len(handles):,} combinations" if len(handles) > LINES_MAX else None
            legend_within(ax, handles[:LINES_MAX], title=more)
    return ax


def _check_that_they_differ(role: str, x: str, other: str | None) -> None:
    if x == other:
        raise ConfigurationError([f"{role}: wanted another setting than x, got {other!r} for both"])


def _places(values: pd.Series[Any]) -> tuple[npt.NDArray[np.float64], list[str] | None]:
    """Return where the values of a setting stand on an axis; with their texts, where they are no numbers."""
    if is_number(values):
        return values.to_numpy(float), None
    texts = list(dict.fromkeys(map(value_text, values)))
    return np.array([texts.index(value_text(value)) for value in values], float), texts


def _averaged(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    means = _means(rows, keys)
    return means.assign(low=np.nan, high=np.nan)


def _means(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the mean of the means for each combination of the settings `keys`, in the order in which they come."""
    return rows.groupby(keys, sort=False)["mean"].mean().reset_index()


def _draw_line(ax: Axes, number: int, label: str, rows: pd.DataFrame, joined: bool) -> None:
    look = series_look(number)
    ax.errorbar(
        rows["place"].to_numpy(float),
        rows["mean"].to_numpy(float),
        yerr=error_bars(rows),
        color=look.color,
        linestyle=look.line if joined else "",
        marker=look.marker,
        markersize=5,
        elinewidth=1.0,
        capsize=2.5,
        label=cut(drawable(label), LABEL_ROOM, 8.5),
    )


def _x_axis(ax: Axes, path: str, texts: list[str] | None, places: npt.NDArray[np.float64]) -> None:
    ax.set_xlabel(path)
    if texts is not None:
        room = size_in(ax)[0] / max(len(texts), 1)
        turned = max(len(text) for text in texts) * 0.075 > room
        ax.set_xticks(range(len(texts)), [cut(drawable(text), 1.6, 8.5) for text in texts])
        if turned:
            ax.tick_params(axis="x", rotation=35)
            for tick in ax.get_xticklabels():
                tick.set(ha="right", rotation_mode="anchor")
        ax.set_xlim(-0.4, len(texts) - 0.6)
        return
    values = np.unique(places)
    if len(values) > 2 and values[0] > 0 and values[-1] / values[0] >= LOGARITHMIC_FROM:
        ax.set_xscale("log")
    if len(values) <= TICKS_MAX:
        ax.xaxis.set_major_locator(FixedLocator(list(map(float, values))))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: value_text(value)))


def _title(figure: str, x: str, averaged: Sequence[str]) -> str:
    over = f", averaged over {', '.join(short_names(averaged).values())}" if averaged else ""
    return f"{figure} by {short_names([x, *averaged])[x]}{over}"


def sweep_heatmap(
    sweep: SweepSource, figure: str, *, x: str | None = None, y: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the mean of a metric for each pair of values of two settings, as colour and as a number.

    What was not run is hatched. Where the design is no grid, the cells are points in their places.

    Args:
        sweep: a sweep of two settings or more, or its frame `cells`. Of further settings the mean is taken, and the
            title says so.
        figure: the metric, by its path in the summary.
        x: the setting from left to right; the first that is a number, or the first, when None.
        y: the setting from bottom to top; the next one when None.
        ax: where to draw; axes of a figure of its own when None. The bar of colours takes some of its room.

    Raises:
        ConfigurationError: the sweep has no such metric, or did not vary such settings.
    """
    cells = cells_of(sweep)
    rows = cells.of(figure)
    x = cells.setting("x", x, () if y is None else (y,))
    y = cells.setting("y", y, (x,))
    _check_that_they_differ("y", x, y)
    averaged = [path for path in cells.varied if path not in (x, y)]
    means = _means(rows, [x, y])
    columns, lines = _values(means[x]), _values(means[y])
    with canvas(ax, WIDTH, HEIGHT) as ax:
        norm = _norm(means["mean"])
        if len(columns) * len(lines) > SPARSE * len(means):
            drawn: Any = _draw_points(ax, means, x, y, norm)
            ax.set_xlabel(cells.axis_label(x))
            ax.set_ylabel(cells.axis_label(y))
        else:
            drawn = _draw_grid(ax, means, (x, columns), (y, lines), norm, cells)
            ax.set_xlabel(x)
            ax.set_ylabel(y)
        names = short_names([x, y, *averaged])
        over = f", averaged over {', '.join(names[path] for path in averaged)}" if averaged else ""
        ax.set_title(f"{figure} by {names[x]} and {names[y]}{over}")
        if means["mean"].nunique() > 1:  # else there is no scale, and of a share one would go beyond the whole
            ax.figure.colorbar(drawn, ax=ax, label=figure)
    return ax


def _values(values: pd.Series[Any]) -> list[Any]:
    """Return each value of a setting once: numbers by size, others as they were given."""
    return sorted(values.unique()) if is_number(values) else list(values.unique())


def _norm(means: pd.Series[float]) -> Normalize:
    known = means.dropna()
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return Normalize(low, high if high > low else low + (abs(low) or 1.0))


def _draw_points(ax: Axes, means: pd.DataFrame, x: str, y: str, norm: Normalize) -> PathCollection:
    places, texts = _places(means[x])
    heights, height_texts = _places(means[y])
    _x_axis(ax, x, texts, places)
    if height_texts is not None:
        ax.set_yticks(range(len(height_texts)), [cut(drawable(text), 1.2, 8.5) for text in height_texts])
    ax.set_facecolor("#f2f2f2")
    return ax.scatter(
        places,
        heights,
        c=means["mean"],
        cmap=COLORS,
        norm=norm,
        s=70,
        edgecolors="#222222",
        linewidths=0.6,
        label="cells",
    )


def _draw_grid(
    ax: Axes,
    means: pd.DataFrame,
    across: tuple[str, list[Any]],
    up: tuple[str, list[Any]],
    norm: Normalize,
    cells: Cells,
) -> QuadMesh:
    (x, columns), (y, lines) = across, up
    grid = np.full((len(lines), len(columns)), np.nan)
    for column, line, mean in zip(means[x], means[y], means["mean"], strict=True):
        grid[lines.index(line), columns.index(column)] = mean
    ax.set_facecolor("#f2f2f2")
    ax.patch.set(hatch="///", edgecolor="#bbbbbb", linewidth=0.0)
    mesh = ax.pcolormesh(np.ma.masked_invalid(grid), cmap=COLORS, norm=norm, edgecolors="white", linewidth=1.0)
    width, height = size_in(ax)
    fits = len(columns) <= width / 0.42 and len(lines) <= height / 0.2
    for line, column in np.argwhere(~np.isnan(grid)) if fits else []:
        value = grid[line, column]
        color = "#222222" if norm(value) > 0.55 else "#ffffff"
        ax.text(column + 0.5, line + 0.5, plain_number(value), ha="center", va="center", color=color, size=SMALL_SIZE)
    room = max(width / max(len(columns), 1) - 0.05, 0.3)
    ax.set_xticks(np.arange(len(columns)) + 0.5, [cut(drawable(cells.text(x, one)), room, 8.5) for one in columns])
    ax.set_yticks(np.arange(len(lines)) + 0.5, [cut(drawable(cells.text(y, one)), 1.4, 8.5) for one in lines])
    ax.tick_params(length=0)
    return mesh
