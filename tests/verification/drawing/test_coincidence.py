"""Cases whose times are multiples of one step: much of them falls due at one instant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from comparable import comparable

from actors.instants import ns
from actors.settings.quantities import parse_duration
from simulation.scenario import load, parse
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.writing import as_data, write
from simulation.verification.drawing.coincidence import STEPS_S, coinciding
from simulation.verification.drawing.swarm import case
from simulation.verification.exploring.trial import attempt

SWARM = load(Path(__file__).parent / "swarm.yaml")


def times_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from times_in(each)
    elif isinstance(value, str) and (length_s := parse_duration(value)) is not None:
        yield length_s


@pytest.mark.parametrize("seed", range(4))
def test_all_times_are_multiples_of_a_step(seed):
    found = coinciding(case(SWARM, seed, schedule="normal"), Random(seed))
    times = list(times_in(as_data(found)))
    assert len(times) > 20
    assert any(all(ns(each) % ns(step_s) == 0 for each in times) for step_s in STEPS_S)
    assert parse(write(found)) == found


def test_most_is_due_together_with_something_else():
    trial = attempt(comparable(coinciding(case(SWARM, 8, schedule="normal", settings="given"), Random(8))))
    assert trial.failing_case is None
    instants = [event.at_ns for event in trial.result.history]
    assert len(instants) > 3 * len(set(instants))


def test_some_cases_with_drawn_settings_are_so():
    cases = [as_data(case(SWARM, seed, settings="drawn")) for seed in range(16)]
    assert 1 <= sum(all(ns(each) % ns(0.25) == 0 for each in times_in(found)) for found in cases) <= 8


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lasting_s", [10.0, 30_000.0])
def test_about_as_many_come_however_long_it_lasts(seed, lasting_s):
    steady = parse(
        f"""
        name: steady
        duration: {lasting_s}s
        channels: {{push: {{}}}}
        workload: [{{channel: push, arrivals: {{poisson: {300 / lasting_s}/s}}}}]
        """
    )
    found = coinciding(steady, Random(seed))
    assert found.workload != steady.workload
    assert 150 <= sum(expected_notifications(found, entry) for entry in found.workload) <= 600


def test_written_answers_factors_and_what_needs_jitter_are_in_step_too():
    found = coinciding(
        parse(
            """
            name: scripted
            duration: 1m
            channels:
              email:
                retry: {jitter: proportional, cap_before_jitter: true, backoff_multiplier: 1.7}
                provider: {capacity: 2, script: [{outcome: sent, latency: 1300ms}, {outcome: transient, latency: 0s}]}
              sms: {retry: {jitter: decorrelated, cap_after_draw: true}}
            workload: [{channel: email, arrivals: {constant: 1/s}}, {channel: sms, arrivals: {constant: 1/s}}]
            faults:
              - {channel: email, at: 5s, for: 9s, speed: 0.3}
              - {channel: email, at: 9s, for: 9s, latency_factor: 2.6}
            """
        ),
        Random(1),
    )
    email = found.channels.email
    assert any(all(ns(each) % ns(step_s) == 0 for each in times_in(as_data(found))) for step_s in STEPS_S)
    assert [answer.latency > 0 for answer in email.provider.script] == [True, False]
    assert (email.retry.jitter, email.retry.backoff_multiplier) == ("none", 2.0)
    assert [fault.speed or fault.latency_factor for fault in found.faults] == [0.25, 3.0]
