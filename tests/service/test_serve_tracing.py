"""Spans: one for each notification, with a child for each attempt."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from served import SHOP, Scripted, email, service

from actors import Notifier, SendNotification
from actors.errors import ConfigurationError
from actors.messages import NotificationChannel, NotificationRequested, NotificationSent
from actors.outcomes import Permanent, Sent, Transient
from actors.service.config import TracingConfig
from actors.service.observability.tracing import Tracing
from actors.storage.memory import MemoryStore

CONFIG = {"channels": {"email": {"retry": {"max_attempts": 2, "initial_delay": 10.0}}}, "drain": 0}


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, Tracing(provider)


def command(number):
    return SendNotification(**{**email(number, message="Ann's body"), "channel": NotificationChannel.EMAIL})


async def test_a_notification_is_a_span_and_each_attempt_a_child_of_it(spans, autojump_clock):
    exporter, tracing = spans
    outcomes = [Transient(reason="busy"), Sent(), Permanent(reason="no")]

    async def deliver(attempt):
        return outcomes.pop(0)

    async with Notifier.open(CONFIG, providers=Scripted(deliver), on_event=tracing.record) as notifier:
        await notifier.send(command(1))
        await notifier.wait_until_quiet()
        await notifier.send(command(2))
        await notifier.wait_until_quiet()
    ended = exporter.get_finished_spans()
    assert [span.name for span in ended] == ["attempt email", "attempt email", "notification email", "attempt email",
        "notification email"]  # fmt: skip
    failed, taken, sent, refused, dead = ended
    assert failed.parent.span_id == taken.parent.span_id == sent.context.span_id
    assert failed.context.trace_id == sent.context.trace_id != dead.context.trace_id
    assert refused.parent.span_id == dead.context.span_id
    assert sent.parent is dead.parent is None
    assert dict(sent.attributes) == {"notification.id": "n-1", "notification.channel": "email",
        "notification.outcome": "sent"}  # fmt: skip
    assert dict(failed.attributes) == {"attempt.number": 1, "attempt.outcome": "Transient"}
    assert failed.status.status_code is StatusCode.ERROR
    assert taken.status.status_code is StatusCode.UNSET
    assert dead.attributes["notification.outcome"] == "dead-lettered"
    assert taken.start_time - failed.end_time == 10 * 10**9
    assert sent.start_time <= failed.start_time
    assert sent.end_time == taken.end_time
    for span in ended:
        for private in ("Ann's body", "ann@example.com"):
            assert private not in span.to_json()


async def test_what_an_earlier_process_accepted_has_a_span_from_where_it_is_taken_up(spans, autojump_clock):
    exporter, tracing = spans
    store = MemoryStore()
    outcomes = [Transient(reason="busy"), Sent()]

    async def deliver(attempt):
        return outcomes.pop(0)

    provider = Scripted(deliver)
    async with Notifier.open(CONFIG, providers=provider, store=store) as notifier:
        await notifier.send(command(1))
        while not provider.attempts:
            await notifier.wait_until_quiet(0.1)
    async with Notifier.open(CONFIG, providers=provider, store=store, on_event=tracing.record) as notifier:
        await notifier.wait_until_quiet()
    attempt, sent = exporter.get_finished_spans()
    assert attempt.attributes["attempt.number"] == 2
    assert sent.start_time == attempt.start_time


async def test_a_service_sends_its_spans_to_a_collector(tmp_path, monkeypatch, autojump_clock, spans):
    exporter, tracing = spans
    configs = []

    def to_collector(config):
        configs.append(config)
        return tracing

    monkeypatch.setattr(Tracing, "to_collector", to_collector)
    async with service(tmp_path, tracing={"endpoint": "http://localhost:4318", "sample": "10%"}) as served:
        await served.post("/notifications", email(1))
        await served.server.notifier.wait_until_quiet()
    assert configs == [TracingConfig(endpoint="http://localhost:4318", sample=0.1)]
    assert [span.name for span in exporter.get_finished_spans()] == ["attempt email", "notification email"]


def test_the_collector_is_sent_what_there_is_at_the_end():
    asked = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(
                (self.path, self.headers["content-type"], self.rfile.read(int(self.headers["content-length"])))
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        tracing = Tracing.to_collector(
            TracingConfig(endpoint=f"http://127.0.0.1:{server.server_port}", service_name="the-shop")
        )
        happened = {"at_ns": 1, "epoch_ns": 10**18, "notification_id": "n-1", "channel": NotificationChannel.EMAIL}
        tracing.record(NotificationRequested(**happened, user_id="ann"))
        tracing.record(NotificationSent(**happened, attempt=1, started_ns=1, requested_at_ns=1))
        tracing.close()
        server.shutdown()
        thread.join()
    [(path, content_type, body)] = asked
    assert (path, content_type) == ("/v1/traces", "application/x-protobuf")
    for part in (b"the-shop", b"n-1", b"attempt email"):
        assert part in body


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(
        ConfigurationError, match=r"tracing: wanted the extra retrylab\[tracing\], got no opentelemetry"
    ):
        Tracing.to_collector(TracingConfig(endpoint="http://localhost:4318"))


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "is_followed"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        ("", False),
    ],
)
async def test_a_notification_belongs_to_the_trace_of_its_request(
    header, is_followed, spans, tmp_path, monkeypatch, autojump_clock
):
    exporter, tracing = spans
    monkeypatch.setattr(Tracing, "to_collector", lambda config: tracing)
    async with service(tmp_path, tracing={"endpoint": "http://localhost:4318"}) as served:
        headers = {"authorization": f"Bearer {SHOP}", "traceparent": header}
        await served.client.post("/notifications", json=email(1), headers=headers)
        await served.server.notifier.wait_until_quiet()
    [span] = [span for span in exporter.get_finished_spans() if span.name == "notification email"]
    parent = None if span.parent is None else (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}")
    assert parent == ((TRACE, SPAN) if is_followed else None)
