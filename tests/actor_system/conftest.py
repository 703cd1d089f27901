"""One program, two clocks: what every test of the actor system is run on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
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
        system = SimulatedSystem(seed=seed, record=history.append)
        program(system, trace)
        system.run(until=until)
        return Run(system, trace, history)

    async def main() -> Run:
        async with LiveSystem(seed=seed, record=history.append) as system:
            program(system, trace)
            await system.run(until=until)
        return Run(system, trace, history)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.fixture(params=CLOCKS)
def run(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Run a program on one clock or, in another test, on the other."""

    def run(program: Program, **options: Any) -> Run:
        return run_on(request.param, program, **options)

    return run


@pytest.fixture(scope="session")
def run_on_both() -> Callable[..., Run]:
    """Run a program on both clocks, and see to it that it does the same on both."""

    def run(program: Program, **options: Any) -> Run:
        simulated, live = (run_on(clock, program, **options) for clock in CLOCKS)
        assert simulated.trace == live.trace
        kinds = [[(type(event), event.at_ns) for event in each.history] for each in (simulated, live)]
        assert kinds[0] == kinds[1]
        return simulated

    return run


@pytest.fixture
def on_mock_clock() -> Callable[..., Any]:
    """Run an async function in trio, on a clock that jumps when everyone waits."""

    def run(main: Callable[[], Any]) -> Any:
        async def bounded() -> Any:
            with trio.fail_after(1e9):
                return await main()

        return trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))

    return run
