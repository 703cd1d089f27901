"""The operators' overrides of breakers, and how they stay in force when another pipeline takes over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from actors.messages import BreakerState, NotificationChannel
from actors.notifier import Pipeline
from actors.service.config import ServiceConfig
from actors.settings.channel import PRIMARY, NotifierConfig

Overrides: TypeAlias = Mapping[tuple[NotificationChannel, str], BreakerState]
"""The operators' overrides: the state in which the breaker of a provider of a channel is to begin."""


def overrides_of(pipeline: Pipeline, config: ServiceConfig) -> Overrides:
    """Return the overrides in force of the breakers of a pipeline with these settings."""
    overrides = {}
    for channel, stages in pipeline.wiring.stages.items():
        by_provider = config.notifier.channels[channel].by_provider()
        for lane in stages.lanes:
            if lane.begins is not by_provider[lane.provider_name].circuit_breaker.begins:
                overrides[channel, lane.provider_name] = lane.begins
    return overrides


def with_overrides(config: NotifierConfig, overrides: Overrides) -> NotifierConfig:
    """Return settings with which the overrides are in force from the beginning."""
    channels = dict(config.channels)
    for channel in {channel for channel, _ in overrides} & channels.keys():
        breakers = {
            name: own.circuit_breaker
            if (state := overrides.get((channel, name))) is None
            else own.circuit_breaker.model_copy(update={"enabled": True, "initial_state": state.value})
            for name, own in channels[channel].by_provider().items()
        }
        failover = {
            name: other.model_copy(update={"circuit_breaker": breakers[name]})
            for name, other in channels[channel].failover.items()
        }
        changes = {"circuit_breaker": breakers[PRIMARY], "failover": failover}
        channels[channel] = channels[channel].model_copy(update=changes)
    return config.model_copy(update={"channels": channels})
