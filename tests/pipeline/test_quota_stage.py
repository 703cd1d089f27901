"""Quotas in the pipeline: a provider never meets more than its quota, whatever its attempts had to wait for before."""

from typing import Any

import pytest
from effort import examples, sliced
from hypothesis import given, settings, strategies as st
from pipeline_invariants import check_quota
from timetables import numbered, operate, send_at
from worlds import EMAIL, OK, SMS, Scripted, Try, World, email, on_both_clocks, simulate

from actors.messages import DeferralCause, NotificationDeferred, NotificationMovedToDeadLetter
from actors.outcomes import Transient
from actors.settings.channel import RateLimitConfig

S = 1_000_000_000
DOWN = Transient(reason="down")
MANY = {"max_attempts": 50, "initial_delay": 1.0, "max_delay": 5.0}
QUOTAS: dict[str, dict[str, Any]] = {
    "sliding window": {"rate": "20/10s"},
    "fixed window": {"rate": "20/10s", "kind": "fixed_window"},
    "token bucket": {"rate": "2/s", "burst": 5, "kind": "token_bucket"},
    "sliding counter": {"rate": "20/10s", "kind": "sliding_counter"},
    "leaky bucket": {"rate": "2/s", "kind": "leaky_bucket"},
    "two rates": {"rates": ["3/s", "60/min"]},
}


def outage(start: float, until: float) -> Any:
    return lambda this: DOWN if start <= this.at < until else OK


def check(provider: Scripted, quota: dict[str, Any]) -> None:
    check_quota([each.at_ns for each in provider.tries], RateLimitConfig.model_validate(quota))


@pytest.mark.parametrize("kind", sliced(QUOTAS, 6))
def test_hundreds_who_waited_for_an_outage_of_minutes_meet_the_quota_all_the_same(kind):
    breaker = {"timeout": 30, "resume_rate": "100/s"}
    settings = {"retry": MANY, "quota": QUOTAS[kind], "circuit_breaker": breaker}
    world = send_at({number: email(f"n{number}") for number in range(600)}, outage(60, 300), email=settings)
    check(world.provider, QUOTAS[kind])
    assert len(world.sent_ids()) == 600
    # It is all used while hundreds wait: 2 a second, or 1 where a minute has no more.
    rate = 1 if kind == "two rates" else 2
    after = [each for each in world.provider.tries if 400 <= each.at < 500]
    assert len(after) == pytest.approx(100 * rate, abs=25)


@pytest.mark.parametrize("victim", sliced(["breaker", "limiter", "handler"], 6))
@pytest.mark.parametrize("kind", QUOTAS)
def test_a_stage_that_crashes_makes_no_more_of_a_quota(kind, victim):
    def scenario(world: World) -> None:
        world.providers = {
            "primary": Scripted(outage(10, 40), latency=0.5),
            "backup": Scripted(outage(20, 45), latency=0.5),
        }
        world.open(
            {EMAIL: world.providers},
            email={
                "retry": MANY,
                "quota": QUOTAS[kind],
                "rate_limit": {"rate": "1000/s"},
                "circuit_breaker": {"timeout": 5},
                "failover": {"backup": {}},
            },
        )
        stages = world.pipeline.wiring.stages[EMAIL]
        refs = {"breaker": stages.circuit_breaker, "limiter": stages.rate_limiter, "handler": world.pipeline.handler}
        for number in range(150):
            world.send(email(f"n{number}"), at=number / 5)
        for at in (2.05, 11.0, 35.25, 50.3):
            world.at(at, world.system.crash, refs[victim], RuntimeError("injected crash"))

    world = on_both_clocks(scenario)
    for provider in world.providers.values():
        check(provider, QUOTAS[kind])
        assert len(provider.tries) > 20
    assert sorted(world.sent_ids()) == sorted(f"n{number}" for number in range(150))


@given(
    st.sampled_from(sorted(QUOTAS)),
    st.sampled_from(sorted(QUOTAS)),
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), min_size=1, max_size=10),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.booleans()), max_size=4),
    st.sampled_from(["channel", "host"]),
    st.sampled_from([None, 1, 3]),
)
@settings(max_examples=examples(100))
def test_no_quota_is_ever_exceeded(first, second, arrivals, outages, per, slots):
    def fate(is_primary: bool) -> Any:
        def of(this: Try) -> Any:
            down = any(hits is is_primary and at <= this.at < at + length for at, length, hits in outages)
            return DOWN if down else OK

        return of

    providers = {"primary": Scripted(fate(True), latency=0.25), "backup": Scripted(fate(False), latency=0.25)}

    def scenario(world: World) -> None:
        breaker = {"failure_threshold": 2, "timeout": 3, "per": per, "resume_rate": "50/s"}
        world.open(
            {EMAIL: providers},
            email={
                "retry": MANY,
                "quota": QUOTAS[first],
                "circuit_breaker": breaker,
                "max_in_flight": slots,
                "failover": {"backup": {"quota": QUOTAS[second]}},
            },
        )
        for group, (at, count) in enumerate(arrivals):
            world.send(
                *(email(f"{group} {number}", recipient=f"ann@host{number % 3}.example") for number in range(count)),
                at=at / 4,
            )

    world = simulate(scenario)
    check(providers["primary"], QUOTAS[first])
    check(providers["backup"], QUOTAS[second])
    assert len(world.sent_ids()) == sum(count for _, count in arrivals)


@given(
    st.lists(st.tuples(st.integers(0, 80), st.integers(1, 10)), min_size=1, max_size=10),
    st.sampled_from([*sorted(QUOTAS), None]),
    st.sampled_from([*sorted(QUOTAS), None]),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([None, {"initial_rate": "4/s"}]),
    st.sampled_from([None, {"initial": 2, "maximum": 3}]),
)
@settings(max_examples=examples(100))
def test_no_one_overtakes_in_a_line_whatever_it_waits_for(arrivals, first, second, slots, rate, concurrency):
    provider = Scripted(latency=lambda this: 0.1 + this.at_ns % 7 / 10)

    def scenario(world: World) -> None:
        world.open(
            {EMAIL: {"primary": provider, "backup": provider}},
            email={
                "quota": first and QUOTAS[first],
                "max_in_flight": slots,
                "adaptive_rate": rate,
                "concurrency_limit": concurrency,
                "failover": {"backup": {"quota": second and QUOTAS[second]}},
            },
        )
        number = 0
        for at, count in sorted(arrivals):
            world.send(*(email(f"{number + each:03}") for each in range(count)), at=at / 4)
            number += count

    world = simulate(scenario)
    assert len(world.sent_ids()) == sum(count for _, count in arrivals)
    assert provider.ids == sorted(provider.ids)


def test_who_comes_while_others_wait_for_the_quota_is_told_when_the_first_of_them_goes():
    world = send_at({2 * number: email(f"n{number}") for number in range(4)}, email={"quota": {"rate": "1/10s"}})
    deferred = [(event.at_ns / S, event.cause, event.resumes_at_ns / S) for event in world.events(NotificationDeferred)]
    assert deferred == [(2 * number, DeferralCause.RATE_LIMIT, 10.0) for number in (1, 2, 3)]
    assert world.provider.times == [0.0, 10.0, 20.0, 30.0]


def test_however_many_wait_for_the_quota_there_is_one_timer_and_one_setting_of_it_for_each_who_goes():
    calls: list[int] = []

    def scenario(world: World) -> None:
        calls.clear()
        world.open(email={"quota": {"rate": "1/s"}})
        stage = world.pipeline.wiring.stages[EMAIL].circuit_breaker
        assert stage is not None
        set_timer = world.system.set_timer

        def counting(instant_ns: int, actor: Any, message: Any) -> Any:
            if actor is stage.actor and type(message).__name__ == "_Advance":
                calls.append(instant_ns)
            return set_timer(instant_ns, actor, message)

        world.system.set_timer = counting  # type: ignore[method-assign]
        world.send(*(email(f"n{number}", expires_after=3600 + number) for number in range(1000)))

    world = simulate(scenario)
    assert len(world.sent_ids()) == 1000
    assert calls == [number * S for number in range(1, 1000)]


# ── quota and breaker together ──────────────────────────────────────────────────────────────────────────────────


def test_with_when_open_fail_the_quota_that_is_used_up_keeps_no_one_from_failing_at_once():
    settings = {
        "retry": {"max_attempts": 1},
        "quota": {"rate": "1/h"},
        "circuit_breaker": {"failure_threshold": 1, "when_open": "fail"},
    }
    world = send_at({0: email("first"), 1: email("a")}, [DOWN], email=settings)
    assert [(moved.at_ns / S, moved.reason) for moved in world.events(NotificationMovedToDeadLetter)] == [
        (0.0, "down"),
        (1.0, "circuit breaker is open"),
    ]


def test_a_quota_that_drops_lets_those_wait_whom_the_breaker_holds_and_drops_them_when_they_come_over_it():
    settings = {"quota": {"rate": "2/h", "on_limit": "drop"}, "circuit_breaker": {"resume_rate": "1/s"}}
    world = send_at({0: operate("force-open"), 1: numbered(4), 100: operate("close")}, email=settings)
    assert world.sent_ids() == ["n0", "n1"]
    assert world.reasons == ["rate limit exceeded"] * 2
    assert all(moved.at_ns > 100 * S for moved in world.events(NotificationMovedToDeadLetter))


def test_who_would_come_too_late_for_the_quota_is_dead_lettered_at_once_but_not_if_a_slot_may_be_had_before():
    def scenario(world: World) -> None:
        provider = Scripted(latency=5.0)
        world.open(
            {EMAIL: {"primary": provider, "backup": provider}, SMS: provider},
            email={"quota": {"rate": "1/h"}, "failover": {"backup": {"quota": None, "max_in_flight": 1}}},
            sms={"quota": {"rate": "1/h"}},
        )
        world.send(email("a"), email("b"), email("c", expires_after=60))
        world.send(email("d", channel="sms"), email("e", channel="sms", expires_after=60))

    world = on_both_clocks(scenario)
    assert sorted(world.sent_ids()) == ["a", "b", "c", "d"]
    assert [(moved.notification_id, moved.at_ns) for moved in world.events(NotificationMovedToDeadLetter)] == [("e", 0)]
