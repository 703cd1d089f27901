"""A breaker for each host: apart from each other, bounded, and forgotten in time."""

from typing import Any

import pytest
from beside import tables

from actors.instants import ns
from actors.messages import BreakerState
from actors.policies.breaker.breaker import BreakerEvent, IllegalTransition, Transition
from actors.policies.breaker.per_host import BreakerGroup, recipient_host
from actors.settings.breaker import CircuitBreakerConfig


def trip(group: BreakerGroup, key: str, at_s: float) -> int:
    breaker = group.of(key, ns(at_s))
    permit = breaker.try_acquire(ns(at_s))
    assert permit is not None
    breaker.trip(permit, ns(at_s))
    return permit


@pytest.mark.parametrize(("recipient", "host"), tables(__file__)["hosts"])
def test_the_host_of_a_recipient(recipient: str, host: str) -> None:
    assert recipient_host(recipient) == host


def test_one_host_does_not_close_the_way_to_another() -> None:
    transitions: list[tuple[str, Transition]] = []
    group = BreakerGroup(
        CircuitBreakerConfig(per="host"), name="email", on_transition=lambda key, step: transitions.append((key, step))
    )
    trip(group, "bad.example", 0)
    assert group.of("bad.example", 0).try_acquire(0) is None
    assert group.of("good.example", 0).try_acquire(0) is not None
    assert [(key, str(step.to_state)) for key, step in transitions] == [("bad.example", "open")]
    with pytest.raises(IllegalTransition, match=r"email/good\.example"):
        group.of("good.example", 0).close(0)


def test_who_is_not_asked_for_is_forgotten_when_its_open_time_has_ended() -> None:
    group = BreakerGroup(CircuitBreakerConfig(per="host", timeout=60), idle_ns=ns(10))
    trip(group, "a", 0)
    group.of("b", ns(119))
    assert len(group) == 2, "twice the open time, though idle_ns is shorter"
    group.of("c", ns(120))
    assert [key for key, _ in group] == ["b", "c"]
    assert group.of("a", ns(120)).state is BreakerState.CLOSED


def test_memory_is_bounded_and_the_one_unused_for_longest_goes() -> None:
    group = BreakerGroup(CircuitBreakerConfig(per="host"), keys_max=3)
    for at_s, key in enumerate("abcad"):
        group.of(key, ns(at_s))
    assert [key for key, _ in group] == ["c", "a", "d"]
    for number in range(1000):
        group.of(f"host{number}", ns(5))
    assert len(group) == 3


def test_a_permit_from_before_it_was_forgotten_is_late() -> None:
    group = BreakerGroup(CircuitBreakerConfig(per="host", failure_threshold=1), keys_max=1)
    permit = group.of("a", 0).try_acquire(0)
    assert permit is not None
    group.of("b", 0)
    again = group.of("a", 0)
    assert again.record_failure(permit, 0) is False
    assert again.state is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (BreakerEvent.FORCE_OPEN, BreakerState.FORCED_OPEN),
        (BreakerEvent.DISABLE, BreakerState.DISABLED),
        (BreakerEvent.METRICS_ONLY, BreakerState.METRICS_ONLY),
    ],
)
def test_an_order_holds_for_those_who_come_later_too(event: BreakerEvent, state: BreakerState) -> None:
    group = BreakerGroup(CircuitBreakerConfig(per="host"))
    trip(group, "a", 0)
    assert group.override(event, ns(1)) is True
    assert group.override(event, ns(1)) is False
    assert {group.of(key, ns(1)).state for key in "ab"} == {state}
    assert group.override(BreakerEvent.CLOSE, ns(2)) is True
    assert {group.of(key, ns(2)).state for key in "abc"} == {BreakerState.CLOSED}


def test_each_subscriber_gets_the_order_for_those_who_come_later() -> None:
    transitions: list[tuple[str, str, str]] = []
    group = BreakerGroup(
        CircuitBreakerConfig(per="host"),
        on_transition=lambda key, each: transitions.append((key, each.from_state, each.to_state)),
    )
    group.override(BreakerEvent.FORCE_OPEN, ns(1))
    group.of("a", ns(2))
    group.override(BreakerEvent.CLOSE, ns(3))
    group.of("b", ns(4))
    assert transitions == [("a", "closed", "forced-open"), ("a", "forced-open", "closed")]


def test_closing_is_an_order_to_those_that_are_open() -> None:
    group = BreakerGroup(CircuitBreakerConfig(per="host"))
    assert group.override(BreakerEvent.CLOSE, 0) is False
    trip(group, "a", 0)
    assert group.override(BreakerEvent.CLOSE, 0) is True
    assert group.of("a", 0).state is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [({}, {"keys_max": 0}, "at least 1"), ({"open_growth": {"jitter": 0.2}}, {}, "random stream")],
)
def test_what_it_cannot_be_made_of(settings: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BreakerGroup(CircuitBreakerConfig(per="host", **settings), **arguments)
