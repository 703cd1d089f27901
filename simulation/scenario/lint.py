"""The linter over a scenario: each channel's settings against what arrives on it, and what the scenario itself says.

Rates follow from the workload, its users and their preferences, by formula. What follows from chance, or from a
fault that is there to show something, is no finding.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from actors.domain.attempts import TIMED_OUT
from actors.errors import ConfigurationError
from actors.faults.conditions import FAILED, THROTTLED
from actors.faults.rules import OUTAGE
from actors.faults.upstream import UPSTREAM_TIMED_OUT
from actors.instants import ns, seconds
from actors.lint.channel import Finding, lint, lint_expiry
from actors.lint.expiry import expiry_rules
from actors.lint.retry import ENDS_EARLY, total_wait
from actors.lint.traffic import Traffic
from actors.lint.words import counted, duration, percent, plain_number
from actors.messages import NotificationChannel
from actors.pipeline.circuit_breaker import BREAKER_OPEN, BULKHEAD_FULL, THROTTLED_HERE
from actors.settings.channel import ChannelConfig, CircuitBreakerConfig, keys_of_provider
from actors.settings.distribution_moments import quantile, share_above
from actors.settings.distributions import Distribution
from actors.settings.faults import FAULT_KEYS, Change, FaultConfig
from actors.settings.file import located as placed, text_of
from actors.settings.hints import nearest
from actors.settings.yaml_tree import Node, Place, Problem, ScalarNode, Unreadable, read
from simulation.scenario import (
    ChannelWorkload,
    ClosedWorkload,
    EventWorkload,
    Expectation,
    Scenario,
    overrides as changes,
)
from simulation.scenario.accounts import account_rules
from simulation.scenario.expected_arrivals import expected_in_window, most_in_windows
from simulation.scenario.fleets import fleet_rules
from simulation.scenario.metrics import metric_kind, path_of, range_text
from simulation.scenario.pending import open_entries, pending_rules, share_wanted, through_limits
from simulation.scenario.popularity import count_of, share_of_the_first
from simulation.scenario.quiet import quiet_rules
from simulation.scenario.swallowing import few_for_many_rules, swallowing_rules
from simulation.scenario.upstreams import upstream_rules
from simulation.scenario.workload import CRITICAL, HOST_OF_EVENTS, class_of

NOTHING_ARRIVES = "nothing-arrives"
NO_EFFECT = "fault-without-effect"
"""Rules that several settings may break."""

_WITHOUT_EFFECT_AT_0 = tuple(key for key in FAULT_KEYS if key.endswith("_rate"))

_FOR_FAILURES_OR_DELAYS = (
    "timeout", "retry", "circuit_breaker", "max_in_flight", "hedging", "adaptive_rate", "concurrency_limit",
    "adaptive_throttle",
)  # fmt: skip
"""Settings of a channel that do nothing where each attempt succeeds at once."""

_REASONS = (
    FAILED.reason, OUTAGE.reason, THROTTLED, TIMED_OUT.reason, UPSTREAM_TIMED_OUT.reason, BREAKER_OPEN, BULKHEAD_FULL,
    THROTTLED_HERE,
)  # fmt: skip
"""Why an attempt that may be retried fails where the provider is the simulated one and has no rules given."""


def lint_scenario(scenario: Scenario) -> list[Finding]:
    """Return what in a scenario cannot do what it says, each once."""
    found: list[Finding] = []
    per_s = dict(_arriving(scenario))
    for channel in scenario.channels_used:
        found += _channel(scenario, channel, per_s)
    found += _unused(scenario)
    found += _expiries(scenario)
    found += _windows(scenario)
    found += _thinking(scenario)
    found += pending_rules(scenario)
    found += upstream_rules(scenario)
    behind = {channel: _behind_limits(scenario, channel, arriving) for channel, arriving in per_s.items()}
    found += account_rules(scenario, behind)
    found += fleet_rules(scenario, behind)
    found += quiet_rules(scenario)
    found += _instants(scenario)
    found += _faults(scenario)
    found += swallowing_rules(scenario)
    found += few_for_many_rules(scenario)
    found += _operations(scenario)
    found += _expectations(scenario)
    return list(dict.fromkeys(found))


def _arriving(scenario: Scenario) -> Iterator[tuple[NotificationChannel, float]]:
    """Yield the channels of which it is known how many arrive a second on average, with that."""
    for channel in scenario.channels_used:
        entries = [entry for entry in scenario.workload if channel in entry.channels]
        opened = open_entries(scenario, channel)
        if len(opened) == len(entries):
            yield channel, sum(_per_s(scenario, entry, channel) for entry in opened)


def _behind_limits(scenario: Scenario, channel: NotificationChannel, per_s: float) -> float:
    lasts_s = seconds(scenario.arrivals_end_ns)
    traffic = Traffic(per_s, lasts_s=lasts_s, let_through_in=through_limits(scenario, channel))
    return traffic.behind_limits or 0.0


def lint_varied(scenario: Scenario, paths: Collection[str]) -> list[str]:
    """Return which settings are varied to no effect, as nothing arrives on their channel: ``path: …``.

    Args:
        scenario: what is varied.
        paths: of the settings. Where they decide what arrives, nothing is said.
    """
    if any(path.startswith("workload") or ".fallback" in path for path in paths):
        return []
    idle = {str(channel) for channel in NotificationChannel} - {str(channel) for channel in _with_arrivals(scenario)}
    keys = {path: path.split(".") for path in paths}
    return [
        f"{path}: nothing arrives on {channel}: it has no effect"
        for path, (first, *rest) in keys.items()
        if first == "channels" and (channel := rest[0] if rest else "") in idle
    ]


def located(findings: Iterable[Finding], path: str | Path, sets: Sequence[str] = ()) -> list[str]:
    """Return findings with their places in the file of the scenario, in its order: ``file.yaml:8:7: …``.

    A setting that the file does not have, a default, stands at the nearest that is there and that it is part of.

    Args:
        findings: of the scenario in the file.
        path: the file, which is read once more.
        sets: the overrides it was loaded with.
    """
    return [str(problem) for problem, _ in places_of(findings, path, sets)]


def places_of(findings: Iterable[Finding], path: str | Path, sets: Sequence[str] = ()) -> list[tuple[Problem, Finding]]:
    """Return findings, each with its place in the file of the scenario, in its order; see :func:`located`."""
    root, _ = changes.apply(_tree(Path(path)), sets)
    found = []
    for finding in findings:
        keys = [int(key) if key.isdigit() else key for key in finding.path]
        found.append((placed(root, keys, finding.text), finding))
    return sorted(found, key=lambda each: each[0].sort_key)


def expectations_at(path: str | Path, expect: Sequence[Expectation], sets: Sequence[str] = ()) -> list[Place]:
    """Return where each expectation of a scenario stands in its file, which is read once more."""
    root, _ = changes.apply(_tree(Path(path)), sets)
    return [placed(root, ("expect", *each.at), "").place for each in expect]


def _tree(path: Path) -> Node:
    try:
        return read(text_of(path), Place(str(path), 1, 1))
    except (ConfigurationError, Unreadable):  # it is another one by now, or a pipe
        return ScalarNode(Place(str(path)), None, "")


# ── channels and their traffic ──────────────────────────────────────────────────────────────────────────────────


def _channel(
    scenario: Scenario, channel: NotificationChannel, per_s: Mapping[NotificationChannel, float]
) -> Iterator[Finding]:
    entries = [entry for entry in scenario.workload if channel in entry.channels]
    config = scenario.channel_config(channel)
    yield from _hosts(scenario, channel, config)
    yield from _reasons(channel, config)
    if channel in _with_arrivals(scenario):
        yield from _limit_of_nobody(scenario, channel, config)
        yield from _without_a_provider(scenario, channel, config)
    yield from _disciplines(scenario, channel, config)
    is_operated = any(
        operation.breaker not in (None, "force-open") and channel in (operation.channel or ())
        for operation in scenario.operations
    )
    meets_channel_faults = not _all_expire(scenario, channel, math.inf) and any(
        fault.channel_fault_rate and channel in fault.channel for fault in scenario.faults
    )
    # A push to a host is one by Web Push.
    has_hosts = channel is NotificationChannel.PUSH and any(getattr(entry, "hosts", None) for entry in entries)
    opened = open_entries(scenario, channel)
    if scenario.nodes_at_most > 1 and config.quota is not None and config.quota.across == "each":
        config = config.model_copy(update={"quota": None})  # of all nodes together there is no such quota
    if len(opened) < len(entries):
        # How often clients that wait for their answers send is what a run has to show.
        yield from lint(
            channel,
            config,
            is_operated=is_operated,
            meets_channel_faults=meets_channel_faults,
            recipients_choose_hosts=has_hosts,
        )
        yield from _horizon(scenario, channel, config)
    elif entries:
        yield from lint(
            channel,
            config,
            arrivals_per_s=per_s[channel],
            per_user_per_s=_of_the_busiest_user(scenario, opened, channel),
            most_arrivals_in=partial(most_in_windows, scenario, opened),
            let_through_in=through_limits(scenario, channel),
            lasts_s=seconds(scenario.arrivals_end_ns),
            nodes=scenario.nodes_at_most,
            is_operated=is_operated,
            meets_channel_faults=meets_channel_faults,
            recipients_choose_hosts=has_hosts,
        )
        yield from _horizon(scenario, channel, config)


def _unused(scenario: Scenario) -> Iterator[Finding]:
    """Yield the settings of channels to which nothing leads."""
    for channel in _without_arrivals(scenario):
        if scenario.channel_as_given(channel).model_fields_set:
            yield Finding(
                ("channels", channel), NOTHING_ARRIVES, f"nothing arrives on {channel}: its settings have no effect"
            )


def _hosts(scenario: Scenario, channel: NotificationChannel, config: ChannelConfig) -> Iterator[Finding]:
    """Yield that breakers per host are one breaker, as all recipients are at one host, or at none."""
    breaker = config.circuit_breaker
    if scenario.channel_as_given(channel).circuit_breaker.per != "host" or not breaker.enabled:
        return  # a default has no need to do anything
    spread, others = 0, set()
    for entry in scenario.workload:
        if isinstance(entry, EventWorkload):
            if channel in entry.channels:
                others.add(HOST_OF_EVENTS if channel is NotificationChannel.EMAIL else "")
        elif entry.channel is channel:
            spread = max(spread, 0 if entry.hosts is None else count_of(entry.hosts))
            if entry.hosts is None:
                others.add("")
    if spread + len(others) <= 1:
        where = "have no host" if others == {""} else "are at one host"
        yield Finding(
            ("channels", channel, "circuit_breaker", "per"),
            "breaker-per-host-of-one-host",
            f"host, and all recipients on {channel} {where}: they share one breaker (hosts in the workload spreads "
            "them)",
        )


def _limit_of_nobody(scenario: Scenario, channel: NotificationChannel, config: ChannelConfig) -> Iterator[Finding]:
    """Yield that a limit for each user holds nothing back, as no user gets more than one.

    Nothing is said of events, each of which is known to be of a customer of its own.
    """
    if config.rate_limit is None:
        return
    opened: list[ChannelWorkload] = []
    clients, comes_by_fallback = 0, False
    for entry in scenario.workload:
        if all(channel not in _way(scenario, own) for own in entry.channels):
            continue
        if isinstance(entry, EventWorkload) or entry.users is not None:
            return
        comes_by_fallback |= entry.channel is not channel
        if isinstance(entry, ClosedWorkload):
            clients += entry.clients
        else:
            opened.append(entry)
    each = []
    if opened:
        per_s = sum(_per_s(scenario, entry, entry.channel) for entry in opened)
        arriving = Traffic(per_s, most_in=partial(most_in_windows, scenario, opened)).arriving(per_s, config)
        each.append(f"of the {'up to ' * comes_by_fallback}{arriving} that arrive")
    if clients:
        each.append(f"of what {counted(clients, 'client')} send{'s' if clients == 1 else ''}")
    yield Finding(
        ("channels", channel, "rate_limit"),
        "rate-limit-without-effect",
        f"is for each user, and each {' and '.join(each)} has one of its own: nothing is held back (users in the "
        "workload shares them)",
    )


def _without_a_provider(scenario: Scenario, channel: NotificationChannel, config: ChannelConfig) -> Iterator[Finding]:
    """Yield that settings for failures have nothing to do: the default provider answers at once and never fails.

    Nothing is said of a single one, as in a scenario that tries out what an operator does with a breaker.
    """
    given = scenario.channel_as_given(channel)
    keys = [key for key in _FOR_FAILURES_OR_DELAYS if key in given.model_fields_set and getattr(given, key) is not None]
    fails = any(channel in fault.channel and fault.at < seconds(scenario.arrivals_end_ns) for fault in scenario.faults)
    if len(keys) > 1 and not fails and not config.failover and "provider" not in config.model_fields_set:
        yield Finding(
            ("channels", channel),
            "failure-settings-without-effect",
            f"has no provider and meets no fault before the last arrivals: each attempt succeeds after {duration(0)}, "
            f"and {', '.join(keys[:-1])} and {keys[-1]} have nothing to do",
        )


def _reasons(channel: NotificationChannel, config: ChannelConfig) -> Iterator[Finding]:
    for reason in config.retry.per_reason:
        if reason not in _REASONS:
            near = nearest(reason, _REASONS)
            yield Finding(
                ("channels", channel, "retry", "per_reason", reason),
                "unknown-reason",
                "is the reason of no failure that comes in a scenario; "
                + (f"did you mean {near}?" if near else f"they are {', '.join(_REASONS)}"),
            )


def _disciplines(scenario: Scenario, channel: NotificationChannel, config: ChannelConfig) -> Iterator[Finding]:
    """Yield that none is preferred where all are alike."""
    configs = [scenario.channel_config(used) for used in scenario.channels_used]
    is_fallback = any(other.fallback is not None and other.fallback.channel is channel for other in configs)
    come = [entry for entry in scenario.workload if is_fallback or channel in entry.channels]
    kinds = {class_of(entry) == CRITICAL for entry in come}
    if len(kinds) != 1:
        return
    which = "all that arrive are critical" if True in kinds else "nothing that arrives is critical"
    for name, settings in config.by_provider().items():
        if settings.provider.discipline == "critical_first":
            path = ("channels", channel, *keys_of_provider(name), "provider", "discipline")
            text = f"critical_first, and {which}: it is first come, first served"
            yield Finding(path, "discipline-without-effect", text)


def _per_s(scenario: Scenario, entry: ChannelWorkload | EventWorkload, channel: NotificationChannel) -> float:
    arrive = expected_in_window(scenario, entry)
    return arrive / seconds(scenario.arrivals_end_ns) * share_wanted(scenario, entry, channel)


def _of_the_busiest_user(
    scenario: Scenario, entries: Sequence[ChannelWorkload | EventWorkload], channel: NotificationChannel
) -> float:
    """Return the notifications a second of a user whom all entries with `users` have; the others have one each."""
    return sum(
        _per_s(scenario, entry, channel) * share_of_the_first(entry.users)
        for entry in entries
        if entry.users is not None and getattr(entry, "event", None) != "UserRegistered"
    )


def _horizon(scenario: Scenario, channel: NotificationChannel, config: ChannelConfig) -> Iterator[Finding]:
    """Yield what goes on for longer than the run."""
    drain_s = seconds(scenario.drain_ns)
    run_s = seconds(scenario.arrivals_end_ns) + drain_s
    breakers: list[tuple[tuple[str, ...], CircuitBreakerConfig]] = [((), config.circuit_breaker)]
    breakers += [
        (("failover", name), other.circuit_breaker)
        for name, other in config.failover.items()
        if other.circuit_breaker is not None
    ]
    for path, breaker in breakers:
        opens = breaker.enabled and breaker.initial_state == "closed"
        if opens and breaker.timeout > run_s:
            yield Finding(
                ("channels", channel, *path, "circuit_breaker", "timeout"),
                "breaker-open-above-run",
                f"{duration(breaker.timeout)} is longer than the run of at most {duration(run_s)}: once open it stays "
                "open",
            )
    retry_s = total_wait(config.retry)
    if 0 < drain_s < retry_s and not _all_expire(scenario, channel, drain_s):
        on_average = "" if config.retry.jitter == "none" else "on average "
        yield Finding(
            ("drain",),
            "drain-below-retries",
            f"{duration(drain_s)} is shorter than the {duration(retry_s)} that all attempts of a notification on "
            f"{channel} take {on_average}in waits alone: what fails at the end of the arrivals is cut off in flight",
        )


def _all_expire(scenario: Scenario, channel: NotificationChannel, within_s: float) -> bool:
    ages = [getattr(entry, "expires_after", None) for entry in scenario.workload if channel in entry.channels]
    return all(age is not None and _is_within(age, within_s) for age in ages)


def _is_within(age: float | Distribution, within_s: float) -> bool:
    return share_above(age, within_s) == 0 if isinstance(age, Distribution) else age <= within_s


def _expiries(scenario: Scenario) -> Iterator[Finding]:
    """Yield what an expiry is too short for; a setting that is too long for several, of the shortest alone."""
    shortest: dict[NotificationChannel, float] = {}
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, EventWorkload) or entry.expires_after is None:
            continue
        age, of_most = entry.expires_after, ""
        if isinstance(age, Distribution):
            age, of_most = quantile(age, 0.99), "99 in 100 are at most this: "
        if age <= 0:
            continue
        text = lint_expiry(scenario.channel_config(entry.channel), age)
        if text is not None:
            yield Finding(("workload", str(number), "expires_after"), ENDS_EARLY, of_most + text)
        for channel in _way(scenario, entry.channel):
            shortest[channel] = min(age, shortest.get(channel, math.inf))
    for channel, expires_after in shortest.items():
        for path, rule, text in expiry_rules(scenario.channel_config(channel), expires_after):
            yield Finding(("channels", channel, *path), rule, text)


def _windows(scenario: Scenario) -> Iterator[Finding]:
    for number, entry in enumerate(scenario.workload):
        path, end_s = ("workload", str(number)), scenario.duration
        if entry.at >= end_s and (isinstance(entry, ClosedWorkload) or entry.arrivals.trace is None):
            text = f"{duration(entry.at)} is not before the {duration(end_s)} at which arrivals end: none comes"
            yield Finding((*path, "at"), "arrivals-after-end", text)


def _thinking(scenario: Scenario) -> Iterator[Finding]:
    for number, entry in enumerate(scenario.workload):
        if not isinstance(entry, ClosedWorkload):
            continue
        lasts_s = seconds(scenario.arrivals_end_of(entry) - ns(entry.at))
        if lasts_s > 0 and share_above(entry.think, math.nextafter(lasts_s, 0)) == 1:
            yield Finding(
                ("workload", str(number), "think"),
                "nothing-is-sent",
                f"takes at least the {duration(lasts_s)} in which notifications arrive, and clients think before their "
                "first one too: none is ever sent",
            )


def _instants(scenario: Scenario) -> Iterator[Finding]:
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload) or entry.arrivals.times is None:
            continue
        times, lasts_s = entry.arrivals.times, seconds(scenario.arrivals_end_of(entry) - ns(entry.at))
        behind = sum(at >= lasts_s for at in times)
        if behind and lasts_s > 0:
            yield Finding(
                ("workload", str(number), "arrivals", "times"),
                "arrivals-after-end",
                f"{plain_number(behind)} of {plain_number(len(times))} are not before the {duration(lasts_s)} at which "
                "arrivals end: they do not come",
            )


# ── faults and expectations ─────────────────────────────────────────────────────────────────────────────────────


def _faults(scenario: Scenario) -> Iterator[Finding]:
    end_s = seconds(scenario.arrivals_end_ns)
    run_s = end_s + seconds(scenario.drain_ns)
    quiet = _without_arrivals(scenario)
    for index, fault in enumerate(scenario.faults):
        path = ("faults", str(index))
        if fault.at >= run_s:
            yield Finding(
                (*path, "at"),
                "fault-after-end",
                f"{duration(fault.at)} is after the end of the run at {duration(run_s)}: it has no effect",
            )
        elif fault.at >= end_s:
            yield Finding(
                (*path, "at"),
                "fault-after-arrivals",
                f"{duration(fault.at)} is after the last arrivals at {duration(end_s)}: it affects only what is still "
                "in flight then",
            )
        for key in _WITHOUT_EFFECT_AT_0:
            if _is_always(getattr(fault, key), 0):
                yield Finding((*path, key), NO_EFFECT, f"{percent(0)} injects nothing")
        if fault.clock_step == 0:
            yield Finding((*path, "clock_step"), NO_EFFECT, f"{duration(0)} changes nothing")
        if _is_always(fault.latency_factor, 1):
            yield Finding((*path, "latency_factor"), NO_EFFECT, f"{plain_number(1)} changes nothing")
        if fault.burst is not None and fault.burst.failure_rate == 0:
            yield Finding((*path, "burst", "failure_rate"), NO_EFFECT, f"{percent(0)} injects nothing")
        if fault.capacity is not None and all(
            _changes_no_capacity(scenario, fault, channel) for channel in fault.channel
        ):
            yield Finding((*path, "capacity"), NO_EFFECT, "is not below the provider's own: it changes nothing")
        yield from _of_what_queues(scenario, fault, path)
        lasts = run_s - fault.at if fault.for_ is None else min(fault.for_, run_s - fault.at)
        for key, of in (("failure_rate", fault.failure_rate), ("latency_factor", fault.latency_factor)):
            if isinstance(of, Change) and 0 < lasts < of.over:
                text = f"{duration(of.over)} is longer than the {duration(lasts)} that it lasts"
                yield Finding((*path, key, "over"), "change-cut-off", f"{text}: it does not get to its end")
        lasts = run_s if fault.for_ is None else fault.for_
        if fault.flap is not None and fault.flap.up >= lasts:
            yield Finding(
                (*path, "flap", "up"),
                "flap-never-down",
                f"{duration(fault.flap.up)} up comes first, and all lasts {duration(lasts)}: it is never down",
            )
        if all(channel in quiet for channel in fault.channel):
            text = f"nothing arrives on {' and '.join(fault.channel)}: it has no effect"
            yield Finding((*path, "channel"), NOTHING_ARRIVES, text)


def _operations(scenario: Scenario) -> Iterator[Finding]:
    run_s = seconds(scenario.arrivals_end_ns) + seconds(scenario.drain_ns)
    for index, operation in enumerate(scenario.operations):
        if operation.at >= run_s:
            yield Finding(
                ("operations", str(index), "at"),
                "operation-after-end",
                f"{duration(operation.at)} is after the end of the run at {duration(run_s)}: it is never carried out",
            )


def _is_always(value: Any, number: float) -> bool:
    return (value.from_ == value.to == number) if isinstance(value, Change) else value == number


def _of_what_queues(scenario: Scenario, fault: FaultConfig, path: tuple[str, ...]) -> Iterator[Finding]:
    """Yield what a speed has nothing to slow down by, and what a latency is not of."""
    have_one = [_has_a_capacity(scenario, fault, channel) for channel in fault.channel]
    if fault.speed == 1:
        yield Finding((*path, "speed"), NO_EFFECT, f"{plain_number(1)} changes nothing")
    elif fault.speed is not None and not any(have_one):
        yield Finding(
            (*path, "speed"),
            NO_EFFECT,
            "no provider there has a capacity: it changes nothing (latency_factor makes all slower)",
        )
    if fault.latency is not None and any(have_one):
        yield Finding(
            (*path, "latency"),
            "latency-of-those-who-arrive",
            "is of those who arrive in the window: what a provider with a capacity has under way and queued goes on as "
            "before (speed slows it too)",
        )


def _has_a_capacity(scenario: Scenario, fault: FaultConfig, channel: NotificationChannel) -> bool:
    """Return whether a provider that is hit works on so many at once, by itself or by a fault."""
    if channel not in scenario.channels_used:
        return False
    hit = {
        name: settings.provider.capacity
        for name, settings in scenario.channel_config(channel).by_provider().items()
        if fault.provider in (None, name)
    }
    injected = [other for other in scenario.faults if other.capacity is not None and channel in other.channel]
    return any(bound is not None for bound in hit.values()) or any(
        other.provider is None or other.provider in hit for other in injected
    )


def _changes_no_capacity(scenario: Scenario, fault: FaultConfig, channel: NotificationChannel) -> bool:
    if channel not in scenario.channels_used:
        return True
    if any(other.capacity is not None and channel in other.channel for other in scenario.faults if other is not fault):
        return False  # where the windows overlap, it may take the place of that one
    hit = scenario.channel_config(channel).by_provider().items()
    own = [settings.provider.capacity for name, settings in hit if fault.provider in (None, name)]
    return all(bound is not None and fault.capacity is not None and fault.capacity >= bound for bound in own)


def _expectations(scenario: Scenario) -> Iterator[Finding]:
    quiet = _without_arrivals(scenario)
    for expectation in scenario.expect:
        path = ("expect", *map(str, expectation.at))
        where = next((channel for channel in quiet if channel in expectation.path), None)
        if where is not None:
            text = f"nothing arrives on {where}: counts stay 0 there, and a share or a time of nothing never holds"
            yield Finding(path, NOTHING_ARRIVES, text)
            continue
        kind, metric = metric_kind(scenario.outline, path_of(expectation.path)), path_of(expectation.path)
        if expectation.always(kind):
            text = f"always holds, as {metric} is {range_text(kind)}"
            yield Finding(path, "expectation-always-holds", text)


def _without_arrivals(scenario: Scenario) -> list[NotificationChannel]:
    """Return the channels in use to which neither the workload nor a fallback leads."""
    busy = _with_arrivals(scenario)
    return [channel for channel in scenario.channels_used if channel not in busy]


def _with_arrivals(scenario: Scenario) -> set[NotificationChannel]:
    return {way for entry in scenario.workload for channel in entry.channels for way in _way(scenario, channel)}


def _way(scenario: Scenario, channel: NotificationChannel) -> list[NotificationChannel]:
    """Return a channel and those that its fallbacks lead to, which have what is left of its expiry."""
    way: list[NotificationChannel] = []
    while channel not in way:
        way.append(channel)
        if (fallback := scenario.channel_config(channel).fallback) is None:
            break
        channel = fallback.channel
    return way
