"""Queues: a case in which many wait at once, of several classes, hosts, users and tenants, for room that is scarce.

A few dozen notifications that come one by one hardly ever wait for each other, so nothing shows who goes first.
"""

from __future__ import annotations

from random import Random
from typing import Any

from pydantic import ValidationError

from actors.messages import Priority
from actors.settings.channel import ChannelConfig
from actors.settings.order import OrderConfig
from actors.settings.quantities import FROM_FILE
from simulation.scenario import ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.arrivals import Arrivals
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.workload import WorkloadEntry
from simulation.verification.drawing.changes import changed
from simulation.verification.drawing.drawn_settings import Values
from simulation.verification.drawing.numbers import log_uniform, rounded

_MOST_BURSTS = 4
"""In so many bursts at most comes all of an entry of the workload."""


def queueing(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario whose notifications come in a few bursts, with little room before providers."""
    crowded = changed(scenario, lambda config: _short_of_room(config, random))
    return crowded.model_copy(
        update={"workload": tuple(_in_bursts(scenario, entry, random) for entry in scenario.workload)}
    )


def _in_bursts(scenario: Scenario, entry: WorkloadEntry, random: Random) -> WorkloadEntry:
    changes: dict[str, Any] = {}
    if not isinstance(entry, ClosedWorkload) and entry.arrivals.times is None:
        bursts = random.randint(1, _MOST_BURSTS)
        every = max(0.001, rounded((scenario.duration - entry.at) / bursts))
        size = max(1, round(expected_notifications(scenario, entry) / bursts))
        changes["arrivals"] = Arrivals.model_validate({"burst": {"size": size, "every": every}})
    if not isinstance(entry, EventWorkload):
        for key, counts in (("hosts", (2, 3, 6)), ("tenants", (1, 2, 4)), ("users", (1, 2, 8))):
            if random.random() < 0.5:
                changes[key] = random.choice(counts)
        if random.random() < 0.6:
            changes["priority"] = random.choice(list(Priority))
        if random.random() < 0.4:
            changes["expires_after"] = log_uniform(random, 1.0, 60.0)
    return entry.model_copy(update=changes)


def _short_of_room(config: ChannelConfig, random: Random) -> ChannelConfig:
    """Return a channel's settings with slow providers of few places, or the given ones if that does not fit."""
    data: dict[str, Any] = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if random.random() < 0.6:
        limit = random.choice([1, 2, 3, 8])
        wait = {"wait": f"{log_uniform(random, 0.5, 20.0)}s"} if random.random() < 0.3 else {}
        data["max_in_flight"] = {"limit": limit, **wait}
    else:
        data["quota"] = {"rate": f"{random.randint(1, 3)}/{random.choice([1, 3])}s"}
        if random.random() < 0.3:
            data["quota"]["on_limit"] = "drop"
    provider = data.setdefault("provider", {})
    if "script" not in provider:
        provider["latency"] = {"exponential": {"mean": f"{log_uniform(random, 0.2, 3.0)}s"}}
    if random.random() < 0.5:
        data["order"] = Values(random, data).group(OrderConfig)
    if random.random() < 0.5:
        for each in (data, *(data.get("failover") or {}).values()):
            each["circuit_breaker"] = (each.get("circuit_breaker") or {}) | {"per": "host"}
    if random.random() < 0.3:
        share = random.choice([0.1, 0.3, 0.6])
        budget = {"kind": "envoy", "share": share, "min_concurrency": random.randint(1, 2)}
        data["retry"] = (data.get("retry") or {}) | {"budget": budget}
    try:
        return ChannelConfig.model_validate(data, context=FROM_FILE)
    except ValidationError:
        return config
