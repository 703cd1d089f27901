"""Nightfall: a case in which quiet hours begin and end while many wait, at bounds of users, tenants and providers.

What waits is looked at once more when its turn comes, goes back, and comes again in the morning: what it has taken by
then, and is to take again, is seen where users have little left.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

from actors.settings.channel import ChannelConfig
from actors.settings.quantities import Rate
from simulation.scenario import EventWorkload, Scenario
from simulation.scenario.people import QuietHoursShare
from simulation.scenario.workload import WorkloadEntry
from simulation.verification.drawing.changes import changed, exponential, updated
from simulation.verification.drawing.numbers import log_uniform


def nightfall(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario of few users and tenants, with little room for either, most of whom have a night within it."""
    bounded = changed(scenario, lambda config: _with_bounds(config, scenario.duration, random))
    return bounded.model_copy(
        update={
            "workload": tuple(_of_few(entry, random) for entry in scenario.workload),
            "quiet_hours": (*scenario.quiet_hours, _night(scenario, random)),
        }
    )


def _of_few(entry: WorkloadEntry, random: Random) -> WorkloadEntry:
    if isinstance(entry, EventWorkload):
        return entry
    return entry.model_copy(
        update={"users": random.choice([1, 2, 4]), "tenants": random.choice([1, 1, 2]), "critical": False}
    )


def _with_bounds(config: ChannelConfig, duration: float, random: Random) -> ChannelConfig:
    changes: dict[str, Any] = {}
    if random.random() < 0.8:
        bounds: dict[str, Any] = {"max_in_flight": random.randint(1, 3)}
        if random.random() < 0.4:
            bounds["rate"] = Rate(random.randint(1, 3), random.choice([1.0, 3.0]))
        changes["tenant"] = bounds
    if random.random() < 0.8:
        of_user = {"rate": Rate(random.randint(2, 6), log_uniform(random, 0.5, max(1.0, duration / 2)))}
        changes["rate_limit"] = {**of_user, "on_limit": random.choice(["defer", "defer", "drop"])}
    if not config.provider.script:
        changes["provider"] = {"latency": exponential(log_uniform(random, 0.2, max(0.4, duration / 10)))}
    return updated(config, **changes)


def _night(scenario: Scenario, random: Random) -> QuietHoursShare:
    begins = scenario.start + timedelta(seconds=round(max(1.0, random.uniform(0.1, 1.0) * scenario.duration)))
    ends = begins + timedelta(seconds=round(max(1.0, log_uniform(random, 0.1, 3.0) * scenario.duration)))
    written = {"share": random.choice([0.5, 1.0]), "from": f"{begins:%H:%M:%S}", "to": f"{ends:%H:%M:%S}"}
    return QuietHoursShare.model_validate(written)
