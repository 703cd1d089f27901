"""How the console tells people of instants, durations and events."""

from datetime import UTC, datetime, timedelta

import pytest
from beside import tables
from hypothesis import given, strategies as st

from actors.messages import (
    DeadLetterDiscarded,
    DeferralCause,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.service.console import words
from actors.service.console.timeline import SHOWN_OF_A_CHANGE, steps_of

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(("seconds", "text"), tables(__file__)["durations"])
def test_a_duration_has_two_units_at_the_most(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "now"), (20, "20 s ago"), (150, "2 min ago"), (7300, "2 h ago"), (200_000, "2 d ago"), (-20, "in 20 s")],
)
def test_how_long_ago_is_told_in_one_unit(seconds, text):
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (NOW, "12:00:00"),
        (NOW - timedelta(hours=13), "28 Feb, 23:00:00"),
        (NOW.replace(year=2025), "1 Mar 2025, 12:00:00"),
    ],
)
def test_an_instant_has_its_date_where_that_is_not_todays(instant, text):
    assert f">{text}</time>" in words.clock(instant, NOW)


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_nothing_is_called_all_that_is_not_and_none_that_is_some(part, more):
    text = words.percent(part / (part + more))
    assert text != "100%"
    assert (text == "0%") is (part == 0)


def event(of: type[NotificationEvent], at_s: float, **fields):
    return of(at_ns=round(at_s * 1e9), epoch_ns=0, notification_id="n-1", channel="email", **fields)


def test_a_step_says_how_many_attempts_before_it_are_left_out():
    failed = [
        event(NotificationFailed, 1, reason="busy", kind=kind, attempt=attempt, started_ns=0)
        for kind, attempt in [("Transient", 20), ("ChannelFault", 20), ("Transient", 99_921), ("Transient", 99_922)]
    ]
    redriven = event(NotificationRedriven, 2)
    steps = steps_of([event(NotificationRequested, 0, user_id="ann"), *failed, redriven, failed[0]])
    said = [line for step in steps for line in step.lines if "left out" in line]
    assert said == ["19 attempts before this one left out.", "99,900 attempts before this one left out.", said[0]]


def test_each_event_is_a_step_in_plain_words():
    steps = steps_of(
        [
            event(NotificationRequested, 0, user_id="ann", instead_of="n-0"),
            event(NotificationDeferred, 0, cause=DeferralCause.CIRCUIT_BREAKER, resumes_at_ns=60_000_000_000),
            event(DuplicateIgnored, 1, conflict=True),
            event(
                NotificationFailed,
                62,
                reason="no answer",
                kind="Ambiguous",
                attempt=1,
                started_ns=60_000_000_000,
                next_retry_at_ns=63_000_000_000,
                provider="backup",
                hedges=1,
            ),
            event(
                NotificationFailed,
                63,
                reason="401",
                kind="ChannelFault",
                attempt=0,
                started_ns=63_000_000_000,
                refused=True,
                throttled=True,
                given_up="401",
            ),
            event(NotificationMovedToDeadLetter, 63, reason="401", attempts=1, requested_at_ns=0),
            event(NotificationRedriven, 100, by="otto", why="mended", edit={"message": "x" * 1000, "subject": None}),
            event(NotificationSent, 101, attempt=1, started_ns=100_500_000_000, requested_at_ns=0),
            event(NotificationSuppressed, 102, reason="switched off"),
            event(DeadLetterDiscarded, 103, reason="retention"),
        ]
    )
    assert [(step.what, step.kind) for step in steps] == [
        ("Accepted", ""),
        ("Waits for an open circuit breaker, until 00:01:00 at least", "care"),
        ("Came again with another payload: a conflict; ignored", "care"),
        ("Attempt 1 failed: no answer", "care"),
        ("An attempt that does not count failed: 401", "bad"),
        ("Dead-lettered: 401", "bad"),
        ("Retried by otto", ""),
        ("Sent with attempt 1", "fine"),
        ("Suppressed: switched off", "care"),
        ("Discarded by the queue itself", "bad"),
    ]
    assert [step.after_s for step in steps] == [None, 0, 1, 61, 1, 0, 37, 1, 1, 1]
    assert steps[0].lines == ("In place of n-0, as a fallback.",)
    assert steps[3].lines == ("Perhaps sent; started 00:01:00, took 2 s.", "Provider: backup.",
        "Sent beside it: 1 copy, as a hedge.", "Next attempt due 1 s later, at 00:01:03.")  # fmt: skip
    assert steps[4].lines == (
        "Fault of the channel; the provider says that we send too fast; refused on our side, no provider was asked.",
    )
    late = event(NotificationSent, 130, attempt=2, started_ns=123_000_000_000, requested_at_ns=0)
    due = event(
        NotificationFailed, 1, reason="x", kind="Transient", attempt=1, started_ns=0, next_retry_at_ns=3 * 10**9
    )
    assert steps_of([due, late])[1].lines == (
        "It began 2 min after it was due: a circuit breaker, a limit or others held it back.",
        "The answer came after 7 s.",
    )
    why, message, subject = steps[6].lines
    assert why == "Why: mended"
    assert message == f"Changed message to {'x' * SHOWN_OF_A_CHANGE}…"
    assert subject == "Changed subject to none"
