"""The linter on room: where more may be pending than a live notifier would accept."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import accumulate, pairwise
from typing import TypeAlias

from actors.instants import seconds
from actors.lint.channel import Finding
from actors.lint.words import counted, plain_number
from actors.messages import NotificationChannel, Priority
from actors.policies.admission import Admission
from actors.settings.channel import ChannelConfig, NotifierConfig
from actors.settings.distribution_moments import limited_mean
from actors.settings.quantities import Rate
from actors.settings.rate_limit import QuotaConfig
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.expected_arrivals import expected_in_window
from simulation.scenario.workload import WorkloadEntry, class_of

_RULE = "more-pending-than-live"
_LIVE: int = NotifierConfig.model_fields["max_pending"].default
_STEPS = 100
_SLIGHTLY = 1.01
"""What is expected of waves is rounded by less."""

_Opened: TypeAlias = ChannelWorkload | EventWorkload
_Gone: TypeAlias = list[float]
"""How many have gone in each step until now."""
_Narrow: TypeAlias = tuple[NotificationChannel, str, Callable[[_Gone, float], float], list[_Opened]]
"""A channel that lets only so many through, by which of its settings; how many may go in the next step, of so many
seconds; and the entries that wait for it."""


def pending_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield where more may be pending than is accepted, live by default where the scenario gives no bound: at once in a
    burst, in an outage, or as more arrives than a channel lets through."""
    found = [*_bursts(scenario), *_outages(scenario)]
    yield from found or _lines(scenario)


def _bursts(scenario: Scenario) -> Iterator[Finding]:
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload) or entry.arrivals.burst is None:
            continue
        come = sum(entry.arrivals.burst.size * share_wanted(scenario, entry, channel) for channel in entry.channels)
        room = _room(scenario, [entry])
        if come > room:
            path = ("workload", str(number), "arrivals", "burst", "size")
            text = f"{counted(round(come), 'notification')} arrive at once, {_refused(scenario, room)}"
            yield Finding(path, _RULE, text)


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
            text = f"{counted(round(arrive), 'notification')} arrive meanwhile, {_refused(scenario, room)}"
            yield Finding(("faults", str(number), "for"), _RULE, text)


def _lines(scenario: Scenario) -> Iterator[Finding]:
    """Take what arrives and what goes for streams (a fluid queue), in steps; what expires waits for no one."""
    narrow: list[_Narrow] = []
    for channel in scenario.channels_used:
        key, may_go = _narrowest(scenario.channel_config(channel), scenario.nodes_at_most)
        entries = [
            entry
            for entry in scenario.workload
            if channel in entry.channels
            and not isinstance(entry, ClosedWorkload)
            and getattr(entry, "expires_after", None) is None
        ]
        if entries and key:
            narrow.append((channel, key, may_go, entries))
    room = _room(scenario, [entry for *_, entries in narrow for entry in entries])
    if _all(scenario, narrow) * _SLIGHTLY <= room:
        return
    step_s = seconds(scenario.arrivals_end_ns) / _STEPS
    come = [_in_steps(scenario, channel, entries, step_s) for channel, _, _, entries in narrow]
    waiting = [0.0] * len(narrow)
    gone: list[_Gone] = [[] for _ in narrow]
    most = list(waiting)
    for step in range(_STEPS):
        for number, (_, _, may_go, _) in enumerate(narrow):
            there = waiting[number] + come[number][step]
            gone[number].append(min(there, may_go(gone[number], step_s)))
            waiting[number] = there - gone[number][-1]
        most = max(most, list(waiting), key=sum)
    if sum(most) > room:
        channel, key, *_ = narrow[most.index(max(most))]
        text = f"up to {counted(round(sum(most)), 'notification')} would wait at once, {_refused(scenario, room)}"
        yield Finding(("channels", str(channel), key), _RULE, text)


def _all(scenario: Scenario, narrow: Iterable[_Narrow]) -> float:
    """Return how many come in all: no more than these ever wait."""
    return sum(
        expected_in_window(scenario, entry) * share_wanted(scenario, entry, channel)
        for channel, _, _, entries in narrow
        for entry in entries
    )


def _in_steps(
    scenario: Scenario, channel: NotificationChannel, entries: Iterable[_Opened], step_s: float
) -> list[float]:
    """Return how many of these come on a channel in each step."""
    come = [0.0] * _STEPS
    for entry in entries:
        share = share_wanted(scenario, entry, channel)
        until = [expected_in_window(scenario, entry, until_s=step * step_s) for step in range(_STEPS + 1)]
        for step, (before, after) in enumerate(pairwise(until)):
            come[step] += (after - before) * share
    return come


def _narrowest(config: ChannelConfig, nodes: int) -> tuple[str, Callable[[_Gone, float], float]]:
    """Return which setting of a channel lets the fewest through on average, ``""`` where none bounds them, and how many
    all its bounds let through; what each node counts for itself is there as often as there are nodes."""
    keys = [(math.inf, "")]
    bounds: list[Callable[[_Gone, float], float]] = []
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
    return min(keys)[1], lambda gone, step_s: min(bound(gone, step_s) for bound in bounds)


def _under(quota: QuotaConfig, limit: Rate, times: int, gone: _Gone, step_s: float) -> float:
    """Return how many may go in the next step under so many limits of a kind: a window lets all of its count go at
    once, and a bucket its burst besides what flows in."""
    per_step = limit.per_second * step_s
    if quota.kind == "leaky_bucket":
        return times * per_step
    if quota.kind in ("token_bucket", "gcra"):
        burst = max(quota.burst or limit.count, per_step)
        since = accumulate(reversed(gone), initial=0.0)
        return min(times * (burst + steps * per_step) - those for steps, those in enumerate(since))
    steps = int(limit.period / step_s)
    return times * max(limit.count, per_step) - sum(gone[len(gone) - steps + 1 :] if steps > 1 else ())


def _room(scenario: Scenario, entries: Collection[WorkloadEntry]) -> int:
    """Return how many may be pending before the first of these entries is refused."""
    admission = Admission(scenario.max_pending or _LIVE)
    bounds = [admission.bound(Priority(class_of(entry))) for entry in entries]
    return min((bound for bound in bounds if bound is not None), default=0)


def _refused(scenario: Scenario, first: int) -> str:
    """Return what becomes of those beyond the room, of which these are refused from `first` on."""
    most = scenario.max_pending or _LIVE
    of_these = f", of these from {plain_number(first)} on" if first < most else ""
    if scenario.max_pending is not None:
        return f"and at most {plain_number(most)} may be pending: what is more is refused{of_these}"
    return (
        f"and a live notifier has at most {plain_number(most)} pending by default and refuses what is more{of_these}; "
        "max_pending says so here"
    )


def _within(scenario: Scenario, entry: ChannelWorkload | EventWorkload, start_s: float, end_s: float) -> float:
    """Return how many of an entry are expected between two instants."""
    before, until = (expected_in_window(scenario, entry, until_s=at_s) for at_s in (start_s, end_s))
    return until - before


def share_wanted(scenario: Scenario, entry: ChannelWorkload | EventWorkload, channel: NotificationChannel) -> float:
    """Return the share of an entry that preferences let through."""
    if isinstance(entry, ChannelWorkload) and entry.critical:
        return 1.0
    off = sum(rule.share for rule in scenario.preferences if rule.channel is channel and not rule.enabled)
    return max(0.0, 1.0 - off)
