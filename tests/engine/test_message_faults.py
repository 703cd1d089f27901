"""Messages that come twice or late: what is injected, and that the invariants of the pipeline hold all the same."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from provider_attempts import first_attempt

import simulation
from actors.domain.attempts import Admitted, Attempt
from actors.faults.queue import Load
from actors.kernel.randomness import RandomStreams
from actors.messages import (
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
)
from actors.notifier import Pipeline
from actors.pipeline.deduplicating import InFlight
from actors.settings.faults import FaultConfig
from simulation.engine import message_faults
from simulation.engine.system import SimulatedSystem
from simulation.results.result import Result
from simulation.running import runner
from simulation.scenario import parse

S = 1_000_000_000
EVERY_SECOND = [{"channel": "email", "arrivals": {"constant": "1/s"}}]


class Run:
    """What came of a scenario, and what was seen meanwhile."""

    def __init__(self, text: str, runtime: Any) -> None:
        self.tries: list[tuple[float, str]] = []
        """Attempts at the provider: seconds, notification."""
        self.copies = 0
        """Of messages."""
        self.pipelines: list[Pipeline] = []
        with self._looking():
            self.result: Result = simulation.run(parse(text), runtime=runtime, rules={"email": [self._note]})

    def _note(self, attempt: Attempt, now_ns: int, _load: Load) -> None:
        self.tries.append((now_ns / S, attempt.command.notification_id))

    @contextmanager
    def _looking(self) -> Iterator[None]:
        delays_ns = message_faults._MessageFaultRules.delays_ns

        def count(each: Any, *args: Any) -> list[int]:
            delays = delays_ns(each, *args)
            self.copies += len(delays) - 1
            return delays

        def make(*args: Any, **kwargs: Any) -> Pipeline:
            self.pipelines.append(Pipeline(*args, **kwargs))
            return self.pipelines[-1]

        with (
            mock.patch.object(message_faults._MessageFaultRules, "delays_ns", count),
            mock.patch.object(runner, "Pipeline", make),
        ):
            yield

    def times(self, *kinds: type) -> list[float]:
        return [event.at_ns / S for event in self.result.history if isinstance(event, kinds)]

    def ids(self, *kinds: type) -> list[str]:
        return [event.notification_id for event in self.result.history if isinstance(event, kinds)]

    def check(self) -> None:
        """Check what holds of every run that has ended."""
        figures = self.result.summary
        assert figures["in_flight"] == 0
        ended = self.ids(NotificationSent, NotificationMovedToDeadLetter)
        assert sorted(ended) == sorted(self.ids(NotificationRequested))
        for stages in self.pipelines[-1].wiring.stages.values():
            # No one waits for late copies: some may be on their way when all has ended.
            assert stages.circuit_breaker is not None
            attempts = stages.circuit_breaker.actor._in_flight._attempts.values()
            assert stages.in_flight == sum(admitted is not None for _, admitted in attempts)


def run(*faults: dict[str, Any], workload: Any = EVERY_SECOND, email: Any = None, **top: Any) -> Run:
    """Run a scenario on both clocks, check that they agree, and return one of the runs."""
    text = json.dumps(
        {
            "duration": "10s",
            "workload": workload,
            "channels": {"email": email or {}},
            "faults": [{"channel": "email", **fault} for fault in faults],
            **top,
        }
    )
    live, simulated = Run(text, "trio"), Run(text, "simpy")
    assert live.result.history == simulated.result.history
    assert (live.tries, live.copies) == (simulated.tries, simulated.copies)
    return simulated


def test_a_scenario_without_it_runs_on_the_usual_system_with_the_usual_stages() -> None:
    found = run({"outage": True, "for": "5s"})
    pipeline = found.pipelines[-1]
    assert type(pipeline.handler.actor.system) is SimulatedSystem
    assert type(pipeline.wiring.stages[next(iter(pipeline.wiring.stages))].circuit_breaker.actor).__name__ == (
        "CircuitBreakerActor"
    )


# ── what is injected ────────────────────────────────────────────────────────────────────────────────────────────


def test_each_message_on_the_way_of_an_attempt_is_late() -> None:
    late = {"reorder": {"delay": "1s"}}
    found = run(late, email={"provider": {"latency": "100ms"}})
    # To the breaker, to the channel, from there to the breaker, to the handler.
    assert found.times(NotificationSent) == [at + 4.1 for at in range(10)]
    assert [at for at, _ in found.tries] == [at + 2 for at in range(10)]
    found = run(late, email={"rate_limit": {"rate": "1/s"}})
    assert found.times(NotificationSent) == [at + 5 for at in range(10)]


def test_a_refusal_is_late_too_and_what_is_no_ones_attempt_is_not() -> None:
    refusing = {"circuit_breaker": {"initial_state": "forced-open", "when_open": "fail"}, "retry": {"max_attempts": 1}}
    found = run({"reorder": {"delay": "1s"}}, email=refusing)
    assert found.times(NotificationMovedToDeadLetter) == [at + 2 for at in range(10)]
    assert len(found.pipelines[-1].dead_letters) == 10
    assert found.pipelines[-1].alert.actor.alerts


def test_a_window_is_one_of_the_instants_at_which_messages_are_told() -> None:
    late = {"reorder": {"delay": "250ms"}, "at": "3s", "for": "500ms"}
    found = run(late, {**late, "at": "6s", "for": "1ms"})
    assert [round(at % 1, 3) for at in found.times(NotificationSent)] == [0, 0, 0, 0.5, 0, 0, 0.25, 0, 0, 0]


def test_delays_of_windows_that_overlap_add_up_and_those_of_other_channels_do_not() -> None:
    late = {"reorder": {"delay": "1s"}}
    found = run(late, late, {**late, "channel": "sms"}, channels={"email": {}, "sms": {}})
    assert found.times(NotificationSent) == [at + 8 for at in range(10)]


@pytest.mark.parametrize(("windows", "sends"), [(1, 2), (2, 3), (4, 5)])
def test_each_window_adds_a_copy_and_the_breaker_takes_none_that_it_has(windows: int, sends: int) -> None:
    found = run(*([{"duplicate_rate": 1.0}] * windows), email={"provider": {"latency": "100ms"}})
    # Only a copy of what goes from the breaker to the channel cannot be distinguished from a new attempt.
    assert Counter(each for _, each in found.tries) == dict.fromkeys(found.ids(NotificationRequested), sends)
    assert found.result.summary["attempts"] == found.result.summary["sent"] == 10
    found.check()


def test_draws_are_those_of_the_window_and_the_channel() -> None:
    def delays(*faults: dict[str, Any]) -> list[list[int]]:
        configs = [FaultConfig.model_validate(fault) for fault in faults]
        found = message_faults._MessageFaultRules(configs, RandomStreams(7))
        return [found.delays_ns(configs[0].channel[0], at) for at in range(200)]

    copies, late = {"channel": "email", "duplicate_rate": 0.5}, {"reorder": {"delay": {"exponential": {"mean": 1.0}}}}
    alone = delays(copies)
    assert {len(each) for each in alone} == {1, 2}
    assert [len(each) for each in delays(copies, {"channel": "email", **late})] == [len(each) for each in alone]
    assert delays(copies, {"channel": "sms", "duplicate_rate": 1.0}) == alone
    assert delays(copies) == alone


# ── what the pipeline makes of it ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("on_limit", ["defer", "drop"])
def test_copies_are_not_charged_to_the_limit_of_a_user(on_limit: str) -> None:
    limited = {"rate_limit": {"rate": "10/min", "on_limit": on_limit}}
    found = run({"duplicate_rate": 1.0}, workload=[{**EVERY_SECOND[0], "users": 1}], email=limited)
    assert found.times(NotificationSent) == list(range(10))
    found.check()


def test_a_permit_is_settled_once_so_no_copy_makes_room_for_another_attempt() -> None:
    found = run({"duplicate_rate": 1.0}, email={"provider": {"latency": "1500ms"}, "max_in_flight": 1})
    assert found.times(NotificationSent) == [1.5 * number for number in range(1, 11)]
    found.check()


def test_copies_of_a_failure_do_not_trip_a_breaker() -> None:
    settings = {"circuit_breaker": {"failure_threshold": 2}, "retry": {"max_attempts": 1}}
    found = run({"duplicate_rate": 1.0}, {"at": "3s", "for": "1ms", "outage": True}, email=settings)
    assert found.result.summary["breaker"]["email"]["opened"] == 0
    assert len(found.times(NotificationFailed)) == 1
    found.check()


def test_an_answer_settles_the_admission_that_it_is_of() -> None:
    attempt = first_attempt()
    admitted = Admitted(attempt=attempt, permit=1)
    in_flight = InFlight()
    assert in_flight.take(attempt)
    first = in_flight.admit(admitted)
    assert in_flight.settle(first)
    assert in_flight.take(attempt)  # a copy, which cannot be told from a new one
    second = in_flight.admit(admitted)
    assert not in_flight.settle(first)  # a copy of the first answer
    assert in_flight.settle(second)


def test_a_copy_that_comes_to_a_limiter_after_its_restart_waits_in_silence_where_all_has_ended() -> None:
    found = run(
        {
            "duplicate_rate": 0.5,
            "reorder": {"delay": {"mixture": [{"weight": 3, "constant": "0s"}, {"weight": 1, "constant": "6s"}]}},
        },
        {"at": "12s", "crash": {"actor": "limiter"}},
        duration="20s",
        seed=3,
        workload=[{"channel": "email", "arrivals": {"constant": "2/s"}, "users": 3}],
        email={"rate_limit": {"rate": "5/5s"}, "provider": {"latency": "10ms"}},
    )
    ended: set[str] = set()
    for event in found.result.history:
        if isinstance(event, NotificationSent):
            ended.add(event.notification_id)
        elif isinstance(event, NotificationDeferred):
            assert event.notification_id not in ended


shares = st.sampled_from([0.0, 0.2, 1.0])
delays = st.sampled_from(
    [
        "10ms",
        "3s",
        {"exponential": {"mean": "500ms"}},
        {"mixture": [{"weight": 1, "constant": "0s"}, {"weight": 1, "constant": "2s"}]},
    ]
)
emails = st.fixed_dictionaries(
    {
        "provider": st.fixed_dictionaries(
            {"latency": st.sampled_from(["0s", "300ms"]), "failure_rate": st.sampled_from([0.0, 0.4])}
        ),
        "retry": st.just({"max_attempts": 3}),
        "circuit_breaker": st.sampled_from(
            [{"failure_threshold": 2, "timeout": "3s"}, {"failure_threshold": 2, "timeout": "3s", "when_open": "fail"}]
        ),
    },
    optional={
        "max_in_flight": st.just(1),
        "quota": st.just({"rate": "2/s"}),
        "rate_limit": st.sampled_from([{"rate": "2/5s"}, {"rate": "2/5s", "on_limit": "drop"}]),
        "hedging": st.just({"delay": "200ms"}),
    },
)
crashes = st.tuples(
    st.integers(0, 40),
    st.sampled_from([{"actor": "handler"}, {"actor": "breaker"}, {"actor": "channel"}, "process"]),
)


@given(shares, delays, emails, st.lists(crashes, max_size=3), st.integers(0, 99))
@settings(max_examples=examples(80))
def test_whatever_is_repeated_or_late_everything_ends_once(share, delay, email, crashes, seed) -> None:
    found = run(
        {"at": "2s", "for": "7s", "duplicate_rate": share, "reorder": {"delay": delay}},
        {"at": "4s", "for": "2s", "failure_rate": 1.0},
        *({"at": f"{quarter / 4}s", "crash": crash, "restart_after": "1s"} for quarter, crash in crashes),
        workload=[{"channel": "email", "arrivals": {"poisson": "4/s"}, "users": 3, "expires_after": "1m"}],
        email=email,
        seed=seed,
    )
    found.check()
    if not crashes and "hedging" not in email:
        tried = [
            event
            for event in found.result.history
            if isinstance(event, NotificationSent)
            or (isinstance(event, NotificationFailed) and event.reason != "circuit breaker is open")
        ]
        assert len(tried) <= len(found.tries) <= len(tried) + found.copies
