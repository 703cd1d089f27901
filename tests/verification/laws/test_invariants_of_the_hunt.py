"""Invariants about attempts, waits, dead letters and decisions: histories that break them, and some that do not."""

from datetime import UTC, datetime, time

import msgspec
import pytest
from histories import (
    EMAIL,
    S,
    breach_of,
    breaker,
    check_breach,
    context_of,
    crashed,
    dead,
    failed,
    made,
    redriven,
    requested,
    sent,
)
from provider_attempts import first_attempt

from actors.domain.attempts import Admitted
from actors.instants import since_1970_ns
from actors.kernel.effects import Performed
from actors.messages import (
    DeadLetterMessage,
    DeferralCause,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationSuppressed,
    SendNotification,
)
from actors.outcomes import Ambiguous, DeadDestination, Permanent, Sent, Transient
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.dead_letter_queue import DeadLetterQueue
from actors.pipeline.handler import Handler
from actors.pipeline.preferences import Preferences
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.pipeline.subscriber_calls import PlainSubscriber, SubscriberCall
from actors.policies.quiet_hours import QuietHours
from actors.settings.channel import ChannelConfig
from simulation.invariants import Context, MessageSent

FAILS = Transient(reason="timed out")


def told_message(seconds, sender, receiver, message):
    return MessageSent(at_ns=round(seconds * S), sender=sender, receiver=receiver, message=message)


def attempt(id="n", number=1, charged=False, **command):
    filled = SendNotification(notification_id=id, channel=EMAIL, recipient="ann", message="Hello", **command)
    return first_attempt(filled, number=number, charged=charged)


def deferred(seconds, until, cause, id="n"):
    return NotificationDeferred(
        at_ns=round(seconds * S), epoch_ns=0, notification_id=id, channel=EMAIL, cause=cause,
        resumes_at_ns=round(until * S),
    )  # fmt: skip


# ── attempts ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([failed(1, 2, attempt=2)], "fails with attempt 2, which should be 1"),
        ([failed(1, 2), failed(3, 4)], "fails with attempt 1, which should be 2"),
        ([failed(1, 2), sent(3)], "is sent with attempt 1, which should be 2"),
        ([failed(1, 2), made(2)], "is sent as attempt 1 and not 2"),
        ([failed(1), dead(1), redriven(2), failed(3, attempt=2)], "fails with attempt 2, which should be 1"),
    ],
)
def test_attempts_are_numbered(events, text):
    check_breach("attempt-numbers", [requested(0), *events], text)


def test_a_redrive_numbers_anew_and_a_channel_fault_has_no_number():
    fault = failed(1, 2, attempt=0, kind="ChannelFault")
    assert breach_of("attempt-numbers", [requested(0), fault, failed(3), dead(3), redriven(4), failed(5, 6)]) is None


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


def test_what_is_recorded_is_what_was_answered():
    says = made(0, outcome=Permanent(reason="no such box"))
    check_breach("answers", [requested(0), says, failed(0.5, 2, kind="Transient")], "as Transient, and is Permanent")
    begun = {"started_ns": 0}
    late = msgspec.structs.replace(sent(0.6), **begun)
    check_breach("answers", [requested(0), made(0), late], "is recorded at 0.6 s, and is there at 0.5 s")
    check_breach("answers", [requested(0), sent(0.6)], "no provider was asked")
    assert breach_of("answers", [requested(0), made(0), msgspec.structs.replace(sent(0.5), **begun)]) is None
    # After a crash it may lie in a mailbox, but not for longer than all is down, and it stays what it was.
    assert breach_of("answers", [requested(0), made(0), crashed(0.1), late]) is None
    too_late = msgspec.structs.replace(sent(21), **begun)
    check_breach("answers", [requested(0), made(0), crashed(0.1), too_late], "is recorded at 21 s")
    other = failed(0.6, 2, kind="Transient")
    check_breach("answers", [requested(0), made(0), crashed(0.1), other], "as Transient, and is Sent")
    check_breach("answers", [requested(0), made(0), crashed(0.1), sent(0.6)], "no provider was asked")
    unanswered = made(0, takes=10, answered=False)
    assert breach_of("answers", [requested(0), unanswered, failed(10, 11)]) is None


@pytest.mark.parametrize(
    ("retry", "waits", "breaks"),
    [
        ({"initial_delay": 2}, [2, 4, 8], False),
        ({"initial_delay": 2}, [2, 4, 4], True),
        ({"initial_delay": 2, "max_delay": 5}, [2, 4, 5], False),
        ({"initial_delay": 2, "jitter": "full"}, [0, 3.9, 0.1], False),
        ({"initial_delay": 2, "jitter": "full"}, [2.1], True),
        ({"initial_delay": 2, "jitter": "equal"}, [1.0, 2.0], False),
        ({"initial_delay": 2, "jitter": "equal"}, [0.9], True),
        ({"initial_delay": 1, "max_delay": 5, "jitter": "decorrelated"}, [3, 5], False),
        ({"initial_delay": 1, "max_delay": 5, "jitter": "decorrelated"}, [3, 5.1], True),
        ({"backoff": "fibonacci", "initial_delay": 1}, [1, 1, 2, 3], False),
        ({"backoff": "linear", "initial_delay": 1}, [1, 2, 4], True),
        ({"schedule": [1, 60]}, [1, 60], False),
        ({"schedule": [1, 60]}, [2], True),
    ],
)
def test_waits_are_those_of_the_formula(retry, waits, breaks):
    events, now = [requested(0)], 0.0
    for number, wait in enumerate(waits, 1):
        events.append(failed(now, now + wait, attempt=number))
        now += wait
    context = context_of(retry={"max_attempts": 9, **retry} if "schedule" not in retry else retry)
    breach = breach_of("backoff", events, context)
    assert (breach is not None) == breaks


def test_a_hint_is_waited_for():
    asks = made(0, outcome=Transient(reason="slowly", throttled=True, retry_after=30.0))
    again = failed(0.5, 2, kind="Transient", throttled=True, reason="slowly")
    check_breach("backoff", [requested(0), asks, again], "the provider has asked for 30 s")
    for excess, breaks in ((1.5, False), (1.6, True), (None, True)):  # it waits for 1.5 s
        context = context_of(retry={"retry_after_excess": excess})
        assert (breach_of("backoff", [requested(0), asks, again], context) is not None) == breaks


def test_what_is_dead_lettered_had_no_attempt_left():
    check_breach(
        "given-up", [requested(0), failed(1)], "exhausted after attempt 1", context_of(retry={"max_attempts": 2})
    )
    assert breach_of("given-up", [requested(0), failed(1)], context_of(retry={"max_attempts": 1})) is None
    spent = failed(1, given_up="retry budget spent")
    check_breach("given-up", [requested(0), spent], "cannot be exhausted: retry budget spent")


# ── ids, quiet hours, errors, announcements ─────────────────────────────────────────────────────────────────────


def test_an_id_is_not_remembered_forever():
    again = DuplicateIgnored(at_ns=86_500 * S, epoch_ns=0, notification_id="n", channel=EMAIL, conflict=False)
    check_breach("ids", [requested(0), sent(1), again], "is still ignored 86499 s after it was sent")
    assert breach_of("ids", [requested(0), sent(101), again]) is None
    assert breach_of("ids", [requested(0), again]) is None
    check_breach("ids", [again], "was never accepted")


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


def test_no_one_waits_beyond_the_end_of_quiet_hours():
    preferences = Preferences()
    preferences.set_quiet_hours("ann", QuietHours(time(0), time(7), "UTC"))
    context = Context({EMAIL: ChannelConfig()}, preferences=preferences)
    right = deferred(3600, 7 * 3600, DeferralCause.QUIET_HOURS)
    assert breach_of("quiet-hours", [requested(0), right], context) is None
    wrong = deferred(3600, 8 * 3600, DeferralCause.QUIET_HOURS)
    assert breach_of("quiet-hours", [requested(0), wrong], context) is not None


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


def through_the_breaker(outcomes, start=0):
    """Return what is observed of attempts that are let through one after the other."""
    for number, outcome in enumerate(outcomes):
        admitted = Admitted(attempt=attempt(f"n{start + number}"), permit=1)
        yield told_message(number, CircuitBreakerActor, Channel, admitted)
        done = Performed(request=admitted, result=outcome, started_ns=number * S, ended_ns=number * S)
        yield told_message(number, CircuitBreakerActor, Handler, done)


TWO = {"circuit_breaker": {"failure_threshold": 2}}


def test_a_breaker_trips_by_what_counts():
    check_breach("breaker-decisions", [*through_the_breaker([FAILS, FAILS])], "is to trip", context_of(**TWO))
    others = [FAILS, Sent(), FAILS, Permanent(), Transient(throttled=True)]
    assert breach_of("breaker-decisions", through_the_breaker(others), context_of(**TWO)) is None
    trips = breaker(1, "closed", "open", "trip")
    *first, second_out, second_back = through_the_breaker([FAILS, Permanent()])
    early = [*first, second_out, trips, second_back]
    check_breach("breaker-decisions", early, "does trip at 1 s by the outcome Permanent", context_of(**TWO))
    *first, second_out, second_back = through_the_breaker([FAILS, Ambiguous()])
    assert breach_of("breaker-decisions", [*first, second_out, trips, second_back], context_of(**TWO)) is None
    check_breach("breaker-decisions", [trips], "nothing has had it do so", context_of(**TWO), 5)


def test_a_late_success_does_not_close_a_breaker():
    late_out, late_back = through_the_breaker([Sent()])
    half_open = [breaker(1, "closed", "forced-open", "force-open"), breaker(9, "open", "half-open", "wait-over")]
    closes = breaker(9, "half-open", "closed", "recover")
    check_breach("breaker-decisions", [late_out, *half_open, closes, late_back], "does recover", context_of(**TWO))
    probe_out, probe_back = through_the_breaker([Sent()], start=1)
    assert breach_of("breaker-decisions", [*half_open, probe_out, closes, probe_back], context_of(**TWO)) is None


def test_no_one_is_told_to_wait_longer_than_a_breaker_is_open():
    context = context_of(circuit_breaker={"timeout": 10})
    opens = breaker(0, "closed", "open", "trip")
    assert breach_of("breaker-transitions", [opens, deferred(1, 10, DeferralCause.CIRCUIT_BREAKER)], context) is None
    check_breach("breaker-transitions", [opens, deferred(1, 11, DeferralCause.CIRCUIT_BREAKER)], "until 11 s", context)


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


def test_what_waits_at_a_relapse_resumes_at_half_the_pace():
    ids = [f"n{number:02}" for number in range(60)]
    waiting = [event for id in ids for event in (requested(0, id), deferred(1, 10, DeferralCause.CIRCUIT_BREAKER, id))]
    closes = breaker(10, "half-open", "closed", "recover")
    opens, again = breaker(12.55, "closed", "open", "trip"), breaker(73, "half-open", "closed", "recover")
    context = context_of(circuit_breaker={"resume_rate": "10/s", "resume_doubling": 600})

    def of(failing, per_s):
        first = [made(10 + n / 10, ids[n], FAILS if n in failing else Sent(), takes=0.05) for n in range(26)]
        second = [made(73 + n / per_s, id) for n, id in enumerate(ids[26:])]
        return str(breach_of("resume-pace", [*waiting, closes, *first, opens, again, *second], context))

    assert of({3, 21, 22, 23, 24, 25}, 4.8) == "None"
    assert "goes on 0.111111111 s after" in of({3, 21, 22, 23, 24, 25}, 9.0)
    assert of({3, 7, 21, 22, 23, 24, 25}, 9.0) == "None"  # amid ordinary failures


def back_after_a_crash(apart, count):
    """Return a history in which five are under way in a crash, and so many go so many seconds apart afterwards."""
    before = [event for number in range(5) for event in (requested(number, f"n{number}"), made(number, f"n{number}"))]
    new = [requested(10, "new"), made(10, "new")]
    return [
        *before,
        crashed(10, "process"),
        *new,
        *(made(10 + apart * number, f"n{number}") for number in range(count)),
    ]


def test_after_a_restart_what_is_overdue_goes_at_a_pace_and_new_ones_pass():
    slow = {"circuit_breaker": {"resume_rate": "1/s", "resume_doubling": 60, "enabled": False}}
    assert breach_of("restart-pace", back_after_a_crash(1.0, 5), context_of(**slow)) is None
    check_breach("restart-pace", back_after_a_crash(0.5, 2), "2 of those overdue at a restart", context_of(**slow))
    check_breach(
        "restart-pace",
        back_after_a_crash(0.0, 2),
        "0 s after it, and the latest of them might 0.99",
        context_of(**slow),
    )


def test_after_a_restart_the_ceiling_holds_beside_the_doubling_rate():
    fast = {"circuit_breaker": {"resume_rate": "1/s", "resume_doubling": 1, "resume_rate_max": "2/s", "enabled": False}}
    first = back_after_a_crash(0.76, 2)  # the second after 0.76 s, as log2(1 + ln 2) says
    third = [*first, made(11.26, "n2")]  # log2(1 + 2 ln 2) is 1.255, and the ceiling wants half a second between
    assert breach_of("restart-pace", third, context_of(**fast)) is None
    check_breach("restart-pace", [*first, made(11.257, "n2")], "might 1.2597", context_of(**fast))


def test_after_a_restart_what_is_due_later_goes_at_its_time():
    slow = {"circuit_breaker": {"resume_rate": "1/s", "resume_doubling": 60}}
    waiting = [event for id in "abc" for event in (requested(0, id), made(0, id), failed(1, again=20, id=id))]
    in_time = [*waiting, crashed(10, "process"), *(made(20, id, number=2) for id in "abc")]
    assert breach_of("restart-pace", in_time, context_of(**slow)) is None
    late = [*waiting, crashed(30, "process"), *(made(30, id, number=2) for id in "ab")]
    check_breach("restart-pace", late, "2 of those overdue", context_of(**slow))
    of_the_handler = [*waiting, crashed(30), *(made(30, id, number=2) for id in "abc")]
    assert breach_of("restart-pace", of_the_handler, context_of(**slow)) is None


# ── limits, letters, summaries ──────────────────────────────────────────────────────────────────────────────────


def passes(seconds, what):
    yield told_message(seconds, Handler, RateLimiterActor, what)
    yield told_message(seconds, RateLimiterActor, CircuitBreakerActor, what)


def test_a_limit_counts_once_and_holds_no_one_back_that_has_room():
    context = context_of(rate_limit={"rate": "1/min"})
    once = [requested(0, "a"), *passes(0, attempt("a"))]
    check_breach(
        "user-limit", [*once, *passes(70, attempt("a", number=2))], "counts for the limit of ann once more", context
    )
    waits = [requested(1, "b"), told_message(1, Handler, RateLimiterActor, attempt("b"))]
    full = deferred(1, 60, DeferralCause.RATE_LIMIT, "b")
    assert breach_of("user-limit", [*once, *waits, full], context) is None
    check_breach("user-limit", [*waits, full], "b has to wait for the limit of ann, which has room", context)
    retry = [
        told_message(2, Handler, RateLimiterActor, attempt("a", 2, True)),
        deferred(2, 60, DeferralCause.RATE_LIMIT, "a"),
    ]
    check_breach("user-limit", [*once, *retry], "a has to wait for the limit of ann, and counts already", context)


def letter(**fields):
    command = SendNotification(notification_id="n", channel=EMAIL, recipient="ann", message="Hello")
    made_of = {
        "notification_id": "n", "command": command, "failure_reason": "timed out", "attempts": 1, "requested_at_ns": 0,
        "first_failure_ns": S, "last_failure_ns": S, "moved_at_ns": S, "epoch_ns": 0, "history": (failed(1),),
    }  # fmt: skip
    return told_message(1, Handler, DeadLetterQueue, DeadLetterMessage(**{**made_of, **fields}))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"history": ()}, "has 0 failures, and not the 1 that there were"),
        ({"attempts": 2}, "tells of 2 attempts, and not 1"),
        ({"first_failure_ns": 0}, "has first failed at"),
        ({"last_failure_ns": 2 * S}, "has last failed at"),
        ({"requested_at_ns": S}, "was asked for at"),
        ({"failure_reason": "expired"}, "gives the reason expired, and not timed out"),
    ],
)
def test_a_dead_letter_tells_what_happened(fields, text):
    events = [requested(0), failed(1), dead(1)]
    assert breach_of("dead-letters", [*events, letter()]) is None
    check_breach("dead-letters", [*events, letter(**fields)], text)


def test_retries_are_in_the_budget():
    spends = {"retry": {"budget": {"kind": "aws", "capacity": 20, "retry_cost": 14}}}
    one, two = [requested(0, "a"), failed(1, 2, "a")], [requested(0, "b"), failed(1, 2, "b")]
    check_breach("retry-budget", [*one, *two], "the retry budget of email is spent", context_of(**spends))
    assert breach_of("retry-budget", [*one, sent(2, "a"), *two], context_of(**spends)) is None
    refused = failed(1, None, "a", given_up="retry budget spent")
    check_breach("retry-budget", [requested(0, "a"), refused], "which is not spent", context_of(**spends))


@pytest.mark.parametrize(
    ("budget", "granted"),
    [
        ({"kind": "grpc", "max_tokens": 5}, 2),
        ({"kind": "envoy", "share": "10%", "min_concurrency": 3}, 3),
        ({"kind": "envoy", "share": "50%", "min_concurrency": 1}, 4),
    ],
)
def test_so_many_retries_are_in_a_budget(budget, granted):
    context = context_of(retry={"budget": budget})
    accepted = [requested(0, str(number)) for number in range(8)]
    fail = [failed(1, 2, str(number)) for number in range(granted + 1)]
    check_breach("retry-budget", [*accepted, *fail], "is spent", context)


def test_an_attempt_has_no_more_copies_than_it_may():
    hedges = context_of(hedging={"max_attempts": 2, "delay": 1})
    assert breach_of("hedges", [requested(0), failed(1, 2, hedges=1)], hedges) is None
    check_breach("hedges", [requested(0), failed(1, 2, hedges=2)], "was sent 3 times, of at most 2", hedges)


def test_who_is_redriven_is_tried_whatever_was_said_of_the_address():
    gone = [requested(0), made(0, outcome=DeadDestination()), failed(1, kind="DeadDestination"), dead(1)]
    suppressed = NotificationSuppressed(
        at_ns=5 * S, epoch_ns=0, notification_id="n", channel=EMAIL, reason="the address is gone"
    )
    check_breach("gone-addresses", [*gone, redriven(5), suppressed], "no address is gone", context_of())
    check_breach("gone-addresses", [requested(0), suppressed], "no address is gone", context_of())
