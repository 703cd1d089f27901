"""Changes of a scenario's channels, by which drawn cases come to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.settings.adaptive import AdaptiveRateConfig, HedgingConfig
from actors.settings.base import Settings
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.channel import ChannelConfig
from actors.settings.distributions import Distribution
from actors.settings.order import TenantConfig
from actors.settings.rate_limit import RateLimitConfig
from actors.settings.retry import RetryConfig
from simulation.scenario import Scenario

_MODELS: Mapping[str, type[Settings]] = {
    "retry": RetryConfig,
    "circuit_breaker": CircuitBreakerConfig,
    "rate_limit": RateLimitConfig,
    "tenant": TenantConfig,
    "hedging": HedgingConfig,
    "adaptive_rate": AdaptiveRateConfig,
}


def changed(scenario: Scenario, change: Callable[[ChannelConfig], ChannelConfig | None]) -> Scenario:
    """Return a scenario with the channels that it uses changed, where there is a change."""
    channels = {channel: change(scenario.channel_as_given(channel)) for channel in scenario.channels_used}
    update = {channel.value: config for channel, config in channels.items() if config is not None}
    return scenario.model_copy(update={"channels": scenario.channels.model_copy(update=update)})


def updated(config: ChannelConfig, **changes: Any) -> ChannelConfig:
    """Return the settings of a channel with other values, groups among them as mappings.

    A mapping for `provider` has only what is to be another, and one for `circuit_breaker` all but whether each host has
    one, which stays.
    """
    for key, value in changes.items():
        if key == "provider":
            changes[key] = config.provider.model_copy(update=value)
        elif key in _MODELS and isinstance(value, dict):
            changes[key] = _MODELS[key].model_validate(value)
    found = config.model_copy(update=changes)
    return with_breakers_alike(found, config) if "circuit_breaker" in changes else found


def with_breakers_alike(found: ChannelConfig, given: ChannelConfig) -> ChannelConfig:
    """Return settings whose breakers are all one for each host, or none is: as given, and by host where a hint holds
    for a host, by default."""
    per = {"per": "host" if given.retry.after_retry_after == "host" else given.circuit_breaker.per}
    failover = {
        name: other
        if other.circuit_breaker is None or other.circuit_breaker.per == per["per"]
        else other.model_copy(update={"circuit_breaker": other.circuit_breaker.model_copy(update=per)})
        for name, other in found.failover.items()
    }
    breaker = found.circuit_breaker.model_copy(update=per)
    return found.model_copy(update={"circuit_breaker": breaker, "failover": failover})


def exponential(mean: float) -> Distribution:
    return Distribution.model_validate({"exponential": {"mean": mean}})
