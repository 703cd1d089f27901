"""The linter on the workload: entries that send nothing, fewer than was meant, or what expires too soon."""

from __future__ import annotations

import math
from collections.abc import Iterator

from actors.instants import ns, seconds
from actors.lint.findings import Finding, Rules
from actors.lint.retries import ends_too_soon, expiry_rules
from actors.lint.traffic import Traffic
from actors.messages import NotificationChannel
from actors.settings.distribution_moments import quantile, share_above
from actors.settings.distributions import Distribution
from simulation.scenario import ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.lint.arriving import way_from
from simulation.scenario.popularity import count_of

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
        if ends := ends_too_soon(scenario.channel_config(entry.channel).retry, age, included=True):
            yield _RULES.found("attempts-end-early", number=number, of_most=of_most, ends=ends)
        for channel in way_from(scenario, entry.channel):
            shortest[channel] = min(age, shortest.get(channel, math.inf))
    for channel, expires_after in shortest.items():
        for finding in expiry_rules(scenario.channel_config(channel), Traffic(expires_after=expires_after)):
            yield finding.under("channels", channel)


def window_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the entries that begin when arrivals have ended."""
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
