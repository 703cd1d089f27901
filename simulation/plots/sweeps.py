"""The results of a sweep: figures against settings as lines or as a heat map, and the settings worth choosing from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from actors.errors import ConfigurationError
from simulation.plots.canvas import canvas, say, size_in
from simulation.plots.layout import SMALL_SIZE
from simulation.plots.looks import VERMILION, series_look
from simulation.plots.panels import number_text
from simulation.plots.sweep_table import (
    Cells,
    SweepSource,
    cells_of,
    error_bars,
    is_number,
    setting_text,
    short_names,
    value_text,
)
from simulation.plots.text import cut, drawable

WIDTH, HEIGHT = 7.6, 4.2
LINES_MAX = 12
"""Of more combinations of settings than that, the legend names the first ones."""

LABEL_ROOM = 3.0
LABELS_MAX = 10
"""Settings on the front that are named; more are only numbered."""

TICKS_MAX = 12
SPARSE = 4
"""A design with so many times fewer cells than a grid of its values is none."""

COLORS = "cividis"
"""Of even lightness steps, for the colour-blind and in grey print alike."""

LOGARITHMIC_FROM = 30.0
"""Values of a setting so many times apart stand on a logarithmic axis."""


def sweep_lines(
    sweep: SweepSource, figure: str, *, x: str | None = None, by: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the mean of a figure with its 95% interval against a setting, a line for each value of the others.

    Where hardly two cells lie on one line, as in a random or Latin hypercube design, they are drawn as points.

    Args:
        sweep: a sweep, or its frame `cells`.
        figure: of the summary by its path, such as ``delivery_time_s.p99``.
        x: the setting on the axis; the first that is a number, or the first, when None.
        by: the setting that tells the lines apart; all the others together when None. Those that are neither are
            averaged over, without intervals.
        ax: where to draw; axes of a figure of its own when None.

    Raises:
        ConfigurationError: the sweep has no such figure, or did not vary such a setting.
    """
    cells = cells_of(sweep)
    rows, x = cells.of(figure), cells.setting("x", x)
    others = [path for path in cells.varied if path != x] if by is None else [cells.setting("by", by)]
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
                f"{short_names(cells.varied)[path]}={value_text(value)}"
                for path, value in zip(others, values, strict=False)
            )
            _draw_line(
                ax, number, "each cell" if scattered else text or figure, group.sort_values("place"), not scattered
            )
        _x_axis(ax, x, ticks, places)
        ax.set_ylabel(figure)
        ax.yaxis.set_major_formatter(FuncFormatter(number_text))
        ax.set_title(_title(figure, x, averaged))
        ax.grid(axis="y")
        if others and not scattered:
            handles, labels = ax.get_legend_handles_labels()
            legend = ax.legend(handles[:LINES_MAX], labels[:LINES_MAX], loc="best", borderaxespad=0.6)
            if len(labels) > LINES_MAX:
                legend.set_title(f"{LINES_MAX} of {len(labels):,} combinations")
    return ax


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
        rows["place"],
        rows["mean"],
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
    """Draw the mean of a figure for each pair of values of two settings, as colour and as a number.

    What was not run is hatched. Where the design is no grid, the cells are points in their places.

    Args:
        sweep: a sweep of two settings or more, or its frame `cells`. Of further settings the mean is taken, and the
            title says so.
        figure: of the summary by its path.
        x: the setting from left to right; the first that is a number, or the first, when None.
        y: the setting from bottom to top; the next one when None.
        ax: where to draw; axes of a figure of its own when None. The bar of colours takes some of its room.

    Raises:
        ConfigurationError: the sweep has no such figure, or did not vary such settings.
    """
    cells = cells_of(sweep)
    rows = cells.of(figure)
    x = cells.setting("x", x, () if y is None else (y,))
    y = cells.setting("y", y, (x,))
    if x == y:
        raise ConfigurationError([f"y: wanted another setting than x, got {y!r} for both"])
    averaged = [path for path in cells.varied if path not in (x, y)]
    means = _means(rows, [x, y])
    columns, lines = _values(means[x]), _values(means[y])
    with canvas(ax, WIDTH, HEIGHT) as ax:
        norm = _norm(means["mean"])
        if len(columns) * len(lines) > SPARSE * len(means):
            drawn: Any = _draw_points(ax, means, x, y, norm)
        else:
            drawn = _draw_grid(ax, means, x, y, columns, lines, norm)
        ax.set_xlabel(x)
        ax.set_ylabel(y)
        names = short_names([x, y, *averaged])
        over = f", averaged over {', '.join(names[path] for path in averaged)}" if averaged else ""
        ax.set_title(f"{figure} by {names[x]} and {names[y]}{over}")
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
    ax: Axes, means: pd.DataFrame, x: str, y: str, columns: list[Any], lines: list[Any], norm: Normalize
) -> QuadMesh:
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
        text = figure_text(value)
        ax.text(column + 0.5, line + 0.5, text, ha="center", va="center", color=color, size=SMALL_SIZE)
    room = max(width / max(len(columns), 1) - 0.05, 0.3)
    ax.set_xticks(np.arange(len(columns)) + 0.5, [cut(drawable(value_text(one)), room, 8.5) for one in columns])
    ax.set_yticks(np.arange(len(lines)) + 0.5, [cut(drawable(value_text(one)), 1.4, 8.5) for one in lines])
    ax.tick_params(length=0)
    return mesh


def figure_text(value: float) -> str:
    """Return a figure with few digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def pareto(sweep: SweepSource, *, gain: str = "sent_fraction", cost: str = "requests", ax: Axes | None = None) -> Axes:
    """Draw what each setting delivers against what it costs, and mark the Pareto front: the settings than which no
    other gains as much for less, or more for as little.

    The front is numbered from the cheapest on, and its settings stand in the legend. It is that of the means; bars are
    their 95% intervals, and where these overlap the order may be luck.

    Args:
        sweep: a sweep, or its frame `cells`.
        gain: the figure of which more is better.
        cost: the figure of which less is better; `requests` is the load on the provider.
        ax: where to draw; axes of a figure of its own when None.

    Raises:
        ConfigurationError: the sweep has no such figure.
    """
    cells = cells_of(sweep)
    gains, costs = cells.of(gain), cells.of(cost)
    both = gains.merge(costs, on="cell", suffixes=("", "_cost")).dropna(subset=["mean", "mean_cost"])
    front = pareto_front(both["mean"].to_numpy(float), both["mean_cost"].to_numpy(float))
    with canvas(ax, WIDTH, HEIGHT) as ax:
        ax.set_title(f"{gain} against {cost}")
        ax.set_xlabel(f"{cost} (less is better)")
        ax.set_ylabel(f"{gain} (more is better)")
        if both.empty:
            say(ax, "no cell has both figures")
            return ax
        rest = both.drop(index=both.index[front])
        if len(rest):
            _draw_cells(ax, rest, "#888888", "o", "other settings")
        best = both.iloc[front]
        _draw_cells(ax, best, VERMILION, "D", "Pareto front")
        ax.step(best["mean_cost"], best["mean"], where="post", color=VERMILION, linewidth=1.2, linestyle=(0, (4, 2)))
        _name_the_front(ax, best, cells)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(FuncFormatter(number_text))
        ax.grid()
    return ax


def pareto_front(gain: npt.NDArray[np.float64], cost: npt.NDArray[np.float64]) -> list[int]:
    """Return which settings are on the front, the cheapest first: none other gains as much for less, or more for as
    little. Of settings that are equal in both, all are."""
    order = np.lexsort((-gain, cost))
    front: list[int] = []
    highest, at_cost = -np.inf, np.nan
    for index in order:
        if gain[index] > highest or (gain[index] == highest and cost[index] == at_cost):
            front.append(int(index))
            highest, at_cost = float(gain[index]), float(cost[index])
    return front


def _draw_cells(ax: Axes, rows: pd.DataFrame, color: str, marker: str, label: str) -> None:
    of_cost = rows[["mean_cost", "low_cost", "high_cost"]].set_axis(["mean", "low", "high"], axis=1)
    ax.errorbar(
        rows["mean_cost"],
        rows["mean"],
        xerr=error_bars(of_cost),
        yerr=error_bars(rows),
        linestyle="",
        marker=marker,
        markersize=6,
        color=color,
        elinewidth=0.9,
        capsize=2,
        label=label,
    )


def _name_the_front(ax: Axes, best: pd.DataFrame, cells: Cells) -> None:
    entries, _ = ax.get_legend_handles_labels()
    for number, (_, row) in enumerate(best.iterrows(), start=1):
        ax.annotate(
            str(number),
            (row["mean_cost"], row["mean"]),
            xytext=(-5, 5),
            textcoords="offset points",
            ha="right",
            size=8.5,
            weight="bold",
        )
        if number <= LABELS_MAX:
            text = cut(drawable(f"{number}  {setting_text(row, cells.varied)}"), LABEL_ROOM, 8.5)
            entries.append(Line2D([], [], linestyle="", label=text))
    if len(best) > LABELS_MAX:
        entries.append(Line2D([], [], linestyle="", label=f"and {len(best) - LABELS_MAX:,} more"))
    ax.legend(handles=entries, loc="lower right", borderaxespad=0.6, handlelength=1.2)
