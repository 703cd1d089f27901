"""What sets channels apart, what a provider can do, and what is left of quotas and budgets."""

import numpy as np
import pandas as pd
import pytest

import simulation
from actors.settings.rate_limit import RateLimitConfig
from actors.settings.retry import TokenBudgetConfig
from simulation.reporting.plots.header import set_apart
from simulation.reporting.plots.picture import served_per_s
from simulation.reporting.plots.source import parts
from simulation.reporting.plots.tripping import budget_left, quota_in_use
from simulation.scenario import parse

TEXT = """
duration: 60s
workload:
  - {channel: sms, arrivals: {poisson: 2/s}}
  - {channel: push, arrivals: {poisson: 2/s}}
channels:
  sms:
    retry: {initial_delay: 1s, budget: {kind: finagle, share: 10%}}
    circuit_breaker: {enabled: false}
    provider: {latency: 250ms, capacity: 10}
  push:
    retry: {initial_delay: 1s}
    circuit_breaker: {when_open: fail, timeout: 20s, slow_call: {duration: 800ms, rate: 30%}, window: {calls: 10}}
    provider: {latency: 250ms}
faults:
  - {channel: sms, at: 10s, for: 5s, capacity: 1}
  - {channel: sms, at: 12s, for: 10s, speed: 0.5}
"""


def test_only_settings_that_differ_are_told_and_first_those_that_few_have():
    apart = set_apart(parse(TEXT))
    assert apart["sms"] == "no breaker; retry: budget finagle; provider: capacity 10"
    assert apart["push"] == (
        "breaker: window calls 10, slow call duration 800 ms, slow call rate 30%, timeout 20 s, when open fail"
    )
    alike = TEXT[: TEXT.index("channels:")]
    assert set_apart(parse(alike)) == {"sms": "", "push": ""}


def test_what_a_provider_can_do_is_its_capacity_by_its_latency_and_less_in_a_fault():
    result = simulation.run(parse(TEXT))
    (sms,) = parts(result, "series", "time_s", channel="sms")
    assert served_per_s(sms, 60.0) == [(0.0, 40.0), (10.0, 4.0), (12.0, 2.0), (15.0, 20.0), (22.0, 40.0)]
    (push,) = parts(result, "series", "time_s", channel="push")
    assert served_per_s(push, 60.0) == []


def test_a_quota_in_use_is_counted_over_its_window():
    attempts = pd.DataFrame({"start_s": [0.0, 1.0, 1.5, 20.0]})
    times, shares = quota_in_use(attempts, RateLimitConfig(rate="2/10s"))
    found = dict(zip(times.tolist(), shares.tolist(), strict=True))
    assert found == {0.0: 0.5, 1.0: 1.0, 1.5: 1.5, 10.0: 1.0, 11.0: 0.5, 11.5: 0.0, 20.0: 0.5, 30.0: 0.0}
    assert quota_in_use(attempts.iloc[:0], RateLimitConfig(rate="2/10s")) is None


def test_what_is_left_of_a_budget_is_what_retries_have_not_taken():
    # Ten tokens; a first attempt puts half of one in, as far as there is room, a retry takes one.
    rows = [("a", 0.0, 0.1, "transient", 1.0), ("b", 0.5, 0.6, "transient", 2.0), ("a", 1.0, 1.1, "sent", np.nan),
            ("b", 2.0, 2.1, "permanent", np.nan), ("c", 3.0, 3.0, "sent", np.nan)]  # fmt: skip
    attempts = pd.DataFrame(rows, columns=["id", "start_s", "end_s", "outcome", "next_retry_at_s"])
    attempts["throttled"] = False
    times, left = budget_left(attempts, TokenBudgetConfig(kind="token_bucket", share=0.5, capacity=10))
    assert times.tolist() == [0.0, 0.1, 0.5, 0.6, 1.0, 1.1, 2.0, 2.1, 3.0, 3.0]
    assert (left * 10).tolist() == pytest.approx([10, 9, 9.5, 8.5, 8.5, 8.5, 8.5, 8.5, 9.0, 9.0])
