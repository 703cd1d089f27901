"""Losses: a case whose store takes its time, and in which the handler starts again while much is not written yet.

What is being written then goes on, and all else begins anew: what it has of before must not come along.
"""

from __future__ import annotations

from random import Random
from typing import Any

from actors.settings.channel import ChannelConfig
from actors.settings.faults import FaultConfig
from simulation.scenario import Scenario
from simulation.verification.drawing.changes import changed, exponential, updated
from simulation.verification.drawing.disturbances import bearable, down_time
from simulation.verification.drawing.numbers import log_uniform, rounded
from simulation.verification.drawing.whole_groups import budget

_MOST_CRASHES = 6


def losing(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario that often fails, retries out of budgets with little in them, and crashes as it writes that."""
    found = changed(scenario, lambda config: _often_failing(config, random))
    crashes = []
    for _ in range(random.randint(1, _MOST_CRASHES)):
        crash: Any = random.choice([{"actor": "handler"}, {"actor": "handler"}, "process"])
        written = {"channel": scenario.channels_used[0], "crash": crash, "restart_after": down_time(random)}
        crashes.append({**written, "at": rounded(random.uniform(0.0, 1.0) * scenario.duration)})
    return found.model_copy(
        update={
            "faults": bearable((*scenario.faults, *map(FaultConfig.model_validate, crashes))),
            "commit_latency": log_uniform(random, 0.05, 5.0),
        }
    )


def _often_failing(config: ChannelConfig, random: Random) -> ChannelConfig:
    retry = {"max_attempts": random.randint(4, 8), "initial_delay": log_uniform(random, 0.05, 3.0)}
    provider = {"latency": exponential(log_uniform(random, 0.01, 1.0)), "failure_rate": random.choice([0.3, 0.6])}
    changes: dict[str, Any] = {"retry": {**retry, "max_delay": 10.0, "budget": budget(random)}, "provider": provider}
    if random.random() < 0.7:  # else hardly any fails for long
        changes["circuit_breaker"] = {"failure_threshold": 1000}
    return updated(config, **changes)
