"""What is expected of a run, as lines where it applies, with where it broke."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from simulation.reporting.plots.breaches import Breach, Scope, breach_of, scope_of
from simulation.reporting.plots.canvas import size_in
from simulation.reporting.plots.layout import FAILS, GREY, HOLDS, SMALL_SIZE
from simulation.reporting.plots.source import PlottedRun, Taken, end_of
from simulation.reporting.plots.text import cut, drawable, width_in
from simulation.scenario.metrics import WINDOWS, WITHIN, path_of

Panel: TypeAlias = Literal["times", "rates", "dlq", "amplification", ""]

TEXTS_MAX = 3
"""Of more bounds in a panel only so many are named; all are drawn."""

TEXT_ROOM = 2.6
TEXT_IN = 0.15
"""How high a text is."""


class Bound(NamedTuple):
    """An expectation of a run, as it is drawn."""

    text: str
    """Without what it is of, which the panel says."""

    panel: Panel
    """The panel it belongs into; empty where there is none."""

    scope: Scope
    value: float
    """Where the line stands; 0 or less: there is no line, only where it broke."""

    holds: bool | None
    breach: Breach | None


def bounds_of(run: PlottedRun) -> list[Bound]:
    """Return the expectations of a run, those that broke with where they did."""
    found = []
    for number, (expectation, outcome) in enumerate(zip(run.scenario.expect, run.summary["expectations"], strict=True)):
        scope = scope_of(expectation, end_of(run))
        panel, value = _place(scope, expectation.value, expectation.within_s)
        sign = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠"}.get(expectation.op, expectation.op)
        text = f"{_short(scope)} {sign} {expectation.bound.split()[-1]}"
        found.append(Bound(text, panel, scope, value, outcome["holds"], breach_of(run, number)))
    return found


def _place(scope: Scope, value: float, within_s: float | None) -> tuple[Panel, float]:
    first = scope.metric[0]
    if first in ("delivery_time_s", "sent_time_s"):
        return "times", value
    if first == WITHIN:
        return "times", within_s or 0.0
    if first == "sent_fraction":
        return "times", 0.0
    if first in ("dlq", "dead_lettered") and scope.metric[-1] != "growth_per_min":
        return "dlq", value
    if scope.metric[-1] == "requests_per_s":
        return "rates", value
    return ("amplification", value) if first == "retry_amplification" else ("", 0.0)


def _short(scope: Scope) -> str:
    metric = [key for key in scope.metric if key not in (WINDOWS,)]
    if metric[0] == "delivery_time_s" or metric[0] == "dlq":
        return metric[-1]
    return path_of(metric).replace("delivered_within", "within").replace("sent_time_s.", "sent time ")


def draw_bounds(axes: Axes, bounds: Sequence[Bound], panel: Panel, part: Taken) -> None:
    """Draw the expectations of a panel of a part of the run; what broke has a red bar at the bottom when it did.

    The limits of the y axis must be known. A bound that lies beyond them is not drawn, unless it broke.
    """
    own = [bound for bound in bounds if bound.panel == panel and _is_about(bound, part)]
    low, high = axes.get_ylim()
    right = 0.0
    named = 0
    for bound in sorted(own, key=lambda each: each.holds is not False):
        color = {True: HOLDS, False: FAILS}.get(bound.holds, GREY)  # type: ignore[arg-type]
        seen = low < bound.value <= high
        if seen:
            ends = (bound.scope.from_s, bound.scope.to_s)
            axes.plot(ends, [bound.value] * 2, color=color, linewidth=1.1, linestyle=(0, (4, 2)), label=bound.text)
        for start_s, stop_s in bound.breach.spans if bound.breach is not None else ():
            axes.axvspan(start_s, stop_s, 0.0, 0.045, color=FAILS, linewidth=0, zorder=4, label=f"{bound.text}: broke")
        if (seen or bound.breach is not None) and named < TEXTS_MAX:
            mark = {True: "✓", False: "✗"}.get(bound.holds, "–")  # type: ignore[arg-type]
            right += _name(axes, drawable(f"{mark} {bound.text}"), bound.value if seen else None, color, right)
            named += 1


def _is_about(bound: Bound, part: Taken) -> bool:
    if not bound.scope.where:
        return not part.where
    return bound.scope.where == dict(part.where) or bound.scope.where == {"channel": part.channel}


def _name(axes: Axes, text: str, value: float | None, color: str, right_in: float) -> float:
    """Write at a line, or at the bottom, what is expected, so far from the right; return how wide that is."""
    text = cut(text, TEXT_ROOM, SMALL_SIZE)
    across = 1 - (right_in + 0.04) / size_in(axes)[0]
    height = (
        0.0 if value is None else float(axes.transAxes.inverted().transform(axes.transData.transform((0, value)))[1])
    )
    below = (1 - height) * size_in(axes)[1] < TEXT_IN
    axes.annotate(
        text,
        (across, 0.045 if value is None else value),
        xycoords=axes.transAxes if value is None else blended_transform_factory(axes.transAxes, axes.transData),
        xytext=(0, -1.5 if below else 1.5),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        size=SMALL_SIZE,
        color=color,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        zorder=6,
    )
    return width_in(text, SMALL_SIZE) + 0.12
