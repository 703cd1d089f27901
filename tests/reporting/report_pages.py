"""Runs of many kinds and their reports, read as a browser reads them."""

from __future__ import annotations

from functools import cache
from unittest import mock

from selectolax.lexbor import LexborHTMLParser

import simulation
from actors.outcomes import Permanent, Transient
from simulation.results.result import Result
from simulation.scenario import parse

NASTY = """<script>alert('x')</script> & "more" </title><img src=http://evil.example/x.png> ünï 漢 \u202e"""
"""What a scenario file or a provider may say, and a page must not take for its own."""

OUTAGE = """
name: outage
description: Email is down for a while.
seed: 4
duration: 4m
workload:
  - {event: OrderPlaced, arrivals: {poisson: 2/s}}
  - {channel: push, arrivals: {constant: 2/s}, users: 50}
channels:
  email:
    retry: {max_attempts: 3, jitter: full}
    circuit_breaker: {failure_threshold: 3, timeout: 20s}
    rate_limit: {max_per_minute: 100}
    provider: {latency: {lognormal: {median: 80ms, p99: 900ms}}}
faults:
  - {channel: email, at: 1m, for: 1m, outage: true}
  - {channel: push, failure_rate: 30%}
expect: [dead_lettered <= 100, sent_fraction > 0.5, channels.sms.dead_lettered == 0]
"""
FAILS = OUTAGE.replace("dead_lettered <= 100, sent", "dead_lettered <= 1, delivery_time_s.p99 <= 10s, sent")
NOTHING = """
name: nothing ever happens
duration: 10m
workload: [{channel: push, arrivals: {poisson: 1/d}}]
expect: [delivery_time_s.p99 <= 1s, attempts == 0]
"""
AGGREGATES = OUTAGE + "record: aggregates\n"
PROVIDERS = """
name: three providers
duration: 3m
workload: [{channel: email, arrivals: {poisson: 5/s}}]
channels:
  email:
    circuit_breaker: {timeout: 20s}
    provider: {latency: 100ms, failure_rate: 5%}
    failover:
      backup: {quota: {rate: 2/s}, provider: {latency: 300ms}}
      last-resort: {provider: {latency: 1s, failure_rate: 20%}}
faults: [{channel: email, provider: primary, at: 30s, for: 1m, outage: true}]
"""
QUIET_HOURS = """
name: quiet hours
duration: 14h
drain: 0s
start: 2026-03-28T18:00:00Z
workload: [{channel: push, arrivals: {poisson: 10/h}, users: 40, expires_after: 9h}]
quiet_hours: [{share: 50%, from: 22:00, to: 07:00, zone: Europe/Berlin, channels: push}]
preferences: [{share: 10%, channel: push, enabled: false}]
channels: {push: {retry: {max_attempts: 1}, provider: {latency: 3s}}}
"""
CRASH = """
name: crash of the process
duration: 3m
commit_latency: 20ms
workload: [{channel: webhook, arrivals: {poisson: 5/s}}]
channels:
  webhook: {provider: {latency: {exponential: {mean: 2s}}}, hedging: {delay: 3s}, timeout: 5s}
faults:
  - {channel: webhook, at: 1m, crash: process, restart_after: 10s}
  - {channel: webhook, at: 2m, crash: {actor: breaker}}
  - {channel: webhook, at: 0s, for: 50s, duplicate_rate: 10%}
operations: [{at: 150s, redrive: all}]
expect: [refused.down > 0, in_flight == 0]
"""
FALLBACK = """
name: a fallback
duration: 2m
workload: [{channel: push, arrivals: {constant: 1/s}}]
channels:
  push: {retry: {schedule: [1s, 5s]}, fallback: {channel: sms, after: 4s}, circuit_breaker: {enabled: false}}
  sms: {provider: {latency: 100ms}}
faults: [{channel: push, at: 30s, for: 30s, hang: true}]
"""
MILLISECONDS = """
name: over in no time
duration: 5ms
drain: 0s
workload: [{channel: sms, arrivals: {constant: 1000/s}}]
channels: {sms: {retry: {max_attempts: 200, initial_delay: 0s}, circuit_breaker: {enabled: false}}}
faults: [{channel: sms, failure_rate: 100%}]
expect: [sent == 0]
"""


class Says:
    """A failure rule: every second attempt fails, for a nasty reason, and every tenth for good."""

    def __init__(self) -> None:
        self._attempts = 0

    def __call__(self, *_: object) -> object:
        self._attempts += 1
        if self._attempts % 10 == 0:
            return Permanent(reason=NASTY, answer=f"550 {NASTY}")
        return Transient(reason=f"{NASTY} again", answer=NASTY) if self._attempts % 2 else None


@cache
def nasty_page() -> Page:
    """Return the report of a run in which all that people or providers may say is nasty."""
    scenario = parse(OUTAGE).model_copy(update={"name": NASTY, "description": f"{NASTY}\x07", "duration": 70.0})
    return Page(simulation.report(simulation.run(scenario, rules={"push": [Says()]})))


@cache
def result_of(text: str) -> Result:
    """Return the result of a scenario, which is run once."""
    return simulation.run(parse(text))


@cache
def words_of(text: str) -> Page:
    """Return the report of a scenario without its figures, which take nine tenths of the time."""
    with mock.patch("simulation.reporting.html.page.figures", return_value=[]):
        return Page(simulation.report(result_of(text)))


@cache
def page_of(text: str) -> Page:
    """Return the report of a scenario, which is run once."""
    return Page(simulation.report(result_of(text)))


RUNS = {
    "outage": OUTAGE,
    "fails": FAILS,
    "nothing": NOTHING,
    "aggregates": AGGREGATES,
    "providers": PROVIDERS,
    "quiet hours": QUIET_HOURS,
    "crash": CRASH,
    "fallback": FALLBACK,
    "milliseconds": MILLISECONDS,
}


class Page:
    """A report, read as HTML."""

    def __init__(self, text: str) -> None:
        self.source = text
        self.html = LexborHTMLParser(text)

    def texts(self, selector: str) -> list[str]:
        """Return the text of every element that fits, its white space as people see it."""
        return [" ".join(node.text(separator=" ").split()) for node in self.html.css(selector)]

    def text(self, selector: str = "main") -> str:
        [text] = self.texts(selector)
        return text

    def rows(self, caption: str) -> list[list[str]]:
        """Return the cells of every row in the body of the table with this caption."""
        for table in self.html.css("table"):
            if table.css_first("caption").text() == caption:
                rows = table.css("tbody tr")
                return [[" ".join(cell.text(separator=" ").split()) for cell in row.css("th, td")] for row in rows]
        raise AssertionError(f"no table {caption!r}")
