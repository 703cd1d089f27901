"""Settings that are drawn: valid, at edges, of every kind that there is, and the same in any process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from actors.settings.adaptive import GradientConfig, VegasConfig
from actors.settings.base import Settings, known_keys
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.bulkhead import BulkheadConfig
from actors.settings.channel import ChannelConfig, DeadLettersConfig, FallbackConfig
from actors.settings.order import OrderConfig, TenantConfig
from actors.settings.quantities import FROM_FILE
from actors.settings.retry import AwsBudgetConfig, EnvoyBudgetConfig, FinagleBudgetConfig, GrpcBudgetConfig, RetryConfig
from simulation.scenario import load, parse
from simulation.scenario.writing import as_data, write
from simulation.verification.drawing.drawn_settings import LONGEST_S, MOST, Values, draw_settings
from simulation.verification.drawing.swarm import case, drawn_case

ROOT = Path(__file__).parents[3]
SWARM = load(Path(__file__).with_name("swarm.yaml"))


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
