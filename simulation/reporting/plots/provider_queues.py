"""The panel of those that wait at a provider whose queue has a bound."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from actors.formatting import instant_text
from actors.messages import NotificationChannel
from actors.settings.channel import PRIMARY
from simulation.reporting.plots.notes import note
from simulation.reporting.plots.panels import IN_FLIGHT, QUEUE, draw_level, peak
from simulation.reporting.plots.source import PlottedRun, end_of


def queues_in(run: PlottedRun) -> list[str]:
    """Return the columns of the series of the providers at which any waited."""
    return [column for column in run.series.columns if column.startswith(QUEUE) and run.series[column].any()]


def draw_queue(axes: Axes, run: PlottedRun, column: str, binned: pd.DataFrame, bin_s: float) -> None:
    """Draw how many wait at a provider at the end of each step, and the bound where the queue came near it."""
    channel, _, name = column.removeprefix(QUEUE).partition("/")
    figures = run.summary["channels"][channel]
    queue = (figures["providers"][name or PRIMARY] if "providers" in figures else figures)["queue"]
    draw_level(axes, binned, bin_s, end_of(run), column, IN_FLIGHT)
    bound = run.scenario.channel_config(NotificationChannel(channel)).by_provider()[name or PRIMARY].provider.queue
    assert bound is not None
    if 2 * queue["peak"] >= bound.limit:
        axes.axhline(bound.limit, color="#333333", linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set_title(
        f"Waiting at {name or 'the provider'} of {channel}: at most {queue['peak']:,}, bound {bound.limit:,}"
    )
    left = int(run.series[column].iloc[-1])
    lines = [f"{queue['abandoned']:,} begun after their sender's", "timeout", f"{queue['turned_away']:,} found it full"]
    note(
        axes,
        [
            *lines,
            f"{left:,} at the end"
            if left
            else f"highest in the step to {instant_text(peak(binned, bin_s, column)[1])}",
        ],
    )
