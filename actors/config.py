"""Settings of channels and policies: the same keys in a scenario file, in a live configuration and in Python.

Durations are seconds, shares lie between 0 and 1, rates are :class:`actors.quantities.Rate`. A setting left out takes
the default written here. Models are frozen and refuse unknown keys.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool

from actors.distributions import Distribution
from actors.limit_config import RateLimitConfig as RateLimitConfig
from actors.messages import NotificationChannel
from actors.quantities import (
    Duration,
    PositiveDuration,
    PositiveRate,
    PositiveWholeNumber,
    Rate,
    Share,
)
from actors.retry_config import RetryConfig as RetryConfig
from actors.settings import Settings


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
