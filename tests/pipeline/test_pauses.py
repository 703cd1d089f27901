"""Pauses after hints: what waits after a throttled answer with a Retry-After, for how long, and what does not."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from timetables import numbered, send_at
from worlds import EMAIL, OK, Scripted, Try, World, email, simulate

import simulation
from actors.messages import DeferralCause, NotificationDeferred
from actors.outcomes import Ambiguous, Transient
from actors.policies.retry.pauses import Pauses
from simulation.scenario import parse

S = 1_000_000_000
CHANNEL = {"after_retry_after": "channel", "initial_delay": 1.0}


def throttled(retry_after: float | None = 10.0) -> Transient:
    return Transient(reason="too many", throttled=True, retry_after=retry_after)


def of(outcomes: Any, *sends: tuple[str, float], latency: float = 0.0, until: float = 300, **settings: Any) -> World:
    """Return what happens to notifications that are sent at instants, with a provider that answers so."""
    timetable = [(at, email(name, recipient=f"ann@{name}.example")) for name, at in sends]
    given = {"retry": CHANNEL, "circuit_breaker": {"enabled": False}, **settings}
    return send_at(timetable, outcomes, latency, until=until, email=given)


def tries(world: World) -> list[tuple[str, float]]:
    return [(each.notification_id, each.at) for each in world.provider.tries]


def test_nothing_more_is_sent_until_the_hint_is_over():
    world = of([throttled()], ("a", 0), ("b", 1), ("c", 9.9), ("d", 10.1))
    assert tries(world) == [("a", 0), ("b", 10), ("c", 10), ("a", 10), ("d", 10.1)]
    deferred = [(each.notification_id, each.cause, each.resumes_at_ns) for each in world.events(NotificationDeferred)]
    # The retry comes at the very end of the pause, behind those that wait.
    assert deferred == [(name, DeferralCause.RATE_LIMIT, 10 * S) for name in ("b", "c", "a")]
    assert [each.attempt for each in world.failures] == [1]


def test_what_is_under_way_goes_on_and_its_hints_count_too():
    world = of([throttled(4), throttled(9), throttled(2)], ("a", 0), ("b", 0), ("c", 0), ("d", 2), latency=1)
    assert tries(world) == [(name, 0) for name in "abc"] + [(name, 10) for name in "dcab"]


def test_a_pause_is_no_longer_than_its_bound():
    world = of([throttled(10)], ("a", 0), ("b", 1), retry={**CHANNEL, "retry_after_max": 3.0})
    assert tries(world) == [("a", 0), ("b", 3), ("a", 10)]


@pytest.mark.parametrize(
    "outcome",
    [
        throttled(None),
        throttled(0),
        throttled(-5),
        throttled(float("nan")),
        throttled(float("inf")),
        Transient(reason="down", retry_after=10.0),
        Ambiguous(reason="no answer"),
    ],
)
def test_what_is_no_hint_holds_nothing_up(outcome):
    world = of([outcome], ("a", 0), ("b", 0.5))
    assert tries(world)[:2] == [("a", 0), ("b", 0.5)]


def test_it_holds_for_its_host_alone():
    by_host = {"after_retry_after": "host"}
    world = of([throttled()], ("a", 0), ("b", 1), ("a", 2), retry=by_host)
    assert tries(world) == [("a", 0), ("b", 1), ("a", 10)]
    hosts = (("a", "one", 0), ("b", "two", 1), ("c", "one", 2))
    sends = {at: email(name, recipient=f"ann@{host}.example") for name, host, at in hosts}
    world = send_at(sends, [throttled()], until=60, email={"retry": by_host})
    assert tries(world) == [("a", 0), ("b", 1), ("c", 10), ("a", 10)]


def test_what_would_expire_meanwhile_expires_at_once():
    sends = {0: email("a"), 1: [email("b", expires_after=5.0), email("c", expires_after=9.0)]}
    world = send_at(sends, [throttled()], until=60, email={"retry": CHANNEL})
    assert [(letter.notification_id, letter.failure_reason, letter.attempts) for letter in world.letters] == [
        ("b", "expired", 0)
    ]
    assert tries(world) == [("a", 0), ("c", 10), ("a", 10)]


def test_a_probe_waits_too():
    outcomes = [throttled(10), *[Transient(reason="down")] * 1]
    breaker = {"failure_threshold": 1, "timeout": 4.0}
    world = of(outcomes, ("a", 0), ("b", 0), ("c", 1), circuit_breaker=breaker, latency=0.5)
    assert tries(world)[:3] == [("a", 0), ("b", 0), ("c", 10.5)]


def test_another_provider_is_not_paused():
    providers = {"primary": Scripted([throttled()]), "backup": Scripted()}
    settings = {"retry": CHANNEL, "failover": {"backup": {}}}
    sends = dict(enumerate(numbered(3)))
    send_at(sends, run=simulate, until=60, opens=lambda world: world.open({EMAIL: providers}, email=settings))
    assert {name: each.ids for name, each in providers.items()} == {"primary": ["n0", "n0"], "backup": ["n1", "n2"]}


def test_no_copy_of_a_late_answer_is_sent_in_a_pause():
    def fate(this: Try) -> Any:
        return throttled(6) if this.notification_id == "b" and this.number == 1 else OK

    settings = {"retry": CHANNEL, "hedging": {"max_attempts": 3, "delay": 2.0}, "timeout": 20.0}
    latency = {"a": 9.0, "b": 0.1}
    sends = {0: email("a"), 1: email("b")}
    world = send_at(sends, fate, lambda this: latency[this.notification_id], until=60, email=settings)
    assert tries(world)[:3] == [("a", 0), ("b", 1), ("b", 7.1)]


def test_a_new_pause_is_told_to_other_nodes_and_the_same_one_is_not():
    pauses = Pauses("host", 300.0)
    assert pauses.after_hint("a", 5.0, 0) == ("a", 5 * S)
    assert pauses.after_hint("a", 5.0, 0) is None
    assert pauses.after_hint("a", 4.0, S) is None
    assert Pauses("channel", 300.0).after_hint("a", 1e30, 0) == ("", 300 * S)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 20), st.integers(0, 5 * S)), max_size=400))
def test_a_pause_lasts_as_long_as_its_longest_hint(hints):
    pauses, now_ns = Pauses("host", 3.0), 0
    expected: dict[str, int] = {}
    for host, hint, passed in hints:
        now_ns += passed
        pauses.after_hint(str(host), hint / 4, now_ns)
        expected[str(host)] = max(expected.get(str(host), 0), now_ns + min(hint * S // 4, 3 * S))
        assert all(pauses.until_ns(each, now_ns) == max(now_ns, until) for each, until in expected.items())


def test_a_host_of_its_own_has_a_breaker_of_its_own():
    scenario = parse(
        "duration: 1m\nworkload: [{channel: email, arrivals: {poisson: 1/s}}]\n"
        "channels: {email: {retry: {after_retry_after: host}}}"
    )
    assert scenario.channel_config(EMAIL).circuit_breaker.per == "host"


def test_no_law_takes_a_pause_of_one_host_for_the_turn_of_another():
    path = Path(__file__).parents[1] / "mutants" / "scenarios" / "pausing.yaml"
    result = simulation.run(path, seed=0, sets=["duration=30s"], invariants="all")
    assert {"reference-model"} <= set(result.checked)
