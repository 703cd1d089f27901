"""The text above the panels: name, description, whether the run is as expected, and its main metrics."""

from __future__ import annotations

from typing import Any, NamedTuple

from matplotlib.figure import Figure

from simulation.reporting.expectations import ExpectationResult, in_words
from simulation.reporting.plots.layout import FAILS, GREY, HOLDS, TEXT_SIZE, TITLE_SIZE, TOP, WIDTH
from simulation.reporting.plots.source import PlottedRun
from simulation.reporting.plots.text import cut, drawable, wrap
from simulation.results.formatting import quantile_text

INDENT = 0.3
ROOM = WIDTH - 2 * INDENT
LINE = 0.185
NAME_LINES_MAX, DESCRIPTION_LINES_MAX, FAILURES_MAX = 2, 5, 3


class Line(NamedTuple):
    """A line of text, how it looks, and how tall it is in inches."""

    text: str
    height: float = LINE
    size: float = TEXT_SIZE
    color: str = "#222222"
    weight: str = "normal"


def header(result: PlottedRun) -> list[Line]:
    """Return the lines above the panels."""
    scenario, summary = result.scenario, result.summary
    result_text, color = _result_text(summary["expectations"])
    return [
        *(
            Line(text, 0.3, TITLE_SIZE, weight="bold")
            for text in wrap(scenario.name, ROOM, TITLE_SIZE, NAME_LINES_MAX, "bold")
        ),
        *(Line(text, color=GREY) for text in wrap(scenario.description, ROOM, TEXT_SIZE, DESCRIPTION_LINES_MAX)),
        Line(f"{result_text}  ·  seed {summary['seed']}", LINE + 0.07, color=color, weight="bold"),
        *(Line(cut(drawable(text), ROOM, TEXT_SIZE), color=FAILS) for text in _failures(in_words(result))),
        Line(_counts(summary)),
    ]


def write_header(figure: Figure, lines: list[Line], height: float) -> None:
    """Write the lines on top of a figure of this height in inches."""
    bottom = height - TOP
    for line in lines:
        bottom -= line.height
        figure.text(
            INDENT / WIDTH,
            (bottom + 0.04) / height,
            line.text,
            size=line.size,
            color=line.color,
            weight=line.weight,
            va="bottom",
        )


def _failures(expectations: list[ExpectationResult]) -> list[str]:
    failed = [each for each in expectations if each.holds is False]
    lines = [f"does not hold: {each.text} — it {each.decided or each.words}" for each in failed[:FAILURES_MAX]]
    return lines if len(failed) <= FAILURES_MAX else [*lines, f"and {len(failed) - FAILURES_MAX} more"]


def _result_text(expectations: list[dict[str, Any]]) -> tuple[str, str]:
    holding = sum(expectation["holds"] is True for expectation in expectations)
    undecided = sum(expectation["holds"] is None for expectation in expectations)
    if not expectations:
        return "no expectations", GREY
    noun, verb = ("expectation", "holds") if len(expectations) == 1 else ("expectations", "hold")
    if undecided:
        mark, color = ("–", GREY) if holding + undecided == len(expectations) else ("✗", FAILS)
        return f"{mark} {holding} of {len(expectations)} {noun} {verb}, {undecided} undecided", color
    mark, color = ("✓", HOLDS) if holding == len(expectations) else ("✗", FAILS)
    return f"{mark} {holding} of {len(expectations)} {noun} {verb}", color


def _counts(summary: dict[str, Any]) -> str:
    parts = [f"{summary['offered']:,} offered", f"{summary['delivered']:,} delivered"]
    parts += [f"{refused:,} refused"] if (refused := sum(summary["refused"].values())) else []
    names = (("dead_lettered", "dead-lettered"), ("unwanted", "unwanted"), ("in_flight", "still in flight"))
    parts += [f"{summary[key]:,} {name}" for key, name in names if summary[key] or key == "dead_lettered"]
    if summary["offered"]:
        p50, p99 = (quantile_text(summary, key) for key in ("p50", "p99"))
        parts.append(f"delivery time p50 {p50}, p99 {p99}")
    return "  ·  ".join(parts)
