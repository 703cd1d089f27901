"""Settings that are drawn: valid, at edges, of every kind that there is, and the same in any process."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from random import Random
from typing import get_args

import pytest
from effort import examples
from fleets import as_fleet
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from actors.settings.adaptive import GradientConfig, VegasConfig
from actors.settings.base import Settings, known_keys
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.bulkhead import BulkheadConfig
from actors.settings.channel import ChannelConfig, DeadLettersConfig, FallbackConfig
from actors.settings.faults import FaultConfig
from actors.settings.order import OrderConfig, TenantConfig
from actors.settings.quantities import FROM_FILE
from actors.settings.rate_limit import RateLimitConfig
from actors.settings.retry import AwsBudgetConfig, EnvoyBudgetConfig, FinagleBudgetConfig, GrpcBudgetConfig, RetryConfig
from simulation.scenario import load, parse
from simulation.scenario.writing import as_data, write
from simulation.verification.drawing.disturbances import TOO_MANY_CRASHES, bearable
from simulation.verification.drawing.drawn_settings import (
    DRAIN_S,
    LONGEST_S,
    MOST,
    UNLIMITED_DRAIN_S,
    Values,
    draw_settings,
)
from simulation.verification.drawing.rare_settings import ACCOUNT, TEMPLATE, _with_upstreams
from simulation.verification.drawing.seldom_met import attempts_without_a_last_one
from simulation.verification.drawing.swarm import _again_and_again, case, drawn_case
from simulation.verification.drawing.whole_groups import with_whole_groups
from simulation.verification.exploring.trial import attempt

SWARM = load(Path(__file__).parent / "swarm.yaml")


def paths(value, prefix=()):
    if isinstance(value, dict):
        for key, child in value.items():
            yield (*prefix, key)
            yield from paths(child, (*prefix, key))


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(0, 10**6))
def test_what_is_drawn_is_a_scenario_that_can_be_read(seed):
    drawn = draw_settings(SWARM, Random(seed), Random(-seed))
    assert parse(write(drawn.scenario), str(Path(__file__).with_name("drawn.yaml"))) == drawn.scenario
    assert draw_settings(SWARM, Random(seed), Random(-seed)) == drawn
    assert drawn.repaired <= drawn.changed


@pytest.mark.thorough
def test_every_setting_of_a_channel_is_drawn_and_few_changes_are_refused():
    plain = parse("duration: 1m\nworkload: [{channel: sms, arrivals: {constant: 1/s}}]\nchannels: {sms: {}}")
    seen, changed, refused = Counter(), 0, 0
    for seed in range(400):
        drawn = draw_settings(plain, Random(seed), Random(-seed))
        data = as_data(drawn.scenario)["channels"]["sms"]
        seen.update({path[-1] for path in paths(data)})
        changed, refused = changed + drawn.changed, refused + drawn.refused
    assert refused < 0.2 * changed, "the rest is drawn in vain"
    with_nodes_or_as_a_group = {"shared", "share_latency", "after_retry_after", "retry_after_max", "holds_slot"}
    for model in (
        ChannelConfig,
        OrderConfig,
        TenantConfig,
        RetryConfig,
        CircuitBreakerConfig,
        FallbackConfig,
        GradientConfig,
    ):
        assert set(known_keys(model)) - with_nodes_or_as_a_group <= set(seen), model


@pytest.mark.thorough
def test_top_level_settings_are_drawn():
    drawn = [draw_settings(SWARM, Random(seed)).scenario for seed in range(60)]
    for key in ("remember_ids", "max_pending", "dead_letters", "quiet_hours", "channels"):
        assert len({str(getattr(each, key)) for each in drawn}) > 3, key
    ages = {getattr(entry, "expires_after", None) for each in drawn for entry in each.workload}
    assert len(ages) > 10
    assert any(each.dead_letters != DeadLettersConfig() for each in drawn)


@pytest.mark.thorough
def test_classes_tenants_and_orders_are_drawn_in_half_of_the_cases_and_leave_all_else_as_it_is():
    plain = [draw_settings(SWARM, Random(seed)).scenario for seed in range(40)]
    drawn = [draw_settings(SWARM, Random(seed), Random(-seed)).scenario for seed in range(40)]
    differ = [other for one, other in zip(plain, drawn, strict=True) if one != other]
    assert 10 <= len(differ) <= 30
    entries = [entry for each in differ for entry in each.workload]
    assert {getattr(entry, "priority", None) for entry in entries} == {None, "critical", "normal", "bulk"}
    assert len({str(getattr(entry, "tenants", None)) for entry in entries}) > 4
    channels = [each.channel_config(channel) for each in differ for channel in each.channels_used]
    assert {channel.fair_by for channel in channels} == {"none", "user", "host", "tenant"}
    assert {channel.order.kind for channel in channels} == {"strict", "weighted"}
    assert any(channel.order.aging for channel in channels)
    assert any(channel.tenant for channel in channels)
    for one, other in zip(plain, drawn, strict=True):
        assert one.model_copy(update={"workload": (), "channels": None}) == other.model_copy(
            update={"workload": (), "channels": None}
        )


@pytest.mark.thorough
def test_settings_that_act_together_are_drawn_together():
    drawn = [draw_settings(SWARM, Random(seed), Random(seed + 1)).scenario for seed in range(40)]
    channels = [each.channel_config(channel) for each in drawn for channel in each.channels_used]
    waits = [each for each in channels if isinstance(each.max_in_flight, BulkheadConfig) and each.max_in_flight.wait]
    assert sum(each.tenant is not None and each.fair_by != "none" for each in waits) > 0
    hedging = [each for each in channels if each.hedging is not None and each.retry.budget is not None]
    assert sum(any(rule is not None for _, rule in each.retry.per_outcome) for each in hedging) > 2
    assert sum(each.endpoints is not None and each.redrive is not None for each in channels) > 2


EVERY_GROUP = (
    RetryConfig, CircuitBreakerConfig, DeadLettersConfig, FallbackConfig, GradientConfig, VegasConfig,
    AwsBudgetConfig, EnvoyBudgetConfig, FinagleBudgetConfig, GrpcBudgetConfig,
)  # fmt: skip


@pytest.mark.parametrize("model", EVERY_GROUP, ids=lambda model: model.__name__)
def test_a_group_is_valid_more_often_than_not_by_itself(model: type[Settings]):
    def is_valid(seed):
        try:
            model.model_validate(Values(Random(seed), {}).group(model), context=FROM_FILE)
        except ValidationError:
            return False
        return True

    assert sum(map(is_valid, range(60))) >= 10


def test_values_are_at_the_edges():
    values = Values(Random(1), {"timeout": "7s", "other": "20s", "count": 9, "share": 0.25})
    durations = Counter(values.duration() for _ in range(800))
    # The least, and what another setting is, just below and just above it.
    assert {"0s", "7s", "6.999999999s", "7.000000001s", "20s", "0.001s"} <= {
        each for each, n in durations.items() if n > 5
    }
    numbers = Counter(values.whole_number(1) for _ in range(800))
    assert {1, 2, 8, 9, 10} <= {each for each, n in numbers.items() if n > 15}
    assert 1 <= min(numbers) <= max(numbers) <= MOST
    shares = Counter(values.share() for _ in range(400))
    assert {0.0, 0.25, 0.5, 1.0} <= {each for each, n in shares.items() if n > 10}
    assert max(float(each.removesuffix("s")) for each in durations if each[-1] == "s" and "m" not in each) <= LONGEST_S


@pytest.mark.thorough
def test_half_of_the_cases_have_drawn_settings_and_the_others_stay_as_they_were():
    kinds = {seed: drawn_case(SWARM, seed).settings is not None for seed in range(60)}
    assert 15 <= sum(kinds.values()) <= 45
    for seed, is_drawn in list(kinds.items())[:12]:
        as_given = case(SWARM, seed, settings="given")
        assert as_given.channels == SWARM.channels
        assert (case(SWARM, seed) == as_given) or is_drawn
    others = [case(SWARM, seed, settings="drawn") != case(SWARM, seed, settings="given") for seed in range(12)]
    assert sum(others) >= 10, "now and then all that is drawn is what was there"


# ── settings that single changes of a channel do not lead to are drawn, and what they are for happe ─────────────────


@pytest.fixture(scope="module")
def cases():
    return [case(SWARM, seed, settings="drawn") for seed in range(40)]


def configs_of(scenarios):
    return [each.channel_config(channel) for each in scenarios for channel in each.channels_used]


@pytest.mark.thorough
def test_some_have_an_account_that_channels_share(cases):
    of_it = [
        [config.quota is not None and config.quota.account == ACCOUNT for config in configs_of([each])]
        for each in cases
    ]
    assert any(sum(each) > 1 for each in of_it)
    assert any(config.provider.account == ACCOUNT for config in configs_of(cases))


def test_some_have_a_template_that_lacks_a_variable(cases):
    with_gap = next(each for each in cases if TEMPLATE in each.templates)
    assert "{nobody_gives_this}" in with_gap.templates[TEMPLATE].body
    assert attempt(with_gap).failing_case is None


def test_some_have_copies_that_a_small_budget_pays_for_and_some_have_retries_that_remember(cases):
    configs = configs_of(cases)
    assert {config.retry.budget.kind for config in configs if config.hedging and config.retry.budget} > {"grpc", "aws"}
    assert any(config.retry.jitter == "decorrelated" and config.retry.per_outcome.ambiguous for config in configs)


def test_some_run_out_of_time_in_a_line_and_some_hosts_take_turns_to_be_redriven(cases):
    configs = configs_of(cases)
    assert any(config.retry.max_elapsed and config.max_in_flight in (1, 2) for config in configs)
    assert any(
        config.redrive and config.redrive.at_most == 3 and config.circuit_breaker.per == "host" for config in configs
    )


def test_some_are_answered_at_the_very_time_out_and_some_are_slow_to_refuse(cases):
    configs = configs_of(cases)
    behind = [(config, config.provider.upstream) for config in configs if config.provider.upstream is not None]
    assert any(
        upstream.latency == config.provider.latency and 2 * upstream.latency.constant == config.timeout
        for config, upstream in behind
        if upstream.latency.constant
    )
    refusing = [
        each for each in cases if any(fault.permanent_rate == 0.5 and fault.for_ is None for fault in each.faults)
    ]
    assert any(config.circuit_breaker.slow_call for config in configs_of(refusing))


def test_some_upstreams_are_asked_again_for_some_failures_alone_and_some_for_so_long():
    drawn = [_with_upstreams(ChannelConfig(), Random(seed)) for seed in range(90)]
    layers = [layer for config in drawn if config is not None for layer in config.provider.upstream.chain]
    retries = [layer.retry for layer in layers]
    assert {len(retry.on) for retry in retries} >= {2, 3, 4, 5}
    assert len({type(retry.budget) for retry in retries}) == 6, "none, or one of each kind"
    assert {retry.max_elapsed_checked for retry in retries if retry.max_elapsed} == {"before_wait", "after_failure"}


def test_where_an_open_breaker_refuses_attempts_none_go_on_until_a_deadline_alone():
    waiting = load(Path(__file__).parent / "swarm.yaml", sets=["channels.sms.circuit_breaker.when_open=wait"])
    for scenario, wanted in [(waiting, {True, False}), (SWARM, {False})]:
        drawn = [attempts_without_a_last_one(scenario, Random(seed)) for seed in range(30)]
        unlimited = [config for config in configs_of(drawn) if config.retry.max_attempts == "unlimited"]
        assert {config.deadline is not None for config in unlimited} == wanted


def test_an_alert_that_crashes_may_do_so_more_often_than_others():
    fault = FaultConfig.model_validate(
        {"channel": "email", "at": 3.0, "crash": {"actor": "alert"}, "restart_after": 1.0}
    )
    drawn = [_again_and_again((fault,), Random(seed)) for seed in range(20)]
    assert {len(faults) for faults in drawn} == {1, TOO_MANY_CRASHES}
    many = next(faults for faults in drawn if len(faults) > 1)
    assert many[-1].at - many[0].at < 60.0
    assert {fault.restart_after for fault in many} == {None}


def test_others_crash_as_often_only_where_it_is_said_when_they_start_again():
    def crash(**fields):
        return FaultConfig.model_validate({"channel": "email", "at": 3.0, "crash": {"actor": "breaker"}, **fields})

    drawn = [_again_and_again((crash(restart_after=1.0),), Random(seed)) for seed in range(40)]
    assert {len(faults) for faults in drawn} == {1, TOO_MANY_CRASHES}
    assert {fault.restart_after for faults in drawn for fault in faults} == {1.0}
    assert {len(_again_and_again((crash(),), Random(seed))) for seed in range(40)} == {1}
    assert bearable((crash(),) * 5) == (crash(),) * 5
    assert {fault.restart_after for fault in bearable((*(crash(restart_after=0.0),) * 5, crash()))} == {0.0, 1.0}


def test_a_fleet_may_divide_a_quota(cases):
    fleets = [as_fleet(each, seed) for seed, each in enumerate(cases[:12])]
    assert any(config.quota is not None and config.quota.across == "nodes" for config in configs_of(fleets))


# ── groups of settings are drawn as a whole: each value of each of their keys, beside what makes it ─────────────────


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


@pytest.mark.parametrize("attempts", [3, "unlimited"])
def test_a_run_without_a_bound_of_its_retries_is_not_drained_for_weeks(attempts):
    text = f"""
        duration: 10s
        workload: [{{channel: copy, arrivals: {{poisson: 1/s}}}}]
        channels: {{copy: {{kind: sms, retry: {{max_attempts: {attempts}}}}}}}
    """
    drains = Counter()
    for seed in range(20):
        drawn = draw_settings(parse(text), Random(seed)).scenario
        retry = drawn.channel_as_given(drawn.channels_used[0]).retry
        is_unlimited = retry.attempts_most == math.inf and retry.max_elapsed is None
        assert drawn.drain == (UNLIMITED_DRAIN_S if is_unlimited else DRAIN_S)
        drains[drawn.drain] += 1
    assert drains[UNLIMITED_DRAIN_S if attempts == "unlimited" else DRAIN_S] > 5
