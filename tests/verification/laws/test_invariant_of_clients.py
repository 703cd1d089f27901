"""Clients of a closed workload go on: when their notification has ended, and after a crash."""

from __future__ import annotations

from dataclasses import replace

from histories import S, breach_of, check_breach, context_of, crashed, requested, sent

from simulation.verification.laws.base import ClientsOf, Context


def context(clients: int, until: int = 100) -> Context:
    """Return one with so many clients that think for 5 s."""
    of = ClientsOf("email-0-", 0, until * S, tuple([lambda: 5.0] * clients))
    return replace(context_of(), clients=[of])


def test_one_that_has_thought_sends():
    events = [requested(5, "email-0-0"), sent(6, "email-0-0"), requested(11, "email-0-1"), sent(96, "email-0-1")]
    assert breach_of("clients-go-on", events, context(1), end=1000) is None


def test_one_that_is_silent_after_its_notification_has_ended_is_told():
    events = [requested(5, "email-0-0"), sent(6, "email-0-0")]
    text = "1 clients of email-0-… have thought since 6 s, each for 5 s at most"
    check_breach("clients-go-on", events, text, context(1), end=1000)
    check_breach("clients-go-on", [*events, requested(12, "email-0-1")], text, context(1), end=13)


def test_one_that_never_comes_is_told():
    check_breach("clients-go-on", [], "1 clients of email-0-… have thought since 0 s", context(1), end=1000)


def test_who_waits_sends_nothing_and_others_do():
    events = [requested(5, "email-0-0")]
    assert breach_of("clients-go-on", events, context(1), end=1000) is None
    check_breach("clients-go-on", events, "1 clients of email-0-… have thought since 5 s", context(2), end=1000)


def test_nothing_is_sent_when_the_window_is_over():
    events = [requested(1, "email-0-0"), sent(6, "email-0-0")]
    assert breach_of("clients-go-on", events, context(1, 11), end=1000) is None


def test_after_a_crash_they_have_time_until_all_is_up_again():
    crashing = context(1, 1000)
    events = [requested(5, "email-0-0"), sent(6, "email-0-0"), crashed(8, "process")]
    up = 8 + crashing.restarted_within_ns // S
    on_time = [*events, requested(up + 5, "email-0-1"), sent(999, "email-0-1")]
    assert breach_of("clients-go-on", on_time, crashing, end=2000) is None
    check_breach("clients-go-on", events, f"have thought since {up} s", context(1, 1000), end=2000)


def test_what_was_lost_in_a_crash_is_not_waited_for():
    events = [requested(3, "email-0-1"), sent(4, "email-0-1"), crashed(8, "process")]
    check_breach("clients-go-on", events, "2 clients", context(2, 1000), end=2000)
