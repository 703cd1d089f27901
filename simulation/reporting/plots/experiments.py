"""The results of a comparison and of a search for settings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter

from actors.errors import ConfigurationError, WrongType
from actors.formatting import counted, plain_number
from simulation.reporting.plots.canvas import canvas, say
from simulation.reporting.plots.looks import BLUE, GREEN, SMALL_SIZE, VERMILION, series_look
from simulation.reporting.plots.text import cut, drawable, legend_above, set_title
from simulation.results.files import read_table
from simulation.scenario.metrics import NEVER
from simulation.scenario.space import settings_of

WIDTH, ROW, AROUND = 8.6, 0.24, 1.2
"""In inches: a figure, a row of it, and the space above and below the rows."""

ROWS_MAX = 60
FAR = 10.0
"""A metric of more than so many times the baseline stands at the edge: it would flatten all others."""

NAMES = 3.2
"""How wide the name of a metric or of a setting may be, in inches."""

PALE = "#999999"


class ComparedSettings(Protocol):
    """The attributes of a comparison that a plot needs."""

    @property
    def table(self) -> pd.DataFrame: ...


def differences(comparison: ComparedSettings, ax: Axes | None = None) -> Axes:
    """Draw by how much each metric of a comparison differs from the baseline, in per cent of it, with its 95% interval,
    seed by seed. A difference that the interval leaves undecided is pale.

    A metric that is 0 or never in the baseline, or never now, or more than ten times the baseline, would say nothing in
    per cent, or flatten the rest: where it differs it is at the edge, more to the right and less to the left, with both
    values. Of more rows than there is room for, those are drawn that differ by more than chance, and of these the
    largest.

    Args:
        comparison: the result of :func:`simulation.compare`.
        ax: where to draw; axes of a figure of its own when None.

    Raises:
        WrongType: it is no comparison.
    """
    table = getattr(comparison, "table", None)
    wanted = {"metric", "setting", "mean", "median", "difference", "low", "high", "excludes_0"}
    if not isinstance(table, pd.DataFrame) or not wanted <= set(table.columns):
        raise WrongType(f"wanted a comparison, got {type(comparison).__name__}")
    rows = _relative(table)
    metrics, settings = list(dict.fromkeys(rows["metric"])), list(dict.fromkeys(rows["setting"]))
    baseline = str(table["setting"].iloc[0])
    left_out = table["metric"].nunique() - len(metrics)
    sizes = rows[["difference", "low", "high"]].abs().to_numpy(float)
    edge = 1.15 * max(float(sizes[np.isfinite(sizes)].max(initial=0.0)), 10.0)
    with canvas(ax, WIDTH, AROUND + ROW * max(len(rows), 2)) as ax:
        if rows.empty:
            ax.set_title(f"Against {drawable(baseline)}")
            say(ax, "no metric differs from the baseline")
            return ax
        step = 0.7 / len(settings)
        for metric, setting, value, low, high, sure, values in rows.itertuples(index=False):
            place = metrics.index(metric) + (settings.index(setting) - (len(settings) - 1) / 2) * step
            look = series_look(settings.index(setting))
            color = look.color if sure else PALE
            if math.isinf(value):
                side = math.copysign(edge, value)
                ax.plot([side], [place], marker=">" if value > 0 else "<", color=color, markersize=6, clip_on=False)
                ax.annotate(
                    values, (side, place), xytext=(-8 if value > 0 else 8, 0), textcoords="offset points",
                    ha="right" if value > 0 else "left", va="center", size=SMALL_SIZE, color=color,
                )  # fmt: skip
                continue
            ax.plot([low, high], [place, place], color=color, linewidth=1.4)
            ax.plot([value], [place], marker=look.marker, color=color, markersize=5, linestyle="")
        ax.axvline(0.0, color="#222222", linewidth=0.9)
        ax.set_ylim(len(metrics) - 0.5, -0.5)
        if np.isinf(rows["difference"]).any():
            drawn = rows[["difference", "low", "high"]].clip(-edge, edge)
            ax.set_xlim(min(drawn.min().min(), -0.1 * edge), max(drawn.max().max(), 0.1 * edge))
        ax.yaxis.set_major_locator(FixedLocator(range(len(metrics))))
        ax.set_yticklabels([cut(drawable(metric), NAMES, SMALL_SIZE) for metric in metrics])
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:+,.4g}%" if value else "0"))
        ax.set_xlabel("difference to the baseline, with its 95% interval, seed by seed")
        ax.grid(axis="x")
        ax.set_axisbelow(True)
        decided = int(rows["sure"].sum())
        more = f"; {counted(left_out, 'metric')} not drawn" if left_out else ""
        set_title(ax, drawable(f"Against {baseline}: {decided} of {len(rows)} differ by more than chance{more}"))
        legend_above(ax, [_sign(series_look(number), setting) for number, setting in enumerate(settings)])
    return ax


def _relative(table: pd.DataFrame) -> pd.DataFrame:
    """Return the differences to the baseline in per cent of it; infinite where these say nothing: it is 0 or far less,
    or one of both is never."""
    middles = table["mean"].fillna(table["median"])
    base = table["metric"].map(table.assign(middle=middles).drop_duplicates("metric").set_index("metric")["middle"])
    has_share = (base != 0) & np.isfinite(base) & np.isfinite(middles) & (middles.abs() <= FAR * base.abs())
    rows = table[["metric", "setting"]].assign(
        **{name: 100 * table[name] / base.abs().where(has_share) for name in ("difference", "low", "high")},
        sure=table["excludes_0"],
        values=[f"{_value(one)} → {_value(other)}" for one, other in zip(base, middles, strict=True)],
    )
    edges = np.sign(table["difference"]).replace(0.0, math.nan) * math.inf
    rows["difference"] = rows["difference"].where(has_share, edges)
    rows = rows[rows["difference"].notna()]
    if len(rows) > ROWS_MAX:
        order = rows.assign(size=rows["difference"].abs()).sort_values(["sure", "size"], ascending=False, kind="stable")
        rows = rows.loc[sorted(order.index[:ROWS_MAX])]
    return rows.assign(low=rows["low"].fillna(rows["difference"]), high=rows["high"].fillna(rows["difference"]))


def _value(value: float) -> str:
    return NEVER if math.isinf(value) else plain_number(value)


def _sign(look: Any, setting: str) -> Line2D:
    label = cut(drawable(setting), NAMES, SMALL_SIZE)
    return Line2D([], [], color=look.color, marker=look.marker, markersize=5, label=label)


class SearchedSettings(NamedTuple):
    objectives: dict[str, bool]
    """The metric of each, and whether more of it is better."""

    probability: float
    """The share of runs in which all expectations must hold."""

    table: pd.DataFrame
    """A row a trial, as ``tuning.table`` has it."""

    labels: dict[int, str]
    """The values that each trial sets, by its number; empty for the file's own settings."""

    found: tuple[int, ...]
    """The numbers of the trials that were found, the best one first."""


def searched_by(tuning: Any) -> SearchedSettings:
    """Return the attributes of a search that a plot needs.

    Raises:
        WrongType: it is no result of a search.
    """
    if isinstance(tuning, SearchedSettings):
        return tuning
    if not all(hasattr(tuning, name) for name in ("goal", "trials", "found", "table")):
        raise WrongType(f"wanted the result of a search, got {type(tuning).__name__}")
    return SearchedSettings(
        {each.metric: each.maximize for each in tuning.goal.objectives},
        tuning.goal.probability,
        tuning.table,
        {trial.number: trial.setting.label for trial in tuning.trials},
        tuple(trial.number for trial in tuning.found),
    )


class _Point(NamedTuple):
    number: int
    cost: float
    share: float
    """Of runs as expected, in per cent."""


def trials(tuning: Any, metric: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the settings that a search tried: the share of its runs in which each met the expectations, against its
    cost. The found settings are named; a setting without a value of the metric is not drawn.

    Args:
        tuning: the result of :func:`simulation.tune`.
        metric: one of the objectives; the first when None.
        ax: where to draw; axes of a figure of its own when None.

    Raises:
        ConfigurationError: the search had no such objective.
        WrongType: it is no result of a search.
    """
    search = searched_by(tuning)
    name = next(iter(search.objectives)) if metric is None else metric
    if name not in search.objectives:
        known = ", ".join(search.objectives)
        raise ConfigurationError([f"metric: wanted an objective of the search ({known}), got {name!r}"])
    drawn = _points(search, name)
    with canvas(ax, WIDTH, 4.0) as ax:
        ax.set_xlabel(f"{name} ({'more' if search.objectives[name] else 'less'} is better)")
        ax.set_ylabel("runs as expected (%)")
        if not drawn:
            ax.set_title("Settings tried")
            say(ax, "no setting has a value")
            return ax
        for kind, color, marker in (("tried", PALE, "o"), ("as in the file", BLUE, "s"), ("found", VERMILION, "D")):
            own = [each for each in drawn if _kind(search, each.number) == kind]
            if own:
                ax.plot(
                    [each.cost for each in own], [each.share for each in own], marker,
                    color=color, markersize=6, alpha=0.85, label=kind,
                )  # fmt: skip
        wanted = 100 * search.probability
        bound = ax.axhline(wanted, color=GREEN, linewidth=1.1, linestyle=(0, (4, 2)), label=f"wanted: {wanted:.4g}%")
        ax.set_ylim(-5, 108)
        middle = (min(each.cost for each in drawn) + max(each.cost for each in drawn)) / 2
        found = [each for each in drawn if each.number in search.found]
        for row, each in enumerate(found):  # a row each, or they would be on top of each other
            label = cut(drawable(search.labels[each.number] or "as in the file"), NAMES, SMALL_SIZE)
            to_left = each.cost > middle  # beside the axes it would be cut off
            ax.annotate(
                label, (each.cost, each.share), xytext=(-6 if to_left else 6, -11 - 11 * row),
                textcoords="offset points", size=SMALL_SIZE, ha="right" if to_left else "left",
            )  # fmt: skip
        costs = {each.number: f", {name} {plain_number(each.cost)}" for each in drawn}
        said, cost = "none found", ""
        if len(search.found) > 1:
            said = f"{len(search.found)} found, of which none is better than another in all"
        elif search.found:
            said = f"found {search.labels[search.found[0]] or 'those of the file'}"
            cost = costs.get(search.found[0], "")
        left_out = len(search.table) - len(drawn)
        more = f"; {left_out} not drawn" if left_out else ""
        set_title(ax, drawable(f"{len(search.table)} settings tried: {said}{cost}{more}"))
        handles, _ = ax.get_legend_handles_labels()
        legend_above(ax, [*[handle for handle in handles if handle is not bound], bound])
        ax.grid()
        ax.set_axisbelow(True)
    return ax


def _points(search: SearchedSettings, metric: str) -> list[_Point]:
    found = []
    for row in search.table.to_dict("records"):
        fresh = row["fresh_runs"] > 0
        held, count = (row["fresh_held"], row["fresh_runs"]) if fresh else (row["held"], row["runs"])
        cost = float(row[metric])
        if count and math.isfinite(cost):
            found.append(_Point(int(row["trial"]), cost, 100 * held / count))
    return found


def _kind(search: SearchedSettings, number: int) -> str:
    return "found" if number in search.found else "as in the file" if number == 0 else "tried"


# ── what was saved ────────────────────────────────────────────────────────────────────────────────────────────────────


COMPARISON, SEARCH = "comparison.json", "tuning.json"
"""The documents of both, by which their folders are known."""


class SavedComparison(NamedTuple):
    table: pd.DataFrame


def saved_comparison(directory: Path) -> SavedComparison:
    """Return the comparison that was saved in a folder.

    Raises:
        ConfigurationError: its table is not there, or cannot be read.
    """
    return SavedComparison(_table(directory, "comparison.parquet", "a comparison"))


def saved_search(directory: Path) -> SearchedSettings:
    """Return the search that was saved in a folder.

    Raises:
        ConfigurationError: a file of it is not there, or cannot be read.
    """
    table = _table(directory, "trials.parquet", "a search")
    try:
        document: dict[str, Any] = json.loads((directory / SEARCH).read_text(encoding="utf-8"))
        objectives = {each["figure"]: each["direction"] == "maximize" for each in document["objectives"]}
        paths = list(document["vary"])
        numbers = [each["trial"] for each in document["trials"]]
        settings = settings_of(paths, [[str(each["setting"][path]) for path in paths] for each in document["trials"]])
        labels = {number: setting.label if number else "" for number, setting in zip(numbers, settings, strict=True)}
        found = tuple(each["trial"] for each in document["found"])
        return SearchedSettings(objectives, float(document["probability"]), table, labels, found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        wanted = "wanted the folder of a search"
        raise ConfigurationError([f"{directory}: {wanted}, got one that cannot be read: {error}"]) from None


def _table(directory: Path, name: str, what: str) -> pd.DataFrame:
    if not (directory / name).is_file():
        raise ConfigurationError([f"{directory}: wanted the folder of {what}, got one without {name}"])
    return read_table(directory / name)
