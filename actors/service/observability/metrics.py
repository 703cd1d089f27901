"""The metrics of the service, for Prometheus: folded from the recorded events, as those of a simulation are.

So a simulation of the same scenario has the same metrics: hand its events to :meth:`Metrics.record`::

    metrics = Metrics()
    simulation.run("outage.yaml", on_events=metrics.record_all)
    print(metrics.text())

The constructor of :class:`Metrics` names them all, with their labels and texts, which ``/metrics`` shows as well.
Where each host of recipients has a breaker, `breaker_state` leaves out closed breakers: there may be thousands.
Counters end in ``_total``. They start at 0 with the process; the gauges start where the store says.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from actors.channel_names import in_order
from actors.domain.attempts import RATE_LIMIT_EXCEEDED
from actors.domain.store import Store
from actors.instants import NS_PER_S
from actors.messages import (
    BreakerState,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DeferralCause,
    DuplicateIgnored,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    Priority,
    RecordedEvent,
)
from actors.notifier import Pipeline
from actors.optional_dependencies import needs

with needs("service"):
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

ATTEMPTS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20)

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
"""The buckets of delivery times: an answer at once, a retry or two, an outage, a night."""

M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics:
    """Counts recorded events, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def by_labels(metric: type[M], name: str, text: str, *labels: str, **options: Any) -> Callable[..., M]:
            # What has these labels is found at once the next time: it is asked for with each event.
            return cache(metric(name, text, labels, registry=registry, **options).labels)

        def counter(name: str, text: str, *labels: str) -> Callable[..., Counter]:
            return by_labels(Counter, name, text, "channel", *labels)

        def gauge(name: str, text: str) -> Callable[..., Gauge]:
            return by_labels(Gauge, name, text, "channel")

        self._accepted = counter("notifications_accepted", "Notifications that were accepted.", "priority")
        self._sent = counter("notifications_sent", "Notifications that were sent.", "priority")
        self._failed = counter("notifications_failed", "Attempts that failed, by outcome.", "kind")
        self._refused = counter("attempts_refused", "Failed attempts that were refused on our side.")
        self._dead = counter("notifications_dead_lettered", "Notifications moved to the dead letter queue.", "priority")
        self._redriven = counter("notifications_redriven", "Dead letters taken up again.")
        self._suppressed = counter("notifications_suppressed", "Notifications that are not wanted.")
        self._deferred = counter("notifications_deferred", "Waits that use up no attempt, by cause.", "cause")
        self._duplicates = counter("notifications_duplicate", "Ids that came again.", "conflict")
        self._refusals = counter("limiter_refusals", "Notifications that the limit of a user refused.")
        self._transitions = by_labels(
            Counter, "breaker_transitions", "Transitions of circuit breakers.", "breaker", "to"
        )
        self._in_flight = gauge("notifications_in_flight", "Accepted, and not ended.")
        self._in_dlq = gauge("notifications_in_dlq", "In the dead letter queue.")
        self._disabled = gauge("endpoints_disabled", "Endpoints that nothing is sent to.")
        self._attempts = by_labels(Histogram, "retry_attempts", "Attempts until the end.", "channel", buckets=ATTEMPTS)
        self._delivery_time = by_labels(
            Histogram, "delivery_time_seconds", "From acceptance until sent.", "channel", "priority", buckets=SECONDS
        )
        self._reports = counter("delivery_reports", "What providers reported later of what they had taken.", "kind")
        self._overloaded = by_labels(
            Counter, "requests_overloaded", "Events and notifications that were refused for lack of room.", "priority"
        )
        for priority in Priority:
            self._overloaded(priority)
        self._faults = Gauge("faults_injected", "Faults that are injected: a game day.", registry=registry)
        self._reloads = by_labels(Counter, "settings_reloads", "Settings that were read again.", "result")
        for result in ("used", "refused"):
            self._reloads(result)
        self._files_refused = Gauge(
            "settings_files_refused", "Watched files whose latest content cannot be used.", registry=registry
        )
        self._count_of: dict[type, Callable[[Any], None]] = {
            NotificationRequested: self._on_requested,
            NotificationSent: self._on_sent,
            NotificationFailed: self._on_failed,
            NotificationMovedToDeadLetter: self._on_dead,
            NotificationRedriven: self._on_redriven,
            NotificationSuppressed: self._on_suppressed,
            NotificationDeferred: self._on_deferred,
            DeadLetterDiscarded: lambda event: self._in_dlq(event.channel).dec(),
            DuplicateIgnored: lambda event: self._duplicates(event.channel, str(event.conflict).lower()).inc(),
            BreakerTransitioned: lambda event: self._transitions(event.breaker, event.to_state).inc(),
        }

    def record(self, event: RecordedEvent) -> None:
        count = self._count_of.get(type(event))
        if count is not None:
            count(event)

    def record_all(self, events: Sequence[RecordedEvent]) -> None:
        for event in events:
            self.record(event)

    def _on_requested(self, event: NotificationRequested) -> None:
        self._accepted(event.channel, event.priority).inc()
        self._in_flight(event.channel).inc()

    def _on_sent(self, event: NotificationSent) -> None:
        self._sent(event.channel, event.priority).inc()
        self._in_flight(event.channel).dec()
        self._attempts(event.channel).observe(event.attempt)
        self._delivery_time(event.channel, event.priority).observe((event.at_ns - event.requested_at_ns) / NS_PER_S)

    def _on_failed(self, event: NotificationFailed) -> None:
        self._failed(event.channel, event.kind).inc()
        if event.refused:
            self._refused(event.channel).inc()

    def _on_dead(self, event: NotificationMovedToDeadLetter) -> None:
        self._dead(event.channel, event.priority).inc()
        self._in_flight(event.channel).dec()
        self._in_dlq(event.channel).inc()
        self._attempts(event.channel).observe(event.attempts)
        if event.reason == RATE_LIMIT_EXCEEDED:
            self._refusals(event.channel).inc()

    def _on_redriven(self, event: NotificationRedriven) -> None:
        self._redriven(event.channel).inc()
        self._in_flight(event.channel).inc()
        self._in_dlq(event.channel).dec()

    def _on_suppressed(self, event: NotificationSuppressed) -> None:
        self._suppressed(event.channel).inc()
        self._in_flight(event.channel).dec()

    def _on_deferred(self, event: NotificationDeferred) -> None:
        self._deferred(event.channel, event.cause).inc()
        if event.cause is DeferralCause.RATE_LIMIT:
            self._refusals(event.channel).inc()

    def start_from(self, store: Store, channels: Iterable[NotificationChannel]) -> None:
        """Have the gauges say what a store has; to be called when a pipeline over it starts, before it goes on.

        Each of the pipeline's channels has its metrics from now on, at 0.
        """
        in_flight = Count(delivery.command.channel for delivery in store.open_deliveries(0))
        dead = Count(command.channel for _, command in store.dead_commands())
        for channel in in_order([*channels, *in_flight, *dead]):
            self._in_flight(channel).set(in_flight[channel])
            self._in_dlq(channel).set(dead[channel])
        for channel in channels:
            for one in (self._redriven, self._suppressed, self._refusals, self._refused):
                one(channel)
            self._attempts(channel)
            for priority in Priority:
                for by_class in (self._accepted, self._sent, self._dead, self._delivery_time):
                    by_class(channel, priority)

    def look_at(self, pipeline: Pipeline) -> None:
        """Have the gauges say what a pipeline has now: where several nodes share a store, events do not tell it."""
        in_flight = pipeline.handler.actor.deliveries.count_by_channel()
        dead = pipeline.dead_letter_queue.actor.count_by_channel()
        for channel in {*pipeline.wiring.stages, *in_flight, *dead}:
            self._in_flight(channel).set(in_flight[channel])
            self._in_dlq(channel).set(dead[channel])

    def count_disabled(self, pipeline: Pipeline) -> None:
        disabled = Count(channel for channel, _ in pipeline.store.endpoints.disabled)
        for channel in {*pipeline.wiring.stages, *disabled}:
            self._disabled(channel).set(disabled[channel])

    def watch_breakers(self, pipeline: Callable[[], Pipeline]) -> None:
        self.registry.register(_BreakerStates(pipeline))

    def count_overloaded(self, refused: Iterable[Priority]) -> None:
        for priority in refused:
            self._overloaded(priority).inc()

    def count_report(self, channel: NotificationChannel, kind: str) -> None:
        self._reports(channel, kind).inc()

    def set_faults(self, count: int) -> None:
        self._faults.set(count)

    def count_reload(self, *, is_used: bool) -> None:
        self._reloads("used" if is_used else "refused").inc()

    def set_files_refused(self, count: int) -> None:
        self._files_refused.set(count)

    def text(self) -> bytes:
        """Return the metrics as Prometheus reads them (text format 0.0.4)."""
        return generate_latest(self.registry)


class _BreakerStates(Collector):
    def __init__(self, pipeline: Callable[[], Pipeline]) -> None:
        self._pipeline = pipeline

    def describe(self) -> Iterable[Metric]:
        """Return nothing: no other metric of the registry has this name."""
        return []

    def collect(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "breaker_state",
            "1 for the state that a circuit breaker is in.",
            labels=("channel", "provider", "host", "state"),
        )
        for channel, stages in self._pipeline().wiring.stages.items():
            for lane in stages.lanes:
                own = lane.breaker
                if own is not None:
                    for state in BreakerState:
                        states.add_metric([channel, lane.provider_name, "", state], float(own.state is state))
                    continue
                for host, breaker in lane.breakers:
                    if breaker.state is not BreakerState.CLOSED:
                        states.add_metric([channel, lane.provider_name, host, breaker.state], 1.0)
        yield states
