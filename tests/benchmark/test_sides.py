"""The sides of the benchmark do the same work, or their ratios would mean nothing."""

import pytest
import row_metrics
import scenario_file
import simpy_checked
import simpy_process
from effort import sliced
from load import LOADS
from worlds import EMAIL, History, World

import simulation
from actors.messages import BreakerTransitioned, NotificationFailed, NotificationSent
from simulation import SimulatedSystem

NOTIFICATIONS = 3000


@pytest.mark.parametrize("name", sliced(LOADS, 3))
def test_the_checked_model_has_the_same_history(name: str) -> None:
    load = LOADS[name](NOTIFICATIONS)
    env, model = simpy_process.build(load)
    env.run()
    env, checked = simpy_checked.build(load)
    env.run()
    checked.recorder.end()
    counts = checked.recorder.summary_of(None, int(env.now * 1e9))
    assert counts["accepted"] == len(model.notifications) == NOTIFICATIONS
    assert counts["attempts"] == len(model.attempts)
    assert counts["deferred"] == len(model.deferred)
    assert counts["dlq"]["final"] == len(model.dead_letters)
    ends = [event.at_ns for event in checked.recorder.history if type(event) in (NotificationSent, NotificationFailed)]
    assert ends == [int(end * 1e9) for _, _, end, *_ in model.attempts]
    turned = [event for event in checked.recorder.history if type(event) is BreakerTransitioned]
    assert [(event.from_state, event.to_state) for event in turned] == [row[2:] for row in model.transitions]


@pytest.mark.parametrize("name", sliced(LOADS, 3))
def test_the_scenario_is_the_same_work(name: str) -> None:
    load = LOADS[name](NOTIFICATIONS)
    env, model = simpy_process.build(load)
    env.run()
    summary = simulation.run(scenario_file.scenario(load)).summary
    # Other draws of the same distributions, so the counts are near and not equal.
    assert summary["in_flight"] == 0
    assert summary["accepted"] == pytest.approx(NOTIFICATIONS, rel=0.1)
    assert summary["retry_amplification"] == pytest.approx(len(model.attempts) / NOTIFICATIONS, rel=0.1)
    assert summary["sent_fraction"] == pytest.approx(1 - len(model.dead_letters) / NOTIFICATIONS, abs=0.02)
    opened = sum(to == "open" for _, _, _, to in model.transitions)
    assert abs(summary["breaker"]["push"]["opened"] - opened) <= 3
    assert (opened > 0) == (name == "tripping")


def test_the_figures_of_a_model_are_those_of_the_summary() -> None:
    load = LOADS["steady"](NOTIFICATIONS)
    env, model = simpy_process.build(load)
    env.run()
    figures = row_metrics.metrics(model)
    summary = simulation.run(scenario_file.scenario(load)).summary
    for durations, statistic in (
        *(("delivery_time_s", name) for name in ("p50", "p90")),
        *(("retry_delay_s", name) for name in ("mean", "p50", "p90")),
        ("sent_time_s", "mean"),
    ):
        assert figures[durations][statistic] == pytest.approx(summary[durations][statistic], rel=0.2)
    assert set(figures) - {"series"} <= set(summary)
    assert figures["series"]["arrivals"].sum() == figures["accepted"] == NOTIFICATIONS
    assert figures["series"]["failed"].sum() + figures["sent"] == figures["attempts"]


def test_no_actor_on_the_way_of_a_notification_has_so_many_attributes_that_python_finds_them_slowly() -> None:
    with SimulatedSystem() as system:
        pipeline = World(system, History()).open(email={"hedging": {"delay": "1s"}, "tenant": {"max_in_flight": 1}})
        for ref in (pipeline.handler, *pipeline.wiring.stages[EMAIL].actors):
            assert len(vars(ref.actor)) <= 30, ref
