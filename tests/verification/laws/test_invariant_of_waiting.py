"""What is counted as waiting at the stages: what has come there and has not gone, before a crash and after it."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from histories import EMAIL, S, breach_of, check_breach, crashed, deferred
from provider_attempts import first_attempt

from actors.domain.attempts import Admitted, Attempt, FlushQueue, Rejected
from actors.messages import DeferralCause, SendNotification
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.policies.waiting_room import WaitingCounts
from actors.settings.channel import ChannelConfig
from simulation.invariants import Context, MessageSent


@cache
def attempt(id: str, number: int = 1) -> Attempt:
    command = SendNotification(notification_id=id, channel=EMAIL, recipient="ann", message="Hello")
    return first_attempt(command, number=number)


def told(seconds: float, sender: type | None, receiver: type, message: Any) -> MessageSent:
    return MessageSent(at_ns=round(seconds * S), sender=sender, receiver=receiver, message=message)


def comes(seconds: float, id: str) -> MessageSent:
    return told(seconds, RateLimiterActor, CircuitBreakerActor, attempt(id))


def goes(seconds: float, id: str) -> MessageSent:
    admitted = Admitted(attempt=attempt(id), lane=0, permit=1)
    return told(seconds, CircuitBreakerActor, Channel, admitted)


def context(**counted: int) -> Context:
    """Return one in whose pipeline so many are counted as waiting now."""
    counts = WaitingCounts()
    for name, number in counted.items():
        getattr(counts, name).change(number)
    pipeline = SimpleNamespace(wiring=SimpleNamespace(stages={EMAIL: SimpleNamespace(waiting=counts)}))
    return Context(channels={EMAIL: ChannelConfig()}, faults=[], pipeline=lambda: pipeline)  # type: ignore[arg-type,return-value]


def test_who_has_come_and_not_gone_waits_whatever_for():
    came = [comes(1, "a"), comes(1, "b"), comes(1, "c"), goes(1, "a")]
    assert breach_of("waiting", came, context(slots=1, breaker=1), end=4) is None


@pytest.mark.parametrize("then", [[], [crashed(1, "Channel")]])
def test_one_that_is_sent_again_waits_though_the_attempt_before_it_has_gone_meanwhile(then: list[Any]) -> None:
    again = [told(1, RateLimiterActor, CircuitBreakerActor, each) for each in (FlushQueue(), attempt("a", 2))]
    events = [comes(1, "a"), *again, *then, goes(1, "a")]
    assert breach_of("waiting", events, context(slots=1), end=500) is None


@pytest.mark.parametrize("counted", [{"slots": 2, "breaker": 2}, {"slots": 1}, {}])
def test_one_that_waits_is_counted_once(counted: dict[str, int]):
    text = f"{sum(counted.values())} are counted as waiting for room at the providers of email, where 2 do"
    check_breach("waiting", [comes(1, "a"), comes(1, "b")], text, context(**counted), end=2)


def test_what_is_rejected_waits_no_more():
    rejected = told(1, CircuitBreakerActor, Handler, Rejected(attempt=attempt("a"), reason="expired"))
    text = "1 are counted as waiting for room at the providers of email, where 0 do"
    check_breach("waiting", [comes(1, "a"), rejected], text, context(quota=1), end=2)


def test_no_peak_is_more_than_were_ever_there():
    counting = context(quota=3)
    pipeline = counting.pipeline()
    assert pipeline is not None
    pipeline.wiring.stages[EMAIL].waiting.quota.change(-1)
    text = "is said to be 3, and there were never more than 2"
    check_breach("waiting", [comes(1, "a"), comes(1, "b")], text, counting, end=2)


def test_an_instant_is_looked_at_when_it_is_over():
    events = [comes(1, "a"), comes(2, "b")]
    check_breach("waiting", events, "0 are counted as waiting for room at the providers", context())


@pytest.mark.parametrize("counted", [0, 1, 2])
def test_what_was_there_before_a_stage_forgot_is_in_doubt_until_it_comes_again(counted: int):
    before = [comes(1, "a"), comes(1, "b"), crashed(1, "CircuitBreakerActor")]
    flushed = told(1, RateLimiterActor, CircuitBreakerActor, FlushQueue())
    later = [*before, flushed, comes(400, "b")]
    breach = breach_of("waiting", later, context(breaker=counted), end=500)
    assert (breach is None) == (counted >= 1)  # "a" may be of the stage that crashed, and ended
    assert breach_of("waiting", later, context(breaker=3), end=500) is not None


def test_nothing_waits_in_a_process_that_has_crashed():
    text = "1 are counted as waiting for room at the providers of email, where 0 do"
    events = [comes(1, "a"), crashed(1, "process"), comes(400, "b"), goes(400, "b")]
    check_breach("waiting", events, text, context(slots=1), end=500)


def test_users_limits_have_a_count_of_their_own():
    events = [told(1, Handler, RateLimiterActor, attempt("a"))]
    assert breach_of("waiting", events, context(users=1), end=2) is None
    check_breach("waiting", events, "0 are counted as waiting for users' limits", context(slots=1), end=2)


@pytest.mark.parametrize(
    ("cause", "counted", "is_right"),
    [
        (DeferralCause.CIRCUIT_BREAKER, "breaker", True),
        (DeferralCause.CIRCUIT_BREAKER, "slots", False),  # there is one provider, whose slot would not be reported
        (DeferralCause.CIRCUIT_BREAKER, "quota", False),
        (DeferralCause.RATE_LIMIT, "quota", True),
        (DeferralCause.RATE_LIMIT, "slots", False),
    ],
)
def test_what_is_said_to_wait_is_counted_by_what_for(cause: DeferralCause, counted: str, is_right: bool):
    events = [comes(1, "a"), msgspec.structs.replace(deferred(1, "a"), cause=cause)]
    breach = breach_of("waiting", events, context(**{counted: 1}), end=1)
    assert (breach is None) == is_right, breach
