"""The expectations of a run, as lines where they apply, with the places where they broke."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch
from matplotlib.patheffects import AbstractPathEffect, withTickedStroke

from actors.formatting import plain_number
from simulation.reporting.plots.breaches import Breach, Scope, breach_of, requests_by_second, scope_of
from simulation.reporting.plots.looks import FAILS, GREY, HOLDS
from simulation.reporting.plots.naming import FOOT, name_line
from simulation.reporting.plots.panels import HEADROOM, rate_axis, stairs
from simulation.reporting.plots.source import PlottedRun, Taken, end_of
from simulation.results.formatting import duration_text, value_text
from simulation.scenario.metrics import WITHIN, path_of

Panel: TypeAlias = Literal["times", "rates", "dlq", "amplification", ""]

TEXTS_MAX = 3
"""The most bounds in a panel that are named; all are drawn."""

INK = "#222222"
BUSIEST = "busiest second"
_LINES = ("-", (0, (4, 1.5)), (0, (1.5, 1.5)))

TICKS, TICK = 11.0, 0.35
"""The ticks on the side of a line on which an expectation fails: how far apart, in points, and how long in that."""

LINE = "#6a6a6a"

LEAN = 60
"""Of the ticks, in degrees from the line."""


class Bound(NamedTuple):
    text: str
    """The subject of the expectation beside the panel's own, with its value and the wanted one."""

    panel: Panel
    """The panel it belongs into; empty where there is none."""

    scope: Scope
    value: float
    """Where the line stands; 0 or less: there is no line, only where it broke."""

    holds: bool | None
    breach: Breach | None
    fails: Literal["above", "below", ""] = ""
    """The side of the line on which it fails; empty where that is both."""


_BOUNDS: WeakKeyDictionary[PlottedRun, list[Bound]] = WeakKeyDictionary()
"""The bounds of runs, which several pictures show."""


def bounds_of(run: PlottedRun) -> list[Bound]:
    if run not in _BOUNDS:
        _BOUNDS[run] = _bounds_of(run)
    return _BOUNDS[run]


def _bounds_of(run: PlottedRun) -> list[Bound]:
    found = []
    for number, (expectation, outcome) in enumerate(zip(run.scenario.expect, run.summary["expectations"], strict=True)):
        scope = scope_of(expectation, end_of(run))
        panel, value = _place(scope, expectation.value, expectation.within_s, expectation.window is None)
        sign = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠"}.get(expectation.op, expectation.op)
        measured = value_text(outcome, lambda number, scope=scope: _number(scope, number))  # type: ignore[misc]
        text = f"{_short(scope, expectation.within_s)} {measured}, wanted {sign} {expectation.bound.split()[-1]}"
        fails = {"<": "above", ">": "below"}.get(expectation.op[0], "")
        if scope.metric[0] == WITHIN and fails:  # the line is the time: more of what is below it is more in time
            fails = "below" if fails == "above" else "above"
        found.append(Bound(text, panel, scope, value, outcome["holds"], breach_of(run, number), fails))  # type: ignore[arg-type]
    return found


def _number(scope: Scope, value: float) -> str:
    if scope.metric[0] in (WITHIN, "sent_fraction"):
        return f"{100 * value:.4g}%"
    return duration_text(value) if scope.metric[0] in ("delivery_time_s", "sent_time_s") else plain_number(value)


def _place(scope: Scope, value: float, within_s: float | None, is_whole: bool) -> tuple[Panel, float]:
    first = scope.metric[0]
    if first in ("delivery_time_s", "sent_time_s"):
        return "times", value
    if first == WITHIN:
        return "times", within_s or 0.0
    if first == "sent_fraction":
        return "times", 0.0
    if first == "dlq" and scope.metric[-1] != "growth_per_min":
        return "dlq", value
    if first == "dead_lettered":  # a count of those of a window is not a height of the level
        return "dlq", value if is_whole else 0.0
    if scope.metric[-1] == "requests_per_s":
        return "rates", value
    return ("amplification", value) if first == "retry_amplification" else ("", 0.0)


def _short(scope: Scope, within_s: float | None) -> str:
    metric = scope.metric
    if metric[0] == WITHIN and within_s is not None:
        return f"within({duration_text(within_s)})"
    if metric[0] in ("delivery_time_s", "dlq"):
        return metric[-1]
    text = path_of(metric).replace("sent_time_s.", "sent time ")
    of = f" of {scope.where['provider']}" if "provider" in scope.where else ""
    return text.removeprefix("peaks.") + of


def draw_requests(axes: Axes, bounds: Sequence[Bound], part: Taken, bin_s: float) -> None:
    """Draw, for each bound on the busiest second, the curve that it is about: of each step of `bin_s` seconds the
    second with the most requests to the provider, for which the axis has room. :func:`draw_bounds` names it."""
    if part.run is None or part.run.scenario.record != "full":
        return
    wheres = [bound.scope.where for bound in bounds if bound.panel == "rates" and _is_about(bound, part)]
    for number, where in enumerate(each for place, each in enumerate(wheres) if each not in wheres[:place]):
        counts = requests_by_second(part.run, where)
        size = max(1, round(bin_s))
        most = np.pad(counts, (0, -len(counts) % size)).reshape(-1, size).max(axis=1)
        label = f"{BUSIEST}{' of ' + where['provider'] if 'provider' in where else ''}"
        look: dict[str, Any] = {
            "color": INK,
            "linewidth": 0.9,
            "linestyle": _LINES[number % len(_LINES)],
            "zorder": 3.2,
        }
        stairs(axes, most, np.arange(len(most) + 1) * size, baseline=None, label=label, **look)
        if most.max() > axes.get_ylim()[1] / HEADROOM:
            rate_axis(axes, float(most.max()))


def draw_bounds(axes: Axes, bounds: Sequence[Bound], panel: Panel, part: Taken) -> None:
    """Draw the expectations of a panel of a part of the run: a line, with ticks on the side on which it fails, and
    beside it whether it holds, the value and the wanted one. A broken one has a red bar at the bottom at that time.

    The limits of the y axis must be known. A bound that lies beyond them is not drawn, unless it broke.
    """
    own = [bound for bound in bounds if bound.panel == panel and _is_about(bound, part)]
    low, high = axes.get_ylim()
    named: list[tuple[Bound, bool]] = []
    for bound in sorted(own, key=lambda each: each.holds is not False):
        seen = low < bound.value <= high
        if seen:
            ends = (bound.scope.from_s, bound.scope.to_s)
            color = FAILS if bound.holds is False else LINE
            axes.plot(ends, [bound.value] * 2, color=color, linewidth=0.8, label=bound.text, path_effects=_ticks(bound))
        for start_s, stop_s in bound.breach.spans if bound.breach is not None else ():
            axes.axvspan(start_s, stop_s, 0.0, FOOT, color=FAILS, linewidth=0, zorder=4, label=f"{bound.text}: broke")
        if seen or bound.breach is not None:
            named.append((bound, seen))
    for bound, seen in named[:TEXTS_MAX]:
        mark, color = {True: ("✓", HOLDS), False: ("✗", FAILS)}.get(bound.holds, ("–", GREY))  # type: ignore[arg-type]
        span = (bound.scope.from_s, bound.scope.to_s)
        name_line(axes, f"{mark} {bound.text}", bound.value if seen else None, color, span=span)
    for curve in axes.patches:
        if isinstance(curve, StepPatch) and (name := str(curve.get_label())).startswith(BUSIEST):
            name_line(axes, f"thin line: {name}", float(np.max(curve.get_data()[0])), INK)


def _ticks(bound: Bound) -> list[AbstractPathEffect]:
    if not bound.fails:
        return []
    angle = LEAN if bound.fails == "above" else -LEAN
    return [withTickedStroke(spacing=TICKS, angle=angle, length=TICK)]


def has_bars(run: PlottedRun) -> bool:
    """Return whether the panels of a run have a red bar where an expectation broke: rates and times are drawn of each
    channel, all else of the whole."""
    several = len(run.scenario.channels_used) > 1
    for bound in bounds_of(run):
        of_whole = several and bound.panel in ("dlq", "amplification")
        apart = set(bound.scope.where) - {"provider"}
        is_shown = not apart if of_whole else apart == {"channel"} or not (apart or several)
        if is_shown and bound.panel and bound.breach is not None and bound.breach.spans:
            return True
    return False


def _is_about(bound: Bound, part: Taken) -> bool:
    where = {column: value for column, value in bound.scope.where.items() if column != "provider"}
    return where == dict(part.where) or (bool(where) and where == {"channel": part.channel})
