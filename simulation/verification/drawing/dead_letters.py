"""Letters: a case in which much dies, its fallbacks too, and is redriven where there is hardly any room.

What is redriven then waits for room, and in the meantime something else is served for it, dies again, or is discarded.
"""

from __future__ import annotations

from random import Random
from typing import Any

from actors.settings.channel import ChannelConfig, FallbackConfig, RetryConfig
from actors.settings.faults import FaultConfig
from simulation.scenario import Operation, Scenario
from simulation.verification.drawing.disturbances import bearable, edit
from simulation.verification.drawing.numbers import log_uniform, rounded

_MOST_TIMES = 4
"""So often at most people redrive all, and order something else soon after."""


def burying(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario with much that dies on all channels, little room, and orders of people that meet each other."""
    used = scenario.channels_used
    way = random.sample(used, len(used))
    channels: dict[str, ChannelConfig] = {}
    for channel in used:
        retry = RetryConfig(max_attempts=random.randint(1, 3), initial_delay=log_uniform(random, 0.05, 5.0))
        fallback = None
        later = way[way.index(channel) + 1 :]  # so nothing goes round in a circle, and what falls back may do so again
        if later and random.random() < 0.8:
            after = random.choice([None, log_uniform(random, 0.5, 30.0)])
            fallback = FallbackConfig(channel=random.choice(later), after=after)
        config = scenario.channel_as_given(channel)
        channels[channel.value] = config.model_copy(update={"retry": retry, "fallback": fallback})
    refused = {"channel": list(used), "at": 0.0, "permanent_rate": random.choice([0.4, 0.7, 0.9])}
    if random.random() < 0.5:
        refused["for"] = random.uniform(0.3, 1.0) * scenario.duration
    operations, crashes = [*scenario.operations], []
    for _ in range(random.randint(1, _MOST_TIMES)):
        at = random.uniform(0.2, 1.3) * scenario.duration
        operations.append(_order(scenario, at, random, "redrive"))
        while random.random() < 0.8:  # what is asked for twice is served by the first, or waits for room as it does
            at += log_uniform(random, 0.001, scenario.duration / 10.0)
            if random.random() < 0.4:  # who starts again finds letters in the store that are being redriven
                crashes.append(
                    {"channel": used[0], "at": at, "crash": {"actor": random.choice(["dlq", "dlq", "handler"])}}
                )
            else:
                what = random.choice(["redrive", "redrive", "redrive", "discard", "cancel"])
                operations.append(_order(scenario, at, random, what))
    faults = (*scenario.faults, *map(FaultConfig.model_validate, [refused, *crashes]))
    return scenario.model_copy(
        update={
            "max_pending": round(log_uniform(random, 1, 8)),
            "channels": scenario.channels.model_copy(update=channels),
            "faults": bearable(faults),
            "operations": tuple(sorted(operations, key=lambda each: each.at)),
        }
    )


def _order(scenario: Scenario, at: float, random: Random, what: str) -> Operation:
    written: dict[str, Any] = {"at": rounded(at), what: "all"}
    if random.random() < 0.5:  # what is ordered of one then comes to wait with what was ordered of another
        written["channel"] = random.choice(scenario.channels_used).value
    if what == "redrive" and random.random() < 0.2:
        written["edit"] = edit(scenario, random)
    if what == "redrive" and random.random() < 0.4:
        written["served"] = "include"
    return Operation.model_validate(written)
