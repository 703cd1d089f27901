"""One program, two clocks: what every test of the actor system is run on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from actors.live import LiveSystem
from actors.system import ActorSystem
from simulation.system import SimulatedSystem

CLOCKS = ("simulated", "live")
A_WHILE = 1_000_000.0
"""Seconds; long enough for all that a test sets going, and costs nothing."""


@dataclass
class Run:
    """What a program did."""

    system: ActorSystem
    trace: list[Any] = field(default_factory=list)
    """What it noted down, in order."""
    history: list[Any] = field(default_factory=list)
    """The events that were recorded."""


Program = Callable[[ActorSystem, list[Any]], Any]
"""Puts actors into a system, which note in the list what they see."""


def run_on(clock: str, program: Program, *, until: float = A_WHILE, seed: int = 0) -> Run:
    history: list[Any] = []
    trace: list[Any] = []
    if clock == "simulated":
        with SimulatedSystem(seed=seed, record=history.append) as simulated:
            program(simulated, trace)
            simulated.run(until=until)
        return Run(simulated, trace, history)

    async def main() -> Run:
        async with LiveSystem(seed=seed, record=history.append) as system:
            program(system, trace)
            await system.run(until=until)
        return Run(system, trace, history)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
