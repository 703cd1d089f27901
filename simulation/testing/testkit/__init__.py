"""A kit for tests of your own actors: manual time, effects captured, and both clocks.

::

    from simulation.testing.testkit import ActorKit, Probe

    def test_a_reminder_comes_after_a_minute():
        boss = Probe()
        kit = ActorKit(Reminder, boss)
        kit.tell(Remind("tea"))
        assert boss.messages == []
        kit.advance(60)
        assert boss.messages == ["tea"]

:class:`ActorKit` spawns one actor in a world where nothing passes until a test lets it. :func:`both_clocks` runs a
whole program in simulated time and live, and checks that both have the same history.
"""

from simulation.testing.testkit.clocks import CLOCKS, Clock, ClocksDiffer, Recorded, Run, both_clocks, run_on
from simulation.testing.testkit.kit import ActorKit, Probe
from simulation.testing.testkit.stepped import SteppedLiveSystem
from simulation.testing.testkit.watched import AskedEffect, SetTimer

__all__ = [
    "CLOCKS",
    "ActorKit",
    "AskedEffect",
    "Clock",
    "ClocksDiffer",
    "Probe",
    "Recorded",
    "Run",
    "SetTimer",
    "SteppedLiveSystem",
    "both_clocks",
    "run_on",
]
