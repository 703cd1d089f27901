"""The results of a sweep: a metric against settings, as lines or as a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from actors.errors import ConfigurationError, WrongType
from actors.formatting import plain_number
from actors.settings.hints import nearest
from actors.settings.quantities import parse_duration, parse_rate
from simulation.reporting.plots.canvas import canvas, size_in
from simulation.reporting.plots.looks import SMALL_SIZE, VERMILION, series_look
from simulation.reporting.plots.panels import number_text
from simulation.reporting.plots.text import cut, drawable, legend_within
from simulation.results.formatting import never_text
from simulation.scenario import Expectation
from simulation.scenario.arguments import check_metric
from simulation.scenario.metrics import NEVER, path_of
from simulation.scenario.space import Setting, number_of, short_names

# ── the cells ─────────────────────────────────────────────────────────────────────────────────────────────────────────


HOLDS = "expectations_hold"
"""The metric of a sweep's cell that is 1 where every run of it is as expected."""

OF_A_CELL = ("cell", "figure", "n", "never", "mean", "median", "sd", "low", "high")
"""The columns beside the varied settings."""


class SweepCells(Protocol):
    """The attributes of a sweep that plots need."""

    @property
    def cells(self) -> pd.DataFrame: ...


SweepSource: TypeAlias = "SweepCells | pd.DataFrame"
"""A sweep, or its frame `cells`."""


class Cells(NamedTuple):
    """The frame `cells` of a sweep, and the settings that were varied in it."""

    frame: pd.DataFrame
    varied: tuple[str, ...]
    written: Mapping[str, Mapping[Any, str]]
    """For each setting its values as a person wrote them, as far as that is known: ``10s`` for 10."""

    expect: tuple[Expectation, ...] = ()
    """The expectations of each run, as far as they are known."""

    runs: pd.DataFrame | None = None
    """A row for each run, where there are any."""

    def expected(self, figure: str) -> list[Expectation]:
        return [each for each in self.expect if path_of(each.path) == figure]

    def meets(self) -> set[int] | None:
        """Return the cells in which every run is as expected; None where nothing is expected, or that is not known."""
        rows = self.frame[self.frame["figure"] == HOLDS]
        return None if rows.empty else set(rows.loc[rows["mean"] >= 1.0, "cell"])

    def text(self, path: str, value: Any) -> str:
        return self.written.get(path, {}).get(value) or value_text(value)

    def axis_label(self, path: str) -> str:
        """Return the label of a setting's axis, with its unit where that is known."""
        texts = self.written.get(path, {}).values()
        if any(parse_duration(text, unit_required=True) is not None for text in texts):
            return f"{path} (s)"
        return f"{path} (a second)" if any(parse_rate(text, unit_required=True) is not None for text in texts) else path

    def of(self, figure: str) -> pd.DataFrame:
        """Return the rows of one metric of the summary: `middle` is its mean, or its median where it may be never, and
        infinite where that is.

        Raises:
            ConfigurationError: the sweep has no such metric.
        """
        rows = self.frame[self.frame["figure"] == figure]
        if rows.empty:
            check_metric(figure, dict.fromkeys(self.frame["figure"]))
        rows = rows.reset_index(drop=True)
        if "median" not in rows.columns:  # as in the frame of an older sweep
            return rows.assign(middle=rows["mean"], never=0)
        return rows.assign(middle=rows["mean"].fillna(rows["median"]))

    def setting(self, role: str, path: str | None, taken: Sequence[str] = ()) -> str:
        """Return which of the varied settings plays a role in a plot: the one that is asked for, or the first left.

        A number is preferred for an axis.

        Raises:
            ConfigurationError: it was not varied, or none is left.
        """
        if path is not None:
            if path not in self.varied:
                near = nearest(path, self.varied)
                choice = f"such as {near}" if near else f"({', '.join(self.varied) or 'none'})"
                raise ConfigurationError([f"{role}: wanted a setting that was varied, {choice}, got {path!r}"])
            return path
        left = [name for name in self.varied if name not in taken]
        if not left:
            raise ConfigurationError([f"{role}: wanted a sweep of {len(taken) + 1} settings or more, got {len(taken)}"])
        return next((name for name in left if is_number(self.frame[name])), left[0])


def cells_of(sweep: SweepSource) -> Cells:
    """Return the cells of a sweep.

    Raises:
        WrongType: it is neither a sweep nor its frame `cells`.
    """
    frame = sweep if isinstance(sweep, pd.DataFrame) else getattr(sweep, "cells", None)
    if not isinstance(frame, pd.DataFrame):
        raise WrongType(f"wanted a sweep or its frame `cells`, got {type(sweep).__name__}")
    missing = [column for column in ("cell", "figure", "n", "mean", "low", "high") if column not in frame.columns]
    if missing:
        had = ", ".join(map(str, frame.columns)) or "none"
        raise WrongType(f"wanted the frame `cells` of a sweep; {', '.join(missing)} missing, got {had}")
    named = getattr(sweep, "varied", None)
    varied = [column for column in frame.columns if column not in OF_A_CELL] if named is None else named
    runs = getattr(sweep, "runs", None)
    expect = tuple(getattr(getattr(sweep, "scenario", None), "expect", ()))
    frame = frame.assign(**{path: _numbers(frame[path]) for path in varied if path in frame.columns})
    return Cells(frame, tuple(map(str, varied)), _written(getattr(sweep, "settings", ())), expect, runs)


def _numbers(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return quantities as numbers, ``10s`` as 10, where all are; else the values as they are."""
    if is_number(values) or not all(isinstance(value, str) for value in values.unique()):
        return values
    numbers = {text: number_of(text) for text in values.unique()}
    return values if None in numbers.values() else values.map(numbers).astype("float64")


def _written(settings: Sequence[Setting]) -> dict[str, dict[Any, str]]:
    written: dict[str, dict[Any, str]] = {}
    for setting in settings:
        for path, text in setting.values:
            number = number_of(text)
            written.setdefault(path, {})[text if number is None else number] = text
    return written


def is_number(values: pd.Series[Any]) -> bool:
    """Return whether the values of a setting are numbers; true and false are not."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def value_text(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (int, float, np.number)):
        return plain_number(float(value), 6).replace(",", "")  # which stands between settings
    return str(value)


def setting_text(row: pd.Series[Any], cells: Cells) -> str:
    """Return the settings of a cell: ``max_attempts=5, jitter=full``."""
    names = short_names(cells.varied)
    return ", ".join(f"{names[path]}={cells.text(path, row[path])}" for path in cells.varied)


def error_bars(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return how far the 95% intervals reach below and above the middle; NaN where that is not known."""
    middle = rows["middle"].to_numpy(float)
    return np.array([middle - rows["low"].to_numpy(float), rows["high"].to_numpy(float) - middle]).clip(0.0)


WIDTH, HEIGHT = 7.6, 4.2
LINES_MAX = 12
"""Of more combinations of settings than that, the legend names the first ones."""

LABEL_ROOM = 3.0
TICKS_MAX = 12
NOTES_MAX = 30
"""The most points at which the number of runs that are never is written."""

SPARSE = 4
"""A design with fewer cells than a grid of its values by this factor is not drawn as a grid."""

COLORS = "cividis"
"""Of even lightness steps, for the colour-blind and in grey print alike."""

LOGARITHMIC_FROM = 30.0
"""The ratio of values of a setting from which on its axis is logarithmic."""


def sweep_lines(
    sweep: SweepSource, figure: str, *, x: str | None = None, by: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the mean of a metric, or the median of one that may be never, with its 95% interval against a setting, a
    line for each value of the others.

    A metric that is never stands above all times, at a line of its own; beside a median stands in how many runs it was
    never.

    Where hardly two cells lie on one line, as in a random or Latin hypercube design, they are drawn as points.

    Args:
        sweep: a sweep, or its frame `cells`.
        figure: the metric, by its path in the summary, such as ``delivery_time_s.p99``.
        x: the setting on the axis; the first that is a number, or the first, when None.
        by: the setting that distinguishes the lines; all the others together when None. Further settings are averaged
            over, without intervals.
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
    rows, level = _with_a_level(rows)
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
        _say_never(ax, rows, level)
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
    """Return the mean of the means or medians for each combination of the settings `keys`, in the order in which they
    come. It is never where one of them is."""
    groups = rows.assign(infinite=np.isposinf(rows["middle"])).groupby(keys, sort=False)
    found = groups.agg({"middle": "mean", "infinite": "any", "never": "sum", "n": "sum"}).reset_index()
    return found.assign(middle=found["middle"].where(~found["infinite"], np.inf))


def _with_a_level(rows: pd.DataFrame) -> tuple[pd.DataFrame, float | None]:
    """Return rows with a height for metrics that are never, above all others; None: no metric is never."""
    ends = rows[["middle", "low", "high"]].to_numpy(float)
    if not np.isposinf(ends).any():
        return rows, None
    known = ends[np.isfinite(ends)]
    highest, lowest = (float(known.max()), float(known.min())) if len(known) else (1.0, 0.0)
    level = highest + 0.15 * ((highest - min(lowest, 0.0)) or 1.0)
    return rows.replace({name: {np.inf: level} for name in ("middle", "low", "high")}), level


def _say_never(ax: Axes, rows: pd.DataFrame, level: float | None) -> None:
    """Write `never` at the height of metrics that are never, and at other points in how many runs they were."""
    if level is not None:
        ax.axhline(level, color=VERMILION, linewidth=0.9, linestyle=":")
        at_right = ax.get_yaxis_transform()
        ax.text(0.995, level, NEVER, transform=at_right, ha="right", va="bottom", color=VERMILION, size=SMALL_SIZE)
    some = rows[(rows["never"] > 0) & (rows["middle"] != level)].sort_values(["place", "middle"])
    for above, (_, row) in zip(some.groupby("place").cumcount(), some.head(NOTES_MAX).iterrows(), strict=False):
        ax.annotate(
            never_text(int(row["never"]), int(row["n"])),
            (row["place"], row["middle"]),
            xytext=(4, 4 + 9 * above),
            textcoords="offset points",
            color=VERMILION,
            size=SMALL_SIZE,
        )


def _draw_line(ax: Axes, number: int, label: str, rows: pd.DataFrame, joined: bool) -> None:
    look = series_look(number)
    ax.errorbar(
        rows["place"].to_numpy(float),
        rows["middle"].to_numpy(float),
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

    A pair that was not run is hatched. Where the design is no grid, the cells are points in their places.

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
        norm = _norm(means["middle"])
        never = "\n(orange: never; framed: never in some runs)" if (means["never"] > 0).any() else ""
        if len(columns) * len(lines) > SPARSE * len(means):
            drawn: Any = _draw_points(ax, means, x, y, norm)
            ax.set_xlabel(cells.axis_label(x) + never)
            ax.set_ylabel(cells.axis_label(y))
        else:
            drawn = _draw_grid(ax, means, (x, columns), (y, lines), norm, cells)
            bound = _draw_the_bound(ax, cells, figure, means, (x, columns), (y, lines))
            ax.set_xlabel(x + never + bound)
            ax.set_ylabel(y)
        names = short_names([x, y, *averaged])
        over = f", averaged over {', '.join(names[path] for path in averaged)}" if averaged else ""
        ax.set_title(f"{figure} by {names[x]} and {names[y]}{over}")
        if (
            means["middle"].replace(np.inf, np.nan).nunique() > 1
        ):  # else there is no scale, and of a share one would go beyond the whole
            ax.figure.colorbar(drawn, ax=ax, label=figure)
    return ax


def _draw_the_bound(
    ax: Axes, cells: Cells, figure: str, means: pd.DataFrame, across: tuple[str, list[Any]], up: tuple[str, list[Any]]
) -> str:
    """Draw the line between cells that meet a bound and cells that do not; return its text, for below the axis."""
    said = []
    for expectation in cells.expected(figure):
        (x, columns), (y, lines) = across, up
        meets = np.full((len(lines) + 2, len(columns) + 2), np.nan)  # with a rim, of which nothing is known
        for column, line, middle in zip(means[x], means[y], means["middle"], strict=True):
            meets[lines.index(line) + 1, columns.index(column) + 1] = expectation.holds_of(middle)
        edges = []
        for line, column in np.argwhere(~np.isnan(meets)):
            for there, ends in (
                ((line, column + 1), ((column, line - 1), (column, line))),
                ((line + 1, column), ((column - 1, line), (column, line))),
            ):
                if meets[there] != meets[line, column] and not np.isnan(meets[there]):
                    edges.append(ends)
        ax.add_collection(
            LineCollection(edges, colors="#ffffff", linewidths=4.5, zorder=4, label=f"{expectation.text}: rim")
        )
        ax.add_collection(LineCollection(edges, colors="#000000", linewidths=2.2, zorder=5, label=expectation.text))
        held = int(np.nansum(meets))
        known = int((~np.isnan(meets)).sum())
        where = "all cells" if held == known else "no cell" if not held else f"{held} of {known} cells, within the line"
        said.append(f"{expectation.text} in {where}")
    return "".join(f"\n{each}" for each in said)


def _values(values: pd.Series[Any]) -> list[Any]:
    return sorted(values.unique()) if is_number(values) else list(values.unique())


def _norm(means: pd.Series[float]) -> Normalize:
    known = means[np.isfinite(means)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return Normalize(low, high if high > low else low + (abs(low) or 1.0))


def _draw_points(ax: Axes, means: pd.DataFrame, x: str, y: str, norm: Normalize) -> PathCollection:
    places, texts = _places(means[x])
    heights, height_texts = _places(means[y])
    _x_axis(ax, x, texts, places)
    if height_texts is not None:
        ax.set_yticks(range(len(height_texts)), [cut(drawable(text), 1.2, 8.5) for text in height_texts])
    ax.set_facecolor("#f2f2f2")
    never = np.isposinf(means["middle"])
    if never.any():
        ax.scatter(places[never], heights[never], c=VERMILION, s=70, edgecolors="#222222", linewidths=0.6)
    some = (means["never"] > 0) & ~never
    return ax.scatter(
        places[~never],
        heights[~never],
        c=means.loc[~never, "middle"],
        cmap=COLORS,
        norm=norm,
        s=70,
        edgecolors=[VERMILION if one else "#222222" for one in some[~never]],
        linewidths=[1.8 if one else 0.6 for one in some[~never]],
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
    often = np.zeros(grid.shape, int)
    for column, line, middle, never in zip(means[x], means[y], means["middle"], means["never"], strict=True):
        place = lines.index(line), columns.index(column)
        grid[place], often[place] = middle, never
    ax.set_facecolor("#f2f2f2")
    ax.patch.set(hatch="///", edgecolor="#bbbbbb", linewidth=0.0)
    mesh = ax.pcolormesh(np.ma.masked_invalid(grid), cmap=COLORS, norm=norm, edgecolors="white", linewidth=1.0)
    width, height = size_in(ax)
    fits = len(columns) <= width / 0.42 and len(lines) <= height / 0.2
    for line, column in np.argwhere(often > 0):
        fill = VERMILION if np.isinf(grid[line, column]) else "none"
        inset = 0.0 if fill == VERMILION else 0.03  # so that the frames of neighbours do not cover one another
        corner, size = (column + inset, line + inset), 1 - 2 * inset
        ax.add_patch(Rectangle(corner, size, size, facecolor=fill, edgecolor=VERMILION, linewidth=1.8))
    for line, column in np.argwhere(~np.isnan(grid)) if fits else []:
        value = grid[line, column]
        text = NEVER if np.isinf(value) else plain_number(value)
        color = "#ffffff" if np.isinf(value) or norm(value) <= 0.55 else "#222222"
        ax.text(column + 0.5, line + 0.5, text, ha="center", va="center", color=color, size=SMALL_SIZE)
    room = max(width / max(len(columns), 1) - 0.05, 0.3)
    ax.set_xticks(np.arange(len(columns)) + 0.5, [cut(drawable(cells.text(x, one)), room, 8.5) for one in columns])
    ax.set_yticks(np.arange(len(lines)) + 0.5, [cut(drawable(cells.text(y, one)), 1.4, 8.5) for one in lines])
    ax.tick_params(length=0)
    return mesh
