"""Cases in which many wait at once for room that is scarce."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from comparable import comparable

from actors.messages import DeferralCause, NotificationDeferred
from simulation.scenario import load, parse
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.writing import write
from simulation.verification.drawing.queueing import queueing
from simulation.verification.drawing.swarm import case
from simulation.verification.exploring.trial import attempt

SWARM = load(Path(__file__).parent / "swarm.yaml")


def arriving(scenario):
    return sum(expected_notifications(scenario, entry) for entry in scenario.workload)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_a_file_that_can_be_read_with_as_many_as_before(seed):
    before = case(SWARM, seed, settings="drawn")
    found = queueing(before, Random(seed))
    assert parse(write(found)) == found
    assert found.channels != before.channels
    assert 0.5 * arriving(before) < arriving(found) < 3.0 * arriving(before)


def waiting(scenario):
    trial = attempt(comparable(scenario))
    assert trial.failing_case is None
    return sum(
        type(event) is NotificationDeferred and event.cause != DeferralCause.QUIET_HOURS
        for event in trial.result.history
    )


def test_more_wait_than_before():
    cases = [case(SWARM, seed, schedule="normal", settings="given") for seed in (1, 2)]
    assert sum(waiting(queueing(each, Random(0))) for each in cases) > 1.5 * sum(map(waiting, cases))
