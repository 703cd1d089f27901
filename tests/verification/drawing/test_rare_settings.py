"""Settings that single changes of a channel do not lead to are drawn, and what they are for happens."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fleets import as_fleet

from actors.settings.channel import ChannelConfig
from actors.settings.faults import FaultConfig
from simulation.scenario import load
from simulation.verification.drawing.disturbances import TOO_MANY_CRASHES, bearable
from simulation.verification.drawing.rare_settings import ACCOUNT, TEMPLATE, _with_upstreams
from simulation.verification.drawing.seldom_met import attempts_without_a_last_one
from simulation.verification.drawing.swarm import _again_and_again, case
from simulation.verification.exploring.trial import attempt

SWARM = load(Path(__file__).parent / "swarm.yaml")


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
