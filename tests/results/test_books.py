"""What is counted while a run goes on, held to what it means: each book is said here, or in `recount`, as plainly as
possible, and compared over drawn histories that come in drawn chunks."""

from collections import Counter
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

import simulation
from actors.messages import (
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from simulation.results.counters import by_type
from simulation.results.interruptions import Request
from simulation.results.ledger import Entry, Ledger
from simulation.results.peaks import Peaks
from simulation.results.series import series_of
from simulation.results.tallies import Counted
from simulation.results.waiting import changes
from simulation.scenario.metrics import Outline
from simulation.studio.series import Series
from simulation.verification.laws import recount

SECOND = 10**9
CHANNELS = (NotificationChannel.EMAIL, NotificationChannel.SMS, NotificationChannel.PUSH)
OUTLINE = Outline(providers=tuple((each, ("primary",)) for each in CHANNELS), entries=("all",), classes=("normal",))

# ── reached twice ───────────────────────────────────────────────────────────────────────────────────────────────────


def are_two(one: Any, other: Any) -> bool:
    """Tell whether two deliveries of a request, the first known one first, are more than copies of one attempt."""
    if isinstance(one, NotificationSent):  # it has ended its notification: another one was sent as well
        return isinstance(other, NotificationSent)
    if isinstance(other, NotificationSent):  # by another attempt, as one that is late has failed
        return one.reached_ns <= other.at_ns and not (one.is_late and one.started_ns >= other.started_ns)
    if one.attempt is not other.attempt:
        return not one.is_late or one.started_ns < other.started_ns
    # Copies of a hedged attempt that are late are one; to a crash a message is lost that a fault has had come twice.
    return not one.is_late and not other.is_late


def is_reached_twice(deliveries: list[Any]) -> bool:
    """Tell whether a request has reached its recipient more than once.

    Its deliveries are the notifications that were sent, and the attempts that were delivered though no one took the
    answer, since it came too late, or since a process was down.
    """
    return any(are_two(*sorted(pair, key=_known_ns)) for pair in combinations(deliveries, 2))


def _known_ns(delivery: Any) -> tuple[int, bool]:
    if isinstance(delivery, NotificationSent):
        return delivery.at_ns, True
    return (delivery.started_ns if delivery.is_late else delivery.lost_ns), False


ATTEMPT = st.tuples(
    st.integers(0, 3),  # seconds before it
    st.integers(1, 3),  # seconds that it takes
    st.sampled_from(
        ["fails", "lost", "lost, delivered", "late", "late and lost", "late and late", "lost, delivered and lost"]
    ),
    st.integers(0, 8),  # seconds until its provider has delivered it
)
REQUEST = st.tuples(
    st.lists(st.lists(ATTEMPT, max_size=3), min_size=1, max_size=3),  # of each of its notifications
    st.sampled_from(["", "sent", "sent by a copy"]),  # whether the last one is; the copy's attempt is late itself
    st.booleans(),  # whether the first one is redriven, and sent
)


def story(number: int, drawn: Any, falls_back: bool) -> tuple[list[tuple[int, Any]], list[Any]]:
    """Return what happens to a request, with its instants, and its deliveries."""
    notifications, is_sent, is_redriven = drawn
    notifications = notifications if falls_back else notifications[:1]
    now_ns, name, before = number, f"email-0-{number}", None
    happens: list[tuple[int, Any]] = []
    deliveries: list[Any] = []
    for channel, attempts in zip(CHANNELS, notifications, strict=False):
        name = name if before is None else f"{name}/{channel}"
        whose = {"epoch_ns": 0, "notification_id": name, "channel": channel}
        more = {} if before is None else {"instead_of": before, "waited_since_ns": number}
        happens.append((now_ns, NotificationRequested(at_ns=now_ns, user_id="ann", **whose, **more)))
        for wait_s, takes_s, how, delivered_s in attempts:
            started_ns = now_ns + wait_s * SECOND
            now_ns = started_ns + takes_s * SECOND
            attempt: Any = SimpleNamespace(command=SimpleNamespace(notification_id=name))
            for copy, kind in enumerate(how.split(" and ") if how != "fails" else ()):
                is_copy = copy > 0 and how != "late and lost"
                request = Request(attempt, channel, "primary", started_ns + is_copy * SECOND // 2)
                request.is_late, request.lost_ns = kind == "late", now_ns
                if kind != "lost" or how == "late and lost":
                    request.reached_ns = request.started_ns + (0 if request.is_late else delivered_s * SECOND)
                    deliveries.append(request)
                happens.append((request.started_ns if request.is_late else now_ns, request))
        now_ns, before = now_ns + SECOND, name
        if channel is CHANNELS[len(notifications) - 1] and is_sent:
            happens.append((now_ns, _sent(number, now_ns, whose)))
            if is_sent == "sent by a copy":
                attempt = SimpleNamespace(command=SimpleNamespace(notification_id=name))
                request = Request(attempt, channel, "primary", now_ns - SECOND)
                request.is_late, request.reached_ns = True, now_ns - SECOND
                happens.append((now_ns - SECOND, request))
                deliveries.append(request)
        else:
            why = {"reason": "refused", "attempts": 1, "requested_at_ns": number}
            happens.append((now_ns, NotificationMovedToDeadLetter(at_ns=now_ns, **whose, **why)))
    if is_redriven and (len(notifications) > 1 or not is_sent):
        whose = {"epoch_ns": 0, "notification_id": f"email-0-{number}", "channel": CHANNELS[0]}
        happens.append((now_ns, NotificationRedriven(at_ns=now_ns, **whose)))
        happens.append((now_ns + 2 * SECOND, _sent(number, now_ns + 2 * SECOND, whose)))
    deliveries += [what for _, what in happens if isinstance(what, NotificationSent)]
    return happens, deliveries


def _sent(number: int, at_ns: int, whose: dict[str, Any]) -> NotificationSent:
    return NotificationSent(at_ns=at_ns, attempt=1, started_ns=at_ns - SECOND, requested_at_ns=number, **whose)


@given(st.lists(REQUEST, min_size=1, max_size=4), st.integers(1, 8), st.booleans())
def test_requests_are_counted_as_they_are_meant_whatever_the_chunks(requests, chunk, falls_back):
    stories = [story(number, each, falls_back) for number, each in enumerate(requests)]
    ledger = Ledger(OUTLINE, [Entry("normal", CHANNELS)], counted=Counted(fallbacks=falls_back))
    meant, recorded, kept = recount.Requests(), [], []
    for _, what in sorted((step for happens, _ in stories for step in happens), key=lambda step: step[0]):
        if isinstance(what, Request):
            ledger.interrupt(what)
            continue
        meant.follow(what)
        recorded.append(what)
        kept.append(what)
        if len(kept) == chunk:
            ledger.fold(by_type(kept))
            kept = []
    ledger.fold(by_type(kept))
    summary = ledger.summary(100 * SECOND)
    assert summary["reached_twice"] == sum(is_reached_twice(deliveries) for _, deliveries in stories)
    handed_on = sum(sum(request.handed_on.values()) for request in meant.all())
    figures = recount.of_requests(meant.all(), 0, handed_on, {})
    for path, value in figures.items():
        found: Any = summary
        for key in path.split("."):
            found = found[key]
        assert found == pytest.approx(value), path
    fewest, most = recount.most_letters(recorded, [])
    assert fewest <= summary["dlq"]["peak"] <= most


# ── peaks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12), st.integers(0, 9)), max_size=60),
    st.integers(1, 20),
    st.integers(0, 12),
)
def test_peaks_are_those_of_all_attempts_whatever_the_chunks(drawn, chunk, kept):
    """Times are in fifths of a second, so that many begin as others end."""
    fifth, email = SECOND // 5, CHANNELS[0]
    whose = {"epoch_ns": 0, "notification_id": "email-0-1", "channel": email}
    attempts = [
        NotificationFailed(
            **{
                **whose,
                "at_ns": (start + takes) * fifth,
                "started_ns": start * fifth,
                "attempt": 1,
                "reason": "refused",
            },
            kind="Transient",
            next_retry_at_ns=(start + takes + backoff) * fifth if backoff else None,
        )
        for start, takes, backoff in sorted(drawn, key=lambda each: each[0] + each[1])
    ]
    peaks = Peaks({email: ("primary",)}, 12 * fifth)
    peaks._keeps_at_most = kept
    for first in range(0, len(attempts), chunk):
        some = attempts[first : first + chunk]
        peaks.fold({(0, email): by_type(some)}, some[-1].at_ns)
    peaks.end()
    summary = peaks.summary()
    assert summary["in_flight"] == recount.most_at_once((each.started_ns, each.at_ns) for each in attempts)
    assert summary["requests_per_s"] == max(Counter(each.started_ns // SECOND for each in attempts).values(), default=0)
    waits = [(each.at_ns, each.next_retry_at_ns) for each in attempts if each.next_retry_at_ns is not None]
    assert summary["waiting"]["backoff"] == recount.most_at_once(waits)


def test_peaks_count_an_attempt_whose_outcome_is_handled_long_after_its_timeout(monkeypatch):
    monkeypatch.setattr("simulation.results.recorder.CHUNK", 64)
    monkeypatch.setattr("simulation.results.peaks.KEPT", 50)
    text = """
        duration: 20s
        workload: [{channel: email, arrivals: {poisson: 10/s}}]
        channels: {email: {timeout: 100ms, provider: {latency: {constant: 10ms}}}}
        faults: [{channel: email, reorder: {delay: {exponential: {mean: 5s}}}}]
    """
    result = simulation.run(simulation.parse(text))
    sent = [event for event in result.history if isinstance(event, NotificationSent)]
    late = recount.most_at_once((event.started_ns, event.at_ns) for event in sent)
    assert result.summary["peaks"]["in_flight"] == late > 50


# ── over time ───────────────────────────────────────────────────────────────────────────────────────────────────────

RUN = """
name: waits
duration: 2m
drain: 2m
workload: [{channel: email, arrivals: {poisson: 3/s}, users: 8}]
channels:
  email:
    rate_limit: {max_per_minute: 15}
    circuit_breaker: {failure_threshold: 3, timeout: 5s}
    retry: {max_attempts: 2}
    provider: {failure_rate: 20%}
operations: [{at: 90s, redrive: {reason: repaired}}]
"""


def test_a_series_of_the_tables_is_that_of_the_events():
    result = simulation.run(simulation.parse(RUN))
    series = result.series.drop(columns="breaker_email")
    width_s = series["time_s"].iloc[1]
    of_tables = series_of(result.notifications, result.attempts, result.dlq, series["time_s"], width_s)
    assert of_tables.astype(float).equals(series.astype(float))


@pytest.mark.parametrize("at_s", [0.5, 30.0, 70.0, 95.0, 130.0])
def test_studio_counts_the_waits_that_the_tables_tell(at_s):
    scenario = simulation.parse(RUN)
    result = simulation.run(scenario)
    series = Series(scenario)
    series.fold([event for event in result.history if event.at_ns <= at_s * SECOND])
    tables = (result.notifications, result.attempts, result.deferrals, result.dlq)
    waits: dict[str, tuple[float, int, str]] = {}
    for part in changes(*tables):
        into = [part.into] * len(part.ids) if isinstance(part.into, str) else part.into
        for name, since_s, what in zip(part.ids, part.at_s, into, strict=True):
            if since_s <= at_s:
                waits[name] = max(waits.get(name, (-1.0, 0, "")), (since_s, part.order, str(what)))
    ended = result.notifications[result.notifications["finished_at_s"] <= at_s]["id"]
    gone = {name for name in ended if waits[name][2] == "dead_letter_queue" or name not in set(result.dlq["id"])}
    assert series.waiting_at(round(at_s * SECOND)) == {
        name: what for name, (_, _, what) in waits.items() if name not in gone and what != "dead_letter_queue"
    }
