"""Settings of channels and policies: the same keys in a scenario file, in a live configuration and in Python.

Durations are seconds, shares lie between 0 and 1, rates are :class:`actors.quantities.Rate`. A setting left out takes
the default written here. Models are frozen and refuse unknown keys.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, model_validator

from actors.distributions import Distribution
from actors.messages import NotificationChannel
from actors.quantities import (
    Duration,
    PositiveDuration,
    PositiveRate,
    PositiveShare,
    PositiveWholeNumber,
    Rate,
    Share,
    number,
    wanted,
)
from actors.settings import NotEmpty, Settings


class RetryConfig(Settings):
    """When to try again after a failed attempt, and when to stop."""

    max_attempts: PositiveWholeNumber = 3
    """All sends, the first included."""

    initial_delay: Duration = 1.0
    """The wait after the first failure."""

    backoff_multiplier: Annotated[float, number(1)] = 2.0
    max_delay: Duration = 60.0
    """No wait is longer than this, jitter included; does not apply to a `schedule`."""

    backoff: Literal["exponential", "constant", "linear", "fibonacci"] = "exponential"
    schedule: Annotated[tuple[Duration, ...], NotEmpty()] | None = None
    """The waits one by one, in place of a formula; `max_attempts` then defaults to its length + 1, and the last
    wait repeats when there are more attempts than that."""

    jitter: Literal["none", "full", "equal", "decorrelated", "proportional"] = "none"
    jitter_share: PositiveShare = 0.2
    """The x of `proportional` jitter: the wait is multiplied by U(1 - x, 1 + x)."""

    cap_after_draw: StrictBool = False
    """Decorrelated jitter only: cap the draw, as AWS's first text does (waits then pile up at `max_delay`), and not
    the range that is drawn from."""

    @model_validator(mode="before")
    @classmethod
    def _attempts_follow_the_schedule(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("schedule"), (list, tuple)) and "max_attempts" not in data:
            return {**data, "max_attempts": len(data["schedule"]) + 1}
        return data

    def calculate_delay(self, attempt: int) -> float:
        """Return the wait in seconds after the `attempt`-th attempt failed, without jitter."""
        from actors.policies.backoff import base_delay

        return base_delay(self, attempt)


class CircuitBreakerConfig(Settings):
    """When to stop sending to a provider that fails, and how to find out that it is back."""

    failure_threshold: PositiveWholeNumber = 5
    """Consecutive failures that open it."""

    timeout: PositiveDuration = 60.0
    """How long it stays open before a probe is let through."""

    half_open_permits: PositiveWholeNumber = 1
    """Probes under way at once while half-open; as many successes close it."""

    when_open: Literal["wait", "fail"] = "wait"
    """A notification that meets an open breaker waits and uses up no attempt, or fails at once and does."""

    reopen: Literal["at", "after"] = "at"
    """Half-open at the exact instant `opened_at + timeout`, or only at the first one after it (as resilience4j)."""

    resume_rate: PositiveRate = Rate(10.0, 1.0)
    """The pace at which those who waited resume when it has closed; it grows until none waits."""

    resume_doubling: PositiveDuration = 10.0
    """How long it takes that pace to double."""

    enabled: StrictBool = True


class RateLimitConfig(Settings):
    """At most so many in each window, per user or for the whole channel."""

    max_per_minute: PositiveWholeNumber | None = None
    """How many in any minute."""

    rate: PositiveRate | None = None
    """The same with another window: ``10/s``, ``500/h``, ``3/10s``. Give one of the two."""

    kind: Literal["sliding_window", "fixed_window", "token_bucket"] = "sliding_window"
    burst: PositiveWholeNumber | None = None
    """Token bucket only: how many may go at once; the count of the rate when None."""

    on_limit: Literal["defer", "drop"] = "defer"
    """A refused notification waits until it fits, or is dead-lettered."""

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if (self.max_per_minute is None) == (self.rate is None):
            raise wanted("one of max_per_minute and rate")
        if self.rate is not None and self.rate.count < 1:
            raise wanted("a rate that lets at least 1 through in its window, such as 1/10s")
        if self.burst is not None and self.kind != "token_bucket":
            raise wanted("burst only with kind: token_bucket")
        return self

    @property
    def limit(self) -> Rate:
        """How many, in how long."""
        return self.rate or Rate(float(self.max_per_minute or 0), 60.0)


class ProviderConfig(Settings):
    """The simulated outside world behind a channel when nothing is wrong."""

    latency: Distribution = Field(default_factory=lambda: Distribution(constant=0.0))
    failure_rate: Share = 0.0
    """Share of attempts that fail transiently."""

    capacity: PositiveWholeNumber | None = None
    """How many it works on at once; the rest queue. None: no bound."""


class ChannelConfig(Settings):
    """All settings of one channel."""

    retry: RetryConfig = RetryConfig()
    circuit_breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    rate_limit: RateLimitConfig | None = None
    """Per user; charged once a notification. None: no limit."""

    quota: RateLimitConfig | None = None
    """For the whole channel, as a provider's account has it; charged once an attempt. None: no limit."""

    timeout: PositiveDuration = 10.0
    """How long one attempt may take before it counts as ambiguous."""

    max_in_flight: PositiveWholeNumber | None = None
    """Attempts under way at once (bulkhead). None: no bound."""

    provider: ProviderConfig = ProviderConfig()


class NotifierConfig(Settings):
    """All settings of a live notifier."""

    channels: dict[NotificationChannel, ChannelConfig] = Field(default_factory=dict)
    """The channels there are; all four with their defaults when empty."""

    remember_ids: PositiveDuration = 86_400.0
    """How long the id of a notification that has ended is remembered; the same id is not sent again meanwhile."""

    drain: Duration = 30.0
    """How long a shutdown waits for what is in flight."""

    platform: str = "our platform"
    """What templates call the service."""
