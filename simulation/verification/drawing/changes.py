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
            per = {"per": per_of(config)} if key == "circuit_breaker" else {}
            changes[key] = _MODELS[key].model_validate(value | per)
    return config.model_copy(update=changes)


def per_of(config: ChannelConfig) -> str:
    """Return what a channel's breakers are one for each: hosts too where a hint holds for a host, by default."""
    return "host" if config.retry.after_retry_after == "host" else config.circuit_breaker.per


def exponential(mean: float) -> Distribution:
    return Distribution.model_validate({"exponential": {"mean": mean}})
