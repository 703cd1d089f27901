"""The results of a comparison and of a search for settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter

from actors.errors import ConfigurationError, WrongType
from actors.formatting import plain_number
from simulation.reporting.plots.canvas import canvas, say
from simulation.reporting.plots.layout import SMALL_SIZE
from simulation.reporting.plots.legend import legend_above, set_title
from simulation.reporting.plots.looks import BLUE, GREEN, VERMILION, series_look
from simulation.reporting.plots.text import cut, drawable

WIDTH, ROW, AROUND = 8.6, 0.24, 1.2
"""In inches: a figure, a row of it, and what is above and below the rows."""

ROWS_MAX = 60
NAMES = 3.2
"""How wide the name of a metric or of a setting may be, in inches."""

PALE = "#999999"


class ComparedSettings(Protocol):
    """What a plot needs of a comparison."""

    @property
    def table(self) -> pd.DataFrame: ...


def differences(comparison: ComparedSettings, ax: Axes | None = None) -> Axes:
    """Draw by how much each metric of a comparison differs from the baseline, in per cent of it, with its 95%
    interval, seed by seed. What the interval leaves undecided is pale.

    A metric that is 0 or never in the baseline has no row, as there are no per cent of it.

    Args:
        comparison: what :func:`simulation.compare` returned.
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
    with canvas(ax, WIDTH, AROUND + ROW * max(len(rows), 2)) as ax:
        if rows.empty:
            ax.set_title(f"Against {drawable(baseline)}")
            say(ax, "every metric is 0 or never in the baseline")
            return ax
        step = 0.7 / len(settings)
        for metric, setting, value, low, high, sure in rows.itertuples(index=False):
            place = metrics.index(metric) + (settings.index(setting) - (len(settings) - 1) / 2) * step
            look = series_look(settings.index(setting))
            color = look.color if sure else PALE
            ax.plot([low, high], [place, place], color=color, linewidth=1.4)
            ax.plot([value], [place], marker=look.marker, color=color, markersize=5, linestyle="")
        ax.axvline(0.0, color="#222222", linewidth=0.9)
        ax.set_ylim(len(metrics) - 0.5, -0.5)
        ax.yaxis.set_major_locator(FixedLocator(range(len(metrics))))
        ax.set_yticklabels([cut(drawable(metric), NAMES, SMALL_SIZE) for metric in metrics])
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:+,.4g}%" if value else "0"))
        ax.set_xlabel("difference to the baseline, with its 95% interval, seed by seed")
        ax.grid(axis="x")
        ax.set_axisbelow(True)
        decided = int(rows["sure"].sum())
        more = f"; {left_out} metrics not drawn" if left_out else ""
        set_title(ax, drawable(f"Against {baseline}: {decided} of {len(rows)} differ by more than chance{more}"))
        legend_above(ax, [_sign(series_look(number), setting) for number, setting in enumerate(settings)])
    return ax


def _relative(table: pd.DataFrame) -> pd.DataFrame:
    """Return the differences to the baseline in per cent of it, where there are any."""
    middles = table.assign(middle=table["mean"].fillna(table["median"]))
    firsts = middles.drop_duplicates("metric").set_index("metric")["middle"]
    base = table["metric"].map(firsts).abs()
    rows = pd.DataFrame({"metric": table["metric"], "setting": table["setting"]})
    for name in ("difference", "low", "high"):
        rows[name] = 100 * table[name] / base.where(base > 0)
    rows["sure"] = table["excludes_0"]
    finite = rows["difference"].abs() < math.inf
    rows = rows[finite].head(ROWS_MAX)
    return rows.assign(low=rows["low"].fillna(rows["difference"]), high=rows["high"].fillna(rows["difference"]))


def _sign(look: Any, setting: str) -> Line2D:
    label = cut(drawable(setting), NAMES, SMALL_SIZE)
    return Line2D([], [], color=look.color, marker=look.marker, markersize=5, label=label)


def trials(tuning: Any, metric: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the settings that a search tried: in what share of its runs each met the expectations, against what it
    costs. What was found is named; what is not drawn has no value of the metric.

    Args:
        tuning: what :func:`simulation.tune` returned.
        metric: one of the objectives; the first when None.
        ax: where to draw; axes of a figure of its own when None.

    Raises:
        ConfigurationError: the search had no such objective.
        WrongType: it is no result of a search.
    """
    if not all(hasattr(tuning, name) for name in ("goal", "trials", "found", "runs_of", "value")):
        raise WrongType(f"wanted the result of a search, got {type(tuning).__name__}")
    objectives = {each.metric: each for each in tuning.goal.objectives}
    name = next(iter(objectives)) if metric is None else metric
    if name not in objectives:
        raise ConfigurationError([f"metric: wanted an objective of the search ({', '.join(objectives)}), got {name!r}"])
    objective = objectives[name]
    drawn = []
    for trial in tuning.trials:
        runs = tuning.runs_of(trial)
        cost = tuning.value(trial, objective)
        if cost is None or math.isinf(cost):
            cost = _mean_of(runs, name)
        if runs and cost is not None:
            drawn.append((trial, cost, 100 * tuning.held(runs) / len(runs)))
    with canvas(ax, WIDTH, 4.0) as ax:
        ax.set_xlabel(f"{name} ({'more' if objective.maximize else 'less'} is better)")
        ax.set_ylabel("runs as expected (%)")
        if not drawn:
            ax.set_title("Settings tried")
            say(ax, "no setting has a value")
            return ax
        for kind, color, marker in (("tried", PALE, "o"), ("as in the file", BLUE, "s"), ("found", VERMILION, "D")):
            own = [each for each in drawn if _kind(tuning, each[0]) == kind]
            if own:
                ax.plot(
                    [cost for _, cost, _ in own], [share for *_, share in own], marker,
                    color=color, markersize=6, alpha=0.85, label=kind,
                )  # fmt: skip
        wanted = 100 * tuning.goal.probability
        bound = ax.axhline(wanted, color=GREEN, linewidth=1.1, linestyle=(0, (4, 2)), label=f"wanted: {wanted:.4g}%")
        ax.set_ylim(-5, 108)
        for trial, cost, share in drawn:
            if trial in tuning.found:
                label = cut(drawable(trial.setting.label or "as in the file"), NAMES, SMALL_SIZE)
                ax.annotate(label, (cost, share), xytext=(6, -11), textcoords="offset points", size=SMALL_SIZE)
        found = tuning.best
        left_out = len(tuning.trials) - len(drawn)
        said = "none found" if found is None else f"found {found.setting.label or 'those of the file'}"
        costs = "" if found is None else f", {name} {plain_number(next(c for t, c, _ in drawn if t is found))}"
        more = f"; {left_out} not drawn" if left_out else ""
        set_title(ax, drawable(f"{len(tuning.trials)} settings tried: {said}{costs}{more}"))
        handles, _ = ax.get_legend_handles_labels()
        legend_above(ax, [*[handle for handle in handles if handle is not bound], bound])
        ax.grid()
        ax.set_axisbelow(True)
    return ax


def _kind(tuning: Any, trial: Any) -> str:
    return "found" if trial in tuning.found else "as in the file" if trial is tuning.baseline else "tried"


def _mean_of(runs: Sequence[Any], metric: str) -> float | None:
    """Return the mean of a metric over the runs, of a setting that was given up before it had one to reckon with."""
    values = [run.figures.get(metric) for run in runs]
    known = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
