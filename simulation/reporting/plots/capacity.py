"""How many requests a second a provider works off, where it has a capacity."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from matplotlib.axes import Axes

from actors.faults.build import faults_of
from actors.faults.conditions import capacity_steps, speed_steps
from actors.faults.provider import parted
from actors.formatting import plain_number
from actors.instants import seconds
from actors.messages import NotificationChannel
from actors.settings.channel import PRIMARY
from actors.settings.distribution_moments import mean
from simulation.reporting.plots.naming import name_line
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
    faults, _ = parted(faults_of(part.run.scenario.faults, channel, PRIMARY))
    places = dict(capacity_steps(provider.capacity, faults))
    speeds = dict(speed_steps(faults))
    found, at_once, speed = [], 0, Fraction(1)
    for at_ns in sorted({*places, *speeds}):
        at_once, speed = places.get(at_ns, at_once), speeds.get(at_ns, speed)
        if seconds(at_ns) < end_s:
            found.append((seconds(at_ns), at_once / takes_s * speed))
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
    name_line(axes, text, steps[0][1], INK, right=False)
