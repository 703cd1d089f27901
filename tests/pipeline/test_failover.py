"""Several providers of a channel: which is asked when, what each of their breakers counts, and the way back."""

from collections import Counter
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from pipeline_invariants import check_quota
from pydantic import ValidationError
from timetables import numbered, operate, send_at
from worlds import EMAIL, OK, Scripted, Try, World, email, on_both_clocks

import simulation
from actors.messages import (
    BreakerTransitioned,
    DeferralCause,
    NotificationDeferred,
    NotificationFailed,
    NotificationSent,
    SendNotification,
)
from actors.outcomes import ChannelFault, Transient
from actors.settings.channel import ChannelConfig, RateLimitConfig
from simulation.scenario import parse

S = 1_000_000_000
DOWN = Transient(reason="down")
MANY = {"max_attempts": 50, "initial_delay": 1.0, "max_delay": 5.0}


def outage(start: float, until: float) -> Any:
    return lambda this: DOWN if start <= this.at < until else OK


def over_two(
    sends: Any,
    primary: tuple[Any, ...],
    backup: tuple[Any, ...] = (),
    own: Any = None,
    until: float = 1e5,
    **shared: Any,
) -> World:
    """Send emails over two providers with these answers and latencies; `own` are the settings of the backup alone."""

    def opens(world: World) -> None:
        world.primary, world.backup = Scripted(*primary), Scripted(*backup)
        settings = {"retry": MANY, **shared, "failover": {"backup": own or {}}}
        world.open({EMAIL: {"primary": world.primary, "backup": world.backup}}, email=settings)

    return send_at(sends, opens=opens, until=until)


def each_second(count: int) -> dict[float, SendNotification]:
    return {number: email(f"n{number:03}") for number in range(count)}


def transitions(world: World) -> list[tuple[float, str, str]]:
    return [(event.at_ns / S, event.breaker, event.to_state) for event in world.events(BreakerTransitioned)]


# ── there and back ──────────────────────────────────────────────────────────────────────────────────────────────


def test_when_the_primary_is_out_the_backup_takes_over_at_once_and_gives_back_when_a_probe_comes_through():
    world = over_two(each_second(200), (outage(10, 95),), circuit_breaker={"failure_threshold": 3})
    opened = world.primary.times[12]  # the third failure: first attempts and retries count alike
    assert transitions(world) == [
        (opened, "email", "open"),
        (opened + 60, "email", "half-open"),
        (opened + 60, "email", "open"),
        (opened + 120, "email", "half-open"),
        (opened + 120, "email", "closed"),
    ]
    assert len(world.sent_ids()) == 200
    assert world.events(NotificationDeferred) == []
    by_provider = [(event.started_ns / S, event.provider) for event in world.events(NotificationSent)]
    for at, provider in by_provider:
        assert provider == ("primary" if at < 10 or at >= opened + 120 else "backup")
    # None are late except for the attempts that the primary failed: three, and a probe.
    assert [failed.provider for failed in world.events(NotificationFailed)] == ["primary"] * 4


def test_the_probe_is_the_next_attempt_after_the_open_time_whichever_it_is():
    sends = {0: email("first"), 60.4: email("early"), 60.75: [email("probe"), email("beside it")], 62: email("later")}
    world = over_two(sends, ([DOWN], 0.5), circuit_breaker={"failure_threshold": 1})
    assert world.primary.ids == ["first", "probe", "later"]
    assert world.backup.ids == ["first", "early", "beside it"]


def test_the_backup_takes_no_more_than_its_quota_and_who_waits_goes_when_either_has_room():
    quota = {"rate": "1/2s"}
    breaker = {"failure_threshold": 1, "timeout": 45, "resume_rate": "100/s"}
    world = over_two(each_second(60), (outage(0, 30),), own={"quota": quota}, circuit_breaker=breaker)
    check_quota([each.at_ns for each in world.backup.tries], RateLimitConfig.model_validate(quota))
    assert [each.at for each in world.backup.tries[:20]] == [1.0 + 2 * number for number in range(20)]
    assert len(world.sent_ids()) == 60
    first_tries = [each.notification_id for each in world.backup.tries if each.number == 1 and each.at < 45]
    assert first_tries == sorted(first_tries)
    resumed = [each for each in world.primary.tries if 45 <= each.at < 46]
    assert len(resumed) == pytest.approx(22, abs=2)  # the line, at the pace


@pytest.mark.parametrize("back", ["primary", "backup"])
def test_when_both_are_down_all_wait_and_go_when_either_is_back(back):
    primary, backup = (outage(0, 50 if name == back else 1000) for name in ("primary", "backup"))
    sends = {number / 10: email(f"n{number:02}") for number in range(20)}
    breaker = {"failure_threshold": 1, "resume_rate": "10/s"}
    world = over_two(sends, (primary,), (backup,), until=900, circuit_breaker=breaker)
    assert len(world.sent_ids()) == 20
    assert {event.provider for event in world.events(NotificationSent)} == {back}
    # One failed attempt opened each of them; all others wait and use none.
    assert [failed.at_ns / S for failed in world.failures if failed.at_ns < 60 * S] == [0.0, 0.1]
    assert world.times(NotificationSent)[-1] < 65


def test_when_both_are_down_and_it_is_to_fail_it_fails():
    sends = {number / 10: email(f"n{number}") for number in range(3)}
    settings = {"retry": {"max_attempts": 2}, "circuit_breaker": {"failure_threshold": 1, "when_open": "fail"}}
    world = over_two(sends, (outage(0, 1000),), (outage(0, 1000),), until=900, **settings)
    assert len(world.primary.tries) + len(world.backup.tries) == 2
    assert Counter(failed.reason for failed in world.failures) == {"down": 2, "circuit breaker is open": 4}
    assert Counter(failed.provider for failed in world.failures) == {"primary": 1, "backup": 1, None: 4}


def test_after_so_many_failed_attempts_the_next_provider_is_tried_first():
    retry, down = {"max_attempts": 7, "initial_delay": 1.0, "backoff_multiplier": 1.0}, (lambda _: DOWN,)
    world = over_two({0: email("n")}, down, down, retry=retry, circuit_breaker={"enabled": False}, switch_after=2)
    asked = "primary primary backup backup primary primary backup"
    assert [failed.provider for failed in world.failures] == asked.split()


def test_a_channel_fault_opens_the_breaker_of_the_provider_that_has_it_and_the_other_delivers():
    world = over_two({1: numbered(5)}, ([ChannelFault(reason="bad key")],), until=50)
    assert transitions(world) == [(1.0, "email", "open")]
    assert Counter(event.provider for event in world.events(NotificationSent)) == {"primary": 4, "backup": 1}
    assert world.alerts == ["Channel email is broken: bad key"]


def test_an_order_is_for_one_provider_or_for_all():
    first, second = operate("force-open", provider="primary"), operate("force-open")
    then = operate("close", provider="backup")
    world = over_two({0: first, 1: email("a"), 2: second, 3: second, 4: email("b"), 5: then}, ())
    assert world.notes == [True, "accepted", True, False, "accepted", True]
    assert world.backup.times == [1.0, 5.0]
    assert world.primary.times == []


def test_a_wait_for_a_slot_of_one_and_the_breaker_of_the_other_ends_with_whatever_comes_first():
    # The first fails at the primary, and takes the backup's slot after a second.
    sends, backup = {0: email("a"), 5: [email("b"), email("c")]}, ((), lambda this: 40.0 if this.at < 10 else 100.0)
    breaker = {"failure_threshold": 1}
    world = over_two(sends, ([DOWN],), backup, {"max_in_flight": 1}, timeout=300, circuit_breaker=breaker)
    assert world.primary.times == [0.0, 60.0]
    assert world.backup.times == [1.0, 41.0]
    assert world.sent_ids() == ["a", "c", "b"]
    deferred = world.events(NotificationDeferred)
    assert [(event.notification_id, event.cause) for event in deferred] == [
        ("b", DeferralCause.CIRCUIT_BREAKER),
        ("c", DeferralCause.CIRCUIT_BREAKER),
    ]


FAILOVER = """
name: failover
seed: 3
duration: 5m
workload: [{channel: email, arrivals: {poisson: 5/s}}]
channels:
  email:
    retry: {max_attempts: 5, jitter: full}
    provider: {failure_rate: 5%, latency: {exponential: {mean: 200ms}}}
    failover:
      backup: {quota: {rate: 3/s}}
      last: {provider: {failure_rate: 20%}}
faults:
  - {channel: email, provider: primary, at: 1m, for: 2m, outage: true}
"""


def test_figures_of_providers_add_up_to_those_of_the_channel():
    summary = simulation.run(parse(FAILOVER)).summary
    email_figures = summary["channels"]["email"]
    providers = email_figures["providers"]
    assert list(providers) == ["primary", "backup", "last"]
    for key in ("attempts", "sent"):
        assert sum(each[key] for each in providers.values()) == email_figures[key]
        assert all(each[key] > 0 for each in providers.values())
    assert set(summary["breaker"]) == {"email", "email/backup", "email/last"}
    assert summary["breaker"]["email"]["opened"] >= 1


# ── invariants ──────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 30)), max_size=6),
    st.lists(st.integers(0, 60), min_size=1, max_size=20),
    st.integers(1, 3),
    st.sampled_from([None, 1, 2]),
    st.sampled_from(["wait", "fail"]),
)
@settings(max_examples=examples(100))
def test_each_attempt_goes_to_the_first_provider_whose_breaker_is_closed(outages, arrivals, threshold, switch, when):
    """With nothing but breakers in the way and no switching, that is the first which has not failed too often."""
    names = ["primary", "second", "third"]

    def fate(lane: int) -> Any:
        def of(this: Try) -> Any:
            down = any(hit in (lane, 3) and at <= this.at < at + length for hit, at, length in outages)
            return DOWN if down else OK

        return of

    def scenario(world: World) -> None:
        world.by_name = {name: Scripted(fate(lane)) for lane, name in enumerate(names)}
        world.open(
            {EMAIL: world.by_name},
            email={
                "retry": {**MANY, "max_attempts": 200},
                "circuit_breaker": {"failure_threshold": threshold, "timeout": 7, "when_open": when},
                "failover": {"second": {}, "third": {}},
                "switch_after": switch,
            },
        )
        world.send(*(email(f"n{number}") for number, at in enumerate(arrivals) if at == 0))
        for number, at in enumerate(arrivals):
            if at:
                world.send(email(f"n{number}"), at=at)

    world = on_both_clocks(scenario, until=7200)
    assert len(world.sent_ids()) == len(arrivals)
    if switch is not None:
        return
    changes = world.events(BreakerTransitioned)
    for lane, name in enumerate(names):
        for each in world.by_name[name].tries:
            for before in ["email", "email/second", "email/third"][:lane]:
                # What it was before that instant and what it became in it: one of them let nothing through.
                states = ["closed"] + [
                    event.to_state for event in changes if event.breaker == before and event.at_ns < each.at_ns
                ]
                states = [
                    states[-1],
                    *(event.to_state for event in changes if event.breaker == before and event.at_ns == each.at_ns),
                ]
                assert set(states) & {"open", "half-open"}, (each, before)


def test_who_waits_for_an_open_breaker_and_for_a_slot_elsewhere_is_deferred():
    own = {"max_in_flight": 1, "circuit_breaker": {}}
    settings = {"retry": {"max_attempts": 9, "max_delay": 1}, "timeout": 30}
    settings["circuit_breaker"] = {"failure_threshold": 1, "timeout": 3600}
    world = over_two({0: numbered(4)}, (lambda _: DOWN,), ((), 10.0), own, **settings)
    assert len(world.sent_ids()) == 4
    deferred = world.events(NotificationDeferred)
    assert {event.cause for event in deferred} == {DeferralCause.CIRCUIT_BREAKER}
    assert len(deferred) == 3


def test_what_to_do_when_no_one_takes_it_is_for_the_whole_channel_to_say():
    with pytest.raises(ValidationError, match="when_open only for the whole channel"):
        ChannelConfig.model_validate({"failover": {"backup": {"circuit_breaker": {"when_open": "fail"}}}})


def test_the_table_of_attempts_says_who_was_asked_also_where_there_is_but_one():
    text = """
    duration: 1m
    workload:
      - {channel: email, arrivals: {constant: 1/s}}
      - {channel: sms, arrivals: {constant: 1/s}}
    channels:
      email: {failover: {backup: {}}}
      sms: {retry: {max_attempts: 1}, circuit_breaker: {failure_threshold: 3, timeout: 10s, when_open: fail}}
    faults: [{channel: all, provider: primary, at: 20s, for: 20s, outage: true}]
    """
    result = simulation.run(parse(text))
    rows = {
        (channel, provider, refused): len(of_both)
        for (channel, provider, refused), of_both in result.attempts.fillna({"provider": "nobody"}).groupby(
            ["channel", "provider", "refused"]
        )
    }
    assert set(rows) == {
        ("email", "primary", False), ("email", "backup", False), ("sms", "primary", False), ("sms", "nobody", True),
    }  # fmt: skip
    kept = result.attempts.groupby(["channel", "provider", "outcome"]).size().sum()
    assert kept == len(result.attempts) - rows["sms", "nobody", True]
    # What is recorded names it only where there are several, as it always has: digests and traces depend on it.
    assert {event.provider for event in result.history if isinstance(event, NotificationSent)} == {
        None, "primary", "backup",
    }  # fmt: skip
