"""Runs that look wrong and are not: each was a breach once that was none."""

import pytest
from histories import EMAIL, made
from scenario_tables import scenarios_of
from worlds import Scripted

import simulation
from actors.settings.channel import ChannelConfig
from simulation.scenario.loading import parse
from simulation.verification.laws.lifecycles import Lifecycles
from simulation.verification.laws.watching import ObservedProvider

SCENARIOS = scenarios_of(__file__)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_breaks_no_law(name):
    simulation.run(parse(SCENARIOS[name]), invariants="all")


def test_a_breaker_is_open_from_when_its_probes_were_overdue_though_its_stage_was_down():
    result = simulation.run(parse(SCENARIOS["stage-down-when-probes-are-overdue"]), invariants="all")
    times = {(each.cause, each.at_ns) for each in result.history if hasattr(each, "cause") and hasattr(each, "breaker")}
    assert ("probes-overdue", 18_900_000_000) in times


@pytest.mark.parametrize("seed", [7, 8, 12])
def test_what_set_out_just_before_the_wall_clock_stepped_was_wanted(seed):
    simulation.run(parse(SCENARIOS["steps-at-the-instant-of-arrivals"], seed=seed), invariants="all")


def test_a_copy_has_what_is_left_of_the_time_of_its_attempt():
    """A provider that takes nine seconds answers the first in time, and its copy two seconds later in none."""
    seen, lifecycles = [], Lifecycles()
    config = ChannelConfig.model_validate({"timeout": "10s", "hedging": {"max_attempts": 2, "delay": 1}})

    def note(observed):
        seen.append(observed)
        lifecycles.follow(observed)

    provider = ObservedProvider(Scripted(latency=9.0), EMAIL, "primary", config, lifecycles, note)
    one = made(0).attempt
    for now_s in (0, 2):
        provider.attempt(one, now_s * 1_000_000_000)
    assert [(each.answered, each.ends_at_ns) for each in seen] == [(True, 9_000_000_000), (False, 10_000_000_000)]


def test_a_copy_is_one_though_another_attempt_has_set_out_between():
    """Two channels have crashed at once, so the notification was sent anew twice, and each attempt has its copy."""
    seen, lifecycles = [], Lifecycles()
    config = ChannelConfig.model_validate({"hedging": {"max_attempts": 2, "delay": 1}})

    def note(observed):
        seen.append(observed)
        lifecycles.follow(observed)

    provider = ObservedProvider(Scripted(), EMAIL, "primary", config, lifecycles, note)
    one, other = made(0).attempt, made(0).attempt
    for now_ns, attempt in enumerate((one, other, one, other)):
        provider.attempt(attempt, now_ns)
    assert [each.is_copy for each in seen] == [False, False, True, True]
