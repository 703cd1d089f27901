"""Invariants: what holds in every run, as observers that stop it at the first breach.

::

    import simulation
    from actors.messages import NotificationMovedToDeadLetter
    from simulation.invariants import Invariant, observes

    @observes(NotificationMovedToDeadLetter)
    def nothing_is_dead_lettered(event):
        return f"{event.notification_id} is dead-lettered"

    simulation.run("scenarios/provider-outage.yaml", invariants=["all", nothing_is_dead_lettered])

What is broken is raised as an :class:`~actors.errors.InvariantBreach`: when, with which seed, what had happened until
then to the notification concerned, and how to see it again.
"""

from __future__ import annotations

from actors.errors import InvariantBreach
from simulation.running.checking import Choice
from simulation.verification.checker import Checker
from simulation.verification.known import KNOWN
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.observations import AttemptMade, MessageSent, OutOfTurn, Overtaken, Unanswered

__all__ = [
    "KNOWN",
    "AttemptMade",
    "Checker",
    "Choice",
    "Context",
    "Finding",
    "Invariant",
    "InvariantBreach",
    "MessageSent",
    "Objection",
    "OutOfTurn",
    "Overtaken",
    "Unanswered",
    "observes",
]
