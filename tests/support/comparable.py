"""A case without what the reference model says nothing about, so that its run is compared with the model.

Schedules keep a whole run out of lock-step. As in all swarm testing, a case with some kinds left out goes further with
those that it has.
"""

from simulation.scenario import Scenario


def comparable(scenario: Scenario) -> Scenario:
    """Return a scenario whose actors take turns as usual; everything else of it is as it was."""
    return scenario.model_copy(update={"schedule": None})
