"""A bulkhead that refuses, at once or after a wait: a failed attempt that no breaker counts."""

import json

import pytest
import trio
from beside import tables
from effort import sliced
from worlds import EMAIL, Sleeping, email

import simulation
from actors import Notifier
from actors.errors import ConfigurationError
from actors.messages import BreakerState, NotificationFailed
from actors.settings.base import validated
from actors.settings.channel import ChannelConfig
from actors.settings.defaults import Reach, filled_in

TABLES = tables(__file__)

REFUSES = {"limit": 2, "wait": "0s"}


async def test_live_the_third_is_refused_and_tried_again(autojump_clock):
    events = []
    settings = {"email": {"max_in_flight": REFUSES, "timeout": "1m", "retry": {"initial_delay": "15s"}}}
    async with Notifier.open({"channels": settings}, providers=Sleeping(10.0), on_event=events.append) as notifier:
        for number in range(3):
            await notifier.send(email(str(number)))
        await trio.sleep(0)
        (failed,) = [event for event in events if isinstance(event, NotificationFailed)]
        assert (failed.notification_id, failed.reason, failed.attempt, failed.refused) == (
            "2",
            "bulkhead is full",
            1,
            True,
        )
        (lane,) = notifier.pipeline.wiring.stages[EMAIL].lanes
        assert (lane.breaker.state, lane.breaker.consecutive_failures) == (BreakerState.CLOSED, 0)
        assert await notifier.wait_until_quiet(60)
        assert trio.current_time() == pytest.approx(25)
    assert sum(isinstance(event, NotificationFailed) for event in events) == 1


async def test_live_one_waits_for_a_slot_as_long_as_it_is_told_to_and_then_is_refused(autojump_clock):
    events, settings = [], {"max_in_flight": {"limit": 1, "wait": "15s"}, "timeout": "1m", "retry": {"max_attempts": 1}}
    async with Notifier.open(
        {"channels": {"email": settings}}, providers=Sleeping(10.0), on_event=events.append
    ) as notifier:
        for each in ("a", "b", "c"):  # b finds a slot after 10 s, c none in 15
            await notifier.send(email(each))
        await trio.sleep(14.9)
        assert not [event for event in events if isinstance(event, NotificationFailed)]
        assert await notifier.wait_until_quiet(60)
        assert trio.current_time() == pytest.approx(20)
    (requested, failed) = [event for event in events if event.notification_id == "c"][:2]
    assert (type(failed), failed.reason, failed.refused) == (NotificationFailed, "bulkhead is full", True)
    assert (failed.at_ns - requested.at_ns) / 1e9 == pytest.approx(15)


def scenario_of(channel, tmp_path, **others):
    """Write a scenario of 40 a second for 2 s at a provider that takes 100 ms."""
    path = tmp_path / "refusing.yaml"
    path.write_text(
        json.dumps(
            {
                "name": "refusing",
                "seed": 3,
                "duration": "2s",
                "drain": "1m",
                "workload": [{"channel": "email", "arrivals": {"poisson": "40/s"}}],
                "channels": {"email": {"provider": {"latency": {"constant": "100ms"}}, **channel}},
                **others,
            }
        )
    )
    return path


SETTINGS = TABLES["settings"]


@pytest.mark.parametrize("name", sliced(SETTINGS, 6))
def test_simulated_it_is_as_the_reference_model_says_and_as_live(name, tmp_path):
    faults = [{"channel": "email", "at": "500ms", "for": "700ms", "failure_rate": "60%"}]
    path = scenario_of(SETTINGS[name], tmp_path, faults=faults)
    result = simulation.run(path, invariants="all")
    assert result.summary["attempts"] > 0
    if name != "with hosts":
        assert (result.attempts["reason"] == "bulkhead is full").any()
    assert simulation.run(path, runtime="trio").summary["digest"] == result.summary["digest"]


def test_with_a_wait_of_none_it_is_as_with_a_number(tmp_path):
    plain = simulation.run(scenario_of({"max_in_flight": 2}, tmp_path))
    mapped = simulation.run(scenario_of({"max_in_flight": {"limit": 2}}, tmp_path))
    assert plain.summary["digest"] == mapped.summary["digest"]
    assert plain.summary["peaks"]["waiting"]["slots"] > 0


def test_nothing_waits_for_a_slot(tmp_path):
    result = simulation.run(scenario_of({"max_in_flight": REFUSES}, tmp_path))
    assert result.summary["peaks"]["waiting"]["slots"] == 0


@pytest.mark.parametrize(("given", "problem"), TABLES["unusable"])
def test_what_cannot_be_is_said_in_plain_words(given, problem):
    with pytest.raises(ConfigurationError) as raised:
        validated(ChannelConfig, {"max_in_flight": given})
    assert problem in str(raised.value)


def test_connections_bound_it_too():
    config = validated(ChannelConfig, {"max_in_flight": {"limit": 9, "wait": 0}})
    filled = filled_in(EMAIL, config, {"primary": Reach(4)})
    assert (filled.slots, filled.slot_wait) == (4, 0)
    assert filled_in(EMAIL, filled, {"primary": Reach(4)}) is filled
    assert filled_in(EMAIL, config, {"primary": Reach(12)}).slots == 9
