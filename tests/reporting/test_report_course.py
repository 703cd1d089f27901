"""The stories of single notifications: what they were chosen for, where their time went, and who sent what to whom."""

from itertools import pairwise

import pytest
from report_pages import CRASH, FALLBACK, MILLISECONDS, OUTAGE, PROVIDERS, QUIET_HOURS, Page, page_of, result_of

import simulation
from actors.instants import NS_PER_S
from actors.messages import (
    DeferralCause,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from simulation.reporting.html.course import histories_of, spans_of, totals
from simulation.reporting.html.messages import (
    BREAKER,
    DEAD_LETTERS,
    HANDLER,
    LIMITER,
    SENDER,
    Spent,
    messages_of,
    parts_of,
)
from simulation.reporting.html.steps import HEAD, TAIL, Interrupted, steps_of
from simulation.reporting.html.words import clock, duration, exact_seconds
from simulation.reporting.html.worst import choose
from simulation.results.result import Result
from simulation.running.runner import recorder_of
from simulation.scenario import parse
from simulation.sheets import share_text

EVERY_KIND = pytest.mark.parametrize(
    "text",
    [OUTAGE, PROVIDERS, QUIET_HOURS, CRASH, FALLBACK, MILLISECONDS],
    ids=["outage", "providers", "quiet hours", "crash", "fallback", "milliseconds"],
)
EMAIL = NotificationChannel.EMAIL
DEFAULTS = parse("duration: 1s\nworkload: [{channel: email, arrivals: {constant: 1/s}}]").channels.email


def event(type_, at_s, id="n", **fields):
    return type_(at_ns=round(at_s * NS_PER_S), epoch_ns=0, notification_id=id, channel=EMAIL, **fields)


def requested(at_s, id="n"):
    return event(NotificationRequested, at_s, id, user_id="ann")


def attempt(type_, start_s, end_s, number=1, id="n", again_s=None, **fields):
    fields["started_ns"] = round(start_s * NS_PER_S)
    if type_ is NotificationSent:
        return event(type_, end_s, id, attempt=number, requested_at_ns=0, **fields)
    again_ns = None if again_s is None else round(again_s * NS_PER_S)
    fields = {"reason": "down", "kind": "Transient", **fields}
    return event(type_, end_s, id, attempt=number, next_retry_at_ns=again_ns, given_up=None, **fields)


def dead(at_s, id="n", attempts=1, reason="down"):
    return event(NotificationMovedToDeadLetter, at_s, id, reason=reason, attempts=attempts, requested_at_ns=0)


def result_with(*events, runtime="simpy"):
    scenario = parse("name: by hand\nduration: 100s\nworkload: [{channel: email, arrivals: {constant: 1/s}}]\n")
    recorder = recorder_of(scenario)
    recorder.in_flight_now = lambda: recorder.in_flight
    for each in events:
        recorder.record(each)
    return Result(scenario, runtime, recorder, 100 * NS_PER_S)


# ── invariants, over every notification of runs of every kind ───────────────────────────────────────────────────────


@EVERY_KIND
def test_where_time_went_has_no_gaps_and_is_all_of_it(text):
    result = result_of(text)
    end_ns = round(result.summary["simulated_s"] * NS_PER_S)
    table = result.notifications
    histories = histories_of(result.history, list(table["id"]))
    attempts = result.attempts[~result.attempts["refused"]]
    at_provider_s = (attempts["end_s"] - attempts["start_s"]).groupby(attempts["id"]).sum()
    for row in table.itertuples():
        spans = spans_of(histories[row.id], row.id, end_ns)
        assert all(before.to_ns == after.from_ns for before, after in pairwise(spans))
        whole_s = (end_ns / NS_PER_S if row.outcome == "in_flight" else row.finished_at_s) - row.requested_at_s
        assert sum(span.to_ns - span.from_ns for span in spans) / NS_PER_S == pytest.approx(whole_s, abs=1e-6)
        sums = totals(spans)
        assert sums.get(Spent.AT_PROVIDER, 0) / NS_PER_S == pytest.approx(at_provider_s.get(row.id, 0.0), abs=1e-6)


@EVERY_KIND
def test_every_attempt_is_a_message_there_and_one_back_in_the_order_of_time(text):
    result = result_of(text)
    end_ns = round(result.summary["simulated_s"] * NS_PER_S)
    histories = histories_of(result.history, list(result.notifications["id"]))
    for row in result.notifications.itertuples():
        events = histories[row.id]
        config = result.scenario.channel_config(NotificationChannel(row.channel))
        parts = parts_of(NotificationChannel(row.channel), config, events, "sender")
        messages = messages_of(events, row.id, parts, end_ns)
        assert all(set(message.path) <= set(parts.names) for message in messages)
        assert all(before.at_ns <= after.at_ns for before, after in pairwise(messages))
        answers = [message for message in messages if message.answers]
        assert len(answers) == row.attempts
        assert all(message.path[-1] == HANDLER for message in answers)
        assert len([message for message in messages if message.text.startswith("attempt")]) == row.attempts
        assert messages[0].path == (SENDER, HANDLER)
        assert (messages[-1].text == "end of the run") == (row.outcome == "in_flight")


@EVERY_KIND
def test_what_is_chosen_is_in_the_run_and_each_once(text):
    result = result_of(text)
    chosen = [each.notification_id for each in choose(result)]
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(result.notifications["id"])
    assert chosen


# ── by hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_each_reason_the_dead_letter_with_most_attempts_and_of_each_channel_the_slowest():
    failed = NotificationFailed
    result = result_with(
        requested(0, "a"), attempt(failed, 0, 1, id="a"), dead(1, "a"),
        requested(0, "b"), attempt(failed, 0, 1, id="b"), attempt(failed, 2, 3, 2, "b"), dead(3, "b", 2),
        requested(0, "c"), attempt(failed, 0, 9, id="c"), dead(9, "c", reason="gone"),
        requested(0, "d"), attempt(NotificationSent, 0, 4, id="d"),
        requested(10, "e"), attempt(NotificationSent, 10, 15, id="e"),
        requested(20, "f"),
        requested(19, "g"),
    )  # fmt: skip
    assert [each.notification_id for each in choose(result)] == ["b", "c", "g", "e"]


def test_a_notification_that_waits_everywhere():
    events = [
        requested(0),
        event(NotificationDeferred, 0, cause=DeferralCause.RATE_LIMIT, resumes_at_ns=NS_PER_S),
        event(NotificationDeferred, 1, cause=DeferralCause.CIRCUIT_BREAKER, resumes_at_ns=None),
        attempt(NotificationFailed, 3, 4, again_s=6),
        event(NotificationDeferred, 6, cause=DeferralCause.RATE_LIMIT, resumes_at_ns=7 * NS_PER_S),
        attempt(NotificationFailed, 7, 9, 2, again_s=10),
        attempt(NotificationFailed, 12, 12, 3, refused=True),
        dead(12, attempts=3),
        event(NotificationRedriven, 20, by="ann"),
        attempt(NotificationSent, 21, 22),
    ]
    assert totals(spans_of(events, "n", 100 * NS_PER_S)) == {
        Spent.AT_PROVIDER: 4 * NS_PER_S,
        Spent.BACKOFF: 3 * NS_PER_S,
        Spent.BREAKER: 2 * NS_PER_S,
        Spent.LIMIT: 2 * NS_PER_S,
        Spent.ELSE: 3 * NS_PER_S,
        Spent.DEAD: 8 * NS_PER_S,
    }
    config = parse("duration: 1s\nworkload: [{channel: email, arrivals: {constant: 1/s}}]", sets=[
        "channels.email={rate_limit: {max_per_minute: 1}, quota: {rate: 1/s}}",
    ]).channels.email  # fmt: skip
    parts = parts_of(EMAIL, config, events, "sender")
    rests = [
        message.then[0] for message in messages_of(events, "n", parts, 0) if message.kind == "care" and message.then
    ]
    # the user's limit, the breaker; after the first attempt it is the channel's quota that has it wait
    assert rests[:4] == [LIMITER, BREAKER, HANDLER, BREAKER]
    [refused] = [message for message in messages_of(events, "n", parts, 0) if message.text.startswith("refused")]
    assert refused.path == (BREAKER, HANDLER)
    [redriven] = [message for message in messages_of(events, "n", parts, 0) if message.text.startswith("redriven")]
    assert redriven.path == (DEAD_LETTERS, HANDLER)


def test_who_gives_up_while_it_waits_is_let_go_of_by_whom_it_waits_at():
    events = [requested(0), event(NotificationDeferred, 0, cause=DeferralCause.CIRCUIT_BREAKER), dead(5, attempts=0)]
    parts = parts_of(EMAIL, DEFAULTS, events, "sender")
    assert [message.path for message in messages_of(events, "n", parts, 0)] == [
        (SENDER, HANDLER), (HANDLER, BREAKER), (BREAKER, HANDLER), (HANDLER, DEAD_LETTERS),
    ]  # fmt: skip


def test_a_run_in_real_time_is_no_simulation_and_can_be_simulated():
    read = Page(simulation.report(result_with(requested(0), attempt(NotificationSent, 0, 1), runtime="live")))
    assert "live, through real providers · 100" in read.text("header")
    assert "simulated" not in read.text("header")
    assert read.texts("#again pre")[0] == "retrylab run scenario.yaml --seed 0"
    assert "It ran live" in read.text("#again")


def test_a_fallback_is_chosen_by_how_long_its_user_waited():
    result = result_of(FALLBACK)
    sent = [each for each in result.history if type(each) is NotificationSent and each.channel == "sms"]
    latest = max(sent, key=lambda each: each.at_ns - each.requested_at_ns)
    assert latest.notification_id in [each.notification_id for each in choose(result)]
    times = result.summary["channels"]["sms"]["sent_time_s"]
    assert (latest.at_ns - latest.requested_at_ns) / NS_PER_S == times["max"]


def test_a_fallback_is_told_by_both():
    result = result_of(FALLBACK)
    fallback = next(each for each in result.history if getattr(each, "instead_of", None))
    push, sms = fallback.instead_of, fallback.notification_id
    histories = histories_of(result.history, [push, sms])
    assert "Goes out on sms instead" in [step.what for step in steps_of(histories[push], push)]
    [accepted, *_] = steps_of(histories[sms], sms)
    assert push in accepted.details[0]


@pytest.mark.thorough
def test_a_long_story_is_cut_in_the_middle_and_says_by_how_much():
    result, read = result_of(MILLISECONDS), page_of(MILLISECONDS)
    [article, *_] = read.html.css(".notification")
    chosen = choose(result)[0].notification_id
    steps = len(histories_of(result.history, [chosen])[chosen])
    assert steps > HEAD + TAIL + 1
    shown = article.css(".timeline li")
    assert len(shown) == HEAD + TAIL + 1
    assert f"{steps - HEAD - TAIL} steps left out here" in shown[HEAD].text()
    assert "left out here, over" in article.css_first(".sequence .cut").text()


def test_how_times_and_shares_are_written():
    assert clock(125_250_000_000) == "2:05.250"
    assert clock(3_725_000_000_000) == "1:02:05.000"
    assert clock(86_400_000_000_000 * 3) == "3\N{NO-BREAK SPACE}d\N{NO-BREAK SPACE}0:00:00.000"
    assert exact_seconds(181_402_000_001) == "181.402000001 s"
    assert exact_seconds(600 * NS_PER_S) == "600 s"
    assert str(duration(0.25)) == '<span title="0.25 s">250\N{NO-BREAK SPACE}ms</span>'
    assert str(duration(60.0)) == "60\N{NO-BREAK SPACE}s"
    assert [share_text(share) for share in (0, 0.0001, 0.5, 0.996, 0.9999, 1)] == [
        "0%", "<0.1%", "50%", "99.6%", ">99.9%", "100%",
    ]  # fmt: skip


def test_a_request_that_was_interrupted_is_said_and_what_waits_to_be_sent_again_is_no_wait_for_a_slot():
    lost = Interrupted(2 * NS_PER_S, "n", NS_PER_S, None, delivered=True)
    events = [requested(1), lost, attempt(NotificationSent, 30, 31)]
    spent = totals(spans_of(events, "n", 100 * NS_PER_S))
    assert spent == {Spent.AT_PROVIDER: 2 * NS_PER_S, Spent.INTERRUPTED: 28 * NS_PER_S}
    told = [step.details for step in steps_of(events, "n") if step.what == "A request was interrupted"]
    assert len(told) == 1
    assert "delivered all the same" in told[0][0]
