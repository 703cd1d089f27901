"""Groups of settings are drawn as a whole: each value of each of their keys, beside what makes it have an effect."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import get_args

import pytest

from actors.settings.channel import ChannelConfig
from actors.settings.rate_limit import RateLimitConfig
from actors.settings.retry import RetryConfig
from simulation.scenario import load, parse
from simulation.scenario.writing import write
from simulation.verification.drawing.whole_groups import with_whole_groups
from simulation.verification.exploring.trial import attempt

SWARM = load(Path(__file__).parent / "swarm.yaml")
HELD_SLOTS = load(Path(__file__).parents[2] / "mutants" / "scenarios" / "held-slots.yaml")


@pytest.fixture(scope="module")
def drawn():
    return [with_whole_groups(SWARM, Random(seed)) for seed in range(120)]


@pytest.fixture(scope="module")
def configs(drawn):
    return [each.channel_config(channel) for each in drawn if each is not SWARM for channel in each.channels_used]


def test_what_is_drawn_is_a_file_that_can_be_read(drawn):
    for each in drawn[:15]:
        assert parse(write(each)) == each


def test_where_slots_are_held_no_limit_that_goes_by_latency_is_drawn():
    cases = [with_whole_groups(HELD_SLOTS, Random(seed)) for seed in range(15)]
    configs = [each.channel_config(channel) for each in cases for channel in each.channels_used]
    assert not any(config.retry.holds_slot and config.concurrency_limit for config in configs)
    assert any(config.concurrency_limit for config in configs), "where another group is drawn, and slots are not held"


@pytest.mark.parametrize("key", ["jitter", "retry_after", "cap_after_draw", "cap_before_jitter"])
def test_retries_are_drawn_in_each_way(configs, key):
    annotation = RetryConfig.model_fields[key].annotation
    wanted = set(get_args(annotation)) if get_args(annotation) else {True, False}
    assert {getattr(config.retry, key) for config in configs} >= wanted


def test_waits_grow_in_each_way(configs):
    words = {"exponential", "constant", "linear", "fibonacci", "polynomial"}
    assert {config.retry.growth for config in configs} == words
    assert {math.inf} < {config.retry.longest_delay for config in configs if config.retry.schedule is None}


def test_hints_are_heeded_as_they_are_and_in_part_and_budgets_are_of_each_kind(configs):
    retries = [config.retry for config in configs]
    assert {None, 0.0, 86_400.0} < {retry.retry_after_excess for retry in retries}
    assert {0.0, 0.5, 1.0} <= {retry.retry_after_jitter for retry in retries}
    budgets = [retry.budget for retry in retries if retry.budget is not None]
    assert {budget.kind for budget in budgets} == {"grpc", "envoy", "finagle", "aws", "token_bucket"}
    assert any(budget.kind == "envoy" and budget.inclusive for budget in budgets)
    assert any(budget.kind == "finagle" and budget.min_rate is None for budget in budgets)


def test_limits_are_of_each_kind_and_a_leaky_bucket_may_be_aligned(configs):
    limits = [config.rate_limit for config in configs if config.rate_limit is not None]
    kinds = get_args(RateLimitConfig.model_fields["kind"].annotation)
    assert {limit.kind for limit in limits} == set(kinds)
    assert any(limit.aligned for limit in limits)


def test_some_are_as_slow_as_a_slow_call_to_the_nanosecond(configs):
    def is_at_the_edge(config: ChannelConfig) -> bool:
        slow, mixture = config.circuit_breaker.slow_call, config.provider.latency.mixture
        return slow is not None and mixture is not None and any(part.constant == slow.duration for part in mixture)

    assert any(map(is_at_the_edge, configs))


def test_some_providers_answer_what_is_written_down(configs):
    outcomes = {answer.outcome for config in configs for answer in config.provider.script}
    assert {"sent", "lost", "hang", "channel_fault"} < outcomes
    assert any(answer.retry_after == 0.0 for config in configs for answer in config.provider.script)


def test_some_are_throttled_before_they_know_how_fast_they_send(configs):
    def is_surprised(config: ChannelConfig) -> bool:
        rate, script = config.adaptive_rate, config.provider.script
        return rate is not None and rate.initial_rate is None and bool(script) and script[0].outcome == "throttled"

    assert any(map(is_surprised, configs))


def test_nothing_breaks(drawn):
    busy = next(each for each in drawn if each is not SWARM)
    short = busy.model_copy(update={"duration": 20.0, "record": "full"})
    assert attempt(short).failing_case is None
