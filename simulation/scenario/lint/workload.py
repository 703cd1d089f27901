"""The linter on the workload: entries that send nothing, fewer than was meant, or what expires too soon;
and what arrives on the channels, by formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from operator import mul

from actors.instants import ns, seconds
from actors.lint.findings import Finding, Rules
from actors.lint.retries import ends_too_soon, expiry_rules
from actors.lint.traffic import Traffic, most_under
from actors.messages import NotificationChannel
from actors.settings.distribution_moments import quantile, share_above
from actors.settings.distributions import Distribution
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.expected_arrivals import expected_in_window
from simulation.scenario.identity import has_recipients, is_call
from simulation.scenario.workload import WorkloadEntry, ZipfSpread, count_of, share_of_the_first

# ── what arrives ──────────────────────────────────────────────────────────────────────────────────────────────────────


_RANKS = sorted({round(1.25**power) for power in range(62)})
"""The bounds of groups of users, when users of lower numbers get more: within a group, at most a quarter more."""


def has_users(scenario: Scenario, channel: NotificationChannel) -> bool:
    """Tell whether anything that comes to a channel, by itself or by a fallback, is for a user."""
    if not is_call(scenario, channel):
        return True
    entries = [entry for entry in scenario.workload if any(channel in way_from(scenario, of) for of in entry.channels)]
    return any(isinstance(entry, EventWorkload) or has_recipients(entry, scenario) for entry in entries)


def entries_on(scenario: Scenario, channel: NotificationChannel) -> list[WorkloadEntry]:
    return [entry for entry in scenario.workload if channel in entry.channels]


def open_entries(scenario: Scenario, channel: NotificationChannel) -> list[ChannelWorkload | EventWorkload]:
    """Return the entries of a channel whose arrivals do not wait for answers."""
    return [entry for entry in scenario.workload if channel in entry.channels and not isinstance(entry, ClosedWorkload)]


def arriving(scenario: Scenario) -> Iterator[tuple[NotificationChannel, float]]:
    """Yield the channels whose mean arrivals a second are known, with that rate."""
    for channel in scenario.channels_used:
        opened = open_entries(scenario, channel)
        if len(opened) == len(entries_on(scenario, channel)):
            yield channel, sum(per_s(scenario, entry, channel) for entry in opened)


def behind_limits(scenario: Scenario, channel: NotificationChannel, arriving_per_s: float) -> float:
    """Return the arrivals a second on a channel that pass the limits of its users."""
    lasts_s = seconds(scenario.arrivals_end_ns)
    traffic = Traffic(arriving_per_s, lasts_s=lasts_s, let_through_in=through_limits(scenario, channel))
    return traffic.behind_limits or 0.0


def through_limits(scenario: Scenario, channel: NotificationChannel) -> Callable[[float], float] | None:
    """Return the most that one user's limit lets through in a time in seconds, as a function. None: no limit."""
    limit = scenario.channel_config(channel).rate_limit
    if limit is None:
        return None
    entries = open_entries(scenario, channel)
    come = [expected_in_window(scenario, entry) * share_wanted(scenario, entry, channel) for entry in entries]
    groups = [
        (users * nodes_that_count(scenario), math.fsum(map(mul, shares, come))) for users, shares in crowds(entries)
    ]

    def let_through(stretch_s: float) -> float:
        of_each = most_under(limit, stretch_s)
        return math.fsum(come) - math.fsum(max(0.0, theirs - users * of_each) for users, theirs in groups)

    return let_through


def nodes_that_count(scenario: Scenario) -> int:
    """Return how many nodes count the notifications of one user, each for itself."""
    return 1 if scenario.fleet.routing == "by_user" else scenario.nodes_at_most


def crowds(entries: Sequence[ChannelWorkload | EventWorkload]) -> Iterator[tuple[int, list[float]]]:
    """Yield groups of users who each get about as many: how many users, and their share of each of the entries.

    Users who get one notification each are in no group.
    """
    spreads = [None if getattr(entry, "event", None) == "UserRegistered" else entry.users for entry in entries]
    known = [spread for spread in spreads if spread is not None]
    ends = {count_of(spread) for spread in known}
    ends.update(rank for spread in known if isinstance(spread, ZipfSpread) for rank in _RANKS if rank < spread.count)
    for first, end in pairwise(sorted({0, *ends})):
        yield (
            end - first,
            [
                0.0 if spread is None else share_of_the_first(spread, end) - share_of_the_first(spread, first)
                for spread in spreads
            ],
        )


def per_s(scenario: Scenario, entry: ChannelWorkload | EventWorkload, channel: NotificationChannel) -> float:
    """Return how many notifications of an entry arrive on a channel a second, on average."""
    arrive = expected_in_window(scenario, entry)
    return arrive / seconds(scenario.arrivals_end_ns) * share_wanted(scenario, entry, channel)


def of_the_busiest_user(
    scenario: Scenario, entries: Sequence[ChannelWorkload | EventWorkload], channel: NotificationChannel
) -> float:
    """Return the notifications a second of the busiest user of all entries with `users`; the others have one each."""
    return sum(
        per_s(scenario, entry, channel) * share_of_the_first(entry.users)
        for entry in entries
        if entry.users is not None and getattr(entry, "event", None) != "UserRegistered"
    )


def share_wanted(scenario: Scenario, entry: ChannelWorkload | EventWorkload, channel: NotificationChannel) -> float:
    """Return the share of an entry that preferences let through."""
    if isinstance(entry, ChannelWorkload) and entry.critical:
        return 1.0
    off = sum(rule.share for rule in scenario.preferences if rule.channel is channel and not rule.enabled)
    return max(0.0, 1.0 - off)


def all_expire(scenario: Scenario, channel: NotificationChannel, within_s: float) -> bool:
    """Return whether each notification on a channel expires within `within_s` seconds."""
    ages = [getattr(entry, "expires_after", None) for entry in entries_on(scenario, channel)]
    return all(
        age is not None and (share_above(age, within_s) == 0 if isinstance(age, Distribution) else age <= within_s)
        for age in ages
    )


def without_arrivals(scenario: Scenario) -> list[NotificationChannel]:
    """Return the channels in use to which neither the workload nor a fallback leads, nor a host of the world."""
    busy = with_arrivals(scenario) | {host.channel for host in scenario.world.values()}
    return [channel for channel in scenario.channels_used if channel not in busy]


def with_arrivals(scenario: Scenario) -> set[NotificationChannel]:
    """Return the channels to which the workload leads, by itself or by a fallback; all where own actors may send."""
    if scenario.actors:
        return set(scenario.channels_used)
    return {way for entry in scenario.workload for channel in entry.channels for way in way_from(scenario, channel)}


def way_from(scenario: Scenario, channel: NotificationChannel) -> list[NotificationChannel]:
    """Return a channel and the channels that its fallbacks lead to, which share its expiry."""
    way: list[NotificationChannel] = []
    while channel not in way:
        way.append(channel)
        if (fallback := scenario.channel_config(channel).fallback) is None:
            break
        channel = fallback.channel
    return way


_RULES = Rules("""
attempts-end-early  workload.{number}.expires_after
    {of_most}{ends}
arrivals-after-end/entry  workload.{number}.at
    {start:duration} is not before the {end:duration} at which arrivals end: none comes
arrivals-after-end/times  workload.{number}.arrivals.times
    {late} of {times} are not before the {end:duration} at which arrivals end: they do not come
nothing-is-sent  workload.{number}.think
    takes at least the {lasts:duration} in which notifications arrive, and clients think before their first one too:
    none is ever sent
more-users-than-arrivals  workload.{number}.users
    {users} users share what arrives, which is {times:notification(s)}: not each of them gets one (burst: {{size:
    {size}, every: …}} has so many arrive at once)
""")


def expiry_findings(scenario: Scenario) -> Iterator[Finding]:
    """Yield the settings for which an expiry is too short; of several only the shortest."""
    shortest: dict[NotificationChannel, float] = {}
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, EventWorkload) or entry.expires_after is None:
            continue
        age, of_most = entry.expires_after, ""
        if isinstance(age, Distribution):
            age, of_most = quantile(age, 0.99), "99 in 100 are at most this: "
        if age <= 0:
            continue
        if ends := ends_too_soon(scenario.channel_config(entry.channel).retry, age, included=True):
            yield _RULES.found("attempts-end-early", number=number, of_most=of_most, ends=ends)
        for channel in way_from(scenario, entry.channel):
            shortest[channel] = min(age, shortest.get(channel, math.inf))
    for channel, expires_after in shortest.items():
        for finding in expiry_rules(scenario.channel_config(channel), Traffic(expires_after=expires_after)):
            yield finding.under("channels", channel)


def window_rules(scenario: Scenario) -> Iterator[Finding]:
    end_s = scenario.duration
    for number, entry in enumerate(scenario.workload):
        if entry.at >= end_s and (isinstance(entry, ClosedWorkload) or entry.arrivals.trace is None):
            yield _RULES.found("arrivals-after-end/entry", number=number, start=entry.at, end=end_s)


def thinking_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the clients that think for as long as notifications arrive."""
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload):
            lasts_s = seconds(scenario.arrivals_end_of(entry) - ns(entry.at))
            if lasts_s > 0 and share_above(entry.think, math.nextafter(lasts_s, 0)) == 1:
                yield _RULES.found("nothing-is-sent", number=number, lasts=lasts_s)


def listed_time_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the entries some of whose listed arrivals are behind the end."""
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload) or entry.arrivals.times is None:
            continue
        times, lasts_s = entry.arrivals.times, seconds(scenario.arrivals_end_of(entry) - ns(entry.at))
        late = sum(at >= lasts_s for at in times)
        if late and lasts_s > 0:
            yield _RULES.found("arrivals-after-end/times", number=number, late=late, times=len(times), end=lasts_s)


def few_for_many_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the entries whose listed arrivals are fewer than their users, as where each was meant to get one."""
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload) or entry.arrivals.times is None or entry.users is None:
            continue
        users, times = count_of(entry.users), len(entry.arrivals.times)
        if times < users:
            yield _RULES.found("more-users-than-arrivals", number=number, users=users, times=times, size=str(users))
