"""Whether a case of a scenario breaks, and how: one run of it with invariants on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.errors import InvariantBreach, RunTooLarge
from actors.instants import NS_PER_S
from simulation.scenario import Scenario

if TYPE_CHECKING:
    from actors.faults.build import Providers
    from simulation.engine.schedules import Schedule
    from simulation.results.result import Result
    from simulation.running.checking import Choice
    from simulation.running.runner import RulesByName

UNNAMED = "conservation"
"""The invariant that every run checks, and that breaks without a name of its own."""


@dataclass(frozen=True, slots=True)
class FailingCase:
    kind: str
    """The name of the invariant, or the class of the exception that ended the run."""

    text: str
    """The failure in one line or several."""

    at_ns: int | None = None

    is_error: bool = False
    """Whether it is an exception, and no invariant that was broken."""

    history: tuple[str, ...] = ()
    """The earlier events of what it concerns, a line each."""

    @property
    def headline(self) -> str:
        """The failure and its time in a few words: ``invariant quota broken, at 3.25 s``."""
        at = "" if self.at_ns is None else f", at {self.at_ns / NS_PER_S:.9g} s"
        return f"{self.kind} raised{at}" if self.is_error else f"invariant {self.kind} broken{at}"


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome of a run: a result, or how it broke."""

    result: Result | None
    failing_case: FailingCase | None


def attempt(
    scenario: Scenario,
    schedule: Schedule | None = None,
    invariants: Choice = "all",
    rules: RulesByName | None = None,
    providers: Providers | None = None,
) -> Trial:
    """Run a scenario, and return the outcome. Whatever the run raises is a failing case, but for interrupts.

    Nor is it one that there is no memory for the run: :class:`~actors.errors.RunTooLarge` is raised.

    Args:
        scenario: what to run.
        schedule: in place of its own.
        invariants: those that are checked, as for :func:`simulation.run`.
        rules: of its providers, as for :func:`simulation.run`.
        providers: in place of its own, as for :func:`simulation.run`.
    """
    from simulation.running.runner import run

    logger = logging.getLogger("actors")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # crashes are injected by the thousand, and each would be in the log
    try:
        result = run(scenario, schedule=schedule, invariants=invariants, rules=rules, providers=providers)
        return Trial(result, None)
    except InvariantBreach as breach:
        return Trial(
            None, FailingCase(breach.invariant or UNNAMED, breach.message, breach.at_ns, history=breach.history)
        )
    except RunTooLarge:
        raise
    except Exception as error:
        return Trial(None, FailingCase(type(error).__name__, f"{type(error).__name__}: {error}", is_error=True))
    finally:
        logger.setLevel(level)
