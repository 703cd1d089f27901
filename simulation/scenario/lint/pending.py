"""The linter on room: where more may be pending than a live notifier would accept."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise
from operator import add, mul
from typing import TypeAlias

from actors.instants import seconds
from actors.lint.findings import Finding, Rules, Said, said
from actors.messages import NotificationChannel, Priority
from actors.policies.admission import Admission
from actors.settings.channel import ChannelConfig, NotifierConfig
from actors.settings.distribution_moments import limited_mean
from actors.settings.quantities import Rate
from actors.settings.rate_limit import RateLimitConfig
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.expected_arrivals import expected_in_window
from simulation.scenario.lint.workload import crowds, nodes_that_count, open_entries, share_wanted
from simulation.scenario.workload import WorkloadEntry, class_of

_RULES = Rules("""
more-pending-than-live/burst  workload.{number}.arrivals.{key}
    {come:notification(s)} arrive at once, {refused}
more-pending-than-live/outage  faults.{number}.for
    {come:notification(s)} arrive meanwhile, {refused}
more-pending-than-live/line  channels.{channel}.{key}
    up to {wait:notification(s)} would wait at once, {refused}
""")

_LIVE: int = NotifierConfig.model_fields["max_pending"].default
_STEPS = 100
_SLIGHTLY = 1.01
"""Covers the rounding of a wave's expected count, which is less than 1%."""

_Opened: TypeAlias = ChannelWorkload | EventWorkload
_Gone: TypeAlias = list[float]
"""How many notifications have gone in each step until now."""
_Bound: TypeAlias = Callable[[_Gone, float], float]
"""Returns how many may go in the next step, whose length is in seconds."""


def pending_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield where more may be pending than is accepted, live by default where the scenario gives no bound: at once in a
    burst, in an outage, or as more arrives than a channel lets through."""
    found = [*_bursts(scenario), *_outages(scenario)]
    yield from found or _lines(scenario)


def _bursts(scenario: Scenario) -> Iterator[Finding]:
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload):
            continue
        if (burst := entry.arrivals.burst) is not None:
            key, size = "burst.size", burst.mean_size
        elif (daily := entry.arrivals.daily) is not None and daily.over == 0:
            key, size = "daily.count", daily.count
        else:
            continue
        come = sum(size * share_wanted(scenario, entry, channel) for channel in entry.channels)
        room = _room(scenario, [entry])
        if come > room:
            refused = _refused(scenario, room)
            yield _RULES.found(
                "more-pending-than-live/burst", number=number, key=key, come=round(come), refused=refused
            )


def _outages(scenario: Scenario) -> Iterator[Finding]:
    for number, fault in enumerate(scenario.faults):
        if not fault.outage or fault.for_ is None or fault.provider is not None:
            continue
        hit = [
            (entry, channel)
            for channel in scenario.channels_used
            if channel in fault.channel
            for entry in scenario.workload
            if channel in entry.channels and not isinstance(entry, ClosedWorkload)
        ]
        until_s = fault.at + fault.for_
        arrive = sum(
            _within(scenario, entry, fault.at, until_s) * share_wanted(scenario, entry, channel)
            for entry, channel in hit
        )
        room = _room(scenario, [entry for entry, _ in hit])
        if arrive > room:
            refused = _refused(scenario, room)
            yield _RULES.found("more-pending-than-live/outage", number=number, come=round(arrive), refused=refused)


def _lines(scenario: Scenario) -> Iterator[Finding]:
    """Treat arrivals and departures as streams (a fluid queue), in steps; an expired notification blocks no other."""
    ways: list[tuple[NotificationChannel, list[_Opened]]] = []
    for channel in scenario.channels_used:
        entries = [entry for entry in open_entries(scenario, channel) if getattr(entry, "expires_after", None) is None]
        config = scenario.channel_config(channel)
        if entries and (config.rate_limit is not None or _narrowest(config, scenario.nodes_at_most)[0]):
            ways.append((channel, entries))
    room = _room(scenario, [entry for _, entries in ways for entry in entries])
    all_of_them = sum(
        expected_in_window(scenario, entry) * share_wanted(scenario, entry, channel)
        for channel, entries in ways
        for entry in entries
    )
    if all_of_them * _SLIGHTLY <= room:
        return  # no more than these ever wait
    step_s = seconds(scenario.arrivals_end_ns) / _STEPS
    lines = {
        (channel, key): waiting
        for channel, entries in ways
        for key, waiting in _waiting(scenario, channel, entries, step_s)
    }
    most = max(range(_STEPS), key=lambda step: sum(waiting[step] for waiting in lines.values()))
    would_wait = sum(waiting[most] for waiting in lines.values())
    if would_wait > room:
        channel, key = max(lines, key=lambda line: lines[line][most])
        wait, refused = round(would_wait), _refused(scenario, room)
        yield _RULES.found("more-pending-than-live/line", channel=channel, key=key, wait=wait, refused=refused)


def _waiting(
    scenario: Scenario, channel: NotificationChannel, entries: Sequence[_Opened], step_s: float
) -> Iterator[tuple[str, list[float]]]:
    """Yield by the settings that hold notifications of a channel up, on their way, how many wait in each step."""
    config = scenario.channel_config(channel)
    come = [_in_steps(scenario, channel, entry, step_s) for entry in entries]
    on_their_way = [sum(those) for those in zip(*come, strict=True)]
    limit = config.rate_limit
    if limit is not None:
        held = [0.0] * _STEPS
        for users, shares in crowds(entries):
            theirs = [sum(map(mul, shares, those)) for those in zip(*come, strict=True)]
            bounds: list[_Bound] = [
                partial(_under, limit, rate, users * nodes_that_count(scenario)) for rate in limit.limits
            ]
            gone, waiting = _through(theirs, step_s, bounds, drops=limit.on_limit == "drop")
            held = list(map(add, held, waiting))
            on_their_way = [all_ - came + went for all_, came, went in zip(on_their_way, theirs, gone, strict=True)]
        yield "rate_limit", held
    key, of_all = _narrowest(config, scenario.nodes_at_most)
    if key:
        yield key, _through(on_their_way, step_s, of_all)[1]


def _through(
    come: Iterable[float], step_s: float, bounds: Collection[_Bound], *, drops: bool = False
) -> tuple[_Gone, list[float]]:
    """Return how many go on in each step, and how many wait after it."""
    gone: _Gone = []
    waiting = [0.0]
    for coming in come:
        there = waiting[-1] + coming
        gone.append(min(there, *(bound(gone, step_s) for bound in bounds)))
        waiting.append(0.0 if drops else there - gone[-1])
    return gone, waiting[1:]


def _in_steps(scenario: Scenario, channel: NotificationChannel, entry: _Opened, step_s: float) -> list[float]:
    share = share_wanted(scenario, entry, channel)
    until = [expected_in_window(scenario, entry, until_s=step * step_s) for step in range(_STEPS + 1)]
    return [(after - before) * share for before, after in pairwise(until)]


def _narrowest(config: ChannelConfig, nodes: int) -> tuple[str, list[_Bound]]:
    """Return the setting of a channel that lets the fewest through on average, ``""`` where none bounds them, and its
    bounds; a bound that each node counts for itself is there once for each node."""
    keys = [(math.inf, "")]
    bounds: list[_Bound] = []
    quota = config.quota
    if not config.failover:  # else what is too much for one provider goes to the next
        if quota is not None and quota.on_limit == "defer":
            times = nodes if quota.across == "each" and quota.account is None else 1
            for limit in quota.limits:
                keys.append((times * limit.per_second, "quota"))
                bounds.append(partial(_under, quota, limit, times))
        takes_s = limited_mean(config.provider.latency, config.timeout)
        if config.slots is not None and config.slot_wait is None and takes_s:
            per_s = nodes * config.slots / takes_s
            keys.append((per_s, "max_in_flight"))
            bounds.append(lambda _, step_s: per_s * step_s)
    return min(keys)[1], bounds


def _under(quota: RateLimitConfig, limit: Rate, times: int, gone: _Gone, step_s: float) -> float:
    """Return how many may go in the next step under `times` limits of one kind: a window lets its whole count go at
    once, a bucket its burst besides its rate."""
    per_step = limit.per_second * step_s
    if quota.kind == "leaky_bucket":
        return times * per_step
    if quota.kind in ("token_bucket", "gcra"):
        burst = max(quota.burst or limit.count, per_step)
        since = accumulate(reversed(gone), initial=0.0)
        return min(times * (burst + steps * per_step) - those for steps, those in enumerate(since))
    whole, part = divmod(max(0.0, limit.period / step_s - 1.0), 1.0)  # steps before this one in its window
    first = len(gone) - int(whole)
    in_window = sum(gone[max(0, first) :]) + (part * gone[first - 1] if first > 0 else 0.0)
    return times * max(limit.count, per_step) - in_window


def _room(scenario: Scenario, entries: Collection[WorkloadEntry]) -> int:
    """Return how many may be pending before the first of these entries is refused."""
    admission = Admission(scenario.max_pending or _LIVE)
    bounds = [admission.bound(Priority(class_of(entry))) for entry in entries]
    return min((bound for bound in bounds if bound is not None), default=0)


def _refused(scenario: Scenario, first: int) -> Said:
    """Return the sentence about notifications beyond the bound, of which these are refused from `first` pending on."""
    most = scenario.max_pending or _LIVE
    of_these = said(", the first of these at {first} pending", first=first) if first < most else ""
    bounded = "and at most {most} may be pending: what is more is refused{of_these}"
    live = "and a live notifier has at most {most} pending by default and refuses what is more{of_these}; max_pending "
    return said(live + "says so here" if scenario.max_pending is None else bounded, most=most, of_these=of_these)


def _within(scenario: Scenario, entry: ChannelWorkload | EventWorkload, start_s: float, end_s: float) -> float:
    before, until = (expected_in_window(scenario, entry, until_s=at_s) for at_s in (start_s, end_s))
    return until - before
