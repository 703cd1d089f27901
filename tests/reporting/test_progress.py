"""What a run tells while it goes on."""

from functools import cache
from pathlib import Path

import pytest
from effort import sliced

import simulation
from actors.errors import RunCancelled
from actors.messages import NotificationChannel
from simulation.results import recorder
from simulation.running import watching


@pytest.fixture(autouse=True)
def _as_often_as_it_is_looked_at(monkeypatch):
    monkeypatch.setattr(watching, "PUBLISHED_EVERY_S", 0.0)


OUTAGE = Path(__file__).parents[2] / "scenarios" / "provider-outage.yaml"
SHORT = ["duration=3m"]
MINUTE = ["duration=1m", "expect=[]", "faults=[]"]


@cache
def whole(*sets):
    """The result of a run that no one looks at."""
    return simulation.run(OUTAGE, sets=sets)


@pytest.mark.parametrize("record", sliced(["full", "aggregates"], 4))
def test_the_last_snapshot_has_the_summary_of_the_result(record):
    snapshots = []
    result = simulation.run(OUTAGE, sets=[*SHORT, f"record={record}"], progress=snapshots.append)
    run, summary = snapshots[-1], result.summary
    assert len(snapshots) > 1
    rows = whole(*SHORT).notifications.query("outcome == 'sent'")
    times = rows["finished_at_s"] - rows["waited_since_s"]
    for channel in (None, *result.scenario.channels_used):
        own = summary if channel is None else summary["channels"][channel]
        reported = run.summary_of(channel)
        # Rates are over the time that the run took, which is over a little later than its last event.
        assert {
            key: reported[key] for key in ("attempts", "delivery_time_s", "retry_delay_s", "retry_amplification")
        } == {key: own[key] for key in ("attempts", "delivery_time_s", "retry_delay_s", "retry_amplification")}
        counts = run.counts_of(channel)
        assert counts == {key: own[key] for key in counts}
        assert run.amplification_of(channel) == own["retry_amplification"]
        assert run.dlq_of(channel) == (own["dlq"]["final"], own["dlq"]["peak"])
        for share in (0.5, 0.99):  # of those delivered so far: whoever waits may still be
            exact = times[rows["channel"].isin([channel] if channel else result.scenario.channels_used)].quantile(share)
            assert run.delivery_time_of(channel, share) == pytest.approx(exact, rel=0.005)


def test_looking_at_everything_changes_nothing():
    def look(run):
        run.summary_of()
        for channel in (None, NotificationChannel.EMAIL):
            run.delivery_time_of(channel, 0.99)
            run.counts_of(channel)
        run.breaker("email")

    watched = simulation.run(OUTAGE, sets=SHORT, progress=look)
    assert watched.summary == whole(*SHORT).summary


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_what_progress_raises_ends_the_run_at_once_and_is_no_failure_of_an_actor(runtime):
    calls, events = [], []

    def fail(run):
        calls.append(run.seconds)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        simulation.run(OUTAGE, sets=SHORT, runtime=runtime, progress=fail, on_events=lambda chunk: events.extend(chunk))
    assert len(calls) == 1
    history = whole(*SHORT).history
    assert events == history[: len(events)]
    assert len(events) < len(history)
    # It is told of whole instants, and ends in the one that is under way.
    assert len({event.at_ns for event in events if event.at_ns > round(calls[0] * 1e9)}) == 1


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_what_on_events_raises_ends_the_run_at_once_and_is_no_failure_of_an_actor(runtime):
    snapshots, chunks = [], []

    def fail(chunk):
        chunks.append(chunk)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        simulation.run(OUTAGE, sets=SHORT, runtime=runtime, on_events=fail, progress=snapshots.append)
    assert len(chunks) == 1
    assert snapshots[-1].at_ns <= chunks[0][-1].at_ns


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_a_run_that_is_cancelled_ends_at_its_instant_and_hands_out_each_event_once(runtime):
    events, looks = [], []

    def cancelled():
        looks.append(len(events))
        return len(looks) == 10

    with pytest.raises(RunCancelled, match=r"^cancelled after [0-9.]+ s of the run$"):
        simulation.run(OUTAGE, sets=MINUTE, runtime=runtime, cancelled=cancelled, on_events=events.extend)
    assert len(looks) == 10
    assert events == whole(*MINUTE).history[: len(events)]
    at = 9 * recorder.LOOK  # the first look is before the run begins
    assert at <= len(events)
    assert {event.at_ns for event in events[at:]} <= {events[at - 1].at_ns}


def test_a_run_that_is_cancelled_before_it_begins_does_nothing():
    events = []
    with pytest.raises(RunCancelled, match="cancelled after 0 s of the run"):
        simulation.run(OUTAGE, cancelled=lambda: True, on_events=events.extend)
    assert not events


def test_what_cancelled_raises_ends_the_run():
    with pytest.raises(ZeroDivisionError):
        simulation.run(OUTAGE, sets=MINUTE, cancelled=lambda: 1 / 0)


def test_an_interrupt_while_events_are_handed_out_hands_none_out_twice():
    chunks = []

    def interrupted(chunk):
        chunks.append(list(chunk))
        if len(chunks) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulation.run(OUTAGE, sets=MINUTE, on_events=interrupted)
    handed = [event for chunk in chunks for event in chunk]
    assert handed == whole(*MINUTE).history[: len(handed)]


@pytest.mark.parametrize("look", sliced([1, 97, 5000], 6))
def test_what_is_counted_and_the_digest_do_not_depend_on_when_it_is_looked_at(monkeypatch, look):
    sets = [
        "duration=40s",
        "faults=[{at: 10s, for: 9s, channel: email, outage: true}, {at: 25s, channel: email, crash: {actor: handler}}]",
        "expect=[{from: 5s, to: 15s, that: [sent_fraction >= 0.9]}]",
        "operations=[{at: 38s, redrive: all}]",
        "seed=3",
    ]
    expected = simulation.run(OUTAGE, sets=sets)
    monkeypatch.setattr(recorder, "LOOK", look)
    looks = []
    watched = simulation.run(OUTAGE, sets=sets, progress=looks.append)
    assert watched.summary == expected.summary
    assert len(looks) >= len(expected.history) // 4096 + 1


def test_a_breaker_is_as_it_began_until_it_changes():
    reported = []
    sets = [*SHORT, "channels.email.circuit_breaker.enabled=false"]
    simulation.run(OUTAGE, sets=sets, progress=lambda run: reported.append(run.breaker("email")))
    assert {(str(now.state), now.since_ns) for by_host in reported for now in by_host.values()} == {("disabled", 0)}
