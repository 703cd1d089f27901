"""One program, two clocks: what every test of the actor system is run on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.kernel.actor import Actor, handles
from actors.kernel.effects import Performed
from actors.kernel.system import ActorSystem, Restarted, Terminated
from simulation.testing import testkit
from simulation.testing.testkit.clocks import A_WHILE, CLOCKS, Clock

__all__ = ["CLOCKS", "Do", "DoSlowly", "Program", "Run", "run_on"]


@dataclass(frozen=True)
class Do:
    what: Any


@dataclass(frozen=True)
class DoSlowly:
    """Await this, called with the actor."""

    what: Any


@dataclass
class Run:
    system: ActorSystem
    trace: list[Any] = field(default_factory=list)
    """What it noted down, in order."""
    history: list[Any] = field(default_factory=list)
    """The events that were recorded."""


Program = Callable[[ActorSystem, list[Any]], Any]
"""Puts actors into a system, which note in the list what they see."""


def run_on(clock: Clock, program: Program, *, until: float = A_WHILE, seed: int = 0) -> Run:
    trace: list[Any] = []
    run = testkit.run_on(clock, lambda system: program(system, trace), until=until, seed=seed)
    return Run(run.system, trace, run.history)


class Subject(Actor):
    """Does what it is told, and counts; a new incarnation begins at 0."""

    def __init__(self, trace):
        super().__init__()
        self.trace = trace
        self.count = 0

    @handles(Do)
    def on_do(self, do):
        self.count += 1
        return do.what(self)

    @handles(DoSlowly)
    async def on_do_slowly(self, do):
        self.count += 1
        return await do.what(self)

    @handles(Performed, Terminated, Restarted)
    def on_note(self, message):
        match message:
            case Performed():
                self.trace.append(("performed", message.result, self.now_ns))
            case _:
                self.trace.append((type(message).__name__, type(message.error).__name__, self.now_ns))


def note(subject):
    subject.trace.append((subject.count, subject.now_ns))
