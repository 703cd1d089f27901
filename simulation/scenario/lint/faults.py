"""The linter on faults, operations and expectations that come too late, change nothing, or always hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from actors.instants import seconds
from actors.lint.findings import Finding, Rules
from actors.messages import NotificationChannel
from actors.settings.faults import FAULT_KEYS, Change, FaultConfig
from simulation.scenario import Scenario
from simulation.scenario.lint.workload import without_arrivals
from simulation.scenario.metrics import metric_kind, path_of, range_text

_RULES = Rules("""
fault-after-end  faults.{number}.at
    {start:duration} is after the end of the run at {end:duration}: it has no effect
fault-after-arrivals  faults.{number}.at
    {start:duration} is after the last arrivals at {end:duration}: it affects only what is still in flight then
fault-without-effect/nothing  faults.{number}.{key}
    {nothing:percent} injects nothing
fault-without-effect/burst  faults.{number}.burst.failure_rate
    {nothing:percent} injects nothing
fault-without-effect/step  faults.{number}.clock_step
    {nothing:duration} changes nothing
fault-without-effect/factor  faults.{number}.{key}
    {factor} changes nothing
fault-without-effect/capacity  faults.{number}.capacity
    is not below the provider's own: it changes nothing
fault-without-effect/speed  faults.{number}.speed
    no provider there has a capacity: it changes nothing (latency_factor makes all slower)
fault-without-effect/within  faults.{number}.{key}
    lies within the {decides} of faults.{other}, which decides before it: it has no effect
latency-of-those-who-arrive  faults.{number}.latency
    is of those who arrive in the window: what a provider with a capacity has under way and queued goes on as before
    (speed slows it too)
change-cut-off  faults.{number}.{key}.over
    {over:duration} is longer than the {lasts:duration} that it lasts: it does not get to its end
flap-never-down  faults.{number}.flap.up
    {up:duration} up comes first, and all lasts {lasts:duration}: it is never down
nothing-arrives/fault  faults.{number}.channel
    nothing arrives on {channels}: it has no effect
nothing-arrives/expectation
    nothing arrives on {channel}: counts stay 0 there, and a share or a time of nothing never holds
operation-after-end  operations.{number}.at
    {start:duration} is after the end of the run at {end:duration}: it is never carried out
expectation-always-holds
    always holds, as {metric} is {range}
""")

_WITHOUT_EFFECT_AT_0 = tuple(key for key in FAULT_KEYS if key.endswith("_rate"))

_RATES = frozenset(_WITHOUT_EFFECT_AT_0) - {"duplicate_rate"} | {"fail_first", "burst", "flap"}
"""What decides about single attempts."""
_NOTHING_LEFT_TO = {
    "hang": _RATES | {"hang", "outage", "throttle", "latency", "latency_factor"},
    "outage": _RATES | {"outage"},
    "latency": frozenset({"latency"}),
}
"""Which faults decide before which: `actors.faults.rules` has the order."""


def fault_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the faults that have no effect, or not the one that they seem to have."""
    end_s = seconds(scenario.arrivals_end_ns)
    run_s = end_s + seconds(scenario.drain_ns)
    quiet = without_arrivals(scenario)
    for number, fault in enumerate(scenario.faults):
        if fault.at >= run_s:
            yield _RULES.found("fault-after-end", number=number, start=fault.at, end=run_s)
        elif fault.at >= end_s:
            yield _RULES.found("fault-after-arrivals", number=number, start=fault.at, end=end_s)
        for key in _WITHOUT_EFFECT_AT_0:
            if _is_always(getattr(fault, key), 0):
                yield _RULES.found("fault-without-effect/nothing", number=number, key=key, nothing=0)
        if fault.clock_step == 0:
            yield _RULES.found("fault-without-effect/step", number=number, nothing=0)
        if _is_always(fault.latency_factor, 1):
            yield _RULES.found("fault-without-effect/factor", number=number, key="latency_factor", factor=1)
        if fault.burst is not None and fault.burst.failure_rate == 0:
            yield _RULES.found("fault-without-effect/burst", number=number, nothing=0)
        hit = [channel for channel in scenario.channels_used if channel in fault.channel]
        if fault.capacity is not None and all(_changes_no_capacity(scenario, fault, channel) for channel in hit):
            yield _RULES.found("fault-without-effect/capacity", number=number)
        queues = any(_has_a_capacity(scenario, fault, channel) for channel in hit)
        if fault.speed == 1:
            yield _RULES.found("fault-without-effect/factor", number=number, key="speed", factor=1)
        elif fault.speed is not None and not queues:
            yield _RULES.found("fault-without-effect/speed", number=number)
        if fault.latency is not None and queues:
            yield _RULES.found("latency-of-those-who-arrive", number=number)
        lasts = run_s - fault.at if fault.for_ is None else min(fault.for_, run_s - fault.at)
        for key, of in (("failure_rate", fault.failure_rate), ("latency_factor", fault.latency_factor)):
            if isinstance(of, Change) and 0 < lasts < of.over:
                yield _RULES.found("change-cut-off", number=number, key=key, over=of.over, lasts=lasts)
        lasts = run_s if fault.for_ is None else fault.for_
        if fault.flap is not None and fault.flap.up >= lasts:
            yield _RULES.found("flap-never-down", number=number, up=fault.flap.up, lasts=lasts)
        if hit and all(channel in quiet for channel in hit):
            yield _RULES.found("nothing-arrives/fault", number=number, channels=" and ".join(hit))


def _is_always(value: Any, number: float) -> bool:
    return (value.from_ == value.to == number) if isinstance(value, Change) else value == number


def _has_a_capacity(scenario: Scenario, fault: FaultConfig, channel: NotificationChannel) -> bool:
    """Return whether a provider that is hit has a capacity, of its own or by a fault."""
    hit = _capacities_hit(scenario, fault, channel)
    injected = [other.provider for other in scenario.faults if other.capacity is not None and channel in other.channel]
    return any(bound is not None for bound in hit.values()) or any(name is None or name in hit for name in injected)


def _changes_no_capacity(scenario: Scenario, fault: FaultConfig, channel: NotificationChannel) -> bool:
    if any(other.capacity is not None and channel in other.channel for other in scenario.faults if other is not fault):
        return False  # where the windows overlap, it may take the place of that one
    own = _capacities_hit(scenario, fault, channel).values()
    return all(bound is not None and fault.capacity is not None and fault.capacity >= bound for bound in own)


def _capacities_hit(scenario: Scenario, fault: FaultConfig, channel: NotificationChannel) -> dict[str, int | None]:
    lanes = scenario.channel_config(channel).by_provider()
    return {name: own.provider.capacity for name, own in lanes.items() if fault.provider in (None, name)}


def swallowing_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the faults to which another one leaves nothing for as long as they last."""
    deciding = [each for each in enumerate(scenario.faults) if each[1].injects & _NOTHING_LEFT_TO.keys()]
    for number, fault in enumerate(scenario.faults):
        others = [(other, outer) for other, outer in deciding if _covers(scenario, outer, fault)]
        for key in sorted(fault.injects):
            decides = [
                (other, own)
                for other, outer in others
                for own, nothing_left_to in _NOTHING_LEFT_TO.items()
                if other != number and own in outer.injects and key in nothing_left_to
                # Of two alike the first is kept; of two latencies the last one holds.
                and not (key == own == "latency" and other < number)
                and not (key == own != "latency" and number < other and _covers(scenario, fault, outer))
            ]  # fmt: skip
            for other, own in decides[:1]:
                yield _RULES.found("fault-without-effect/within", number=number, key=key, decides=own, other=str(other))


def _covers(scenario: Scenario, outer: FaultConfig, fault: FaultConfig) -> bool:
    ends = [math.inf if each.for_ is None else each.at + each.for_ for each in (fault, outer)]
    return (
        outer.at <= fault.at
        and ends[0] <= ends[1]
        and all(channel in outer.channel for channel in scenario.channels_used if channel in fault.channel)
        and outer.provider in (None, fault.provider)
        and _is_part(fault.host, outer.host)
        and _is_part(fault.node, outer.node)
        and (outer.upstream == fault.upstream or not outer.upstream)
    )


def _is_part(some: tuple[object, ...] | None, of: tuple[object, ...] | None) -> bool:
    return of is None or (some is not None and set(some) <= set(of))


def operation_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the operations that come after the end."""
    run_s = seconds(scenario.arrivals_end_ns) + seconds(scenario.drain_ns)
    for number, operation in enumerate(scenario.operations):
        if operation.at >= run_s:
            yield _RULES.found("operation-after-end", number=number, start=operation.at, end=run_s)


def expectation_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the expectations about channels without arrivals, and the ones that always hold."""
    quiet = without_arrivals(scenario)
    for expectation in scenario.expect:
        at, metric = ("expect", *map(str, expectation.at)), path_of(expectation.path)
        where = next((channel for channel in quiet if channel in expectation.path), None)
        if where is not None:
            yield _RULES.found("nothing-arrives/expectation", at=at, channel=where)
        elif expectation.always(kind := metric_kind(scenario.outline, metric)):
            yield _RULES.found("expectation-always-holds", at=at, metric=metric, range=range_text(kind))
