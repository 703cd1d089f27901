"""Settings that have to meet for a mistake in one of them to show, and that other drawing seldom brings together."""

from __future__ import annotations

from random import Random
from typing import Any

from pydantic import ValidationError

from actors.settings.channel import ChannelConfig
from actors.settings.quantities import FROM_FILE, write_duration
from simulation.scenario import Scenario
from simulation.scenario.arrivals import Arrivals
from simulation.scenario.workload import ChannelWorkload
from simulation.verification.drawing.numbers import log_uniform, rounded

_UNBOUNDED = dict.fromkeys(
    (
        "rate_limit",
        "quota",
        "max_in_flight",
        "concurrency_limit",
        "adaptive_rate",
        "adaptive_throttle",
        "hedging",
        "tenant",
    )
)
"""Nothing of a channel keeps an attempt back."""


def slots_held_by_tenants(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario in which notifications of several tenants take their slots along to another provider."""
    slots, tenants = random.randint(1, 3), random.randint(2, 3)
    changes: dict[str, Any] = {"max_in_flight": slots, "tenant": {"max_in_flight": random.randint(1, slots)}}
    changes |= {"concurrency_limit": None, "switch_after": random.randint(1, 2), "deadline": None}
    retry = {"max_attempts": random.randint(3, 6), "initial_delay": _drawn(random, 0.1, 5.0), "holds_slot": True}
    spare = {"max_in_flight": random.randint(1, slots), "concurrency_limit": None}
    provider = {"latency": {"exponential": {"mean": _drawn(random, 0.1, 1.0)}}, "failure_rate": 0.6}
    changes |= {"retry": retry, "failover": {"backup": {**spare, "provider": provider}}, "provider": provider}
    return _changed(scenario, random, changes, tenants=tenants, users=random.choice([1, 4]))


def queue_filled_exactly(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario whose bursts take as many places at a provider as there are, or one more or less."""
    places, limit = random.randint(1, 3), random.randint(1, 5)
    provider = {
        "capacity": places,
        "queue": {"limit": limit, "when_full": random.choice(["refuse", "drop"])},
        "latency": {"constant": _drawn(random, 0.3, 3.0)},
    }
    retry = {"max_attempts": random.randint(1, 4), "initial_delay": _drawn(random, 0.1, 5.0)}
    size = places + limit + random.choice([-1, 0, 0, 1])
    burst = Arrivals.model_validate({"burst": {"size": max(1, size), "every": scenario.duration / 4}})
    changes = {**_UNBOUNDED, "circuit_breaker": {"failure_threshold": 1000}, "retry": retry, "provider": provider}
    return _changed(scenario, random, changes, arrivals=burst)


def one_at_a_time_by_user(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario in which attempts at one user meet at a provider that takes one of them at a time."""
    one = {"per": "user", "when_busy": random.choice(["fail", "wait"])}
    provider = {"one_at_a_time": one, "latency": {"exponential": {"mean": _drawn(random, 0.2, 2.0)}}}
    retry = {"max_attempts": random.randint(2, 5), "initial_delay": _drawn(random, 0.1, 2.0)}
    changes = {**_UNBOUNDED, "retry": retry, "provider": provider, "timeout": _drawn(random, 0.5, 4.0)}
    return _changed(scenario, random, changes, users=random.randint(1, 3))


def uneven_weights(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario whose classes wait for few slots, with weights that are no whole numbers."""
    weights = {each: random.choice([0.3, 0.5, 1.3, 2.5, 7.1]) for each in ("critical", "normal", "bulk")}
    order = {"kind": "weighted", "weights": weights, "fair_by": random.choice(["none", "user", "tenant"])}
    changes = {"order": order, "max_in_flight": random.randint(1, 2), "concurrency_limit": None, "quota": None}
    return _changed(scenario, random, changes, tenants=random.randint(1, 3))


def letters_too_old(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario in which dead letters are redriven slowly, and some are too old when it is their turn."""
    redrive = {"max_age": _drawn(random, 10.0, 300.0), "rate": f"1/{_drawn(random, 1.0, 20.0)}", "at_most": 3}
    breaker = {"failure_threshold": random.randint(1, 3), "timeout": _drawn(random, 1.0, 60.0), "when_open": "fail"}
    changes = {
        "redrive": redrive,
        "circuit_breaker": breaker,
        "retry": {"max_attempts": random.randint(1, 3), "initial_delay": _drawn(random, 0.1, 5.0)},
        "provider": {"failure_rate": random.choice([0.3, 0.6])},
    }
    return _changed(scenario, random, changes)


def attempts_without_a_last_one(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario in which only time ends attempts, and most of them fail, so that histories leave some out."""
    limit_s = log_uniform(random, 2.0, 60.0)
    apart_s = limit_s / random.choice([30.0, 150.0, 250.0])
    retry: dict[str, Any] = {"max_attempts": "unlimited", "backoff": random.choice(["constant", "linear"])}
    retry["initial_delay"] = write_duration(rounded(apart_s / (50.0 if retry["backoff"] == "linear" else 1.0)))
    retry |= {"max_delay": write_duration(limit_s), "jitter": random.choice(["none", "full", "equal"])}
    if random.random() < 0.4:
        kind, most = random.choice(["transient", "throttled", "ambiguous"]), random.choice([3, 110, "unlimited"])
        retry["per_outcome"] = {kind: {"max_attempts": most, "initial_delay": write_duration(rounded(apart_s))}}
    # A deadline counts from the first attempt that reaches a provider, and none does while a breaker is forced open.
    lanes = [lane for each in scenario.channels_used for lane in scenario.channel_as_given(each).by_provider().values()]
    is_deadline = random.random() < 0.3 and all(lane.circuit_breaker.when_open == "wait" for lane in lanes)
    if not is_deadline:
        retry["max_elapsed"] = write_duration(limit_s)
    latency = {"exponential": {"mean": write_duration(rounded(apart_s / 4.0))}}
    provider = {"latency": latency, "failure_rate": random.choice([0.5, 0.95, 1.0])}
    deadline = write_duration(limit_s) if is_deadline else None
    return _changed(scenario, random, {"retry": retry, "deadline": deadline, "provider": provider})


SELDOM_MET = (
    slots_held_by_tenants,
    queue_filled_exactly,
    one_at_a_time_by_user,
    uneven_weights,
    letters_too_old,
    attempts_without_a_last_one,  # behind all that changes a deadline
)


def _drawn(random: Random, low: float, high: float) -> str:
    return write_duration(log_uniform(random, low, high))


def _changed(scenario: Scenario, random: Random, changes: dict[str, Any], **of_entries: Any) -> Scenario:
    """Return a scenario with settings of one of its channels changed, and its entries, where that fits.

    What is changed of a further provider is changed of all there are, and each host keeps its breaker, if it has one.
    """
    entries = [entry for entry in scenario.workload if isinstance(entry, ChannelWorkload)]
    if not entries:
        return scenario
    channel = random.choice(entries).channel
    data: dict[str, Any] = scenario.channel_as_given(channel).model_dump(mode="json", by_alias=True, exclude_unset=True)
    if "circuit_breaker" in changes and (per := (data.get("circuit_breaker") or {}).get("per")) is not None:
        changes["circuit_breaker"]["per"] = per
    others = dict(data.get("failover") or {})
    data |= changes
    for name, spare in changes.get("failover", {}).items():
        data["failover"] = {each: {**(others.get(each) or {}), **spare} for each in others | {name: None}}
    try:
        config = ChannelConfig.model_validate(data, context=FROM_FILE)
    except ValidationError:
        return scenario
    workload = tuple(
        entry.model_copy(update=of_entries)
        if isinstance(entry, ChannelWorkload) and entry.channel == channel
        else entry
        for entry in scenario.workload
    )
    channels = scenario.channels.model_copy(update={channel.value: config})
    return scenario.model_copy(update={"workload": workload, "channels": channels})
