"""What there is to say of the settings of a channel: plain data, each number with how it was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class By(StrEnum):
    """How a number was found."""

    FORMULA = "formula"
    """By a closed form, or by the policy itself where nothing is left to chance."""

    DRAWS = "draws"
    """By schedules that were drawn with the policy's jitter."""

    RUN = "run"
    """By a small run of the simulation."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a time lies that jitter spreads, in seconds."""

    shortest: float
    """It is never shorter."""

    median: float | None
    """None where none was drawn."""

    longest: float
    """It is never longer."""

    @property
    def is_certain(self) -> bool:
        """Whether there is nothing that spreads it."""
        return self.shortest == self.longest


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a call of which all before it failed at once."""

    number: int
    """From 1."""

    wait: Reach | None
    """The wait before it; None before the first."""

    start: Reach
    """When it starts, in seconds from the first."""

    is_certain: bool = True
    """False: `max_elapsed` may come first."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The attempts of a call that never succeeds."""

    failures: str
    """The failures that count by it: ``any``, or a kind or a reason with a rule of its own."""

    policy: str
    """The policy in words."""

    attempts: tuple[Attempt, ...]
    """The first ones, at most :data:`~simulation.experiments.explaining.schedule.SHOWN`, and the last one."""

    max_attempts: int
    mean_attempts: float
    """How many a call makes that never succeeds, on average; fewer than `max_attempts` where `max_elapsed` comes
    first."""

    drawn: int
    """How many schedules were drawn for the medians of its starts; 0 without jitter."""

    @property
    def last(self) -> Attempt:
        """The last attempt there can be."""
        return self.attempts[-1]


@dataclass(frozen=True, slots=True)
class OneCall:
    """A call whose first attempt is made as an outage begins, with no other call about."""

    outage_s: float
    delivered: float
    """The chance that one of its attempts comes after the outage."""

    after: Reach | None
    """When it is then delivered, in seconds; None where it never is."""

    attempts: float
    """How many it makes, on average."""

    by: By


@dataclass(frozen=True, slots=True)
class UnderLoad:
    """A steady load through an outage, and for a while after it."""

    outage_s: float
    rate: float
    """Calls a second. A run is made with less than was asked for where it would take too long."""

    calls: int
    """How many came in the outage."""

    lost: float
    """How many of them were never delivered; a mean where schedules were drawn."""

    requests: float
    """How many reached the provider in the outage."""

    peak_per_s: float
    """The most requests in one second once it was over."""

    slowest_s: float | None
    """The longest a call waited that was delivered; None where schedules were drawn, which have no longest."""

    opens_s: float | None
    """When the breaker opened, from the beginning of the outage; None where it did not."""

    closes_s: float | None
    """When it had closed for good, from the end of the outage; None where it never opened, or never closed."""

    by: By

    lost_after: int = 0
    """How many were never delivered of the calls that came after it, as while the breaker is still open."""

    @property
    def lost_share(self) -> float:
        """Of the calls that came in the outage."""
        return self.lost / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, and how its numbers were found."""

    text: str
    by: By = By.FORMULA


@dataclass(frozen=True, slots=True)
class OpenSpell:
    """A time for which the breaker is open in an outage without an end."""

    start_s: float
    """From the beginning of the outage."""

    end_s: float
    """When a probe is let through."""


@dataclass(frozen=True, slots=True)
class ChannelExplained:
    """What the settings of a channel will do."""

    channel: str
    load: float
    """Calls a second."""

    load_is: str
    """Where that comes from: ``given``, ``of the scenario`` or ``assumed``."""

    schedules: tuple[Schedule, ...]
    """The first is that of failures without a rule of their own."""

    in_words: tuple[Sentence, ...]
    """When attempts are made."""

    one_call: tuple[OneCall, ...]
    under_load: tuple[UnderLoad, ...]
    breaker: tuple[Sentence, ...]
    """When it opens and closes."""

    open_spells: tuple[OpenSpell, ...]
    """The first of an outage without an end; none where it does not open."""

    cost: tuple[Sentence, ...]
    """What the provider gets to do."""

    besides: tuple[str, ...]
    """Settings that take part too, and are in the runs only."""

    left_out: tuple[str, ...]
    """Settings that are in nothing of this: all of it is of one node, which has the whole load."""
