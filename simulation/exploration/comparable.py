"""A case without what the reference model says nothing about, so that its run is compared with the model.

Partitions and schedules keep a whole run out of lock-step. As in all swarm testing, a case with some kinds left out
goes further with those that it has.
"""

from __future__ import annotations

from simulation.reference.world import NOT_COMPARED
from simulation.scenario import Scenario


def comparable(scenario: Scenario) -> Scenario:
    """Return a scenario whose actors take turns as usual, and whose nodes reach their store.

    Everything else of it is as it was.
    """
    faults = tuple(fault for fault in scenario.faults if not fault.injects & NOT_COMPARED)
    return scenario.model_copy(update={"schedule": None, "faults": faults})
