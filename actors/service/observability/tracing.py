"""Spans of OpenTelemetry: one for each notification from its acceptance to its end, with a child for each attempt.

They are made of the recorded events when these are there, with the times of the events. A notification that was
accepted by an earlier process, or before the settings were read again, has a span from where this one takes it up.
One whose sender has named a trace, by the header ``traceparent`` of its request, belongs to that.
Nothing of what people write to each other is in a span: the attributes are ids, names, numbers and kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.errors import ConfigurationError
from actors.messages import (
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)
from actors.service.config import TracingConfig

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

NAME = "retrylab"


class Tracing:
    def __init__(self, provider: TracerProvider, close: Callable[[], None] | None = None) -> None:
        """Give spans to a provider; `close` hands over the spans that are still on their way."""
        from opentelemetry import trace

        self._trace = trace
        self._tracer = provider.get_tracer(NAME)
        self._close = close
        self._open: dict[str, Span] = {}

    @classmethod
    def to_collector(cls, config: TracingConfig) -> Tracing:
        """Send the spans to a collector, a batch at a time from a thread; raise ConfigurationError where the packages
        for that are not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError as error:
            raise ConfigurationError([f"tracing: wanted the extra retrylab[tracing], got no {error.name}"]) from None
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(config.sample)),
            resource=Resource.create({"service.name": config.service_name}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{config.endpoint}/v1/traces")))
        return cls(provider, provider.shutdown)

    def close(self) -> None:
        """Hand over the spans that are still on their way; notifications in flight get none. It may take seconds."""
        self._open.clear()  # another pipeline resumes those in flight
        if self._close is not None:
            self._close()

    def record(self, event: RecordedEvent) -> None:
        match event:
            case NotificationRequested() | NotificationRedriven():
                parent = event.traceparent if isinstance(event, NotificationRequested) else None
                self._open[event.notification_id] = self._begin(event, event.at_ns, parent)
            case NotificationSent():
                self._attempt(event, event.attempt, event.started_ns, event.provider, "Sent")
                self._end(event, "sent")
            case NotificationFailed():
                self._attempt(event, event.attempt, event.started_ns, event.provider, event.kind)
            case NotificationMovedToDeadLetter():
                self._end(event, "dead-lettered")
            case NotificationSuppressed():
                self._end(event, "suppressed")
            case NotificationDeferred():
                attributes = {"cause": event.cause.value}
                self._span(event, event.at_ns).add_event("deferred", attributes, timestamp=_since_1970_ns(event))
            case _:
                pass

    def _span(self, event: NotificationEvent, since_ns: int) -> Span:
        span = self._open.get(event.notification_id)
        if span is None:
            span = self._open[event.notification_id] = self._begin(event, since_ns)
        return span

    def _begin(self, event: NotificationEvent, since_ns: int, parent: str | None = None) -> Span:
        # Its context is its sender's, or empty: whatever span is around it here is of another notification.
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = Context()
        if parent is not None:
            context = TraceContextTextMapPropagator().extract({"traceparent": parent}, context)
        return self._tracer.start_span(
            f"notification {event.channel}",
            context=context,
            kind=self._trace.SpanKind.PRODUCER,
            attributes={"notification.id": event.notification_id, "notification.channel": event.channel.value},
            start_time=event.epoch_ns + since_ns,
        )

    def _attempt(
        self, event: NotificationEvent, number: int, started_ns: int, provider: str | None, outcome: str
    ) -> None:
        attributes: dict[str, Any] = {"attempt.number": number, "attempt.outcome": outcome}
        if provider is not None:
            attributes["attempt.provider"] = provider
        span = self._tracer.start_span(
            f"attempt {event.channel}",
            context=self._trace.set_span_in_context(self._span(event, started_ns)),
            kind=self._trace.SpanKind.CLIENT,
            attributes=attributes,
            start_time=event.epoch_ns + started_ns,
        )
        if outcome != "Sent":
            span.set_status(self._trace.StatusCode.ERROR, outcome)
        span.end(_since_1970_ns(event))

    def _end(self, event: NotificationEvent, outcome: str) -> None:
        span = self._span(event, event.at_ns)
        del self._open[event.notification_id]
        span.set_attribute("notification.outcome", outcome)
        if outcome == "dead-lettered":
            span.set_status(self._trace.StatusCode.ERROR, outcome)
        span.end(_since_1970_ns(event))


def _since_1970_ns(event: RecordedEvent) -> int:
    return event.epoch_ns + event.at_ns
