"""A case without what the reference model says nothing about, so that its run is compared with the model.

Hedging, messages that come twice or late, and schedules keep a whole run out of lock-step. As in all swarm testing, a
case with some kinds left out goes further with those that it has.
"""

from __future__ import annotations

from typing import Any

from simulation.scenario import Scenario


def comparable(scenario: Scenario) -> Scenario:
    """Return a scenario whose messages come once, whose actors take turns as usual, and whose attempts have no copies.

    Everything else of it is as it was.
    """
    faults = tuple(fault for fault in scenario.faults if fault.duplicate_rate is None and fault.reorder is None)
    channels = scenario.channels.model_copy(
        update={str(channel): _without_copies(scenario.channel_as_given(channel)) for channel in scenario.channels_used}
    )
    return scenario.model_copy(update={"schedule": None, "faults": faults, "channels": channels})


def _without_copies(config: Any) -> Any:
    failover = {name: other.model_copy(update={"hedging": None}) for name, other in config.failover.items()}
    return config.model_copy(update={"hedging": None, "failover": failover})
