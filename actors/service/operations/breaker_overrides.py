"""What operators have ordered of breakers, and how it goes on to hold when another pipeline takes over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from actors.messages import BreakerState, NotificationChannel
from actors.notifier import Pipeline
from actors.service.config import ServiceConfig
from actors.settings.channel import PRIMARY, NotifierConfig

Orders: TypeAlias = Mapping[tuple[NotificationChannel, str], BreakerState]
"""What operators have ordered: the state in which the breaker of a provider of a channel is to begin."""


def orders_of(pipeline: Pipeline, config: ServiceConfig) -> Orders:
    """Return what operators have ordered, and still holds, of the breakers of a pipeline with these settings."""
    orders = {}
    for channel, stages in pipeline.wiring.stages.items():
        by_provider = config.notifier.channels[channel].by_provider()
        for lane in stages.lanes:
            if lane.begins is not by_provider[lane.provider_name].circuit_breaker.begins:
                orders[channel, lane.provider_name] = lane.begins
    return orders


def with_orders(config: NotifierConfig, orders: Orders) -> NotifierConfig:
    """Return settings with which what operators have ordered holds from the beginning."""
    channels = dict(config.channels)
    for channel in {channel for channel, _ in orders} & channels.keys():
        breakers = {
            name: own.circuit_breaker
            if (state := orders.get((channel, name))) is None
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
