"""Invariants about attempts, waits, dead letters and decisions: histories that break them, and some that do not."""

from datetime import UTC, datetime, time

import msgspec
import pytest
from histories import EMAIL, S, breach_of, breaker, check_breach, context_of, crashed, failed, made, requested, sent

from actors.instants import since_1970_ns
from actors.messages import DeferralCause, NotificationDeferred
from actors.pipeline.handler import Handler
from actors.pipeline.preferences import Preferences
from actors.pipeline.subscriber_calls import PlainSubscriber, SubscriberCall
from actors.policies.quiet_hours import QuietHours
from actors.settings.channel import ChannelConfig
from simulation.invariants import Context, MessageSent


def told_message(seconds, sender, receiver, message):
    return MessageSent(at_ns=round(seconds * S), sender=sender, receiver=receiver, message=message)


def deferred(seconds, until, cause, id="n"):
    return NotificationDeferred(
        at_ns=round(seconds * S), epoch_ns=0, notification_id=id, channel=EMAIL, cause=cause,
        resumes_at_ns=round(until * S),
    )  # fmt: skip


# ── attempts ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_sets_out_before_its_time_or_after_its_end():
    check_breach("in-time", [requested(0), failed(1, 3), made(2.9, number=2)], "tried again before 3 s")
    check_breach(
        "in-time", [requested(0), failed(1, 3), failed(2, 4, attempt=2)], "while it waits for its retry at 3 s"
    )
    late = made(11)
    command = msgspec.structs.replace(late.attempt.command, expires_after=10.0)
    late = msgspec.structs.replace(late, attempt=msgspec.structs.replace(late.attempt, command=command))
    check_breach("in-time", [requested(0), late], "is sent after 10 s, when it has expired")
    check_breach("in-time", [requested(0), crashed(5), late], "is sent after 10 s, when it has expired")
    check_breach("in-time", [requested(0), failed(30, 31, started_ns=0)], "takes 30 s, beyond its timeout")


# ── ids, quiet hours, errors, announcements ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("at", "is_quiet"),
    [("2026-03-28T21:30", True), ("2026-03-29T04:59", True), ("2026-03-29T05:00", False), ("2026-03-28T20:59", False)],
)
def test_quiet_hours_by_the_clock_on_the_wall(at, is_quiet):
    preferences = Preferences()
    preferences.set_quiet_hours("ann@example.org", QuietHours(time(22), time(7), "Europe/Berlin"))
    epoch_ns = since_1970_ns(datetime.fromisoformat(at).replace(tzinfo=UTC))
    context = Context({EMAIL: ChannelConfig()}, preferences=preferences, epoch_ns=lambda: epoch_ns)
    assert (breach_of("quiet-hours", [requested(0), made(0)], context) is not None) == is_quiet


def test_only_injected_crashes_are_no_errors():
    check_breach("no-errors", [crashed(1)], "Handler raised RuntimeError")
    injected = msgspec.structs.replace(crashed(1), error="InjectedCrash: injected crash of the handler")
    assert breach_of("no-errors", [injected]) is None


def test_recorded_first():
    event = sent(1)
    announced = told_message(1, Handler, PlainSubscriber, SubscriberCall(event, None, None))
    assert breach_of("recorded-first", [requested(0), event, announced]) is None
    check_breach("recorded-first", [requested(0), announced], "NotificationSent of n is announced")


# ── breakers ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_those_who_waited_resume_at_a_pace():
    waiting = [
        event for id in "abc" for event in (requested(0, id), deferred(1, 10, DeferralCause.CIRCUIT_BREAKER, id))
    ]
    closes = breaker(10, "half-open", "closed", "recover")
    context = context_of(circuit_breaker={"resume_rate": "1/s", "resume_doubling": 60})
    check_breach(
        "resume-pace",
        [*waiting, closes, made(10, "a"), made(10, "b")],
        "b, which waited for breaker email, goes on 0 s after",
        context,
    )
    assert breach_of("resume-pace", [*waiting, closes, made(10, "a"), made(11, "b"), made(12, "c")], context) is None
    # What waited when an actor has crashed comes back from the handler, at its pace, though it closes again later.
    herd = [closes, made(10, "a"), made(10, "b")]
    assert breach_of("resume-pace", [*waiting, crashed(9, "process"), *herd], context) is None
    check_breach("resume-pace", [*waiting, crashed(9, "DeadLetterQueue"), *herd], "goes on 0 s after", context)


def test_the_pace_of_resuming_has_a_ceiling():
    ids = [f"n{number}" for number in range(40)]
    waiting = [event for id in ids for event in (requested(0, id), deferred(1, 10, DeferralCause.CIRCUIT_BREAKER, id))]
    waiting.append(breaker(10, "half-open", "closed", "recover"))
    breaks = {"resume_rate": "1/s", "resume_doubling": 0.1}

    def resumed(per_s, count=40):
        return [made(20 + number / per_s, id) for number, id in enumerate(ids[:count])]

    assert breach_of("resume-pace", [*waiting, *resumed(10)], context_of(circuit_breaker=breaks)) is None
    check_breach("resume-pace", [*waiting, *resumed(20, 2)], "of at least 0.0999", context_of(circuit_breaker=breaks))
    lower = context_of(circuit_breaker={**breaks, "resume_rate_max": "5/s"})
    check_breach("resume-pace", [*waiting, *resumed(10, 2)], "of at least 0.1999", lower)
    # Twice what arrived in the last minute: of 640 that is 21.3 a second.
    load = [requested(10 + number / 100, f"load{number}") for number in range(600)]
    assert breach_of("resume-pace", [*waiting, *load, *resumed(20)], context_of(circuit_breaker=breaks)) is None


# ── limits, letters, summaries ──────────────────────────────────────────────────────────────────────────────────
