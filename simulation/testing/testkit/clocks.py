"""One program, two clocks: in simulated time, and live under trio's `MockClock`. Both have to do the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any, Generic, Literal, TypeAlias, TypeVar, assert_never

from actors.errors import RetrylabError
from actors.instants import NS_PER_S
from actors.kernel.system import START_OF_TIME, ActorSystem
from simulation.scenario.arguments import check_word

# ── what is recorded ──────────────────────────────────────────────────────────────────────────────────────────────────


class Recorded(list[Any]):
    """The events of a history, in order; give its `record` to a system."""

    def record(self, event: Any) -> None:
        """Take an event into the history."""
        self.append(event)

    def of(self, *kinds: type) -> list[Any]:
        """Return the events of these types (exactly these), in order."""
        return [event for event in self if type(event) in kinds]

    def times(self, *kinds: type) -> list[float]:
        """Return when events of these types were recorded, in seconds from the start."""
        return [event.at_ns / NS_PER_S for event in self.of(*kinds)]


T = TypeVar("T")

Clock: TypeAlias = Literal["simulated", "live"]
CLOCKS: tuple[Clock, ...] = ("simulated", "live")

A_WHILE = 1_000_000.0
"""Seconds; long enough for all that a test sets going, and costs nothing."""


class ClocksDiffer(RetrylabError, AssertionError):
    """A program did one thing in simulated time and another one live; says where the two part."""


@dataclass
class Run(Generic[T]):
    """The result of a program on one clock."""

    system: ActorSystem
    """The system of the run, which has ended."""
    history: Recorded
    """The events that were recorded, in order."""
    returned: T
    """The return value of the program, such as a list that its actors have written into since."""


def run_on(
    clock: Clock,
    program: Callable[[ActorSystem], T],
    *,
    until: float = A_WHILE,
    seed: int = 0,
    start: datetime = START_OF_TIME,
    history: Recorded | None = None,
) -> Run[T]:
    """Run a program on one clock and return its result.

    Args:
        clock: SimPy's (``simulated``), or trio's under `MockClock` (``live``). Neither waits for the wall's.
        program: puts actors into the system that it is given, sends them their first messages, and returns; the clock
            starts then.
        until: where the run ends, in seconds from the start; events due at that instant do not happen any more. A
            program whose timers set further ones forever needs it smaller.
        seed: the seed of all random streams of the system.
        start: the instant on the calendar at which the system's clock reads 0.
        history: takes the events, in place of a new list.

    Raises:
        ConfigurationError: there is no such clock.
    """
    check_word("clock", clock, CLOCKS)
    record = history if history is not None else Recorded()
    match clock:
        case "simulated":
            return _run_simulated(program, until, seed, start, record)
        case "live":
            return _run_live(program, until, seed, start, record)
        case _:
            assert_never(clock)


def both_clocks(
    program: Callable[[ActorSystem], T], *, until: float = A_WHILE, seed: int = 0, start: datetime = START_OF_TIME
) -> Run[T]:
    """Run a program on both clocks, check that it does the same on both, and return the simulated run.

    The arguments are those of :func:`run_on`. The return values are compared as well, so the program may return a list
    that its actors write into.

    Raises:
        ClocksDiffer: the recorded histories, or the return values, are not equal.
    """
    simulated, live = (run_on(clock, program, until=until, seed=seed, start=start) for clock in CLOCKS)
    compare("event", simulated.history, live.history)
    if isinstance(simulated.returned, list) and isinstance(live.returned, list):
        compare("returned item", simulated.returned, live.returned)
    elif simulated.returned != live.returned:
        raise ClocksDiffer(
            f"the clocks differ in what was returned\n  simulated: {simulated.returned!r}\n  live:      "
            f"{live.returned!r}"
        )
    return simulated


_NOTHING = object()


def compare(what: str, simulated: list[Any], live: list[Any]) -> None:
    """Compare two lists item by item.

    Raises:
        ClocksDiffer: they are not equal; it shows the first pair that differs and the items before.
    """
    for number, (one, other) in enumerate(zip_longest(simulated, live, fillvalue=_NOTHING)):
        if one != other:
            before = f"\n  before it: {simulated[number - 1]!r}" if number else ""
            raise ClocksDiffer(
                f"the clocks differ at {what} {number + 1} (of {len(simulated)} and {len(live)}){before}"
                f"\n  simulated: {_shown(one)}\n  live:      {_shown(other)}"
            )


def _shown(item: Any) -> str:
    return "nothing more" if item is _NOTHING else repr(item)


def _run_simulated(
    program: Callable[[ActorSystem], T], until: float, seed: int, start: datetime, history: Recorded
) -> Run[T]:
    from simulation.engine.system import SimulatedSystem

    with SimulatedSystem(seed=seed, start=start, record=history.record) as system:
        returned = program(system)
        system.run(until=until)
    return Run(system, history, returned)


def _run_live(
    program: Callable[[ActorSystem], T], until: float, seed: int, start: datetime, history: Recorded
) -> Run[T]:
    import trio
    import trio.testing

    from actors.kernel.live import LiveSystem

    async def main() -> Run[T]:
        async with LiveSystem(seed=seed, start=start, record=history.record) as system:
            returned = program(system)
            await system.run(until=until)
        return Run(system, history, returned)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
