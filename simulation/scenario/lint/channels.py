"""The linter on the channels of a scenario: against their arrivals, the run, and each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from actors.domain.attempts import TIMED_OUT
from actors.faults.build import faults_of
from actors.faults.conditions import FAILED, THROTTLED
from actors.faults.rules import OUTAGE
from actors.faults.upstream import UPSTREAM_TIMED_OUT
from actors.instants import seconds
from actors.lint.channel import lint
from actors.lint.findings import Finding, Rules, said
from actors.lint.retries import total_wait
from actors.lint.traffic import Traffic
from actors.messages import NotificationChannel
from actors.pipeline.blocked import BREAKER_OPEN, BULKHEAD_FULL, THROTTLED_HERE
from actors.policies.quiet_hours import QuietHours
from actors.settings.channel import ChannelConfig, keys_of_provider, kind_of
from actors.settings.distribution_moments import share_above
from actors.settings.hints import nearest
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.expected_arrivals import most_in_windows
from simulation.scenario.lint.workload import (
    all_expire,
    entries_on,
    has_users,
    of_the_busiest_user,
    open_entries,
    per_s,
    through_limits,
    way_from,
    with_arrivals,
    without_arrivals,
)
from simulation.scenario.people import QuietHoursShare
from simulation.scenario.workload import CRITICAL, HOST_OF_EVENTS, class_of, count_of

_RULES = Rules("""
nothing-arrives  channels.{channel}
    nothing arrives on {channel}: its settings have no effect
breaker-per-host-of-one-host  channels.{channel}.circuit_breaker.per
    host, and all recipients on {channel} {where}: they share one breaker (hosts in the workload spreads them)
rate-limit-without-effect  channels.{channel}.rate_limit
    is for each user, and each {arrivals} has one of its own: nothing is held back (users in the workload shares them;
    quota is for all together)
of-users-without-users  {key}
    is about users, and what arrives on {channels} has none: calls without a recipient (users in the workload gives them
    some)
failure-settings-without-effect  channels.{channel}
    has no provider and meets no fault before the last arrivals: each attempt succeeds after {after:duration}, and
    {keys} and {last} have nothing to do
no-hints  channels.{channel}.retry.after_retry_after
    {pauses} has no effect: no provider or fault on {channel} throttles with a retry_after
unknown-reason  channels.{channel}.retry.per_reason.{reason}
    is the reason of no failure that comes in a scenario; {hint}
discipline-without-effect  provider.discipline
    critical_first, and {which}: it is first come, first served
breaker-open-above-run  circuit_breaker.timeout
    {open:duration} is longer than the run of at most {run:duration}: once open it stays open
drain-below-retries  drain
    {drain:duration} is shorter than the {retries:duration} that all attempts of a notification on {channel} take
    {on_average}in waits alone: what fails at the end of the arrivals is cut off in flight
upstream-timeout-without-effect  provider.upstream.timeout
    {timeout:duration} is never reached: nothing that it asks takes longer, and no fault with upstream: true makes it
    slower
upstream-retry-without-effect  provider.upstream.retry
    has nothing to retry: no request fails (failure_rate, timeout, or a fault with upstream: true)
quiet-round-the-clock  quiet_hours
    leave no moment of a day on {channels} to the {share:percent} of the users who are in all of them: these get nothing
    there that is not critical
""")

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


def channel_rules(
    scenario: Scenario, channel: NotificationChannel, arriving: Mapping[NotificationChannel, float]
) -> Iterator[Finding]:
    entries, config = entries_on(scenario, channel), scenario.channel_config(channel)
    yield from _hosts(scenario, channel, config)
    if config.retry.after_retry_after != "only_it" and not _gives_hints(scenario, channel, config):
        yield _RULES.found("no-hints", channel=channel, pauses=config.retry.after_retry_after)
    for reason in config.retry.per_reason:
        if reason not in _REASONS:
            near = nearest(reason, _REASONS)
            hint = f"did you mean {near}?" if near else f"they are {', '.join(_REASONS)}"
            yield _RULES.found("unknown-reason", channel=channel, reason=reason, hint=hint)
    if channel in with_arrivals(scenario):
        if has_users(scenario, channel):
            yield from _limit_of_nobody(scenario, channel, config)
        else:
            about = {("rate_limit",): config.rate_limit is not None, ("order", "fair_by"): config.fair_by == "user"}
            for (*above, key), is_given in about.items():
                if is_given:
                    at = ("channels", channel, *above)
                    yield _RULES.found("of-users-without-users", at=at, key=key, channels=channel)
        yield from _without_a_provider(scenario, channel, config)
    yield from _disciplines(scenario, channel, config)
    if scenario.nodes_at_most > 1 and config.quota is not None and config.quota.across == "each":
        config = config.model_copy(update={"quota": None})  # of all nodes together there is no such quota
    if entries:
        yield from lint(channel, config, _traffic(scenario, channel, arriving))
        yield from _horizon(scenario, channel, config)


def _gives_hints(scenario: Scenario, channel: NotificationChannel, config: ChannelConfig) -> bool:
    providers = [lane.provider for lane in config.by_provider().values()]
    throttles = [each.throttle for each in providers]
    throttles += [fault.throttle for fault in scenario.faults if channel in fault.channel]
    throttles += [scenario.accounts[each.account].throttle for each in providers if each.account is not None]
    answers = [answer for each in providers for answer in each.script if answer.outcome == "throttled"]
    return any(each is not None and each.retry_after for each in (*throttles, *answers))


def _traffic(
    scenario: Scenario, channel: NotificationChannel, arriving: Mapping[NotificationChannel, float]
) -> Traffic:
    entries, config = entries_on(scenario, channel), scenario.channel_as_given(channel)
    opened, may_never_expire = open_entries(scenario, channel), not all_expire(scenario, channel, math.inf)
    known = Traffic(
        is_operated=any(
            operation.breaker not in (None, "force-open") and channel in (operation.channel or ())
            for operation in scenario.operations
        ),
        may_never_expire=may_never_expire,
        meets_channel_faults=may_never_expire
        and any(fault.channel_fault_rate and channel in fault.channel for fault in scenario.faults),
        # A push to a host is one by Web Push.
        chooses_hosts=kind_of(channel, config) == "push" and any(getattr(entry, "hosts", None) for entry in entries),
    )
    if len(opened) < len(entries):
        return known  # how often clients that wait for their answers send is what a run has to show
    return replace(
        known,
        per_s=arriving[channel],
        per_user_per_s=of_the_busiest_user(scenario, opened, channel),
        most_in=partial(most_in_windows, scenario, opened),
        let_through_in=through_limits(scenario, channel),
        lasts_s=seconds(scenario.arrivals_end_ns),
        nodes=scenario.nodes_at_most,
    )


def unused_rules(scenario: Scenario) -> Iterator[Finding]:
    for channel in without_arrivals(scenario):
        if scenario.channel_as_given(channel).model_fields_set:
            yield _RULES.found("nothing-arrives", channel=channel)


def _hosts(scenario: Scenario, channel: NotificationChannel, config: ChannelConfig) -> Iterator[Finding]:
    """Yield that breakers per host are one breaker, as all recipients are at one host, or at none."""
    if scenario.channel_as_given(channel).circuit_breaker.per != "host" or not config.circuit_breaker.enabled:
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
        yield _RULES.found("breaker-per-host-of-one-host", channel=channel, where=where)


def _limit_of_nobody(scenario: Scenario, channel: NotificationChannel, config: ChannelConfig) -> Iterator[Finding]:
    """Yield that a limit for each user holds nothing back, as no user gets more than one.

    Events are no finding: each is known to be of a customer of its own.
    """
    if config.rate_limit is None:
        return
    opened: list[ChannelWorkload] = []
    clients, comes_by_fallback = 0, False
    for entry in scenario.workload:
        if all(channel not in way_from(scenario, own) for own in entry.channels):
            continue
        if isinstance(entry, EventWorkload) or entry.users is not None:
            return
        comes_by_fallback |= entry.channel is not channel
        if isinstance(entry, ClosedWorkload):
            clients += entry.clients
        else:
            opened.append(entry)
    each = []
    total = sum(per_s(scenario, entry, entry.channel) for entry in opened)
    if opened:
        each.append(f"of the {'up to ' * comes_by_fallback}{{arriving}} that arrive")
    if clients:
        each.append(f"of what {{clients:client(s)}} send{'s' if clients == 1 else ''}")
    arriving = Traffic(total, most_in=partial(most_in_windows, scenario, opened)).arriving(total, config)
    arrivals = said(" and ".join(each), arriving=arriving, clients=clients)
    yield _RULES.found("rate-limit-without-effect", channel=channel, arrivals=arrivals)


def _without_a_provider(scenario: Scenario, channel: NotificationChannel, config: ChannelConfig) -> Iterator[Finding]:
    """Yield that settings for failures have nothing to do: the default provider answers at once and never fails.

    A single such setting is no finding: a scenario may try out how an operator overrides a breaker.
    """
    given = scenario.channel_as_given(channel)
    keys = [key for key in _FOR_FAILURES_OR_DELAYS if key in given.model_fields_set and getattr(given, key) is not None]
    fails = any(channel in fault.channel and fault.at < seconds(scenario.arrivals_end_ns) for fault in scenario.faults)
    if len(keys) > 1 and not fails and not config.failover and "provider" not in config.model_fields_set:
        *others, last = keys
        yield _RULES.found(
            "failure-settings-without-effect", channel=channel, after=0, keys=", ".join(others), last=last
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
            at = ("channels", channel, *keys_of_provider(name))
            yield _RULES.found("discipline-without-effect", at=at, which=which)


def _horizon(scenario: Scenario, channel: NotificationChannel, config: ChannelConfig) -> Iterator[Finding]:
    """Yield settings with times that are longer than the run."""
    drain_s = seconds(scenario.drain_ns)
    run_s = seconds(scenario.arrivals_end_ns) + drain_s
    others = [(("failover", name), other.circuit_breaker) for name, other in config.failover.items()]
    for path, breaker in [((), config.circuit_breaker), *others]:
        if breaker is None or not breaker.enabled or breaker.initial_state != "closed" or breaker.timeout <= run_s:
            continue
        at = ("channels", channel, *path)
        yield _RULES.found("breaker-open-above-run", at=at, open=breaker.timeout, run=run_s)
    retry_s = min(total_wait(config.retry), config.deadline or math.inf)
    if 0 < drain_s < retry_s < math.inf and not all_expire(scenario, channel, drain_s):
        on_average = "" if config.retry.jitter == "none" else "on average "
        yield _RULES.found(
            "drain-below-retries", drain=drain_s, retries=retry_s, channel=channel, on_average=on_average
        )


def upstream_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the settings for failures of an upstream that never fails, and a timeout that it never needs."""
    for channel in scenario.channels_used:
        for name, config in scenario.channel_config(channel).by_provider().items():
            upstream = config.provider.upstream
            if (
                upstream is None
                or upstream.upstream
                or any(fault.upstream for fault in faults_of(scenario.faults, channel, name))
            ):
                continue
            at = ("channels", channel, *keys_of_provider(name))
            too_slow = 0.0 if upstream.timeout is None else share_above(upstream.latency, upstream.timeout)
            if upstream.timeout is not None and too_slow == 0:
                yield _RULES.found("upstream-timeout-without-effect", at=at, timeout=upstream.timeout)
            if upstream.failure_rate == 0 and too_slow == 0 and "retry" in upstream.model_fields_set:
                yield _RULES.found("upstream-retry-without-effect", at=at)


def rules_of_users(scenario: Scenario) -> Iterator[Finding]:
    """Yield the preferences and quiet hours on channels to which nothing comes for a user."""
    about: list[tuple[str, int, tuple[NotificationChannel, ...]]] = [
        *(("preferences", number, (rule.channel,)) for number, rule in enumerate(scenario.preferences)),
        *(("quiet_hours", number, rule.channels) for number, rule in enumerate(scenario.quiet_hours)),
    ]
    coming = with_arrivals(scenario)
    for key, number, channels in about:
        hit = [channel for channel in scenario.channels_used if channel in channels and channel in coming]
        if hit and not any(has_users(scenario, channel) for channel in hit):
            yield _RULES.found("of-users-without-users", at=(key,), key=str(number), channels=" and ".join(hit))


def quiet_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the quiet hours that leave some users no moment of a day."""
    by_entries: dict[tuple[QuietHoursShare, ...], list[NotificationChannel]] = {}
    for channel in scenario.channels_used:
        entries = tuple(entry for entry in scenario.quiet_hours if channel in entry.channels)
        by_entries.setdefault(entries, []).append(channel)
    for entries, channels in by_entries.items():
        by_zone = [
            [QuietHours(entry.from_, entry.to, entry.own_zone or zone) for entry in entries] for zone in scenario.zones
        ]
        if entries and not all(_leave_a_pause(hours, scenario.start) for hours in by_zone):
            share = math.prod(entry.share for entry in entries)
            yield _RULES.found("quiet-round-the-clock", channels=" and ".join(channels), share=share)


def _leave_a_pause(hours: Sequence[QuietHours], start: datetime) -> bool:
    """Tell whether there is a moment that is not quiet, in the day that begins at an instant."""
    at = start
    while at < start + timedelta(days=1):
        ends = [end for each in hours if (end := each.end_of_quiet(at)) is not None]
        if not ends:
            return True
        at = max(ends)
    return False
