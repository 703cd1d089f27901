"""The solved chain of the resiliency patterns, against numbers that others have got in other ways."""

from __future__ import annotations

from math import exp

import pytest

from simulation.verification.cases.families.resiliency_chain import breaking, expected_times, plain
from simulation.verification.cases.families.resiliency_patterns import CONFIGS, PUBLISHED, WANTED, server

# The paper's own chain, with Erlang-k stages in place of fixed delays, solved for k = 100 and 300 and extrapolated.
EXTRAPOLATED = {
    ("SP", 0.5): (1159.57, 864.99),
    ("SP", 0.7): (844.67, 655.03),
    ("SP", 0.9): (670.02, 538.40),
    ("RP MBO=10", 0.5): (1301.27, 624.01),
    ("RP MBO=10", 0.9): (777.13, 521.89),
    ("RP MBO=40", 0.7): (1089.96, 549.02),
    ("SCB CBTO=10", 0.5): (1252.95, 605.63),
    ("SCB CBTO=10", 0.9): (733.95, 524.35),
    ("SCB CBTO=40", 0.5): (1570.38, 552.43),
    ("SCB CBTO=40", 0.7): (1246.79, 537.29),
}

# The same for k = 100, the paper's own: connect timeout, availability, total and contention time.
WITH_STAGES = [
    ("SP", 2, 0.6, 977.34, 743.24),
    ("SP", 10, 0.6, 974.73, 830.31),
    ("SP", 40, 0.8, 744.06, 627.57),
    ("RP MBO=10", 2, 0.6, 1118.53, 586.57),
    ("RP MBO=40", 2, 0.8, 939.74, 536.13),
    ("SCB CBTO=10", 2, 0.6, 1070.51, 577.15),
    ("SCB CBTO=40", 2, 0.8, 1135.24, 531.61),
    ("DCB max 20", 2, 0.5, 1337.03, 579.86),
]


@pytest.mark.parametrize(("setting", "times"), EXTRAPOLATED.items())
def test_it_is_what_the_paper_s_chain_goes_to_with_more_and_more_stages(setting, times):
    config, availability = setting
    solved = expected_times(server(availability, 2.0), CONFIGS[config].steps, WANTED)
    assert solved == pytest.approx(times, rel=1e-4)


@pytest.mark.parametrize(("config", "timeout", "availability", "total", "contention"), WITH_STAGES)
def test_a_hundred_stages_are_a_little_slower(config, timeout, availability, total, contention):
    solved = expected_times(server(availability, timeout), CONFIGS[config].steps, WANTED)
    assert total / 1.008 < solved[0] < total
    assert solved[1] == pytest.approx(contention, rel=2e-3)


@pytest.mark.parametrize(("setting", "figures"), PUBLISHED.items())
def test_an_independent_simulation_agrees(setting, figures):
    config, availability = setting
    total, total_half, contention, contention_half = figures
    solved = expected_times(server(availability, 2.0), CONFIGS[config].steps, WANTED)
    # Each half is one of 99.9%; these are 42 of them.
    assert abs(solved[0] - total) < 1.3 * total_half
    assert abs(solved[1] - contention) < 1.3 * contention_half


@pytest.mark.parametrize("config", CONFIGS)
def test_nothing_waits_for_a_server_that_never_fails(config):
    total, contention = expected_times(server(1.0, 2.0), CONFIGS[config].steps, WANTED)
    assert contention == pytest.approx(500)
    without = 100 * (5 + 1 / (1 - exp(-2)))
    assert total >= without - 1e-9
    assert (total == pytest.approx(without)) is (config == "SP")


def test_a_breaker_that_is_never_open_is_none():
    quick = expected_times(server(0.6, 2.0), breaking([0.0, 0.0]), WANTED)
    assert quick == pytest.approx(expected_times(server(0.6, 2.0), plain(), WANTED))
