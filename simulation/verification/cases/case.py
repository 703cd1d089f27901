"""A case: a published or proved result, and how retrylab reproduces it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

from actors.domain.attempts import Provider
from actors.errors import ConfigurationError
from actors.faults.rules import FailureRule
from actors.messages import NotificationChannel
from simulation.verification.cases.quantities import Quantity

if TYPE_CHECKING:
    from simulation.results.result import Result
    from simulation.scenario import Scenario

Replicate: TypeAlias = Callable[[int], Mapping[str, Any]]
"""Does one replication with this seed, and returns what it measured by name. It is sent to other processes: a function
of a module, or a `functools.partial` of one."""

PILOT = 20
MOST_REPLICATIONS = 3000


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One setting of a case's parameters: a program that is run with many seeds, and what is to come of it."""

    name: str
    """The parameters, as they are displayed; unique in its case."""

    replicate: Replicate
    quantities: Sequence[Quantity]

    pilot: int = PILOT
    """Replications to begin with, where it is stochastic: their spread says how many it takes."""

    at_most: int = MOST_REPLICATIONS
    """Replications; what is not narrow enough by then is too wide."""

    full_only: bool = False
    """Left out of the quick slice of the cases that are chosen by name, because it takes long and shows nothing that
    another one does not. In a case that is given as an object it is run."""

    def __post_init__(self) -> None:
        problems = []
        if not self.quantities:
            problems.append("wanted at least one quantity, got none")
        if self.stochastic and min(self.pilot, self.at_most) < 2:
            problems.append(f"wanted at least 2 replications, got pilot={self.pilot} at_most={self.at_most}")
        if problems:
            raise ConfigurationError([f"experiment {self.name!r}: {problem}" for problem in problems])

    @property
    def stochastic(self) -> int:
        return sum(quantity.stochastic for quantity in self.quantities)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A published or proved result."""

    name: str
    """The name on the command line."""

    title: str
    source: str

    url: str = ""
    model: str
    """The model, and how it is expressed here, in one to three sentences."""

    experiments: Sequence[Experiment]

    def __post_init__(self) -> None:
        names = Counter(experiment.name for experiment in self.experiments)
        problems = [
            f"wanted one experiment of a name, got {count} named {name!r}" for name, count in names.items() if count > 1
        ]
        if not names:
            problems.append("wanted at least one experiment, got none")
        if problems:
            raise ConfigurationError([f"case {self.name}: {problem}" for problem in problems])


def scenario(
    text: str,
    measure: Callable[[Result], Mapping[str, Any]],
    rules: Callable[[], Mapping[str, Sequence[FailureRule]]] | None = None,
    providers: Callable[[int], Mapping[NotificationChannel, Provider]] | None = None,
) -> Replicate:
    """Return what runs a scenario once, and measures the result.

    Args:
        text: of the scenario, as it would stand in a file.
        measure: returns the metrics by name; a function of a module, or a `functools.partial` of one.
        rules: returns new failure rules by channel, for each run.
        providers: returns new providers by channel for a seed, in place of the scenario's own.
    """
    return partial(_run, text, measure, rules, providers)


@lru_cache(maxsize=8)
def parsed(text: str) -> Scenario:
    """Return a scenario, read once for all replications of an experiment."""
    from simulation.scenario import parse

    return parse(text, "scenario")


def one_rule(channel: str, make: Callable[..., FailureRule], *arguments: Any) -> Mapping[str, Sequence[FailureRule]]:
    """Return what :func:`scenario` takes for `rules`, with :func:`functools.partial`: one that is made for each run."""
    return {channel: [make(*arguments)]}


def one_provider(
    channel: NotificationChannel, make: Callable[..., Provider], *arguments: Any
) -> Mapping[NotificationChannel, Provider]:
    """Return what :func:`scenario` takes for `providers`, likewise; the last of the arguments is the seed."""
    return {channel: make(*arguments)}


def _run(
    text: str,
    measure: Callable[[Result], Mapping[str, Any]],
    rules: Callable[[], Mapping[str, Sequence[FailureRule]]] | None,
    providers: Callable[[int], Mapping[NotificationChannel, Provider]] | None,
    seed: int,
) -> Mapping[str, Any]:
    from simulation.running.runner import run

    return measure(
        run(
            parsed(text),
            seed=seed,
            rules=None if rules is None else rules(),
            providers=None if providers is None else providers(seed),
        )
    )
