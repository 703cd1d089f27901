"""The settings of a sweep that are worth choosing from: the deliveries of each against its load on the provider."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from scipy.special import stdtrit

from actors.formatting import plain_number
from simulation.reporting.plots.canvas import canvas, say
from simulation.reporting.plots.looks import VERMILION
from simulation.reporting.plots.panels import number_text
from simulation.reporting.plots.sweeps import (
    HEIGHT,
    LABEL_ROOM,
    WIDTH,
    Cells,
    SweepSource,
    cells_of,
    error_bars,
    setting_text,
)
from simulation.reporting.plots.text import cut, drawable, legend_within

LABELS_MAX = 10
"""Settings on the front that are named; more are only numbered."""


def pareto(sweep: SweepSource, *, gain: str = "sent_fraction", cost: str = "requests", ax: Axes | None = None) -> Axes:
    """Draw the gain of each setting against its cost, and mark the Pareto front: no other setting gains as much for
    less cost, or more for the same.

    The front is numbered from the cheapest on, and its settings stand in the legend. It is the front of the means; bars
    are their 95% intervals. Each but the first shows its gain over the one before it on the same seeds. Where settings
    are as expected in every run, the front is of these alone. A setting with a metric that is never in some run is not
    on the front.

    Args:
        sweep: a sweep, or its frame `cells`.
        gain: the metric to have more of.
        cost: the metric to have less of; `requests` is the load on the provider.
        ax: where to draw; axes of a figure of its own when None.

    Raises:
        ConfigurationError: the sweep has no such metric.
    """
    cells = cells_of(sweep)
    gains, costs = cells.of(gain), cells.of(cost)
    both = gains.merge(costs, on="cell", suffixes=("", "_cost")).dropna(subset=["middle", "middle_cost"])
    never = (both["never"] > 0) | (both["never_cost"] > 0)
    with_never, both = both[never], both[~never]
    meets = cells.meets()
    first = both if not meets else both[both["cell"].isin(meets)]  # what is not as expected is no choice
    choice = first if len(first) else both
    front = pareto_front(choice["middle"].to_numpy(float), choice["middle_cost"].to_numpy(float))
    with canvas(ax, WIDTH, HEIGHT) as ax:
        ax.set_title(f"{gain} against {cost}")
        ax.set_xlabel(f"{cost} (less is better)")
        ax.set_ylabel(f"{gain} (more is better)")
        if both.empty and with_never.empty:
            say(ax, "no cell has both metrics")
            return ax
        if both.empty:
            say(ax, "each setting is never in some run")
            return ax
        best = choice.iloc[front]
        rest = both.drop(index=best.index)
        broken = rest[~rest["cell"].isin(meets)] if meets and len(first) else rest.iloc[:0]
        rest = rest.drop(index=broken.index)
        if len(broken):
            ax.plot(
                broken["middle_cost"],
                broken["middle"],
                "x",
                color="#999999",
                markersize=6,
                label="not as expected in every run",
            )
        if len(rest):
            _draw_cells(ax, rest, "#888888", "o", "as expected, too" if meets else "other settings")
        known = with_never[np.isfinite(with_never["middle"] + with_never["middle_cost"])]
        if len(known):  # without the bars that would never end
            _draw_cells(
                ax, known.replace({"high": np.inf, "high_cost": np.inf}, np.nan), VERMILION, "x", "never in some runs"
            )
        _draw_cells(ax, best, VERMILION, "D", "Pareto front of what is as expected" if meets else "Pareto front")
        if meets is not None and not meets:
            ax.set_title(f"{gain} against {cost}: no setting is as expected in every run")
        ax.step(
            best["middle_cost"], best["middle"], where="post", color=VERMILION, linewidth=1.2, linestyle=(0, (4, 2))
        )
        _name_the_front(ax, best, cells, len(with_never) - len(known), gain)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(FuncFormatter(number_text))
        ax.set_axisbelow(True)
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
    of_cost = rows[["middle_cost", "low_cost", "high_cost"]].set_axis(["middle", "low", "high"], axis=1)
    ax.errorbar(
        rows["middle_cost"].to_numpy(float),
        rows["middle"].to_numpy(float),
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


def _gained(cells: Cells, gain: str, one: int, other: int) -> str:
    if cells.runs is None or gain not in cells.runs.columns:
        return ""
    values = cells.runs.pivot(index="seed", columns="cell", values=gain)
    found = (values[other] - values[one]).dropna()
    if len(found) < 2 or not np.isfinite(found).all():
        return ""
    half = float(stdtrit(len(found) - 1, 0.975) * found.std(ddof=1) / np.sqrt(len(found)))
    return f" ({'+' if found.mean() >= 0 else '−'}{plain_number(abs(float(found.mean())))} ± {plain_number(half)})"


def _name_the_front(ax: Axes, best: pd.DataFrame, cells: Cells, left_out: int, gain: str) -> None:
    entries, _ = ax.get_legend_handles_labels()
    numbers_at: dict[tuple[float, float], list[str]] = {}
    for number, (_, row) in enumerate(best.iterrows(), start=1):
        numbers_at.setdefault((row["middle_cost"], row["middle"]), []).append(str(number))
    for place, numbers in numbers_at.items():
        ax.annotate(
            numbers[0] if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}",  # equal ones stand side by side
            place,
            xytext=(-5, 5),
            textcoords="offset points",
            ha="right",
            size=8.5,
            weight="bold",
        )
    order = [int(cell) for cell in best["cell"]]
    for number, (_, row) in enumerate(best.iterrows(), start=1):
        if number <= LABELS_MAX:
            more = _gained(cells, gain, order[number - 2], order[number - 1]) if number > 1 else ""
            text = cut(drawable(f"{number} {setting_text(row, cells)}"), LABEL_ROOM, 8.5) + more
            entries.append(Line2D([], [], linestyle="", label=text))
    if len(best) > LABELS_MAX:
        entries.append(Line2D([], [], linestyle="", label=f"and {len(best) - LABELS_MAX:,} more"))
    if left_out:
        entries.append(Line2D([], [], linestyle="", label=f"not drawn, as they are never: {left_out:,}"))
    legend_within(ax, entries, loc="lower right")
