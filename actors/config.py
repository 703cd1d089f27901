"""Settings of channels and policies: the same keys in a scenario file, in a live configuration and in Python.

Durations are seconds, shares lie between 0 and 1, rates are :class:`actors.quantities.Rate`. A setting left out takes
the default written here. Models are frozen and refuse unknown keys.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from actors.breaker_config import CircuitBreakerConfig as CircuitBreakerConfig
from actors.distributions import Distribution
from actors.limit_config import RateLimitConfig as RateLimitConfig
from actors.messages import NotificationChannel
from actors.quantities import Duration, PositiveDuration, PositiveWholeNumber, Share
from actors.retry_config import RetryConfig as RetryConfig
from actors.settings import Settings

NOT_IN_A_PIPELINE_YET = {
    "circuit_breaker": ("per",),
}
"""Settings of policies that work alone, and that no actor calls yet: a pipeline refuses what would do nothing."""


class ProviderConfig(Settings):
    """The simulated outside world behind a channel when nothing is wrong."""

    latency: Distribution = Field(default_factory=lambda: Distribution(constant=0.0))
    """How long it takes to answer; with a capacity, how long it works on an attempt."""

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

    def without_effect(self) -> list[str]:
        """Return the settings given that work in a policy alone, and that no actor acts on yet."""
        return [
            f"{group}.{key}"
            for group, keys in NOT_IN_A_PIPELINE_YET.items()
            for key in keys
            if getattr(getattr(self, group), key) != _default(type(getattr(self, group)), key)
        ]


def _default(model: type[Settings], key: str) -> Any:
    return model.model_fields[key].get_default(call_default_factory=True)


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
