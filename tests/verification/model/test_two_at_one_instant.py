"""Two things at one instant, by the reference of the scenario language, in lock-step with the model."""

from __future__ import annotations

import pytest
from scenario_tables import scenarios_of

import simulation
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterDiscarded,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from simulation.scenario import parse

TEXTS = scenarios_of(__file__)


RUNTIMES = pytest.mark.parametrize("runtime", ["simpy", "trio"])


def compared(text, **arguments):
    result = simulation.run(parse(text), invariants="all", **arguments)
    assert "reference-model" in result.checked
    return result


# ── an answer and a time-out ────────────────────────────────────────────────────────────────────────────────────────


@RUNTIMES
def test_of_two_sends_for_one_message_the_one_that_is_answered_in_time_counts(runtime):
    result = compared(TEXTS["asked-twice"], runtime=runtime)
    assert [event.at_ns for event in result.history if type(event) is NotificationSent] == [3 * 10**9]


@RUNTIMES
@pytest.mark.parametrize("hedging", ["null", "{max_attempts: 2, delay: 1s}"])
def test_an_answer_at_the_instant_of_the_time_out_counts_whatever_it_comes_of(runtime, hedging):
    result = compared(TEXTS["at-the-time-out"].replace("HEDGING", hedging), runtime=runtime)
    assert [event.at_ns for event in result.history if type(event) is NotificationSent] == [3 * 10**9]


# ── what is durable and a crash ─────────────────────────────────────────────────────────────────────────────────────


@RUNTIMES
def test_what_would_be_durable_at_the_instant_of_a_crash_is_lost(runtime):
    result = compared(TEXTS["durable-at-the-crash"], runtime=runtime)
    assert (result.summary["accepted"], result.summary["refused"]["down"]) == (1, 1)
    assert [event.at_ns for event in result.history if type(event) is ActorFailed] == [2 * 10**9] * 2


# ── a restart, a takeover, and what else is due then ────────────────────────────────────────────────────────────────


@RUNTIMES
def test_a_look_that_has_waited_in_a_mailbox_is_not_the_one_that_is_set_anew(runtime):
    assert compared(TEXTS["due-at-the-restart"], runtime=runtime).summary["sent"] == 4


@RUNTIMES
def test_what_has_come_at_the_instant_of_a_takeover_is_accepted_all_the_same(runtime):
    assert compared(TEXTS["accepted-at-the-takeover"], runtime=runtime).summary["accepted"] == 6


def test_what_has_ended_after_a_restart_and_is_redriven_goes_at_no_pace():
    assert compared(TEXTS["redriven-soon-after-a-restart"]).summary["sent"] == 2


@RUNTIMES
def test_one_that_comes_at_the_instant_of_another_ones_turn_waits_behind_it(runtime):
    assert compared(TEXTS["behind-one-whose-turn-it-is"], runtime=runtime).summary["sent"] == 4


@RUNTIMES
def test_who_asks_a_breaker_as_it_closes_by_itself_is_the_first_at_the_pace(runtime):
    result = compared(TEXTS["closed-as-its-time-is-up"], runtime=runtime)
    sent = {event.notification_id: event for event in result.history if type(event) is NotificationSent}
    waited = [(sent[f"push-0-{number}"].provider, sent[f"push-0-{number}"].started_ns) for number in (3, 4)]
    assert waited == [("primary", 3 * 10**9), ("spare", 3 * 10**9)]
    assert sent["push-0-5"].provider == "primary"
    assert sent["push-0-5"].started_ns > 39 * 10**8


# ── what is durable, and who was to record it is down ───────────────────────────────────────────────────────────────


@RUNTIMES
@pytest.mark.parametrize("text", [TEXTS["discarded-while-the-queue-is-down"], TEXTS["discarded-as-its-node-stops"]])
def test_a_discard_that_is_durable_when_its_process_ends_is_in_the_history(text, runtime):
    result = compared(text, runtime=runtime)
    assert [event.at_ns for event in result.history if type(event) is DeadLetterDiscarded] == [4 * 10**9]


@RUNTIMES
def test_a_node_may_discard_a_letter_whose_own_node_has_not_recorded_its_death_yet(runtime):
    result = compared(TEXTS["taken-before-its-death-is-recorded"], runtime=runtime)
    of_letters = (DeadLetterDiscarded, NotificationMovedToDeadLetter)
    taken, died = (event for event in result.history if isinstance(event, of_letters))
    assert (taken.node, taken.at_ns, died.node, died.at_ns) == (2, 3_500_000_000, 1, 2 * 10**9)


@RUNTIMES
def test_a_redrive_by_another_node_may_cross_the_acceptance_of_the_fallback(runtime):
    history = compared(TEXTS["redriven-as-its-fallback-begins"], runtime=runtime).history
    fallbacks = {event.instead_of: event for event in history if type(event) is NotificationRequested}
    redriven = [event for event in history if type(event) is NotificationRedriven]
    crossed = [(each, fallbacks[each.notification_id]) for each in redriven if each.notification_id in fallbacks]
    assert any(redrive.at_ns == fallback.at_ns and redrive.node != fallback.node for redrive, fallback in crossed)


@RUNTIMES
def test_a_node_that_crashes_as_it_is_deployed_is_down_for_as_long_as_that_says(runtime):
    history = compared(TEXTS["crashed-as-it-is-deployed"], runtime=runtime).history
    failed = [(event.node, event.at_ns) for event in history if type(event) is ActorFailed]
    assert failed.count((2, 3 * 10**9)) == 2
    accepted = [event.at_ns for event in history if type(event) is NotificationRequested and event.node == 2]
    assert not [at_ns for at_ns in accepted if 3 * 10**9 < at_ns < 3_500_000_000]


# ── a message that comes twice, and a probe without a slot ──────────────────────────────────────────────────────────


def test_each_copy_of_a_message_has_a_deadline_of_its_own():
    result = compared(TEXTS["copies-of-a-message-have-deadlines-of-their-own"])
    assert result.summary["hedges"] == 0


def test_a_probe_out_of_the_line_that_gets_no_slot_opens_the_breaker_again():
    result = compared(TEXTS["refused-out-of-the-line"])
    changes = [(event.at_ns, event.to_state) for event in result.history if type(event) is BreakerTransitioned]
    assert [state for at_ns, state in changes if at_ns == 25 * 10**9] == ["half-open", "open"]
