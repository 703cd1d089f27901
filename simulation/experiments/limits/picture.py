"""The picture of a map: its cells in four colours, and the boundary through them. The title says the finding."""

from __future__ import annotations

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simulation.experiments.limits.map_result import LimitsMap
from simulation.experiments.limits.trend import Verdict
from simulation.reporting.plots.canvas import DPI, STYLE, Picture
from simulation.reporting.plots.looks import BLACK, BLUE, ORANGE, VERMILION
from simulation.reporting.plots.text import drawable

WIDTH, HEIGHT = 5.4, 5.0
"""In inches: small enough for its text to be read on a phone."""

_COLOURS = {Verdict.RECOVERS: BLUE, Verdict.LATE: ORANGE, Verdict.STUCK: VERMILION, Verdict.OVERLOADED: "#aaaaaa"}


_LABELS = {
    "outage": "length of the outage",
    "latency": "latency, times the usual",
    "failure_rate": "attempts that fail besides",
    "load": "load, times the usual",
    "capacity": "capacity that is lost",
    "nodes": "nodes that are lost",
    "trigger": "length of the trigger",
}


def picture(found: LimitsMap) -> Picture:
    import textwrap

    first, second = found.amounts
    verdicts = found.verdicts
    with matplotlib.style.context(STYLE, after_reset=True):
        figure = Picture(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
        ax = figure.subplots()
        for column, one in enumerate(first):
            for row, other in enumerate(second):
                if (verdict := verdicts.get((one, other))) is not None:
                    ax.add_patch(_square(column, row, _COLOURS[verdict]))
        for low, high in found.boundary:
            ends = zip((first, second), low, high, strict=True)
            edge = [(_place(of, one) + _place(of, other)) / 2 for of, one, other in ends]
            ax.plot(*edge, marker="o", color=BLACK, markersize=4, linestyle="none")
        ax.set_xlim(-0.5, len(first) - 0.5)
        ax.set_ylim(-0.5, len(second) - 0.5)
        ax.set_xticks(range(len(first)), [found.text(0, each) for each in first], rotation=45 if len(first) > 6 else 0)
        ax.set_yticks(range(len(second)), [found.text(1, each) for each in second])
        ax.set_xlabel(_LABELS[found.kinds[0]])
        ax.set_ylabel(_LABELS[found.kinds[1]])
        ax.grid(False)
        ax.set_title("\n".join(textwrap.wrap(drawable(found.finding), 62)), fontsize=9)
        shown = [verdict for verdict in _COLOURS if verdict in verdicts.values()]
        handles: list[Artist] = [
            Patch(facecolor=_COLOURS[verdict], alpha=0.55, label=str(verdict)) for verdict in shown
        ]
        if found.boundary:
            handles.append(Line2D([], [], marker="o", color=BLACK, markersize=4, linestyle="none", label="boundary"))
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        figure.draw_without_rendering()
    return figure


def _square(column: int, row: int, colour: str) -> Patch:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, alpha=0.55, edgecolor="white")


def _place(amounts: tuple[float, ...], amount: float) -> float:
    """Return the place of an amount on an axis; between two amounts it goes by the logarithm."""
    from math import log

    if amount in amounts:
        return float(amounts.index(amount))
    after = next((number for number, each in enumerate(amounts) if each > amount), len(amounts) - 1)
    before = max(0, after - 1)
    if before == after:
        return float(after)
    return before + log(amount / amounts[before]) / log(amounts[after] / amounts[before])
