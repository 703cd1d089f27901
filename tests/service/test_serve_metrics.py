"""The metrics of the service: the same as a simulation's."""

import pytest
from desks import fail_endpoint
from served import Scripted, email, service

from actors import Notifier, SendNotification
from actors.messages import BreakerState, NotificationChannel
from actors.outcomes import Permanent, Sent, Transient
from actors.pipeline.dead_letter_queue import DiscardDeadLetter, RedriveDeadLetter
from actors.service.observability.metrics import Metrics
from actors.storage.memory import MemoryStore
from simulation import run

SCENARIO = """
name: figures
seed: 7
duration: 5m
workload:
  - {channel: email, users: 20, arrivals: {poisson: 4/s}}
  - {channel: sms, users: 20, arrivals: {poisson: 2/s}}
channels:
  email:
    retry: {max_attempts: 3, initial_delay: 2s}
    circuit_breaker: {failure_threshold: 4, timeout: 20s}
    rate_limit: {max_per_minute: 15}
    provider: {latency: {lognormal: {median: 80ms, p99: 900ms}}, failure_rate: 5%}
  sms:
    rate_limit: {max_per_minute: 4, on_limit: drop}
    provider: {failure_rate: 10%}
faults:
  - {channel: email, at: 1m, for: 30s, outage: true}
  - {channel: sms, permanent_rate: 5%}
"""


def values(metrics: Metrics, name: str) -> dict[str, float]:
    """Return the samples of a name, by their labels."""
    return {
        ",".join(sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The metrics of a scenario on both clocks, and its summary."""
    path = tmp_path_factory.mktemp("scenario") / "figures.yaml"
    path.write_text(SCENARIO)
    of = {}
    for runtime in ("simpy", "trio"):
        metrics = Metrics()
        of[runtime] = metrics, run(path, runtime=runtime, on_events=metrics.record_all)
    return of


def test_the_live_system_and_the_simulated_one_give_the_same_figures(simulated):
    simpy, trio = (simulated[runtime][0].text().decode().splitlines() for runtime in ("simpy", "trio"))

    def figures(lines):
        return [line for line in lines if "_created" not in line]

    assert figures(simpy) == figures(trio)
    assert len(figures(simpy)) > 100


def test_they_are_those_of_the_summary(simulated):
    metrics, result = simulated["simpy"]
    summary = result.summary
    for channel, figures in summary["channels"].items():

        def figure(name, labels=channel):
            return values(metrics, name).get(labels, 0)

        def total(name, channel=channel):
            return sum(value for labels, value in values(metrics, name).items() if labels.split(",")[0] == channel)

        assert total("notifications_accepted_total") == figures["accepted"]
        assert total("notifications_sent_total") == figures["sent"]
        assert total("notifications_failed_total") == figures["attempts"] - figures["sent"]
        assert figure("notifications_in_dlq") == figures["dlq"]["final"]
        assert figure("notifications_in_flight") == figures["in_flight"]
        assert total("notifications_deferred_total") == figures["deferred"]
        assert figure("retry_attempts_sum") == figures["attempts"]
        assert figure("retry_attempts_count") == figures["sent"] + figures["dead_lettered"]
        assert total("delivery_time_seconds_count") == figures["sent"]
        mean = total("delivery_time_seconds_sum") / total("delivery_time_seconds_count")
        assert mean == pytest.approx(figures["sent_time_s"]["mean"])
        opened = figure("breaker_transitions_total", f"{channel},open")
        assert opened == summary["breaker"][channel]["opened"]
    assert summary["channels"]["email"]["deferred"] > 0
    assert summary["breaker"]["email"]["opened"] > 0


def test_who_is_refused_by_a_limit_is_counted_whether_it_waits_or_is_dropped(simulated):
    metrics, result = simulated["simpy"]
    dropped = (result.dlq["reason"] == "rate limit exceeded").sum()
    refusals = values(metrics, "limiter_refusals_total")
    assert refusals["sms"] == dropped > 0
    assert refusals["email"] == values(metrics, "notifications_deferred_total")["email,rate_limit"] > 0


async def test_the_gauge_of_the_dead_letter_queue_falls_when_one_is_taken_out(autojump_clock):
    metrics, store = Metrics(), MemoryStore()
    outcomes = {
        "n-1": [Permanent(reason="no"), Sent()],
        "n-2": [Permanent(reason="no")],
        "n-3": [Permanent(reason="no")],
    }

    async def deliver(attempt):
        return outcomes[attempt.command.notification_id].pop(0)

    def in_dlq():
        return values(metrics, "notifications_in_dlq")["email"]

    async with Notifier.open(providers=Scripted(deliver), store=store, on_event=metrics.record) as notifier:
        for number in (1, 2, 3):
            await notifier.send(SendNotification(**{**email(number), "channel": NotificationChannel.EMAIL}))
        await notifier.wait_until_quiet()
        assert in_dlq() == 3
        await notifier.pipeline.dead_letter_queue.ask(RedriveDeadLetter(notification_id="n-1"), block=False)
        await notifier.wait_until_quiet()
        assert in_dlq() == 2
        discard = DiscardDeadLetter(notification_id="n-2", reason="old")
        await notifier.pipeline.dead_letter_queue.ask(discard, block=False)
        assert in_dlq() == 1
        another = Metrics()
        another.look_at(notifier.pipeline)
        assert values(another, "notifications_in_dlq")["email"] == 1
        assert values(another, "notifications_in_flight")["email"] == 0
        another.count_disabled(notifier.pipeline)
        assert values(another, "endpoints_disabled")["webhook"] == 0
        fail_endpoint(store)
        another.count_disabled(notifier.pipeline)
        assert values(another, "endpoints_disabled")["webhook"] == 1
    restarted = Metrics()
    restarted.start_from(store, [NotificationChannel.EMAIL, NotificationChannel.SMS])
    assert values(restarted, "notifications_in_dlq") == {"email": 1, "sms": 0}
    assert values(restarted, "notifications_in_flight") == {"email": 0, "sms": 0}
    classes = ("critical", "normal", "bulk")
    assert values(restarted, "notifications_sent_total") == {
        f"{on},{of}": 0 for on in ("email", "sms") for of in classes
    }


async def test_classes_are_told_apart(tmp_path):
    path = tmp_path / "classes.yaml"
    entries = ", ".join(
        f"{{channel: email, priority: {each}, arrivals: {{constant: 1/s}}}}" for each in ("critical", "bulk")
    )
    fault = "{channel: email, at: 5s, for: 5s, permanent_rate: 100%}"
    path.write_text(f"duration: 10s\nworkload: [{entries}]\nfaults: [{fault}]\n")
    metrics = Metrics()
    run(path, on_events=metrics.record_all)
    for name in ("notifications_sent_total", "notifications_dead_lettered_total", "delivery_time_seconds_count"):
        assert values(metrics, name) == {"email,critical": 5, "email,bulk": 5}


async def test_the_states_of_breakers_are_as_they_are_when_they_are_asked_for(tmp_path, monkeypatch, autojump_clock):
    async def deliver(attempt):
        return Transient(reason="busy")

    monkeypatch.setattr("actors.service.transports.EmailTransport.open", lambda self: Scripted(deliver))
    channels = {"email": {"retry": {"max_attempts": 1}, "circuit_breaker": {"failure_threshold": 2}}}
    async with service(tmp_path, channels=channels) as served:
        for number in (1, 2):
            await served.post("/notifications", email(number))
        await served.server.notifier.wait_until_quiet()
        await served.post("/notifications", email(3))
        served.server.metrics.look_at(served.server.notifier.pipeline)
        assert await served.metric('notifications_in_flight{channel="email"}') == 1
        state = 'breaker_state{channel="email",host="",provider="primary",state="%s"}'
        assert await served.metric('endpoints_disabled{channel="email"}') == 0
        assert await served.metric(state % "open") == 1
        assert await served.metric(state % "closed") == 0
        assert (await served.get("/healthz", None)).json()["breakers"][0] == {"channel": "email", "provider": "primary",
            "state": "open"}  # fmt: skip
        content_type = (await served.get("/metrics", None)).headers["content-type"]
    assert content_type.startswith("text/plain; version=")


async def test_of_the_breakers_of_hosts_those_are_told_that_are_not_closed(tmp_path, monkeypatch, autojump_clock):
    async def deliver(attempt):
        return Transient(reason="busy") if attempt.command.recipient.endswith("down.example") else Sent()

    monkeypatch.setattr("actors.service.transports.EmailTransport.open", lambda self: Scripted(deliver))
    breaker = {"failure_threshold": 1, "per": "host"}
    async with service(
        tmp_path, channels={"email": {"retry": {"max_attempts": 1}, "circuit_breaker": breaker}}
    ) as served:
        for host in ("up", "down"):
            await served.post("/notifications", email(host, recipient=f"ann@{host}.example"))
        await served.server.notifier.wait_until_quiet()
        assert values(served.server.metrics, "breaker_state") == {
            "email,primary,down.example,open": 1,
            **{f"sms,primary,,{state}": float(state == "closed") for state in BreakerState},
        }
