"""What follows from each of the six outcomes: attempts used up, waits, expiry, dead letters."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from beside import tables
from each_row import over_each
from effort import examples, sliced
from hypothesis import given, settings, strategies as st
from timetables import numbered, redrive, send_at
from worlds import OK, Scripted, Sleeping, Try, World, email, on_both_clocks, run_on_trio, simulate

from actors.domain.delivery import Delivery, dead_letter, redriven
from actors.errors import PermanentError, TransientError
from actors.instants import ns
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Transient
from actors.pipeline.dead_letter_queue import RedriveDeadLetter
from actors.pipeline.retries import RETRY_TIME_UP
from actors.storage.lossy import LossyStore
from actors.storage.memory import MemoryStore

TABLES = tables(__file__)

QUIET_BREAKER = {"enabled": False}


def one(
    outcomes: Any, *, latency: float | Callable[[Try], float] = 0.0, expires_after: float | None = None, **settings: Any
):
    """Return a scenario of one email that meets these outcomes."""

    def scenario(world: World) -> None:
        world.open(
            Scripted(outcomes() if callable(outcomes) else outcomes, latency=latency),
            email={"circuit_breaker": QUIET_BREAKER, **settings},
        )
        world.send(email("n", expires_after=expires_after))

    return scenario


@pytest.mark.parametrize("outcome", [Transient(reason="busy", answer="451"), Ambiguous(reason="reply lost")])
def test_transient_and_ambiguous_failures_are_retried_until_the_attempts_are_spent(outcome: Outcome):
    world = on_both_clocks(one([outcome] * 5))
    assert world.provider.times == [0.0, 1.0, 3.0]
    assert [failure.attempt for failure in world.failures] == [1, 2, 3]
    assert [failure.next_retry_at_ns for failure in world.failures] == [1_000_000_000, 3_000_000_000, None]
    assert {failure.kind for failure in world.failures} == {type(outcome).__name__}
    assert {failure.answer for failure in world.failures} == {outcome.answer}
    (letter,) = world.letters
    assert (letter.failure_reason, letter.attempts) == (outcome.reason, 3)
    assert list(letter.history) == world.failures


def test_the_failures_before_are_not_copied_for_each_one_more():
    """So the cost of an attempt does not grow with their number."""
    moment: dict[str, Any] = {"at_ns": 1, "epoch_ns": 0, "notification_id": "n", "channel": NotificationChannel.EMAIL}
    failed = NotificationFailed(**moment, reason="down", kind="Transient", attempt=1, started_ns=0)
    command = SendNotification(notification_id="n", channel=NotificationChannel.EMAIL, recipient="bob", message="x")
    delivery = Delivery(command, 0, fresh_since_ns=0)
    delivery.fail(failed, None)
    noted = delivery.failures
    for _ in range(3):
        delivery.fail(failed, None)
    assert delivery.failures is noted
    letter = dead_letter(delivery, NotificationMovedToDeadLetter(**moment, reason="x", attempts=4, requested_at_ns=0))
    taken_up = redriven(letter, {}, 2, 0, without_operator=False)
    for each in (delivery, taken_up):
        each.fail(failed, None)
        assert len(each.failures) == 5
    assert len(letter.history) == 4


@pytest.mark.parametrize("outcome", [Permanent(reason="no such template"), DeadDestination(reason="unregistered")])
def test_permanent_failures_are_dead_lettered_at_once(outcome: Outcome):
    world = on_both_clocks(one([Transient(), outcome]))
    assert world.provider.times == [0.0, 1.0]
    assert [failure.next_retry_at for failure in world.failures][-1] is None
    (letter,) = world.letters
    assert (letter.failure_reason, letter.attempts) == (outcome.reason, 2)


def test_later_notifications_to_a_dead_address_are_suppressed_until_it_is_redriven():
    later = [email("b"), email("p", channel="push"), email("c", recipient="bob@example.org")]
    sends = {0: email("a"), 1: later, 2: redrive("a"), 3: email("d")}
    world = send_at(sends, [DeadDestination(reason="gone")], email={}, push={})
    assert [event.notification_id for event in world.events(NotificationSuppressed)] == ["b"]
    assert world.events(NotificationSuppressed)[0].reason == "the address is gone"
    assert world.sent_ids() == ["p", "c", "a", "d"]


def test_one_that_waits_in_a_line_is_suppressed_when_its_address_dies_meanwhile():
    sends = {0: [email("a"), email("b", recipient="bob@example.org"), email("c")]}
    world = send_at(sends, [DeadDestination(reason="gone")], latency=1.0, email={"max_in_flight": 1})
    assert [event.notification_id for event in world.events(NotificationSuppressed)] == ["c"]
    assert world.provider.ids == ["a", "b"]


def test_a_retry_of_another_notification_to_an_address_that_died_meanwhile_is_suppressed():
    world = send_at({0: [email("a"), email("b")]}, [Transient(), DeadDestination()])
    assert [event.notification_id for event in world.events(NotificationSuppressed)] == ["a"]


def test_success_says_how_often_it_was_tried_and_since_when():
    world = on_both_clocks(one([Transient(), Transient()], latency=0.5))
    (sent,) = world.events(NotificationSent)
    assert (sent.attempt, sent.requested_at_ns) == (3, 0)
    assert (sent.started_ns, sent.at_ns) == (4_000_000_000, 4_500_000_000)


# ── the provider's own hint ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("hint", "second_attempt"), TABLES["hints"])
def test_retry_after_is_a_lower_bound_also_beyond_the_maximum_and_nonsense_is_ignored(hint, second_attempt):
    world = on_both_clocks(one([Transient(retry_after=hint)]))
    assert world.provider.times == [0.0, second_attempt]


def test_a_hint_beyond_the_expiry_dead_letters_at_once():
    world = on_both_clocks(one([Transient(reason="busy", retry_after=60.1)], expires_after=60))
    assert world.provider.times == [0.0]
    assert world.times(NotificationMovedToDeadLetter) == [0.0]
    assert world.reasons == ["expired"]
    assert [(failure.reason, failure.next_retry_at_ns) for failure in world.failures] == [("busy", None)]


def test_a_hint_of_centuries_does_not_overflow():
    world = on_both_clocks(one([Transient(retry_after=1e300)], retry={"retry_after_excess": None}), until=3600)
    assert world.provider.times == [0.0]
    assert world.pipeline.in_flight == 1
    assert world.failures[0].next_retry_at.year > 2100


# ── expiry ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("expires_after", "attempts"), [(3.0, 3), (2.999999999, 2), (1.0, 2), (0.999999999, 1), (0.0, 1)]
)
def test_a_retry_at_the_expiry_instant_is_made_and_one_after_it_is_not_scheduled(expires_after, attempts):
    world = on_both_clocks(one([Transient()] * 9, expires_after=expires_after, retry={"max_attempts": 4}))
    assert world.provider.times == [0.0, 1.0, 3.0][:attempts]
    assert world.reasons == ["expired"]
    assert world.letters[0].attempts == attempts
    assert world.times(NotificationMovedToDeadLetter) == [[0.0, 1.0, 3.0][attempts - 1]]


def test_the_last_attempt_of_all_is_not_blamed_on_the_expiry():
    world = on_both_clocks(one([Transient(reason="busy")] * 9, expires_after=3.5))
    assert world.reasons == ["busy"]


def test_an_attempt_under_way_at_the_expiry_may_still_succeed():
    world = on_both_clocks(one([OK], latency=5.0, expires_after=1.0))
    assert world.times(NotificationSent) == [5.0]


def test_an_expiry_that_never_comes_is_no_expiry():
    world = on_both_clocks(one([Transient()], expires_after=math.inf))
    assert world.provider.times == [0.0, 1.0]


# ── the channel is broken ───────────────────────────────────────────────────────────────────────────────────────


def test_a_channel_fault_uses_no_attempt_opens_the_breaker_and_alerts():
    world = send_at({0: email("a")}, [ChannelFault(reason="bad password")], email={"retry": {"max_attempts": 1}})
    assert [(failure.attempt, failure.kind) for failure in world.failures] == [(0, "ChannelFault")]
    assert [(each.to_state, each.at_ns) for each in world.events(BreakerTransitioned)] == [
        ("open", 0),
        ("half-open", 60_000_000_000),
        ("closed", 60_000_000_000),
    ]
    (sent,) = world.events(NotificationSent)
    assert sent.attempt == 1
    assert world.alerts == ["Channel email is broken: bad password"]


@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated", "proportional"])
def test_after_a_channel_fault_it_waits_at_least_the_first_delay_whatever_the_jitter(jitter):
    faults = [ChannelFault()] * 20
    world = on_both_clocks(one(faults, retry={"initial_delay": 2.0, "jitter": jitter}))
    at_ns = [each.at_ns for each in world.provider.tries]
    waits_ns = [later - earlier for earlier, later in itertools.pairwise(at_ns)]
    assert len(waits_ns) == 20
    assert min(waits_ns) >= 2_000_000_000
    assert world.sent_ids() == ["n"]


def test_channel_faults_between_failures_leave_the_count_alone():
    world = on_both_clocks(one([Transient(), ChannelFault(), Ambiguous(), ChannelFault(), Transient(), OK]))
    assert [failure.attempt for failure in world.failures] == [1, 1, 2, 2, 3]
    assert world.letters[0].attempts == 3


def test_a_channel_fault_ends_with_the_expiry():
    world = on_both_clocks(one([ChannelFault()] * 99, expires_after=10))
    assert world.reasons == ["expired"]
    assert world.letters[0].attempts == 0


# ── own limits, limits by time, what a hint means ───────────────────────────────────────────────────────────────

THROTTLED = Transient(reason="slow down", throttled=True)


def test_each_kind_of_failure_with_a_rule_counts_on_its_own():
    outcomes = [THROTTLED, Transient(), THROTTLED, Ambiguous(), THROTTLED, Transient(reason="busy")]
    retry = {"per_outcome": {"throttled": {"max_attempts": 4, "initial_delay": 10}}}
    world = on_both_clocks(one(outcomes, retry=retry))
    # Throttled: 10, 20, 40; the others: 1, 2, and the third of them is the last.
    assert world.provider.times == [0.0, 10.0, 11.0, 31.0, 33.0, 73.0]
    assert world.reasons == ["busy"]
    assert (world.letters[0].attempts, [each.throttled for each in world.failures]) == (6, [True, False] * 3)


def test_a_kind_of_failure_may_never_be_retried():
    retry = {"max_attempts": 5, "per_outcome": {"ambiguous": {"max_attempts": 1}}}
    world = on_both_clocks(one([Transient(), Ambiguous(reason="reply lost")], retry=retry))
    assert world.provider.times == [0.0, 1.0]
    assert world.reasons == ["reply lost"]
    assert [failure.given_up for failure in world.failures] == [None, "reply lost"]


ENDS = {
    "transient": Transient(),
    "throttled": THROTTLED,
    "connection": Transient(connection=True),
    "timeout": OK,
    "lost_reply": Ambiguous(),
}


@pytest.mark.parametrize("word", ENDS)
def test_what_is_not_named_is_final_with_its_reason(word):
    def latency(attempt: Try) -> float:
        return 20.0 if word == "timeout" and attempt.number == 1 else 0.0

    others = [each for each in ENDS if each != word]
    named = on_both_clocks(one([ENDS[word], OK], retry={"on": [word]}, latency=latency))
    assert len(named.provider.times) == 2
    final = on_both_clocks(one([ENDS[word], OK], retry={"on": others}, latency=latency))
    assert len(final.provider.times) == 1
    assert final.reasons == [failure.given_up for failure in final.failures] == [final.failures[0].reason]


def test_a_broken_channel_and_a_refusal_of_our_own_are_always_tried_again():
    world = on_both_clocks(one([ChannelFault(), OK], retry={"on": ["timeout"]}))
    assert [failure.given_up for failure in world.failures] == [None]
    world = on_both_clocks(
        one([OK], retry={"on": ["timeout"]}, circuit_breaker={"initial_state": "forced-open", "when_open": "fail"})
    )
    assert [failure.refused for failure in world.failures] == [True] * 3


def test_kinds_may_share_the_attempts_and_wait_in_their_own_way():
    retry = {"max_attempts": 4, "per_outcome": {"shares_attempts": True, "throttled": {"initial_delay": 10}}}
    world = on_both_clocks(one([THROTTLED, Transient(), THROTTLED, THROTTLED], retry=retry))
    assert world.provider.times == [0.0, 10.0, 12.0, 52.0]
    assert world.letters[0].attempts == 4


def test_a_reason_goes_before_its_kind():
    full = Transient(reason="mailbox full")
    retry = {
        "per_outcome": {"transient": {"max_attempts": 1}},
        "per_reason": {"mailbox full": {"schedule": [60, 600]}},
    }
    world = on_both_clocks(one([full, full, Transient(reason="busy")], retry=retry))
    assert world.provider.times == [0.0, 60.0, 660.0]
    assert world.reasons == ["busy"]


@pytest.mark.parametrize(
    ("max_elapsed", "attempts"), [(7.1, 4), (7.0, 3), (6.9, 3), (3.000000001, 3), (3.0, 2), (1.0, 1)]
)
def test_no_retry_starts_when_the_time_for_retries_is_up(max_elapsed, attempts):
    world = on_both_clocks(one([Transient(reason="busy")] * 9, retry={"max_attempts": 4, "max_elapsed": max_elapsed}))
    assert world.provider.times == [0.0, 1.0, 3.0, 7.0][:attempts]
    assert world.reasons == ["busy" if attempts == 4 else RETRY_TIME_UP]
    assert world.times(NotificationMovedToDeadLetter) == [world.provider.times[-1]]


def test_the_time_for_retries_counts_from_the_acceptance_and_anew_from_a_redrive():
    settings = {"retry": {"max_attempts": 9, "max_elapsed": 6}}
    world = send_at({10: email("n"), 100: redrive("n")}, [Transient()] * 5, latency=2.0, email=settings)
    assert world.provider.times == [10.0, 13.0, 100.0, 103.0]
    assert world.reasons == [RETRY_TIME_UP]


@pytest.mark.parametrize(("max_elapsed", "attempts"), [(7.1, 5), (7.0, 4), (3.000000001, 4), (3.0, 3), (0.001, 2)])
def test_a_limit_that_is_looked_at_after_a_failure_lets_one_more_attempt_start(max_elapsed, attempts):
    retry = {"max_attempts": 50, "max_elapsed": max_elapsed, "max_elapsed_checked": "after_failure"}
    world = on_both_clocks(one([Transient()] * 50, retry=retry))
    assert world.provider.times == [0.0, 1.0, 3.0, 7.0, 15.0][:attempts]
    assert world.reasons == [RETRY_TIME_UP]


@pytest.mark.parametrize(("deadline", "attempts"), [(7.1, 4), (7.0, 3), (3.000000001, 3), (1.0, 1)])
def test_no_attempt_starts_at_the_deadline_which_runs_from_the_first_start(deadline, attempts):
    world = send_at({5: email("n")}, [Transient()] * 50, email={"deadline": deadline, "retry": {"max_attempts": 50}})
    assert world.provider.times == [5.0, 6.0, 8.0, 12.0][:attempts]
    assert world.reasons == ["deadline"]


@pytest.mark.parametrize("hedging", [None, {"delay": 1.0, "max_attempts": 2}])
def test_a_deadline_cuts_an_attempt_of_which_no_breaker_hears(hedging):
    world = send_at(
        {0: email("n")},
        [Transient()] * (2 if hedging else 1),
        latency=lambda attempt: 0.0 if attempt.at == 0 else 60.0,
        email={"deadline": 5, "hedging": hedging, "circuit_breaker": {"failure_threshold": 2}},
    )
    failure = world.failures[-1]
    assert (failure.reason, failure.kind, failure.at_ns, failure.given_up) == (
        "deadline", "Ambiguous", ns(5.0), "deadline"
    )  # fmt: skip
    assert world.letters[0].failure_reason == "deadline"
    assert not world.events(BreakerTransitioned)


def test_a_deadline_cancels_a_request_that_hangs():
    def scenario(world: World) -> None:
        world.open(Sleeping(60.0, [Transient()]), email={"deadline": 63, "timeout": 120, "retry": {"max_attempts": 9}})
        world.send(email("n"))

    world = run_on_trio(scenario)
    assert [round(failure.at_ns / 1e9, 6) for failure in world.failures] == [60.0, 63.0]
    assert world.reasons == ["deadline"]
    assert (len(world.provider.begun), len(world.provider.ended)) == (2, 1)


def test_a_probe_that_a_deadline_cuts_gives_its_permit_back():
    sends = {0: [email("a"), email("b")], 5: email("probe"), 13: email("next")}
    settings = {
        "deadline": 4,
        "retry": {"max_attempts": 1},
        "circuit_breaker": {"failure_threshold": 2, "timeout": 10},
    }
    world = send_at(sends, [Transient()] * 2, latency=lambda attempt: 60.0 if attempt.at == 10 else 0.0, email=settings)
    assert [event.to_state for event in world.events(BreakerTransitioned)] == ["open", "half-open", "closed"]
    assert world.provider.times == [0.0, 0.0, 10.0, 14.0]


def test_a_redrive_begins_its_deadline_anew_and_a_breaker_holds_no_one_beyond_it():
    settings = {"deadline": 30, "circuit_breaker": {"failure_threshold": 1, "timeout": 20}}
    world = send_at({0: email("n"), 100: redrive("n")}, [Transient()] * 2, email=settings)
    assert world.provider.times == [0.0, 20.0, 100.0]
    assert [(event.at_ns, event.reason) for event in world.events(NotificationMovedToDeadLetter)] == [
        (ns(30.0), "deadline")
    ]


def test_the_expiry_is_blamed_before_the_time_for_retries():
    world = on_both_clocks(one([Transient()] * 9, expires_after=2, retry={"max_elapsed": 2}))
    assert world.reasons == ["expired"]


def test_a_channel_fault_ends_with_the_time_for_retries():
    world = on_both_clocks(one([ChannelFault()] * 99, retry={"max_elapsed": 10}))
    assert world.reasons == [RETRY_TIME_UP]
    assert world.letters[0].attempts == 0


@over_each(map(tuple, TABLES["meanings"]))
def test_what_a_hint_means_can_be_set(settings, hint, times):
    world = on_both_clocks(one([Transient(retry_after=hint), Transient()], retry=settings), until=2 * 86400)
    assert world.provider.times == times


@pytest.mark.parametrize("hint", [-1, math.nan, "soon"])
def test_pushback_may_forbid_a_retry(hint):
    world = on_both_clocks(one([Transient(reason="go away", retry_after=hint)], retry={"retry_after": "pushback"}))
    assert world.provider.times == [0.0]
    assert world.reasons == ["go away"]


def test_jitter_on_a_hint_spreads_those_who_were_told_the_same_time():
    hinted = Transient(retry_after=10)
    settings = {"circuit_breaker": QUIET_BREAKER, "retry": {"retry_after_jitter": 0.5}}
    world = send_at({0: numbered(30)}, lambda this: hinted if this.number == 1 else OK, email=settings)
    retried = world.provider.times[30:]
    assert all(10 <= at <= 15 for at in retried)
    assert len(set(retried)) == 30


# ── a handler that starts again over a store ────────────────────────────────────────────────────────────────────

RULES = {
    "max_attempts": 4,
    "max_elapsed": 200,
    "per_outcome": {"throttled": {"max_attempts": 3, "initial_delay": 10}},
    "per_reason": {"mailbox full": {"max_attempts": 3, "initial_delay": 5}},
}
FULL = Transient(reason="mailbox full")


@pytest.mark.parametrize("delay_s", sliced([None, 0.001], 4))
@given(
    outcomes=st.lists(
        st.sampled_from([Transient(), THROTTLED, FULL, Ambiguous(), ChannelFault(), Permanent()]), max_size=12
    ),
    restarts=st.lists(st.integers(0, 120), max_size=3, unique=True),
)
@settings(max_examples=examples(50))
def test_a_handler_that_starts_again_decides_as_if_it_had_not(delay_s, outcomes, restarts):
    def decided(instants: list[int]) -> list[tuple[Any, ...]]:
        def scenario(world: World) -> None:
            store = MemoryStore() if delay_s is None else LossyStore(commit_delay_ns=ns(delay_s))
            world.open(
                Scripted([Permanent(), *outcomes]),
                store=store,
                email={"circuit_breaker": QUIET_BREAKER, "retry": RULES},
            )
            world.send(email("n"))
            # What failed before a redrive counts no longer.
            world.ask(world.pipeline.dead_letter_queue, RedriveDeadLetter(notification_id="n"), at=0.25)
            for instant in instants:
                # It is up again before the next attempt, which is due in the second quarter of a second.
                world.at(instant + 0.5, world.system.crash, world.pipeline.handler, RuntimeError("injected crash"))

        world = simulate(scenario)
        return [
            (each.attempt, each.reason, each.given_up, each.next_retry_at_ns and each.next_retry_at_ns - each.at_ns)
            for each in world.failures
        ]

    assert decided(restarts) == decided([])


# ── redriving ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_redrive_starts_a_fresh_budget_and_keeps_the_history():
    sends = {2: email("n"), 100: redrive("n")}
    world = send_at(sends, [Transient(reason="busy")] * 5, email={"circuit_breaker": QUIET_BREAKER})
    assert world.provider.times == [2.0, 3.0, 5.0, 100.0, 101.0, 103.0]
    assert [failure.attempt for failure in world.failures] == [1, 2, 3, 1, 2]
    assert world.sent_ids() == ["n"]


def test_first_failure_stays_through_redrives_and_is_not_the_first_attempt():
    sends = {2: email("n"), 100: redrive("n")}
    world = send_at(sends, [Transient()] * 99, latency=0.5, email={"circuit_breaker": QUIET_BREAKER})
    (letter,) = world.letters
    assert letter.first_failure_ns == 2_500_000_000
    assert letter.last_failure_ns == 104_500_000_000
    assert (letter.attempts, len(letter.history)) == (3, 6)
    assert letter.requested_at_ns == 2_000_000_000


def test_first_failure_stays_also_when_it_was_no_failed_attempt():
    settings = {"rate_limit": {"rate": "1/h", "on_limit": "drop"}}
    world = send_at({2: [email("a"), email("n")], 100: redrive("n")}, [OK, Transient(), Permanent()], email=settings)
    (letter,) = world.letters
    assert letter.first_failure_ns == 2_000_000_000
    assert letter.last_failure_ns == 101_000_000_000


def test_the_expiry_counts_anew_from_a_redrive():
    sends = {0: email("n", expires_after=10), 100: redrive("n")}
    assert send_at(sends, [Transient()] * 3, email={"retry": {"max_attempts": 2}}).times(NotificationSent) == [101.0]


# ── transports that raise, or worse ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "reason", "calls"),
    [
        (TransientError("busy", 5.0), "busy", 3),
        (PermanentError("no such number"), "no such number", 1),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero", 3),
        (ExceptionGroup("nursery", [ExceptionGroup("inner", [PermanentError("bad")])]), "bad", 1),
    ],
)
def test_a_provider_that_raises_has_failed_and_no_actor_with_it(error, reason, calls):
    def fails(_):
        raise error

    world = send_at({0: [email("a"), email("b")]}, fails, email={"circuit_breaker": QUIET_BREAKER, "max_in_flight": 1})
    assert world.reasons == [reason] * 2
    assert len(world.provider.tries) == 2 * calls
    assert world.events(ActorFailed) == []


@pytest.mark.parametrize("junk", [None, "sent", 250, object])
def test_what_is_no_outcome_is_ambiguous(junk):
    world = on_both_clocks(one([junk] * 3))
    assert {failure.kind for failure in world.failures} == {"Ambiguous"}
    assert world.reasons == [f"the provider returned {junk!r}, which is no outcome"]
    assert world.events(ActorFailed) == []


# ── invariants ──────────────────────────────────────────────────────────────────────────────────────────────────

OUTCOMES = st.sampled_from([Transient(), Transient(throttled=True), Ambiguous(), ChannelFault(), Permanent(), OK])


@given(st.lists(OUTCOMES, max_size=12), st.integers(1, 5), st.sampled_from(["none", "full", "decorrelated"]))
def test_no_more_attempts_than_allowed_and_no_attempt_after_an_end(outcomes, max_attempts, jitter):
    def fate(this: Try) -> Outcome:
        return outcomes[len(world.provider.tries) - 1] if len(world.provider.tries) <= len(outcomes) else OK

    def scenario(made: World) -> None:
        nonlocal world
        world = made
        world.open(Scripted(fate), email={"retry": {"max_attempts": max_attempts, "jitter": jitter, "max_delay": 100}})
        world.send(email("n"))

    world: World = None  # type: ignore[assignment]
    simulate(scenario)
    used = [each for each in (outcomes + [OK] * 20)[: len(world.provider.tries)] if type(each) is not ChannelFault]
    assert len(used) <= max_attempts
    ended = [type(each) for each in used if type(each) in (Permanent, type(OK))]
    assert len(ended) <= 1
    assert world.pipeline.in_flight == 0
    assert len(world.sent_ids()) + len(world.letters) == 1
    assert bool(world.sent_ids()) == (type(used[-1]) is type(OK))


@pytest.mark.parametrize(
    "settings",
    [
        {"circuit_breaker": {"failure_threshold": 1, "timeout": 60}},
        {"circuit_breaker": {"enabled": False}, "quota": {"rate": "1/min"}},
    ],
    ids=["an open breaker", "the quota"],
)
def test_a_retry_that_waits_is_dead_lettered_when_its_time_is_up(settings):
    world = send_at(
        {0: email()},
        [Transient(reason="down")],
        email={"retry": {"max_attempts": 5, "initial_delay": 1, "max_elapsed": 10}, **settings},
    )
    assert world.provider.times == [0.0]
    assert world.reasons == ["retry time is up"]
    assert world.times(NotificationMovedToDeadLetter) in ([10.0], [1.0])  # the quota says at once that it takes longer


def test_an_expiry_is_one_also_for_a_retry_with_a_time_limit():
    settings = {"retry": {"max_elapsed": 30}, "circuit_breaker": {"failure_threshold": 1}}
    world = send_at({0: email(expires_after=20.0)}, [Transient(reason="down")], email=settings)
    assert world.reasons == ["expired"]
