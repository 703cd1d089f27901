"""Each invariant: histories that break it, at the event that does, and some near them that do not."""

from datetime import time

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
    deferred,
    failed,
    let_through,
    made,
    redriven,
    requested,
    sent,
    settled,
    suppressed,
)

from actors.outcomes import Transient
from actors.pipeline.preferences import Preferences
from actors.policies.quiet_hours import QuietHours
from actors.settings.channel import ChannelConfig
from simulation.invariants import Checker, Context

FAILS = Transient()
THROTTLED = Transient(throttled=True)


class Holding:
    """A pipeline that holds these notifications in flight."""

    def __init__(self, *ids):
        self.handler = self
        self.actor = self
        self.deliveries = self
        self.has = ids.__contains__


# ── accounts ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_conservation_counts_by_the_history_and_by_the_pipeline():
    counts = iter([1, 2, 1, 1])
    context = Context(channels={EMAIL: ChannelConfig()}, in_flight_now=lambda: count[0])
    count = [0]

    def events():
        for event in (requested(0, "a"), requested(1, "b"), sent(2, "a"), dead(3, "b")):
            count[0] = next(counts)
            yield event

    breach = breach_of("conservation", events(), context)
    assert breach.at_ns == 3 * S
    assert "is 0 by the history, but 1 are in flight" in breach.message


def test_what_a_crash_loses_is_named():
    context = Context(channels={EMAIL: ChannelConfig()}, pipeline=lambda: Holding("a", "c"))
    events = [requested(0, "a"), requested(0, "b"), crashed(1), requested(5, "c"), requested(11, "d")]
    breach = check_breach("nothing-lost", events, "the pipeline knows nothing of b", context)
    assert any("Accepted on email" in line for line in breach.history)


def test_what_is_lost_without_a_crash_is_named_at_the_end():
    context = Context(channels={EMAIL: ChannelConfig()}, pipeline=lambda: Holding())
    check_breach("nothing-lost", [requested(0)], "at the end of the run, the pipeline knows nothing of n", context, 9)
    assert breach_of("nothing-lost", [requested(0), sent(1)], context_of(), end=9) is None


# ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([sent(0)], "is not accepted, and that is followed by no NotificationSent"),
        ([requested(0), requested(1)], "is in flight"),
        ([requested(0), sent(1), sent(2)], "is sent, and that is followed by no NotificationSent"),
        ([requested(0), dead(1), failed(2, 3)], "is dead-lettered"),
        ([requested(0), suppressed(1), dead(2)], "is suppressed"),
        ([requested(0), redriven(1)], "is in flight"),
        ([requested(0), dead(1), redriven(2), redriven(3)], "is in flight"),
        ([requested(0), sent(1), deferred(2)], "is sent"),
        ([requested(0), crashed(1), sent(2), deferred(21.1)], "is sent"),
        ([requested(0), crashed(1, "AdminAlert"), sent(2), deferred(3)], "is sent"),
        ([requested(0), sent(1), requested(86_400)], "accepted again 86399 s after it was sent"),
    ],
)
def test_steps_that_there_are_not(events, text):
    check_breach("legal-steps", events, text)


@pytest.mark.parametrize(
    "events",
    [
        [requested(0), deferred(1), failed(2, 3), sent(4)],
        [requested(0), dead(1), redriven(2), dead(3), redriven(4), sent(5)],
        [requested(0), sent(1), requested(86_401), sent(86_402)],
        [requested(0), crashed(1), sent(2), deferred(21)],
    ],
)
def test_steps_that_there_are(events):
    assert breach_of("legal-steps", events) is None


def test_retries_beyond_the_limits():
    two = context_of(retry={"max_attempts": 2})
    beyond = [requested(0), failed(1, 2), failed(3, 4, attempt=3)]
    check_breach("retry-limits", beyond, "of at most 2 (channels.email.retry.max_attempts = 2)", two)
    for_good = [requested(0), failed(1, 2, kind="Permanent")]
    check_breach("retry-limits", for_good, "failed for good (Permanent) and is to be tried again")
    assert breach_of("retry-limits", [*beyond[:2], failed(3, attempt=2), failed(4, kind="Permanent")], two) is None


# ── at the provider ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_success_is_one_too_many():
    breach = check_breach("one-success", [requested(0), made(1), made(2, number=2)], "is delivered 2 times; at most 1")
    assert [line.split("  ")[-1] for line in breach.history] == [
        "Accepted on email for ann",
        "Attempt 1 is made at the primary provider of email: sent at 1.5 s",
        "Attempt 2 is made at the primary provider of email: sent at 2.5 s",
    ]


def test_as_many_more_as_answers_were_lost():
    lost = [made(1, answered=False), made(2, answered=False, number=2)]
    assert breach_of("one-success", [requested(0), *lost, made(3, number=3)]) is None
    check_breach("one-success", [requested(0), *lost, made(3, number=3), made(4, number=4)], "at most 3")


def test_a_crash_and_a_copy_explain_one_more_each():
    assert breach_of("one-success", [requested(0), made(1), crashed(1.1), made(2)]) is None
    assert breach_of("one-success", [requested(0), made(1), made(1.1, is_copy=True)]) is None
    check_breach("one-success", [requested(0), made(1), crashed(1.1), made(2), made(3)], "1 crashes")
    assert breach_of("one-success", [crashed(0), requested(20), made(20), made(20)]) is None  # still settling
    check_breach("one-success", [crashed(0), requested(20.1), made(21), made(22)], "at most 1")


def test_failures_are_no_deliveries():
    assert breach_of("one-success", [requested(0), made(1, outcome=FAILS), made(2, outcome=FAILS), made(3)]) is None


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([made(0)], "is sent and was never accepted"),
        ([requested(0), dead(1), made(3)], "it has been dead-lettered for 2 s"),
        ([requested(0), sent(1), made(2)], "it has been sent for 1 s"),
        ([requested(0), suppressed(1), made(2)], "it has been suppressed"),
    ],
)
def test_nothing_is_sent_after_its_end(events, text):
    check_breach("nothing-after-the-end", events, text)


def test_what_is_redriven_may_be_sent_and_what_a_crash_left_behind_too():
    assert breach_of("nothing-after-the-end", [requested(0), dead(1), redriven(2), made(3)]) is None
    assert breach_of("nothing-after-the-end", [requested(0), crashed(1), dead(2), made(21)]) is None
    check_breach("nothing-after-the-end", [requested(0), crashed(1), dead(2), made(22)], "dead-lettered for 20 s")


def test_no_one_is_sent_what_they_do_not_want():
    preferences = Preferences()
    preferences.set_channel("bob", EMAIL, False)
    preferences.set_quiet_hours("ann", QuietHours(time(0, 10), time(6), "UTC"))
    context = Context(channels={EMAIL: ChannelConfig()}, preferences=preferences)
    check_breach("wanted", [requested(0), made(1, user_id="bob")], "bob has switched email off", context)
    night = [requested(0), made(599, user_id="ann"), made(600, user_id="ann")]
    check_breach("quiet-hours", night, "quiet hours of ann", context)
    no_matter = [made(600, user_id="ann", critical=True), made(600, user_id="eve")]
    assert breach_of("quiet-hours", no_matter, context) is None
    late = made(1, user_id="bob", is_copy=True)  # of an attempt that had set out before
    assert breach_of("wanted", [late], context) is None


def test_what_was_decided_just_before_the_wall_clock_steps_goes_on_after():
    preferences = Preferences()
    preferences.set_quiet_hours("ann", QuietHours(time(0, 10), time(6), "UTC"))
    steps = [{"at": 5, "clock_step": 600}, {"at": 5, "clock_step": 60}, {"at": 9, "clock_step": 3600}]
    context = context_of(steps)
    context.preferences, context.epoch_ns = preferences, lambda: 660 * S  # both steps have been
    at_once = [requested(5), made(5, user_id="ann")]
    assert breach_of("quiet-hours", at_once, context) is None
    check_breach("quiet-hours", [requested(6), made(6, user_id="ann")], "in the quiet hours of ann", context)
    context.epoch_ns = lambda: 4260 * S  # it was quiet before as well
    check_breach("quiet-hours", at_once, "in the quiet hours of ann", context)


# ── breakers ────────────────────────────────────────────────────────────────────────────────────────────────────

OPENS = breaker(10, "closed", "open", "trip")
HALF_OPENS = breaker(70, "open", "half-open", "wait-over")


def test_an_open_breaker_lets_nothing_through():
    closed = [let_through(9), OPENS]
    check_breach("open-breaker", [*closed, let_through(11)], "n is let through by breaker email, which is open")
    check_breach("open-breaker", [*closed, let_through(10)], "which is open since 10 s")
    forced = breaker(0, "closed", "forced-open", "force-open")
    check_breach("open-breaker", [forced, let_through(1)], "which is forced-open since 0 s")


def test_what_was_let_through_before_may_come_to_its_provider_late():
    passes = let_through(9)
    late = [passes, crashed(9, "Channel"), OPENS, made(12, attempt=passes.message.attempt)]
    assert breach_of("open-breaker", late) is None
    check_breach("open-breaker", [*late, made(12)], "no circuit breaker has let that attempt through")
    check_breach("open-breaker", [*late, let_through(12)], "which is open since 10 s")  # not so what comes later


def test_no_copy_is_sent_where_the_breaker_is_not_closed_any_more():
    passes = let_through(9)
    first, copy = (made(at, attempt=passes.message.attempt, is_copy=at > 9) for at in (9, 12))
    assert breach_of("open-breaker", [passes, first, copy]) is None
    check_breach("open-breaker", [passes, first, OPENS, copy], "a copy of n is sent, and breaker email is open")
    forced = breaker(10, "closed", "forced-open", "force-open")
    check_breach("open-breaker", [passes, first, forced, copy], "breaker email is forced-open")


def test_no_more_probes_than_permits():
    half_open = [OPENS, HALF_OPENS, let_through(70, "a")]
    check_breach(
        "open-breaker", [*half_open, let_through(70, "b")], "b is probe 2 at breaker email, half-open since 70 s"
    )
    says_nothing = [*half_open, settled(70.5, half_open[-1], THROTTLED)]
    assert breach_of("open-breaker", [*says_nothing, let_through(71, "b")]) is None
    two = context_of(circuit_breaker={"half_open_permits": 2})
    assert breach_of("open-breaker", [*half_open, let_through(70, "b")], two) is None
    closes = breaker(71, "half-open", "closed", "recover")
    assert breach_of("open-breaker", [*half_open, closes, let_through(71, "b"), let_through(71, "c")]) is None


def test_a_probe_from_before_a_trip_gives_no_permit_back():
    early = let_through(9, "a")
    half_open = [early, OPENS, HALF_OPENS, let_through(70, "b"), settled(71, early, THROTTLED), let_through(72, "c")]
    check_breach("open-breaker", half_open, "c is probe 2")


def test_the_breaker_of_one_host_is_none_of_anothers():
    context = context_of(circuit_breaker={"per": "host"})
    opens = breaker(1, "closed", "open", "trip", host="example.org")
    there, elsewhere = let_through(2), let_through(2, recipient="eve@example.com")
    assert breach_of("open-breaker", [opens, elsewhere], context) is None
    check_breach("open-breaker", [opens, there], "by breaker email", context_of(circuit_breaker={"per": "host"}))


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("quota", "good", "bad"),
    [
        ({"rate": "2/10s"}, [0, 0, 10, 10], [0, 9, 9.9]),
        ({"rate": "2/10s", "kind": "fixed_window"}, [9, 9, 10, 10], [10, 11, 19]),
        ({"rate": "2/10s", "kind": "sliding_counter"}, [9, 9, 10, 10], [10, 11, 19]),
        ({"rate": "2/10s", "kind": "token_bucket", "burst": 3}, [0, 0, 0, 5, 10], [0, 0, 0, 4.9]),
        ({"rate": "2/10s", "kind": "leaky_bucket"}, [0, 5, 10], [0, 4.9]),
        ({"rate": "2/10s", "kind": "leaky_bucket", "aligned": True}, [4.9, 5, 10], [5, 9.9]),
        ({"rates": ["2/s", "3/10s"]}, [0, 0, 1, 10, 10], [0, 0, 1, 9.9]),
    ],
)
def test_quotas_by_what_each_kind_promises(quota, good, bad):
    assert breach_of("quota", [let_through(each) for each in good], context_of(quota=quota)) is None
    check_breach(
        "quota", [let_through(each) for each in bad], "asked more often than its quota", context_of(quota=quota)
    )


def test_copies_count_for_a_quota():
    events = [let_through(0), made(0), made(1, is_copy=True), let_through(2)]
    check_breach("quota", events, "3 since 0 s, of at most 2 in 10 s", context_of(quota={"rate": "2/10s"}))


def test_a_quota_goes_on_when_an_actor_has_crashed_and_begins_anew_with_the_process():
    quota = {"rate": "2/10s"}
    two = [let_through(0), let_through(0)]
    check_breach("quota", [*two, crashed(1, "Channel"), let_through(2)], "3 since 0 s", context_of(quota=quota))
    assert breach_of("quota", [*two, crashed(1, "process"), let_through(2)], context_of(quota=quota)) is None


def test_a_bulkhead_has_so_many_slots():
    full = [made(0, takes=2), made(1, takes=2)]
    assert breach_of("bulkhead", [*full, made(2), made(2, is_copy=True)], context_of(max_in_flight=2)) is None
    check_breach("bulkhead", [*full, made(1.9)], "3 attempts are under way", context_of(max_in_flight=2))


# ── liveness ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_stuck_is_found_once_the_faults_are_over():
    context = context_of([{"at": 0, "for": 100, "outage": True}], retry={"max_attempts": 1, "max_delay": 5}, timeout=5)
    # 60 s of slack, and for one attempt 5 s of backoff, 5 s at the provider, and 65 s behind an open breaker; and for
    # each of two in flight 100 ms of resuming.
    check_breach(
        "liveness", [requested(50, "stuck"), requested(60, "b"), sent(61, "b")], "of at most 135.2 s", context, 236
    )
    assert breach_of("liveness", [requested(50, "stuck")], context_of(), end=235) is None


def test_what_ends_in_time_is_not_stuck_and_a_fault_without_an_end_is_no_reason():
    assert breach_of("liveness", [requested(0), sent(10_000)], end=20_000) is None
    found = breach_of("liveness", [requested(0), *(requested(100 * k, f"n{k}") for k in range(1, 100))])
    assert found.message.startswith("n is still in flight")
    assert Checker(["liveness"], context_of([{"outage": True}]), record=print).names == []


def test_what_a_store_kept_while_the_wall_clock_stepped_is_off_by_the_step():
    step, crash = {"at": 1, "clock_step": -4000}, {"at": 2, "crash": "process"}
    found = breach_of("liveness", [requested(0)], context_of([step]), end=100_000)
    bound = float(found.message.rpartition("of at most ")[2].removesuffix(" s"))
    both = context_of([step, crash])
    assert breach_of("liveness", [requested(0)], both, end=bound + 4_001) is None
    assert breach_of("liveness", [requested(0)], both, end=bound + 4_003) is not None


def test_a_breaker_that_is_forced_open_keeps_all_waiting():
    forced = breaker(1, "closed", "forced-open", "force-open")
    assert breach_of("liveness", [requested(0), forced], end=100_000) is None
    closes = breaker(90_000, "forced-open", "closed", "close")
    assert breach_of("liveness", [requested(0), forced, closes], end=90_100) is None
    assert breach_of("liveness", [requested(0), forced, closes], end=100_000) is not None
