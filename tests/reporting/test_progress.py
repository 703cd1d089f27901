"""What a run tells while it goes on."""

from pathlib import Path

import pytest

import simulation
from actors.messages import NotificationChannel

OUTAGE = Path(__file__).parents[2] / "scenarios" / "provider-outage.yaml"
SHORT = ["duration=3m"]


@pytest.mark.parametrize("record", ["full", "aggregates"])
def test_the_last_snapshot_has_the_summary_of_the_result(record):
    snapshots = []
    result = simulation.run(OUTAGE, sets=[*SHORT, f"record={record}"], progress=snapshots.append)
    run, summary = snapshots[-1], result.summary
    assert len(snapshots) > 1
    rows = simulation.run(OUTAGE, sets=SHORT).notifications.query("outcome == 'sent'")
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
    assert watched.summary == simulation.run(OUTAGE, sets=SHORT).summary


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_what_progress_raises_is_raised_when_the_run_is_over_and_is_no_failure_of_an_actor(runtime):
    calls, events = [], []

    def fail(run):
        calls.append(run.seconds)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        simulation.run(OUTAGE, sets=SHORT, runtime=runtime, progress=fail, on_events=lambda chunk: events.extend(chunk))
    assert len(calls) == 1
    assert len(events) == len(simulation.run(OUTAGE, sets=SHORT).history)


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_what_on_events_raises_is_raised_when_the_run_is_over_and_is_no_failure_of_an_actor(runtime):
    snapshots, chunks = [], []

    def fail(chunk):
        chunks.append(chunk)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        simulation.run(OUTAGE, sets=SHORT, runtime=runtime, on_events=fail, progress=snapshots.append)
    assert len(chunks) == 1
    assert snapshots[-1].at_ns == simulation.run(OUTAGE, sets=SHORT).history[-1].at_ns


def test_a_breaker_is_as_it_began_until_it_changes():
    reported = []
    sets = [*SHORT, "channels.email.circuit_breaker.enabled=false"]
    simulation.run(OUTAGE, sets=sets, progress=lambda run: reported.append(run.breaker("email")))
    assert {(str(now.state), now.since_ns) for by_host in reported for now in by_host.values()} == {("disabled", 0)}
