"""Settings of automatic steps after failures: redrives of dead letters, and disabled endpoints."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from actors.settings.base import NotEmpty, Settings
from actors.settings.quantities import PositiveDuration, PositiveRate, PositiveWholeNumber, Rate

RedriveReason: TypeAlias = Literal["channel_fault", "outage"]


class RedriveConfig(Settings):
    """Which dead letters of a channel are redriven without an operator."""

    wanted_text: ClassVar[str] = "a mapping such as {when: breaker_closes, rate: 5/s}"

    when: Literal["breaker_closes"] = "breaker_closes"
    """A circuit breaker of the channel has closed, by its probes or by order; where each host has its own, for the
    letters to that host. A start counts as a closing, as breakers begin closed, and so does the end of another node
    that shares the store. While it is not closed, none is redriven."""

    reasons: Annotated[tuple[RedriveReason, ...], NotEmpty()] = ("channel_fault", "outage")
    """The latest failures of letters to redrive. `channel_fault`: the provider said that the channel is broken, as by a
    wrong key. `outage`: the provider failed for a while, or did not answer, until no attempt, time or retry budget was
    left. About letters refused for good, expired or throttled a person decides."""

    rate: PositiveRate = Rate(5.0, 1.0)
    """How fast letters are redriven, one after the other, the oldest first."""

    at_most: PositiveWholeNumber = 1
    """How often each letter is redriven without an operator, in all. After that it stays in the queue."""

    max_age: PositiveDuration = 86_400.0
    """A letter that has been dead for longer is left to a person."""


class EndpointsConfig(Settings):
    """When an endpoint is disabled, which is an address of the channel that has its own host, as webhooks have."""

    wanted_text: ClassVar[str] = "a mapping such as {disable_after: 5d}"

    disable_after: PositiveDuration = 5 * 86_400.0
    """For how long all attempts at an endpoint have to fail. The clock starts once two attempts have failed at least a
    tenth and at most a fifth of this time apart, and counts from the first of them. A success stops the clock."""
