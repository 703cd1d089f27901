"""Cases of the swarm at several nodes break no law."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from comparable import comparable
from effort import sliced
from fleets import as_fleet, at_odds, cut_off

import simulation
from simulation.scenario import load
from simulation.verification.drawing.swarm import case

TESTS = Path(__file__).parents[2]
SCENARIOS = [Path(__file__).with_name("swarm.yaml"), *sorted((TESTS / "mutants" / "scenarios").glob("*.yaml"))]


def fleet(seed: int) -> simulation.Scenario:
    drawn = case(load(SCENARIOS[seed % len(SCENARIOS)]), seed, settings="drawn" if seed % 2 else "given")
    return as_fleet(drawn, seed)


def test_a_case_and_its_fleet_are_the_same_each_time():
    assert fleet(7) == fleet(7)


def test_nodes_at_odds_see_different_outages_and_some_go_for_good():
    fleets = [fleet(seed) for seed in range(12)]
    added = [set(at_odds(plain, seed).faults) - set(plain.faults) for seed, plain in enumerate(fleets)]
    outages = [fault for faults in added for fault in faults if fault.outage]
    assert len({fault.node for fault in outages}) > 3
    assert any(fault.crash == "process" for faults in added for fault in faults)
    assert at_odds(fleet(7), 7) == at_odds(fleets[7], 7)


@pytest.mark.parametrize(
    ("change", "seed"), sliced([*product([at_odds], [1, 7, 13, 175]), *product([cut_off], [1, 6, 12])], 12)
)
def test_nothing_breaks_where_nodes_are_at_odds_or_do_not_reach_the_store(change, seed):
    simulation.run(change(comparable(fleet(seed)), seed), invariants="all")


@pytest.mark.slow
@pytest.mark.parametrize("change", [at_odds, cut_off])
@pytest.mark.parametrize("first", range(0, 1_000, 50))
def test_nothing_breaks_where_a_thousand_are(change, first):
    for seed in range(first, first + 50):
        simulation.run(change(comparable(fleet(seed)), seed), invariants="all")


def test_breakers_are_shared_in_every_way():
    drawn = [fleet(seed) for seed in range(12)]
    configs = [each.channel_as_given(channel).circuit_breaker for each in drawn for channel in each.channels_used]
    assert {config.shared for config in configs} == {"none", "any", "quorum"}
    assert len({config.share_latency for config in configs if config.shared != "none"}) > 2


@pytest.mark.parametrize("seed", sliced([*range(9), 32, 37, 455], 8))  # in the last three something broke once
def test_nothing_breaks(seed):
    simulation.run(fleet(seed), invariants="all")


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 1_000, 50))
def test_nothing_breaks_in_a_thousand(first):
    for seed in range(first, first + 50):
        simulation.run(fleet(seed), invariants="all")


def test_some_nodes_fail_that_are_a_majority_when_others_are_gone():
    for seed in range(30):
        plain, odd = fleet(seed), at_odds(fleet(seed), seed)
        added = [fault for fault in odd.faults if fault not in plain.faults]
        if len(added) < 2 or len(added[-2].channel) < len(odd.channels_used) or not added[-2].outage:
            continue
        outage, crash = added[-2:]
        count, left = odd.fleet.count, odd.fleet.count - len(crash.node)
        assert not set(outage.node) & set(crash.node)
        assert left // 2 < len(outage.node) < min(left, count // 2 + 1)
        assert outage.at < crash.at + odd.fleet.takeover_after < outage.at + outage.for_
        return
    raise AssertionError("wanted one in thirty")
