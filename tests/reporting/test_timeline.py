"""The timeline of a notification is its attempts and waits, none missing and none twice; the raster is many of them."""

import itertools
from functools import cache

import numpy as np
import pandas as pd
import pytest
from effort import sliced
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from plot_samples import result_of

import simulation
from actors.errors import ConfigurationError
from simulation.reporting import plots
from simulation.reporting.plots.looks import OUTCOMES, WAITS
from simulation.reporting.plots.timeline import LINES_MAX, course_in
from simulation.scenario import parse

RUNS = ("outage", "all kinds of waits", "providers", "lost", "milliseconds", "one")


@cache
def courses(name):
    result = result_of(name)
    rows = result.notifications
    chosen = rows[(rows["attempts"] != 1) | (rows.index % 20 == 0)].iloc[:60]
    return [(row, course_in(result, row.id)[0]) for row in chosen.itertuples()]


@pytest.mark.parametrize("name", sliced(RUNS, 4, 1))
def test_waits_and_attempts_fill_the_time_from_acceptance_to_end_in_order(name):
    result = result_of(name)
    for row, course in courses(name):
        end_s = result.summary["simulated_s"] if pd.isna(row.finished_at_s) else row.finished_at_s
        pieces = [
            *itertools.chain.from_iterable(
                [*((wait.start_s, wait.end_s) for wait in attempt.waits), (attempt.start_s, attempt.end_s)]
                for attempt in course.attempts
            ),
            *((wait.start_s, wait.end_s) for wait in course.waits),
        ]
        instants = [row.requested_at_s, *itertools.chain.from_iterable(pieces), end_s]
        np.testing.assert_allclose(instants[::2], instants[1::2], atol=1e-9, rtol=0)
        assert all(start_s < wait_end_s for start_s, wait_end_s in pieces if start_s != wait_end_s)
        assert sum(attempt.number > 0 for attempt in course.attempts) == row.attempts


@pytest.mark.parametrize("name", sliced(["outage", "all kinds of waits"], 4, 1))
def test_what_is_waited_for_is_what_was_recorded(name):
    result = result_of(name)
    of_cause = dict.fromkeys(WAITS, 0)
    for row, course in courses(name):
        own = result.attempts[result.attempts["id"] == row.id].sort_values("start_s")
        waits = [wait for attempt in course.attempts for wait in attempt.waits] + list(course.waits)
        for wait in waits:
            of_cause[wait.cause] += 1
        # Each wait that was set after a failure is a backoff from its end on, as long as it was set or until the end.
        for attempt in own.dropna(subset=["next_retry_at_s"]).itertuples():
            if attempt.next_retry_at_s > attempt.end_s:
                (backoff,) = (wait for wait in waits if wait.cause == "backoff" and wait.start_s == attempt.end_s)
                assert backoff.end_s == pytest.approx(min(attempt.next_retry_at_s, course.end_s))
        deferred = result.deferrals[result.deferrals["id"] == row.id]
        for cause in ("rate_limit", "circuit_breaker", "quiet_hours"):
            begun = set(deferred.loc[deferred["cause"] == cause, "time_s"])
            assert {wait.start_s for wait in waits if wait.cause == cause} <= begun
    seen = {"outage": {"backoff", "circuit_breaker"}, "all kinds of waits": set(WAITS) - {"turn", "interruption"}}[name]
    assert {cause for cause, count in of_cause.items() if count} >= seen


def test_an_attempt_that_takes_no_time_follows_a_backoff_all_the_same():
    result = result_of("providers")
    attempts = result.attempts
    took_none = attempts[(attempts["delay_before_s"] > 0) & (attempts["end_s"] == attempts["start_s"])]
    causes = [
        attempt.waits[0].cause
        for name in set(took_none["id"])
        for attempt in course_in(result, name)[0].attempts
        if attempt.number > 1
    ]
    assert len(causes) > 3
    assert set(causes) == {"backoff"}


def test_who_was_asked_is_said_where_there_are_several():
    named = {
        name: {attempt.provider for _, course in courses(name) for attempt in course.attempts}
        for name in ("outage", "providers")
    }
    assert named["outage"] == {None}
    assert named["providers"] >= {"primary", "b"}


def bars(ax, label):
    return [
        (path.vertices[:, 0].min(), path.vertices[:, 0].max(), path.vertices[:, 1].mean())
        for one in ax.collections
        if isinstance(one, PolyCollection) and one.get_label() == label
        for path in one.get_paths()
    ]


def most_tried(result):
    return result.notifications.loc[result.notifications["attempts"].idxmax(), "id"]


@pytest.mark.parametrize("name", sliced(["outage", "all kinds of waits", "providers"], 6))
def test_a_bar_is_drawn_for_each_attempt_and_each_wait(name):
    result = result_of(name)
    notification = most_tried(result)
    course, _ = course_in(result, notification)
    ax = plots.timeline(result, notification)
    for outcome, look in OUTCOMES.items():
        expected = [attempt.start_s - course.requested_s for attempt in course.attempts if attempt.outcome == outcome]
        np.testing.assert_allclose([start_s for start_s, _, _ in bars(ax, look.words)], expected, atol=1e-6)
    for cause, look in WAITS.items():
        waits = [wait for attempt in course.attempts for wait in attempt.waits] + list(course.waits)
        expected = [
            (wait.start_s - course.requested_s, wait.end_s - course.requested_s)
            for wait in waits
            if wait.cause == cause
        ]
        drawn = [(start_s, end_s) for start_s, end_s, _ in bars(ax, f"wait: {look.words}")]
        np.testing.assert_allclose(np.reshape(drawn, (-1, 2)), np.reshape(expected, (-1, 2)), atol=1e-6)


def test_the_title_says_how_it_ended_and_a_line_why():
    result = result_of("outage")
    dead = result.dlq.iloc[0]
    ax = plots.timeline(result, dead["id"])
    assert ax.get_title("left").startswith(f"{dead['id']}, dead-lettered after ")
    assert ax.get_title("left").endswith(f" and {dead['attempts']} attempts")
    assert [label.get_text() for label in ax.get_yticklabels()][-1] == "end"
    assert f"dead-lettered: {dead['reason']}" in [text.get_text() for text in ax.texts]


def test_of_very_many_attempts_the_first_and_last_are_shown_and_the_rest_counted():
    class Many:
        scenario, summary = result_of("outage").scenario, result_of("outage").summary
        notifications = pd.DataFrame(
            {"id": ["a"], "channel": ["email"], "requested_at_s": [0.0], "outcome": ["sent"], "finished_at_s": [99.0]}
        )
        attempts = pd.DataFrame(
            {"id": "a", "attempt": range(1, 101), "start_s": range(100), "end_s": range(100), "outcome": "transient"}
        ).assign(reason="no", next_retry_at_s=float("nan"), provider=None, hedges=0)
        deferrals = result_of("outage").deferrals.iloc[:0]
        interrupted = result_of("outage").interrupted
        dlq = result_of("outage").dlq.iloc[:0]

    ax = plots.timeline(Many(), "a")
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[LINES_MAX // 2 - 1 : LINES_MAX // 2 + 2] == ["attempt 12", "", "attempt 89"]
    assert f"… {100 - LINES_MAX} more attempts …" in [text.get_text() for text in ax.texts]


def test_an_id_that_the_run_does_not_know_is_refused_with_one_like_it():
    result = result_of("outage")
    with pytest.raises(ConfigurationError) as refused:
        plots.timeline(result, "emial-0-7")
    (problem,) = refused.value.problems
    assert problem.startswith(
        f"notification: wanted the id of one of the run's {len(result.notifications):,}, such as "
    )
    assert problem.split("such as ")[1].split(",")[0] in set(result.notifications["id"])
    with pytest.raises(ConfigurationError, match="kept none with record: aggregates"):
        plots.timeline(result_of("aggregates"), "sms-0-0")


# ── raster ──────────────────────────────────────────────────────────────────────────────────────────────────────


def marks(ax, words):
    found = [one for one in ax.collections if isinstance(one, PathCollection) and one.get_label() == words]
    return np.concatenate([one.get_offsets() for one in found] or [np.empty((0, 2))])


@pytest.mark.parametrize(("name", "channel"), sliced([("outage", None), ("outage", "push"), ("lost", "sms")], 6))
def test_the_raster_has_a_line_for_each_notification_and_a_mark_for_each_attempt(name, channel):
    result = result_of(name)
    rows = result.notifications
    rows = rows if channel is None else rows[rows["channel"] == channel]
    ax = plots.raster(result, channel=channel, limit=5000)
    (lines,) = (
        one for one in ax.collections if isinstance(one, LineCollection) and one.get_label() == "accepted to end"
    )
    drawn = np.array([(path.vertices[0, 0], path.vertices[1, 0], path.vertices[0, 1]) for path in lines.get_paths()])
    end_s = result.summary["simulated_s"]
    expected = np.column_stack([rows["requested_at_s"], rows["finished_at_s"].fillna(end_s), np.arange(len(rows))])
    np.testing.assert_allclose(drawn, expected)
    place = {notification: number for number, notification in enumerate(rows["id"])}
    own = result.attempts[result.attempts["id"].isin(place)]
    for outcome, look in OUTCOMES.items():
        ended = own[own["outcome"] == outcome]
        expected = np.reshape([(row.end_s, place[row.id]) for row in ended.itertuples()], (-1, 2))
        np.testing.assert_allclose(np.sort(marks(ax, look.words), axis=0), np.sort(expected, axis=0))
    dead = [place[row.id] for row in rows.itertuples() if row.outcome == "dead_lettered"]
    assert list(marks(ax, "dead-lettered")[:, 1]) == dead


@pytest.mark.parametrize("limit", sliced([1, 2, 60], 6))
def test_of_more_notifications_so_many_are_shown_evenly_and_the_title_says_so(limit):
    result = result_of("outage")
    count = len(result.notifications)
    ax = plots.raster(result, limit=limit)
    (lines,) = (
        one for one in ax.collections if isinstance(one, LineCollection) and one.get_label() == "accepted to end"
    )
    starts = [path.vertices[0, 0] for path in lines.get_paths()]
    rows = list(result.notifications["requested_at_s"])
    places = [rows.index(start) for start in starts]
    assert len(places) == limit
    assert ax.get_title("left").startswith(f"{count:,} notifications, {limit} of them shown: ")
    gaps = np.diff(places)
    assert limit == 1 or (places[0] == 0 and places[-1] == count - 1 and gaps.max() - gaps.min() <= 1)


def test_a_raster_without_rows_says_why():
    assert "no notifications" in [text.get_text() for text in plots.raster(result_of("nothing")).texts]
    said = [text.get_text() for text in plots.raster(result_of("aggregates")).texts]
    assert "the run kept no notifications (record: aggregates)" in said


def test_what_a_raster_cannot_draw_is_refused_all_at_once():
    with pytest.raises(ConfigurationError) as refused:
        plots.raster(result_of("outage"), channel="fax", limit=0)
    assert refused.value.problems == [
        "channel: wanted a channel that the scenario uses (email, push), got 'fax'",
        "limit: wanted a whole number from 1 to 5,000, got 0",
    ]


# ── interrupted requests ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.thorough
def test_a_request_that_was_interrupted_stands_before_the_attempt_that_follows_it_also_when_opened_again(tmp_path):
    scenario = """
duration: 10s
workload: [{channel: email, arrivals: {times: [1s]}}]
channels: {email: {provider: {latency: 1s}}}
faults: [{channel: email, at: 1500ms, crash: process, restart_after: 3s}]
"""
    result = simulation.run(simulation.parse(scenario))
    assert "interrupted.parquet" in [path.name for path in simulation.save(result, tmp_path)]
    for each in (result, simulation.open_result(tmp_path)):
        course, _ = course_in(each, "email-0-0")
        first, second = course.attempts
        assert (first.number, first.start_s, first.end_s, first.reason) == (0, 1.0, 1.5, "delivered all the same")
        assert [(wait.start_s, wait.end_s, wait.cause) for wait in second.waits] == [(1.5, 4.5, "interruption")]
        ax = plots.timeline(each, "email-0-0")
        assert ax.get_title("left") == "email-0-0, sent after 4.5 s, 1 interrupted request and 1 attempt"
        assert [label.get_text() for label in ax.get_yticklabels()] == ["request", "attempt 1"]


def test_a_redrive_is_marked_between_the_attempts_and_said_in_the_title():
    result = simulation.run(
        parse(
            "duration: 5m\nworkload: [{channel: sms, arrivals: {constant: 1/s}}]\n"
            "channels: {sms: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}}}\n"
            "faults: [{channel: sms, at: 1m, for: 1m, outage: true}]\noperations: [{at: 3m, redrive: all}]\n"
        )
    )
    first = result.dlq.iloc[0]
    ax = plots.timeline(result, first["id"])
    assert ax.get_title("left").endswith("and 2 attempts, redriven once")
    [mark] = [line for line in ax.lines if line.get_label() == "_redriven"]
    assert mark.get_xdata() == pytest.approx([180 - first["time_s"]])
    assert "redriven" in [text.get_text() for text in ax.get_legend().get_texts()]
    [level] = [line for line in plots.dlq_growth(result).lines if line.get_label() == "redriven"]
    assert list(level.get_xdata()) == [180]
