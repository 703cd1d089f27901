"""Overlaps: a case in which windows meet at one provider, two of a kind among them, and what it is like by itself.

Of some the last one counts, or the smallest, of others the sum or the product. Faults that are drawn one by one seldom
meet at a provider, and hardly ever one that has a setting for the same.
"""

from __future__ import annotations

from random import Random
from typing import Any

from actors.messages import NotificationChannel
from actors.settings.distributions import Distribution
from actors.settings.faults import FaultConfig
from simulation.scenario import ClosedWorkload, Scenario
from simulation.verification.drawing.coincidence import coinciding
from simulation.verification.drawing.fault_kinds import drawn_strength
from simulation.verification.drawing.numbers import log_uniform, rounded

_OF_ATTEMPTS = (
    "failure_rate", "fail_first", "latency", "latency_factor", "throttle", "permanent_rate", "lost_reply_rate", "burst",
    "refused_rate", "flap", "outage",
)  # fmt: skip
_OF_WORK = ("capacity", "speed")
_MOST_FAULTS = 5
_STOPS = 6
_SHARE_IN_STEP = 0.5
"""In so many cases windows begin and end at the very instants at which work does."""


def overlapping(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario some of whose providers work on few at once, and meet several faults in one time."""
    channels, faults = {}, []
    for channel in random.sample(scenario.channels_used, random.randint(1, len(scenario.channels_used))):
        config = scenario.channel_as_given(channel)
        own: dict[str, Any] = {"failure_rate": random.choice([0.0, 0.05])}
        if random.random() < 0.7:  # and so much work on each that some wait
            takes = {"exponential": {"mean": log_uniform(random, 0.3, max(0.6, scenario.duration / 5))}}
            own |= {"capacity": random.randint(1, 4), "discipline": "fifo", "queue": None, "one_at_a_time": None}
            own["latency"] = Distribution.model_validate(takes)
        channels[channel.value] = config.model_copy(update={"provider": config.provider.model_copy(update=own)})
        faults += _overlapping(scenario, channel, random)
    found = scenario.model_copy(
        update={"channels": scenario.channels.model_copy(update=channels), "faults": (*scenario.faults, *faults)}
    )
    if random.random() >= _SHARE_IN_STEP:
        return found
    found = coinciding(found, random)
    stops = [stop for channel in channels for stop in _stopping(found, NotificationChannel(channel), random)]
    return found.model_copy(update={"faults": (*found.faults, *stops)})


def _overlapping(scenario: Scenario, channel: NotificationChannel, random: Random) -> list[FaultConfig]:
    middle = random.uniform(0.1, 0.9) * scenario.duration
    kinds = [random.choice(_OF_WORK), random.choice([*_OF_WORK, *_OF_ATTEMPTS])]
    faults = []
    for _ in range(random.randint(2, _MOST_FAULTS)):
        at = rounded(middle * random.random())
        lasts = rounded(middle - at + log_uniform(random, scenario.duration / 30, scenario.duration))
        written = {"channel": channel, "at": at, "for": lasts, **drawn_strength(random.choice(kinds), random)}
        faults.append(FaultConfig.model_validate(written))
    return faults


def _stopping(scenario: Scenario, channel: NotificationChannel, random: Random) -> list[FaultConfig]:
    """Return windows that freeze a provider, each starting when an attempt of an earlier burst is due to finish, after
    one, two or three attempts of the usual length."""
    latency = scenario.channel_as_given(channel).provider.latency
    takes = latency.mixture[0].constant if latency.mixture else None
    bursts = [
        (entry.at, entry.arrivals.burst.every)
        for entry in scenario.workload
        if channel in entry.channels
        and not isinstance(entry, ClosedWorkload)
        and entry.arrivals.burst is not None
        and isinstance(entry.arrivals.burst.every, float)
    ]
    faults: list[FaultConfig] = []
    while takes is not None and bursts and len(faults) < _STOPS:
        first, every = random.choice(bursts)
        comes = first + every * random.randrange(max(1, round(scenario.duration / every)))
        written = {"channel": channel, "at": comes + takes * random.randint(1, 3), "for": every}
        faults.append(FaultConfig.model_validate({**written, "speed": random.choice([0.0, 0.0, 0.5])}))
    return faults
