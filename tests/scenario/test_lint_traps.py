"""Traps that a scenario can be set, each alone: one finding, at its setting and with its numbers."""

import pytest

from simulation.scenario import parse
from simulation.scenario.lint import lint_scenario

PLAIN = "provider: {latency: 200ms}"
BURST = "arrivals: {burst: {size: 600, every: 1m}}"
STORM = "circuit_breaker: {enabled: false}, retry: {max_attempts: 6}, provider: {latency: 500ms, capacity: 20}"
NEVER_RETRIED = "an attempt that is not answered takes all of that, and is never retried"
QUICK = "circuit_breaker: {enabled: false}, retry: {max_attempts: 2, initial_delay: 100ms}"


def said(workload, channels):
    text = f"duration: 20m\nworkload: [{workload}]\nchannels: {{{channels}}}\n"
    return [str(finding).removeprefix("channels.") for finding in lint_scenario(parse(text))]


@pytest.mark.parametrize(
    ("workload", "channels", "finding"),
    [
        ("{channel: sms, users: 500, arrivals: {poisson: 40/s}}",
         f"sms: {{max_in_flight: null, timeout: 15s, {PLAIN}}}",
         "sms.max_in_flight: null bounds nothing: while the provider does not answer, what arrives in a timeout of 15s "
         "is under way at once: 600 attempts"),
        ("{channel: webhook, hosts: 8, arrivals: {constant: 12/s}}",
         f"webhook: {{circuit_breaker: {{per: channel, failure_threshold: 9, timeout: 45s}}, {PLAIN}}}",
         "webhook.circuit_breaker.per: channel, where each recipient chooses a host: 9 failures in a row at one of "
         "them stop all others for 45s"),
        ("{channel: push, hosts: 3, clients: 7, think: 1s}",
         f"push: {{circuit_breaker: {{per: channel}}, {PLAIN}}}",
         "push.circuit_breaker.per: channel, where each recipient chooses a host: 5 failures in a row at one of them "
         "stop all others for 60s"),
        ("{channel: push, expires_after: 20s, arrivals: {poisson: 3/s}}, "
         "{channel: push, expires_after: 10s, arrivals: {poisson: 3/s}}, {channel: push, arrivals: {poisson: 3/s}}",
         f"push: {{timeout: 25s, {QUICK}, {PLAIN}}}",
         f"push.timeout: 25s is longer than an expires_after of 10s: {NEVER_RETRIED}"),
        ("{channel: push, expires_after: 8s, arrivals: {poisson: 3/s}}",
         f"push: {{timeout: 5s, {QUICK}, fallback: {{channel: sms}}, {PLAIN}}}, "
         f"sms: {{timeout: 30s, {QUICK}, {PLAIN}}}",
         f"sms.timeout: 30s is longer than an expires_after of 8s: {NEVER_RETRIED}"),
        ("{channel: email, expires_after: 50s, clients: 7, think: 1s}",
         f"email: {{circuit_breaker: {{timeout: 3m}}, {PLAIN}}}",
         "email.circuit_breaker.timeout: 3m is longer than an expires_after of 50s: of each opening, what arrives in "
         "the first 2.17m expires before an attempt is let through"),
        ("{channel: push, arrivals: {poisson: 3/s}}", f"push: {{rate_limit: {{rate: 2/h}}, {PLAIN}}}",
         "push.rate_limit: is for each user, and each of the 3/s that arrive has one of its own: nothing is held back "
         "(users in the workload shares them)"),
        (f"{{channel: sms, {BURST}}}", f"sms: {{rate_limit: {{rate: 2/h}}, {PLAIN}}}",
         "sms.rate_limit: is for each user, and each of the 10/s on average (600 in a second) that arrive has one of "
         "its own: nothing is held back (users in the workload shares them)"),
        ("{channel: sms, clients: 9, think: 1s}", f"sms: {{rate_limit: {{rate: 2/h}}, {PLAIN}}}",
         "sms.rate_limit: is for each user, and each of what 9 clients send has one of its own: nothing is held back "
         "(users in the workload shares them)"),
        ("{channel: push, arrivals: {poisson: 3/s}}",
         f"push: {{fallback: {{channel: sms}}, {PLAIN}}}, sms: {{rate_limit: {{rate: 2/h}}, {PLAIN}}}",
         "sms.rate_limit: is for each user, and each of the up to 3/s that arrive has one of its own: nothing is held "
         "back (users in the workload shares them)"),
        ("{channel: webhook, clients: 9, think: 1s}",
         "webhook: {retry: {max_attempts: 7}, hedging: {delay: 1s}, max_in_flight: 9}",
         "webhook: has no provider and meets no fault before the last arrivals: each attempt succeeds after 0s, and "
         "retry, max_in_flight and hedging have nothing to do"),
        ("{channel: push, arrivals: {poisson: 3/s}}",
         f"push: {{fallback: {{channel: sms}}, {PLAIN}}}, sms: {{timeout: 3s, retry: {{max_attempts: 7}}}}",
         "sms: has no provider and meets no fault before the last arrivals: each attempt succeeds after 0s, and "
         "timeout and retry have nothing to do"),
        ("{channel: email, arrivals: {poisson: 3/s}}",
         f"email: {{{PLAIN}}}, webhook: {{timeout: 3s, max_in_flight: null}}",
         "webhook: nothing arrives on webhook: its settings have no effect"),
        (f"{{channel: push, {BURST}}}", "push: {provider: {latency: 1s, capacity: 8}}",
         "push.provider.capacity: 8 places at a mean latency of 1s serve 8/s, and 10/s on average (600 in a second) "
         "arrive: the queue grows by 120 a minute"),
        (f"{{channel: push, {BURST}}}",
         "push: {quota: {rate: 2/s}, provider: {latency: 1s}, failover: {b: {quota: {rate: 3/s}}}}",
         "push.quota.rate: 2/s, with those of failover 5/s, is below the 10/s on average (600 in a second) that "
         "arrive: the queue grows by 300 a minute"),
        ("{channel: email, arrivals: {poisson: 30/s}}", f"email: {{{STORM}}}",
         "email.retry.max_attempts: 6 attempts of 30/s are up to 180/s, and the provider serves 40/s: with no budget, "
         "no breaker and no slots, what has failed once may keep it overloaded"),
    ],
    ids=[
        "bulkhead", "hosts", "hosts of Web Push", "timeout", "timeout of a fallback", "open time", "users",
        "users of a burst", "users of clients", "users of a fallback", "no provider", "no provider of a fallback",
        "unused", "burst", "burst over two", "storm",
    ],
)  # fmt: skip
def test_one_trap_is_one_finding(workload, channels, finding):
    assert said(workload, channels) == [finding]


@pytest.mark.parametrize(
    ("workload", "channels"),
    [
        ("{channel: push, hosts: 3, arrivals: {poisson: 3/s}}", f"push: {{{PLAIN}}}"),
        ("{channel: push, arrivals: {poisson: 3/s}}", f"push: {{circuit_breaker: {{per: channel}}, {PLAIN}}}"),
        ("{channel: email, hosts: 3, arrivals: {poisson: 3/s}}",
         f"email: {{circuit_breaker: {{per: channel}}, {PLAIN}}}"),
        ("{channel: push, expires_after: 8s, arrivals: {poisson: 3/s}}",
         f"push: {{timeout: 5s, {QUICK}, {PLAIN}, failover: {{b: {{timeout: 8s}}}}}}"),
        ("{channel: email, arrivals: {poisson: 30/s}}", f"email: {{{STORM}, quota: {{rate: 35/s}}}}"),
        ("{channel: push, users: 9, arrivals: {poisson: 3/s}}",
         f"push: {{fallback: {{channel: sms}}, {PLAIN}}}, sms: {{rate_limit: {{rate: 2/h}}, {PLAIN}}}"),
        ("{channel: sms, users: 9, clients: 9, think: 1s}", f"sms: {{rate_limit: {{rate: 2/h}}, {PLAIN}}}"),
    ],
)  # fmt: skip
def test_what_is_no_trap_is_not_said(workload, channels):
    assert said(workload, channels) == []


@pytest.mark.parametrize(("at", "is_said"), [("50m", True), ("5m", False)])
def test_a_burst_in_an_outage_is_not_spread_over_the_hour(at, is_said):
    """150,000 come within a second of each hour: five minutes have all of them, or none."""
    text = f"""
        duration: 2h
        workload: [{{channel: email, arrivals: {{burst: {{size: 150000, every: 55m}}}}}}]
        channels: {{email: {{{PLAIN}}}}}
        faults: [{{channel: email, at: {at}, for: 10m, outage: true}}]
    """
    found = [str(each) for each in lint_scenario(parse(text)) if str(each).startswith("faults.")]
    assert (
        found
        == [
            "faults.0.for: 150,000 notifications arrive meanwhile, and a live notifier has at most 100,000 pending by "
            "default and refuses what is more, of these from 95,000 on; max_pending says so here"
        ]
        * is_said
    )


QUIET = """
duration: 1m
workload: [{{channel: sms, arrivals: {{constant: 1/s}}}}, {{channel: push, arrivals: {{constant: 1/s}}}}]
quiet_hours:
  - {{share: 40%, from: 22:00, to: 07:00, zone: Europe/Berlin}}
  - {{share: 40%, from: 00:00, to: {until}, zone: America/New_York, channels: sms}}
"""


@pytest.mark.parametrize(("until", "is_said"), [("15:59", False), ("16:00", True), ("23:59", True)])
def test_quiet_hours_of_two_zones_may_leave_no_moment_of_a_day(until, is_said):
    text = (
        "quiet_hours: leave no moment of a day on sms to the 16% of the users who are in all of them: these get "
        "nothing there that is not critical"
    )
    found = [str(each) for each in lint_scenario(parse(QUIET.format(until=until))) if each.rule.startswith("quiet")]
    assert found == ([text] if is_said else [])
