"""Runs, policies and a sweep that the tests of plots draw; small, and made once each."""

import itertools
import textwrap
from functools import cache

import pandas as pd

import simulation
from simulation.scenario import parse

TEXTS = {
    "outage": """
        name: outage
        seed: 3
        duration: 4m
        drain: 5m
        workload:
          - {channel: email, arrivals: {poisson: 2/s}}
          - {channel: push, arrivals: {constant: 1/s}}
        channels:
          email:
            retry: {max_attempts: 4, jitter: full}
            circuit_breaker: {failure_threshold: 3, timeout: 20s}
            provider: {latency: {lognormal: {median: 80ms, p99: 900ms}}}
          push: {retry: {max_attempts: 2}, provider: {latency: 50ms}, circuit_breaker: {enabled: false}}
        faults:
          - {channel: email, at: 1m, for: 1m, outage: true}
          - {channel: email, at: 90s, for: 1m, failure_rate: 30%}
          - {channel: push, failure_rate: 20%}
          - {channel: push, at: 3m, for: 20s, hang: true}
        """,
    "all kinds of waits": """
        name: all kinds of waits
        seed: 5
        start: 2026-03-02T20:00:00Z
        duration: 4h
        drain: 12h
        workload: [{channel: sms, arrivals: {poisson: 30/h}, users: 5}]
        channels:
          sms:
            retry: {schedule: [30s, 5m, 5m], jitter: none}
            circuit_breaker: {failure_threshold: 4, timeout: 10m}
            rate_limit: {max_per_minute: 1}
            timeout: 5s
        quiet_hours: [{share: 40%, from: 22:00, to: 06:00, zone: Europe/Berlin, channels: sms}]
        faults:
          - {channel: sms, at: 30m, for: 30m, outage: true}
          - {channel: sms, at: 70m, for: 20m, permanent_rate: 50%, failure_rate: 50%}
          - {channel: sms, at: 2h, for: 5m, hang: true}
        operations: [{at: 3h, redrive: all}, {at: 200m, redrive: all}]
        """,
    "aggregates": """
        name: aggregates
        seed: 1
        duration: 10m
        record: aggregates
        workload: [{channel: sms, arrivals: {poisson: 5/s}}]
        channels: {sms: {circuit_breaker: {enabled: false}}}
        faults: [{channel: sms, at: 2m, for: 3m, failure_rate: 60%}]
        """,
    "providers": """
        name: 'fällt über $5 und $6 — 名前'
        duration: 3m
        workload: [{channel: email, arrivals: {poisson: 2/s}}]
        channels:
          email:
            retry: {max_attempts: 6}
            circuit_breaker: {failure_threshold: 3, timeout: 20s}
            failover: {b: {}, the-one-that-is-only-for-emergencies: {}}
        faults:
          - {channel: email, provider: primary, at: 1m, for: 1m, outage: true}
          - {channel: email, at: 70s, for: 20s, hang: true}
        """,
    "nothing": "{name: nothing, duration: 10m, workload: [{channel: push, arrivals: {poisson: 1/d}}]}",
    "one": "{name: one, duration: 1s, workload: [{channel: push, arrivals: {constant: 1/s}}]}",
    "lost": """
        name: all is lost
        duration: 5s
        drain: 0s
        workload: [{channel: sms, arrivals: {constant: 10/s}}]
        faults: [{channel: sms, outage: true}]
        """,
    "milliseconds": """
        name: milliseconds
        seed: 2
        duration: 20ms
        drain: 5ms
        workload: [{channel: push, arrivals: {poisson: 1000/s}}]
        channels: {push: {provider: {latency: 1ms}}}
        faults: [{channel: push, at: 3ms, for: 5ms, failure_rate: 80%}]
        """,
}


@cache
def result_of(name):
    """Return the result of a run of one of these scenarios."""
    return simulation.run(parse(textwrap.dedent(TEXTS[name]), "a.yaml"))


@cache
def cells():
    """Return the cells of a made-up sweep of three settings: five attempts, two kinds of jitter, two timeouts."""
    paths = ("channels.email.retry.max_attempts", "channels.email.retry.jitter", "channels.email.timeout")
    settings = itertools.product((1.0, 2.0, 3.0, 5.0, 8.0), ("none", "full"), (10.0, 60.0))
    rows = []
    for cell, (attempts, jitter, timeout) in enumerate(settings):
        spread = 1.2 if jitter == "none" else 1.0
        figures = {
            "sent_fraction": 1 - 0.3**attempts * spread,
            "requests": 10_000 * (1 + attempts / 5) * spread + timeout,
            "delivery_time_s.p99": 2**attempts * spread + timeout / 10,
        }
        for figure, mean in figures.items():
            low, high = (None, None) if cell == 3 else (mean * 0.95, mean * 1.05)
            values = dict(zip(paths, (attempts, jitter, timeout), strict=True))
            rows.append(
                {"cell": cell, **values, "figure": figure, "n": 9, "mean": mean, "sd": 0.1, "low": low, "high": high}
            )
    return pd.DataFrame(rows).astype({"low": "float64", "high": "float64"})


@cache
def scattered():
    """Return the cells of a made-up sweep of two settings in a design that is no grid."""
    rows = []
    for cell in range(20):
        timeout, initial_delay = 1.0 + (cell * 7 % 20) / 2, 0.1 * 1.3**cell
        values = {"channels.sms.timeout": timeout, "channels.sms.retry.initial_delay": initial_delay}
        of_one_run = {"n": 1, "mean": 1 / (1 + cell), "low": None, "high": None}
        rows.append({"cell": cell, **values, "figure": "sent_fraction", **of_one_run})
    return pd.DataFrame(rows).astype({"low": "float64", "high": "float64"})
