"""The protocol of a check that observes a run while it goes on. A run without a check loads none of its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from actors.domain.attempts import Provider
from actors.faults.rules import FailureRule
from actors.kernel.interceptors import Interceptor
from actors.kernel.system import ActorSystem
from actors.messages import NotificationChannel, RecordedEvent
from simulation.results.recorder import Recorder
from simulation.running.service import Service
from simulation.running.workload import Send
from simulation.scenario import Scenario

if TYPE_CHECKING:
    from simulation.engine.schedules import Schedule

Choice: TypeAlias = Literal["all", "default"] | Sequence[str | type | Callable[[Any], Any]]
"""Which invariants to check: all that apply; only conservation, which costs nothing; or those of a list: names of
:data:`simulation.invariants.KNOWN` (``"all"`` for all of them), subclasses of
:class:`simulation.invariants.Invariant`, and functions."""

ProvidersByName: TypeAlias = Mapping[NotificationChannel, Mapping[str, Provider]]

Rules: TypeAlias = Mapping[NotificationChannel, Sequence[FailureRule]]
"""Failure rules of the channels' providers; one that remembers something is good for one run."""


class Check(Protocol):
    """Looks at one run, and stops it at the first breach."""

    names: Sequence[str]
    """The names of the invariants that are checked."""

    @property
    def interceptors(self) -> list[Interceptor]:
        """The interceptors that the run's system needs for the check."""

    def watch(self, system: ActorSystem) -> None:
        """Look at a system on which nothing has been started yet."""

    def observed(self, providers: ProvidersByName) -> dict[NotificationChannel, dict[str, Provider]]:
        """Return the providers, each so that the attempts at it are observed."""

    def notify(self, text: str) -> None:
        """Take an alert to the admin."""

    def follow(self, service: Service) -> None:
        """Observe the processes of the service, and the arrivals that each gets."""

    def at_the_door(self, send: Send, system: ActorSystem) -> Send:
        """Return a way for messages that may be refused, on which each arrival and each refusal is observed."""

    def record(self, event: RecordedEvent) -> None:
        """Take an event of the history.

        Raises:
            InvariantBreach: something is broken.
        """

    def end(self, now_ns: int) -> None:
        """Check once more when the run has ended, and raise a breach."""

    def look_at(self, summary: Mapping[str, Any]) -> None:
        """Check the summary of the run, and raise a breach."""


def check_of(
    scenario: Scenario,
    invariants: Choice,
    recorder: Recorder,
    *,
    rules: Rules,
    schedule: Schedule | None,
    providers: ProvidersByName | None,
) -> Check:
    """Return the check of a run.

    The check's module is above this package, so it is imported by its name.

    Raises:
        ConfigurationError: the invariants cannot be used; all their problems.
    """
    checking = import_module("simulation.verification.checking")
    found: Check = checking.check_of(
        scenario, invariants, recorder, has_rules=bool(rules), schedule=schedule, providers=providers
    )
    return found
