"""The same work by the product: a scenario, run through the public interface."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from load import Load

import simulation

SCENARIO = """\
name: benchmark
seed: {load.seed}
duration: {duration!r}s
drain: 1d
record: {record}
remember_ids: {remember_ids}
workload:
  - {{channel: push, arrivals: {{poisson: {load.rate!r}/s}}, users: {load.users}}}
channels:
  push:
    retry:
      max_attempts: {load.max_attempts}
      initial_delay: {load.first_delay!r}s
      backoff_multiplier: {load.multiplier!r}
      max_delay: {load.max_delay!r}s
    circuit_breaker:
      failure_threshold: {load.failure_threshold}
      timeout: {load.open_for!r}s
      resume_rate: {load.resume_rate!r}/s
      resume_doubling: {load.resume_doubling!r}s
    rate_limit: {{max_per_minute: {load.user_limit}}}
    timeout: {load.attempt_timeout!r}s
    provider:
      latency: {{lognormal: {{median: {load.latency_median!r}s, p99: {load.latency_p99!r}s}}}}
      failure_rate: {failure_rate!r}%
"""
POLICIES: dict[str, list[str]] = {
    "no limit": ["rate_limit=null"],
    "no limit, breaker disabled": ["rate_limit=null", "circuit_breaker.enabled=false"],
    "fixed window": ["rate_limit.kind=fixed_window"],
    "token bucket": ["rate_limit.kind=token_bucket"],
    "full jitter": ["retry.jitter=full"],
    "retry budget": ["retry.budget={kind: finagle, share: 100%}"],
    "failure rate of 100 calls": ["circuit_breaker={window: {calls: 100}, failure_rate: 100%}"],
    "quota": ["quota={rate: 1000000/s, kind: token_bucket}"],
    "bulkhead": ["max_in_flight=1000000"],
    "concurrency limit": ["concurrency_limit={minimum: 1000, initial: 1000, maximum: 1000}"],
    "hedging": ["hedging={delay: 2s}"],
    "failover": ["failover={backup: {}}"],
}
"""What is changed of the channel's settings; each kind of policy decides about each attempt, and hardly ever acts."""

OUTAGE = "  - {{channel: push, at: {start!r}s, for: {length!r}s, outage: true}}\n"


def scenario(
    load: Load, record: str = "full", remember_ids: str = "1d", settings: Sequence[str] = ()
) -> simulation.Scenario:
    """Return the scenario of a load. Its arrivals stop after a time, so their number is only about the one wanted."""
    text = SCENARIO.format(
        load=load,
        duration=load.notifications / load.rate,
        record=record,
        remember_ids=remember_ids,
        failure_rate=load.failure_rate * 100,
    )
    if load.outages:
        text += "faults:\n"
        text += "".join(OUTAGE.format(start=start, length=round(end - start, 9)) for start, end in load.outages)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "benchmark.yaml"
        file.write_text(text, encoding="utf-8")
        return simulation.load(file, sets=[f"channels.push.{setting}" for setting in settings])
