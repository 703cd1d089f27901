"""Faults that hit the system and not its providers, through whole scenarios, each on both clocks."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from worlds import START, Scripted, World, email, on_both_clocks

import simulation
from actors.domain.attempts import Attempt
from actors.faults.queue import Load
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    NotificationDeferred,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
)
from actors.outcomes import Permanent, Transient
from actors.pipeline.dead_letter_queue import RedriveDeadLetter
from simulation.results.result import Result
from simulation.running.system_faults import InjectedCrash
from simulation.scenario import parse

S = 1_000_000_000
EVERY_SECOND = [{"channel": "email", "arrivals": {"constant": "1/s"}}]


def run(
    *faults: dict[str, Any], workload: Any = EVERY_SECOND, email: Any = None, log: Any = None, **top: Any
) -> Result:
    """Run a scenario on both clocks, check that the results are the same, and return one.

    Attempts at the provider of the email channel are appended to `log` as (seconds, notification).
    """
    text = json.dumps(
        {
            "duration": "20s",
            "workload": workload,
            "channels": {"email": email or {}},
            "faults": [{"channel": "email", **{key: _with_unit(key, fault[key]) for key in fault}} for fault in faults],
            **top,
        }
    )
    results = []
    for runtime in ("trio", "simpy"):
        seen: list[tuple[float, str]] = []

        def note(attempt: Attempt, now_ns: int, _load: Load, seen: Any = seen) -> None:
            seen.append((now_ns / S, attempt.command.notification_id))

        results.append((simulation.run(parse(text), runtime=runtime, rules={"email": [note]}), seen))
    (live, live_log), (simulated, simulated_log) = results
    assert live.history == simulated.history
    assert live_log == simulated_log
    assert {**live.summary, "runtime": ""} == {**simulated.summary, "runtime": ""}
    if log is not None:
        log += simulated_log
    return simulated


def _with_unit(key: str, value: Any) -> Any:
    return f"{value}s" if key in ("at", "restart_after") and not isinstance(value, str) else value


def times(result: Result, *kinds: type) -> list[float]:
    return [event.at_ns / S for event in result.history if isinstance(event, kinds)]


def ended(result: Result) -> bool:
    figures = result.summary
    assert figures["accepted"] == figures["sent"] + figures["dead_lettered"] + figures["suppressed"]
    return figures["in_flight"] == 0


# ── one actor ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("victim", ["handler", "limiter", "breaker", "channel", "dlq", "alert"])
def test_an_actor_crashes_at_its_time_and_nothing_is_lost(victim: str) -> None:
    result = run(
        {"at": "5500ms", "crash": {"actor": victim}},
        email={"provider": {"latency": "400ms", "failure_rate": 0.3}, "rate_limit": {"rate": "1/s"}},
    )
    (failed,) = [event for event in result.history if isinstance(event, ActorFailed)]
    assert (failed.at_ns, failed.decision) == (5_500_000_000, "restart")
    assert failed.error == f"InjectedCrash: injected crash of the {victim}"
    assert result.summary["accepted"] == 20
    assert ended(result)


@pytest.mark.parametrize(
    ("victim", "kind"),
    [("handler", NotificationRequested), ("breaker", NotificationSent), ("channel", NotificationSent)],
)
def test_it_is_back_after_the_time_that_is_given(victim: str, kind: type) -> None:
    result = run({"at": "5500ms", "crash": {"actor": victim}, "restart_after": "4s"})
    assert [at for at in times(result, kind) if 5.5 < at < 10] == [9.5] * 4
    assert ended(result)


def test_of_several_providers_the_actor_of_the_one_that_is_named_crashes() -> None:
    email = {"failover": {"backup": {}}, "switch_after": 1}
    outage = {"at": "5s", "for": "2500ms", "outage": True, "provider": "primary"}
    crash = {"at": "5500ms", "crash": {"actor": "channel"}, "restart_after": "4s"}
    result = run(outage, {**crash, "provider": "backup"}, email=email)
    sent = [event for event in result.history if isinstance(event, NotificationSent)]
    assert [event.provider for event in sent if 5.5 < event.at_ns / S < 9.5] == ["primary", "primary"]
    assert ended(result)


def test_with_a_time_given_it_may_crash_more_often_than_its_supervision_allows() -> None:
    crashes = [{"at": at, "crash": {"actor": "breaker"}} for at in range(1, 9)]
    with pytest.raises(InjectedCrash, match="injected crash of the breaker"):
        run(*crashes)
    result = run(*({**crash, "restart_after": "10ms"} for crash in crashes))
    assert times(result, ActorFailed) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert ended(result)


def test_every_channel_that_is_named_loses_its_own_actor_and_the_handler_crashes_once() -> None:
    workload = [{"channel": name, "arrivals": {"constant": "1/s"}} for name in ("email", "sms", "push")]
    result = run(
        {"channel": ["email", "push"], "at": 5, "crash": {"actor": "breaker"}},
        {"channel": "all", "at": 6, "crash": {"actor": "handler"}},
        workload=workload,
    )
    assert [(event.at_ns / S, event.actor) for event in result.history if isinstance(event, ActorFailed)] == [
        (5, "CircuitBreakerActor"),
        (5, "CircuitBreakerActor"),
        (6, "Handler"),
    ]


# ── the wall clock ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("step", ["90s", "-90s", "-1h"])
def test_retries_limits_and_breakers_do_not_notice_that_the_wall_clock_steps(step: str) -> None:
    email = {
        "provider": {"latency": "700ms", "failure_rate": 0.4},
        "circuit_breaker": {"failure_threshold": 2, "timeout": "3s"},
        "rate_limit": {"rate": "2/5s"},
    }
    workload = [{"channel": "email", "arrivals": {"constant": "1/s"}, "users": 2}]
    stepped = run({"at": "7500ms", "clock_step": step}, email=email, workload=workload).history
    without_faults = run(email=email, workload=workload).history
    assert len({event.epoch_ns for event in stepped}) == 2
    assert [msgspec.structs.replace(event, epoch_ns=without_faults[0].epoch_ns) for event in stepped] == without_faults
    before, after = [{event.epoch_ns for event in stepped if (event.at_ns > 7.5 * S) is late} for late in (False, True)]
    seconds = {"90s": 90, "-90s": -90, "-1h": -3600}[step]
    assert after == {epoch_ns + seconds * S for epoch_ns in before}


@pytest.mark.parametrize(("step", "at"), [("0s", 10), ("-3s", 13), ("-60s", 14), ("-1d", 14), ("60s", 4), ("3s", 7)])
def test_retries_that_are_taken_up_from_the_store_go_by_the_wall_clock_that_stepped(step: str, at: int) -> None:
    log: list[tuple[float, str]] = []
    run(
        {"at": 0, "for": "1s", "outage": True},
        {"at": 4, "clock_step": step, "crash": "process"},
        email={"retry": {"max_attempts": 2, "initial_delay": "10s", "jitter": "none"}, "provider": {"latency": "0s"}},
        workload=[{"channel": "email", "arrivals": {"times": ["0s"]}}],
        drain="2m",
        log=log,
    )
    assert [round(seconds) for seconds, _ in log] == [at]  # the outage answers the first attempt


NIGHT = {"quiet_hours": [{"share": 1.0, "from": "22:00", "to": "07:00"}], "start": "2026-03-01T21:59:50Z"}


def test_quiet_hours_begin_when_the_wall_clock_says_so() -> None:
    assert times(run(**NIGHT, drain="10h"), NotificationDeferred) == [*range(10, 20)]
    result = run({"at": "4500ms", "clock_step": "90s"}, **NIGHT, drain="10h")
    assert times(result, NotificationDeferred) == [*range(5, 20)]
    assert {event.resumes_at for event in result.history if isinstance(event, NotificationDeferred)} == {
        datetime(2026, 3, 2, 7, tzinfo=UTC)
    }
    assert times(result, NotificationSent)[-1] == 9 * 3600 + 10 - 90


def test_who_waits_for_the_end_of_quiet_hours_waits_on_when_the_wall_clock_has_stepped_back() -> None:
    result = run({"at": "14500ms", "clock_step": "-90s"}, **NIGHT, drain="10h")
    # From 14.5 s on it is not 22:00 yet. At what was 7:00 for those of 10 to 14 it is 6:58:30 then.
    seven = 9 * 3600 + 10
    assert times(result, NotificationDeferred) == [10, 11, 12, 13, 14] + [seven] * 5
    assert times(result, NotificationSent)[-5:] == [seven + 90] * 5


def test_who_waits_for_the_end_of_quiet_hours_is_late_when_the_wall_clock_has_stepped_forward() -> None:
    result = run({"at": "14500ms", "clock_step": "90s"}, **NIGHT, drain="10h")
    seven = 9 * 3600 + 10
    assert times(result, NotificationSent)[10:] == [seven - 90] * 5 + [seven] * 5


@pytest.mark.parametrize("step", [90.0, -90.0])
def test_a_dead_letter_says_of_each_instant_what_the_wall_clock_showed(step: float) -> None:
    def scenario(world: World) -> None:
        world.open(Scripted([Transient()] * 4), email={"retry": {"max_attempts": 2}})
        world.send(email("a"), at=5)
        world.at(5.2, world.system.step_wall_clock, step)
        world.at(20, world.pipeline.dead_letter_queue.tell, RedriveDeadLetter(notification_id="a"))
        world.at(20.5, world.system.step_wall_clock, step)

    world = on_both_clocks(scenario)
    (letter,) = world.letters
    assert [letter] == list(world.store.dead_letters())
    assert letter.first_failure == START + timedelta(seconds=5)
    assert letter.last_failure == world.failures[-1].at


@pytest.mark.parametrize(("step", "requested_at"), [(90.0, 5 - 90), (-90.0, 20)])
def test_a_dead_letter_is_redriven_by_the_calendar(step: float, requested_at: float) -> None:
    def scenario(world: World) -> None:
        world.open(Scripted([Permanent()]))
        world.send(email("a"), at=5)
        world.at(10, world.system.step_wall_clock, step)
        world.at(20, world.pipeline.dead_letter_queue.tell, RedriveDeadLetter(notification_id="a"))

    (sent,) = on_both_clocks(scenario).events(NotificationSent)
    assert sent.requested_at_ns == requested_at * S


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 80), st.sampled_from(["90s", "-90s", "-7s", "1d", "-1d"])), min_size=1, max_size=3
    ),
    crash=st.tuples(st.integers(0, 80), st.sampled_from(["process", {"actor": "handler"}])),
    seed=st.integers(0, 99),
)
@settings(max_examples=examples(40))
def test_however_the_wall_clock_steps_over_a_crash_nothing_is_sent_before_it_was_requested(steps, crash, seed) -> None:
    result = run(
        *({"at": quarter / 4, "clock_step": step} for quarter, step in steps),
        {"at": crash[0] / 4, "crash": crash[1], "restart_after": 1},
        email={"provider": {"latency": "700ms", "failure_rate": 0.5}, "retry": {"max_attempts": 2}},
        seed=seed,
        drain="3d",
    )
    assert ended(result)
    assert all(
        event.requested_at_ns <= event.started_ns for event in result.history if isinstance(event, NotificationSent)
    )


# ── the process ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_while_the_process_is_down_arrivals_are_refused_and_all_else_ends() -> None:
    log: list[tuple[float, str]] = []
    result = run({"at": 10, "crash": "process", "restart_after": "5s"}, log=log)
    assert result.summary["refused"]["down"] == 5  # from 10 to 14; it is back for that of 15
    assert result.summary["accepted"] == result.summary["sent"] == 15
    assert [at for at, _ in log] == [*range(10), *range(15, 20)]


def test_what_was_at_the_provider_is_sent_again_and_no_one_gets_the_first_answer() -> None:
    log: list[tuple[float, str]] = []
    result = run({"at": 10, "crash": "process"}, email={"provider": {"latency": "3s"}}, log=log)
    # The answer for that of 7 s is due at the instant of the crash, and comes behind it.
    # What was under way is resumed at a pace; that of 10 s is new, and passes.
    assert [each for at, each in log if 10 <= at < 11] == ["email-0-7", "email-0-10", "email-0-8", "email-0-9"]
    assert result.summary["refused"]["down"] == 0
    assert result.summary["attempts"] == result.summary["sent"] == 20
    assert len(log) == 23
    sent = {event.notification_id: event for event in result.history if isinstance(event, NotificationSent)}
    sent_at = [sent[f"email-0-{number}"].at_ns / S for number in (6, 7, 8, 9, 10)]
    assert sent_at == pytest.approx([9, 13, 13.1, 13.2, 13], abs=0.01)
    assert sent["email-0-7"].requested_at_ns == 7 * S


def test_a_retry_that_was_due_meanwhile_is_made_as_soon_as_it_is_back() -> None:
    result = run(
        {"at": 0, "for": "1ms", "fail_first": 1},
        {"at": 5, "crash": "process", "restart_after": "10s"},
        email={"retry": {"initial_delay": "12s", "jitter": "none"}},
    )
    (sent,) = [event for event in result.history if isinstance(event, NotificationSent) and event.attempt == 2]
    assert sent.started_ns == 15 * S


def test_a_breaker_begins_anew_and_that_is_in_the_history() -> None:
    result = run(
        {"at": 2, "for": "6s", "outage": True},
        {"at": 10, "crash": "process", "restart_after": "1s"},
        email={"circuit_breaker": {"failure_threshold": 3, "timeout": "1m"}},
    )
    changes = [event for event in result.history if isinstance(event, BreakerTransitioned)]
    assert [(event.at_ns / S, event.from_state, event.to_state, event.cause) for event in changes][1:] == [
        (10, "open", "closed", "restart")
    ]
    assert result.summary["breaker"]["email"]["opened"] == 1
    assert ended(result)


def test_dead_letters_survive_and_a_notification_that_has_ended_is_still_known() -> None:
    result = run(
        {"at": 0, "for": "8s", "permanent_rate": 1.0},
        {"at": 10, "crash": "process"},
        workload=[{"event": "UserRegistered", "arrivals": {"constant": "1/s"}}],
    )
    assert result.summary["dlq"]["final"] == len(times(result, NotificationMovedToDeadLetter)) == 8
    assert ended(result)


def test_a_crash_of_an_actor_or_of_the_process_that_is_down_is_nothing() -> None:
    result = run(
        {"at": 5, "crash": "process", "restart_after": "5s"},
        {"at": 6, "crash": "process", "restart_after": "9s"},
        {"at": 7, "crash": {"actor": "handler"}},
    )
    assert times(result, ActorFailed) == [5]
    assert result.summary["refused"]["down"] == 5


def test_one_that_does_not_come_back_leaves_its_notifications_in_flight() -> None:
    result = run(
        {"at": 10, "crash": "process", "restart_after": "1h"}, email={"provider": {"latency": "3s"}}, drain="1m"
    )
    assert (result.summary["in_flight"], result.summary["refused"]["down"]) == (3, 10)
    assert result.summary["simulated_s"] == 80


def test_clients_that_are_refused_or_forgotten_think_again() -> None:
    workload = [{"channel": "email", "clients": 3, "think": "1s"}]
    result = run(
        {"at": "5050ms", "crash": "process", "restart_after": "3s"},
        workload=workload,
        email={"provider": {"latency": "100ms"}},
        commit_latency="100ms",
    )
    # Each is sent 200 ms after it was thought of, and its client knows another 100 ms later.
    assert [at for at in times(result, NotificationSent) if at < 6] == [1.2] * 3 + [2.5] * 3 + [3.8] * 3
    # The next ones, of 4.9 s, were accepted at 5.0 s; so they are sent when it is back, at a pace.
    back = [at for at in times(result, NotificationSent) if 6 < at < 9]
    assert back == pytest.approx([8.15, 8.25, 8.35], abs=0.01)
    assert ended(result)

    result = run(
        {"at": "4950ms", "crash": "process", "restart_after": "3s"},
        workload=workload,
        email={"provider": {"latency": "100ms"}},
        commit_latency="100ms",
    )
    # These were not accepted. The clients see an error, think for a second, and are refused at 5.95 s and at 6.95 s.
    assert result.summary["refused"]["down"] == 9
    assert [at for at in times(result, NotificationRequested) if 4 < at < 9] == [7.95] * 3
    assert ended(result)


def test_what_was_being_accepted_when_the_process_died_was_offered_and_its_sender_sees_an_error() -> None:
    crash = {"at": "10050ms", "crash": "process", "restart_after": "2s"}
    summary = run(crash, commit_latency="100ms").summary
    assert (summary["refused"]["down"], summary["accepted"], summary["offered"]) == (1 + 2, 17, 20)
    workload = [{"channel": "email", "arrivals": {"constant": "1/s"}, "resend": {"after": "2s", "at_most": 1}}]
    again = run(crash, commit_latency="100ms", workload=workload).summary
    assert (again["refused"]["down"], again["accepted"], again["offered"]) == (0, 20, 20)
    events = [{"event": "OrderPlaced", "arrivals": {"constant": "1/s"}}]
    both = run(crash, commit_latency="100ms", workload=events, channels={"sms": {}}).summary
    assert (both["refused"]["down"], both["accepted"], both["offered"]) == (6, 34, 40)


def test_what_waits_for_a_handler_that_is_down_when_the_process_dies_was_offered_too() -> None:
    faults = (
        {"at": "4500ms", "crash": {"actor": "handler"}, "restart_after": "1h"},
        {"at": "8500ms", "crash": "process"},
    )
    summary = run(*faults).summary
    assert (summary["refused"]["down"], summary["accepted"], summary["offered"]) == (4, 16, 20)


def test_a_change_that_is_not_durable_is_forgotten_and_what_it_said_is_done_again() -> None:
    log: list[tuple[float, str]] = []
    result = run({"at": "10050ms", "crash": "process"}, commit_latency="100ms", log=log)
    # That of 9 s was accepted at 9.1 s, and that it was sent was durable at 9.2 s; that of 10 s is lost altogether.
    assert "email-0-10" not in [each for _, each in log]
    assert result.summary["accepted"] == 19
    result = run({"at": "10150ms", "crash": "process"}, commit_latency="100ms", log=log)
    assert [at for at, each in log if each == "email-0-10"] == [10.1, 10.15]
    assert result.summary["accepted"] == result.summary["sent"] == 20


@given(
    crashes=st.lists(st.tuples(st.integers(0, 80), st.sampled_from([0, 0.1, 3])), min_size=1, max_size=4),
    commit_latency=st.sampled_from([0, 0.001, 0.25, 0.3]),
    latency=st.sampled_from([0, 0.25, 1]),
    failure_rate=st.sampled_from([0.0, 0.5, 0.9]),
    max_in_flight=st.sampled_from([None, 2]),
    seed=st.integers(0, 99),
)
@settings(max_examples=examples(60))
def test_whenever_the_process_crashes_what_was_accepted_ends_once(
    crashes, commit_latency, latency, failure_rate, max_in_flight, seed
) -> None:
    log: list[tuple[float, str]] = []
    result = run(
        *({"at": quarter / 4, "crash": "process", "restart_after": down} for quarter, down in crashes),
        workload=[*EVERY_SECOND, {"channel": "email", "clients": 2, "think": "1s"}],
        email={"provider": {"latency": f"{latency}s", "failure_rate": failure_rate}, "max_in_flight": max_in_flight},
        commit_latency=f"{commit_latency}s",
        seed=seed,
        log=log,
    )
    assert ended(result)
    accepted = {event.notification_id for event in result.history if isinstance(event, NotificationRequested)}
    over = [
        event.notification_id
        for event in result.history
        if isinstance(event, (NotificationSent, NotificationMovedToDeadLetter))
    ]
    assert sorted(over) == sorted(accepted)
    attempts = {each: [at for at, tried in log if tried == each] for each in accepted}
    assert len([event for event in result.history if isinstance(event, NotificationSent)]) == len(accepted) - len(
        times(result, NotificationMovedToDeadLetter)
    )
    recorded = result.summary["attempts"]
    # Each crash costs a notification one more attempt at the most: that which was under way then.
    assert recorded <= sum(map(len, attempts.values())) <= recorded + len(crashes) * len(accepted)
