"""Channels of other names than the four: a case is the same under them, but for what a kind decides."""

from __future__ import annotations

from collections.abc import Container
from random import Random
from typing import Any

from pydantic import ValidationError

from actors.channel_names import ChannelKind, EveryChannel, NotificationChannel, in_order
from actors.errors import ConfigurationError
from actors.settings.channel import ChannelConfig
from simulation.scenario import EventWorkload, Scenario, parse
from simulation.scenario.writing import write

NAMES = ("payments-api", "geo_2", "a-3-4", "copy")
"""Of these some look like parts of an id, or are called as methods are."""

_SHARE_OF_CALLS = 0.5
_SHARE_OF_NOBODY = 0.5


def renamed(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario in which some channels have names of their own, and half of these take calls; half of the
    entries with calls have no recipients, where nothing else of the scenario names any."""
    by_events = {
        channel for entry in scenario.workload if isinstance(entry, EventWorkload) for channel in entry.channels
    }
    kept = scenario.channels_used if scenario.actors else by_events  # own actors send to channels by their names
    free = [each for each in scenario.channels_used if not each.is_own and each not in kept]
    names = {old: NotificationChannel(new) for old, new in zip(free, NAMES, strict=False) if random.random() < 0.7}
    kinds = {old: ChannelKind(old) for old in names}
    kinds |= {old: ChannelKind.CALL for old in names if random.random() < _SHARE_OF_CALLS}

    def all_of(channels: tuple[NotificationChannel, ...]) -> tuple[NotificationChannel, ...]:
        if isinstance(channels, EveryChannel):
            return channels
        return tuple(in_order(names.get(channel, channel) for channel in channels))

    def settings_of(channel: NotificationChannel) -> ChannelConfig:
        config = scenario.channel_as_given(channel)
        changes: dict[str, Any] = {"kind": kinds[channel]} if channel in names else {}
        if config.fallback is not None:
            there = config.fallback.channel
            changes["fallback"] = config.fallback.model_copy(update={"channel": names.get(there, there)})
        return config.model_copy(update=changes)

    settings = {str(names.get(each, each)): settings_of(each) for each in scenario.channels_used}
    try:
        channels = type(scenario.channels)(**settings)
    except ValidationError:  # a setting is one of the kind that it was
        return scenario
    found = scenario.model_copy(
        update={
            "channels": channels,
            "workload": tuple(
                entry
                if isinstance(entry, EventWorkload)
                else entry.model_copy(update={"channel": names.get(entry.channel, entry.channel)})
                for entry in scenario.workload
            ),
            "faults": tuple(each.model_copy(update={"channel": all_of(each.channel)}) for each in scenario.faults),
            "operations": tuple(
                each if each.channel is None else each.model_copy(update={"channel": all_of(each.channel)})
                for each in scenario.operations
            ),
            "preferences": tuple(
                each.model_copy(update={"channel": names.get(each.channel, each.channel)})
                for each in scenario.preferences
            ),
            "quiet_hours": tuple(
                each.model_copy(update={"channels": all_of(each.channels)}) for each in scenario.quiet_hours
            ),
        }
    )
    return _without_recipients(found, {names[old] for old in names if kinds[old] is ChannelKind.CALL}, random)


def _without_recipients(scenario: Scenario, calls: Container[NotificationChannel], random: Random) -> Scenario:
    nobody = dict.fromkeys(("users", "hosts", "tenants"))
    workload = tuple(
        entry.model_copy(update=nobody)
        if not isinstance(entry, EventWorkload) and entry.channel in calls and random.random() < _SHARE_OF_NOBODY
        else entry
        for entry in scenario.workload
    )
    found = scenario.model_copy(update={"workload": workload})
    try:
        return parse(write(found, "")) if workload != scenario.workload else scenario
    except ConfigurationError:  # a fault, an operation or a setting is about them
        return scenario
