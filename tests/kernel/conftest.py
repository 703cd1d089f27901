"""What the tests of the actor system share."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from two_clocks import CLOCKS, Program, Run, run_on

from actors.kernel.live import LiveSystem


@pytest.fixture(params=CLOCKS)
def run(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Run a program on one clock or, in another test, on the other."""

    def run(program: Program, **options: Any) -> Run:
        return run_on(request.param, program, **options)

    return run


@pytest.fixture(scope="session")
def run_on_both() -> Callable[..., Run]:
    """Run a program on both clocks, and check that it does the same on both."""

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


@pytest.fixture
def run_live(on_mock_clock: Callable[..., Any]) -> Callable[..., list[Any]]:
    """Run a program in a live system on that clock, an async one to its end; return what was noted."""

    def run(program: Callable[..., Any], until: float = 1000.0) -> list[Any]:
        trace: list[Any] = []

        async def main() -> None:
            async with LiveSystem() as system:
                if inspect.iscoroutinefunction(program):
                    await program(system, trace)
                else:
                    program(system, trace)
                    await system.run(until=until)

        on_mock_clock(main)
        return trace

    return run
