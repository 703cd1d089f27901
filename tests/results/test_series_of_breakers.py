"""The state of each breaker in ``result.series``."""

import simulation
from simulation.scenario import parse


def series(breaker):
    text = f"""
duration: 2m
workload: [{{channel: sms, arrivals: {{constant: 1/s}}}}]
channels: {{sms: {{circuit_breaker: {breaker}}}}}
faults: [{{channel: sms, at: 30s, outage: true}}]
"""
    return simulation.run(parse(text, "a.yaml")).series


def test_a_disabled_breaker_is_disabled_from_the_start():
    assert set(series("{enabled: false}")["breaker_sms"]) == {"disabled"}


def test_a_breaker_is_closed_until_it_opens():
    states = series("{failure_threshold: 5, timeout: 5m}")
    assert set(states.loc[states["time_s"] < 30, "breaker_sms"]) == {"closed"}
    assert set(states.loc[states["time_s"] > 36, "breaker_sms"]) == {"open"}
