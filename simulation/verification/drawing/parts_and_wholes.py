"""Meetings: a case in which what holds for a part meets what holds for the whole, at one provider and in one time.

A further provider has a setting as its channel has it, none of it, or one of its own; a fault hits some hosts, one
provider or all of a channel. Drawn one by one these seldom differ where both matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from pydantic import ValidationError

from actors.messages import NotificationChannel
from actors.settings.adaptive import HedgingConfig
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.bulkhead import BulkheadConfig
from actors.settings.channel import ChannelConfig, FailoverConfig, ProviderConfig
from actors.settings.distributions import Distribution
from actors.settings.faults import SYSTEM_FAULT_KEYS, FaultConfig
from simulation.scenario import EventWorkload, Scenario
from simulation.scenario.workload import HOST_OF_EVENTS, WorkloadEntry, count_of, host_name
from simulation.verification.drawing.changes import changed
from simulation.verification.drawing.drawn_settings import SPARE
from simulation.verification.drawing.fault_kinds import KINDS, drawn_strength
from simulation.verification.drawing.numbers import log_uniform, rounded
from simulation.verification.drawing.whole_groups import GROUPS

_OF_ATTEMPTS = tuple(name for name, kind in KINDS.items() if kind.hits == "attempts")
"""The kinds of faults that can hit some hosts and not others."""

_MOST_FAULTS = 4


def unlike(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario with further providers, each of whose keys is left out, null, or of its own; and so are those
    of the channel itself. What takes long, and how many connections there are, differs as well."""
    return changed(scenario, lambda config: _unlike(config, random) if random.random() < 0.7 else None)


def _unlike(config: ChannelConfig, random: Random) -> ChannelConfig | None:
    given = {key: getattr(config, key) for key in config.model_fields_set}
    given = _left_out_null_or_own(given, config, random, share=0.4)
    given = {
        key: value for key, value in given.items() if value is not None or key not in ("timeout", "circuit_breaker")
    }
    given["provider"] = _provider(config.provider, random)
    given["failover"] = {}
    for name, other in (config.failover or {SPARE: FailoverConfig()}).items():
        own = {key: getattr(other, key) for key in other.model_fields_set}
        own = _left_out_null_or_own(own, config, random, share=0.7)
        given["failover"][name] = {**own, "provider": _provider(other.provider, random)}
    try:
        return ChannelConfig.model_validate(given)
    except ValidationError:
        return None


def _left_out_null_or_own(
    given: dict[str, Any], channel: ChannelConfig, random: Random, *, share: float
) -> dict[str, Any]:
    found = dict(given)
    for key, draw in _OWN.items():
        if random.random() >= share:
            continue
        found.pop(key, None)
        what = random.choice(["left out", "null", "own"])
        if what != "left out":
            found[key] = draw(channel, random) if what == "own" else None
    return found


def _bulkhead(_channel: ChannelConfig, random: Random) -> int | BulkheadConfig:
    slots = random.randint(1, 4)
    wait = random.choice([None, 0.0, log_uniform(random, 0.1, 5.0), log_uniform(random, 0.1, 5.0)])
    return slots if wait is None else BulkheadConfig(limit=slots, wait=wait)


def _breaker(channel: ChannelConfig, random: Random) -> CircuitBreakerConfig:
    drawn: CircuitBreakerConfig = GROUPS["circuit_breaker"](random)
    changes = {key: getattr(drawn, key) for key in drawn.model_fields_set - {"when_open"}}
    if "per" in channel.circuit_breaker.model_fields_set:
        changes["per"] = channel.circuit_breaker.per
    return CircuitBreakerConfig(**changes)


def _of_group(key: str) -> Callable[[ChannelConfig, Random], Any]:
    return lambda _channel, random: GROUPS[key](random)


_OWN: Mapping[str, Callable[[ChannelConfig, Random], Any]] = {
    "max_in_flight": _bulkhead,
    "timeout": lambda _, random: log_uniform(random, 0.3, 10.0),
    "hedging": lambda _, random: HedgingConfig(max_attempts=random.randint(2, 3), delay=log_uniform(random, 0.05, 1.0)),
    "circuit_breaker": _breaker,
    **{key: _of_group(key) for key in ("quota", "adaptive_rate", "concurrency_limit", "adaptive_throttle")},
}
"""The settings in which a further provider may differ from its channel, each with a function that draws them."""


def _provider(config: ProviderConfig, random: Random) -> ProviderConfig:
    changes: dict[str, Any] = {"connections": random.choice([None, None, 1, 2, 4])}
    if random.random() < 0.6:  # and so long that slots are taken
        changes["latency"] = Distribution.model_validate({"exponential": {"mean": log_uniform(random, 0.2, 4.0)}})
    return config.model_copy(update=changes)


def at_places(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario with several faults in one time, each at some hosts or all, at one provider or at all of them.

    At several nodes, some of these are of some nodes.
    """
    workload = tuple(_at_hosts(entry, random) for entry in scenario.workload)
    found, faults = scenario.model_copy(update={"workload": workload}), []
    for channel in random.sample(scenario.channels_used, random.randint(1, len(scenario.channels_used))):
        faults += _at_one_time(found, channel, random)
    return found.model_copy(update={"faults": (*scenario.faults, *faults)})


def at_layers(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario in which half of what may go wrong behind providers, where any ask something there, does."""
    faults = []
    for fault in scenario.faults:
        depths = layers_behind(scenario, fault)
        is_moved = depths and not fault.injects & SYSTEM_FAULT_KEYS and random.random() < 0.5
        faults.append(fault.model_copy(update={"upstream": random.randint(1, max(depths))}) if is_moved else fault)
    return scenario.model_copy(update={"faults": tuple(faults)})


def layers_behind(scenario: Scenario, fault: FaultConfig) -> list[int]:
    """Return how many layers there are behind each provider that a fault is at, of those that have any."""
    hit = [scenario.channel_as_given(each).by_provider() for each in scenario.channels_used if each in fault.channel]
    lanes = [lane for by_name in hit for name, lane in by_name.items() if fault.provider in (None, name)]
    return [len(lane.provider.upstream.chain) for lane in lanes if lane.provider.upstream is not None]


def _at_hosts(entry: WorkloadEntry, random: Random) -> WorkloadEntry:
    if isinstance(entry, EventWorkload) or entry.hosts is not None or random.random() < 0.2:
        return entry
    return entry.model_copy(update={"hosts": random.randint(2, 4)})


def _at_one_time(scenario: Scenario, channel: NotificationChannel, random: Random) -> list[FaultConfig]:
    middle, hosts = random.uniform(0.1, 0.9) * scenario.duration, _hosts_on(channel, scenario)
    faults = []
    for _ in range(random.randint(2, _MOST_FAULTS)):
        at = rounded(middle * random.random())
        lasts = rounded(middle - at + log_uniform(random, scenario.duration / 30, scenario.duration))
        written: dict[str, Any] = {"channel": channel, "at": at, "for": lasts}
        if hosts and random.random() < 0.6:
            written["host"] = random.sample(hosts, random.randint(1, min(2, len(hosts))))
        if random.random() < 0.3:
            written["provider"] = random.choice(scenario.providers_used[channel])
        faults.append(FaultConfig.model_validate(written | drawn_strength(random.choice(_OF_ATTEMPTS), random)))
    return faults


def _hosts_on(channel: NotificationChannel, scenario: Scenario) -> list[str]:
    hosts: dict[str, None] = {}
    for entry in scenario.workload:
        if isinstance(entry, EventWorkload):
            if channel is NotificationChannel.EMAIL and channel in entry.channels:
                hosts[HOST_OF_EVENTS] = None
        elif channel in entry.channels and entry.hosts is not None:
            hosts.update(dict.fromkeys(map(host_name, range(count_of(entry.hosts)))))
    return list(hosts)
