"""How many requests a second a provider works off, where it has a capacity."""

from __future__ import annotations

from itertools import pairwise

from matplotlib.axes import Axes

from actors.formatting import plain_number
from actors.messages import NotificationChannel
from actors.settings.distribution_moments import mean
from simulation.reporting.plots.layout import SMALL_SIZE
from simulation.reporting.plots.source import Taken

INK = "#222222"


def served_per_s(part: Taken, end_s: float) -> list[tuple[float, float]]:
    """Return from when on the provider of a part's channel works off how many a second; empty where it has no capacity.

    That is its capacity by the mean of its latency; less of both while a fault says so.
    """
    if part.run is None or part.channel is None:
        return []
    channel = NotificationChannel(part.channel)
    provider = part.run.scenario.channel_config(channel).provider
    takes_s = mean(provider.latency)
    if provider.capacity is None or not takes_s:
        return []
    faults = [
        (fault, fault.at, end_s if fault.ends_at is None else fault.ends_at)
        for fault in part.run.scenario.faults
        if channel in fault.channel and fault.provider in (None, "primary") and {"capacity", "speed"} & fault.injects
    ]
    instants = sorted({0.0, *(at for _, *ends in faults for at in ends if at < end_s)})
    found = []
    for at_s in instants:
        now = [fault for fault, from_s, to_s in faults if from_s <= at_s < to_s]
        places = min([provider.capacity, *(fault.capacity for fault in now if fault.capacity is not None)])
        speed = min([1.0, *(fault.speed for fault in now if isinstance(fault.speed, (int, float)))])
        found.append((at_s, places / takes_s * speed))
    return found


def draw_capacity(axes: Axes, part: Taken) -> None:
    """Draw how many requests a second the provider works off, unless that is beyond the axes."""
    end_s = part.end_s
    assert end_s is not None
    steps = served_per_s(part, end_s)
    if not steps or steps[0][1] > axes.get_ylim()[1]:
        return
    for (from_s, served), (to_s, _) in pairwise([*steps, (end_s, 0.0)]):
        axes.plot([from_s, to_s], [served] * 2, color=INK, linewidth=1.0, linestyle=(0, (6, 2)), label="_served")
    text = f"the provider can do {plain_number(steps[0][1])}/s"
    axes.annotate(
        text, (0.004, steps[0][1]), xycoords=("axes fraction", "data"), xytext=(0, 1.5), textcoords="offset points",
        size=SMALL_SIZE, color=INK, va="bottom", zorder=6,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
    )  # fmt: skip
