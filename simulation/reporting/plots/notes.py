"""The notes beside the panels: the numbers that a reader would otherwise read off them."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from simulation.reporting.plots.layout import NOTE_ROOM, NOTE_SIZE, NOTES_AT
from simulation.reporting.plots.source import PlottedRun
from simulation.reporting.plots.text import cut, drawable
from simulation.results.formatting import duration_text

REASONS_MAX = 3


def note(axes: Axes, lines: list[str]) -> None:
    """Write `lines` beside a panel, from its top on."""
    text = "\n".join(cut(drawable(line), NOTE_ROOM, NOTE_SIZE) for line in lines)
    axes.text(NOTES_AT, 1.0, text, transform=axes.transAxes, size=NOTE_SIZE, va="top", linespacing=1.35)


def in_flight_note(result: PlottedRun, highest: int, at_s: float) -> list[str]:
    """Return how many were in flight at most, and how many still are."""
    end_s, left = result.summary["simulated_s"], result.summary["in_flight"]
    if highest == 0:
        return ["0 throughout"]
    return [f"highest {highest:,}, at {duration_text(min(at_s, end_s))}", f"{left:,} at the end"]


def dlq_note(result: PlottedRun) -> list[str]:
    """Return how many dead letters there were at most and at the end, and the most common reasons."""
    dlq = result.summary["dlq"]
    if dlq["peak"] == 0:
        return ["empty all the time"]
    lines = [f"peak {dlq['peak']:,}, {dlq['final']:,} at the end"]
    if len(result.dlq) < dlq["peak"]:
        lines.append(f"of the first {len(result.dlq):,}:")
    counts = result.dlq["reason"].value_counts().to_dict()
    common = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    lines += [f"{count:,} × {reason}" for reason, count in common[:REASONS_MAX]]
    if len(common) > REASONS_MAX:
        lines.append(f"and {len(common) - REASONS_MAX:,} more reasons")
    return lines


def breaker_notes(axes: Axes, figures: dict[str, dict[str, Any]]) -> None:
    """Write beside each lane how often the breaker opened, and for how long it was open."""
    for lane, breaker in enumerate(figures.values()):
        times = "once" if breaker["opened"] == 1 else f"{breaker['opened']:,} times"
        text = f"opened {times}, open for {duration_text(breaker['open_s'])}" if breaker["opened"] else "never opened"
        axes.text(NOTES_AT, lane, text, transform=axes.get_yaxis_transform(), size=NOTE_SIZE, va="center")
