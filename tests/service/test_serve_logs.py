"""What the log says, and what it never does: bodies, recipients, secrets."""

import io
import json
import logging
import re
from datetime import datetime

import pytest
import trio
from beside import tables
from each_row import over_each
from hypothesis import given, strategies as st
from served import OTTO, PLACED, SHOP, Scripted, email, service

from actors.errors import StoreFailed, TransientError
from actors.messages import NotificationChannel, OrderPlaced, SendNotification
from actors.outcomes import Ambiguous, DeadDestination, Permanent, Sent, Transient
from actors.pipeline.alert import Alert
from actors.service.config import LogsConfig, load
from actors.service.observability import logs
from actors.service.serve import serve

TABLES = tables(__file__)

PRIVATE = ["Ann's body", "The subject", "ann@example.com", "+4930123456", SHOP, OTTO, "whsec_", "device-token", "hush"]
COMMAND = SendNotification(notification_id="n-1", channel=NotificationChannel.EMAIL, recipient="ann@example.com",
    message="Ann's body", subject="The subject", metadata={"key": "hush"})  # fmt: skip


@pytest.fixture
def written(kept_logging):
    """What is logged from now on, at every level, as JSON."""
    stream = io.StringIO()
    logs.set_up(LogsConfig(format="json", level="debug"), stream)
    return stream


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def leaked(text):
    return [private for private in PRIVATE if private in text]


async def test_a_service_under_all_sorts_of_trouble_gives_nothing_away(tmp_path, monkeypatch, written, autojump_clock):
    answers = [
        Transient(reason="450 <ann@example.com> is greylisted", answer="450 Ann's body"),
        Permanent(reason="550 mailbox of ann@example.com full"),
        DeadDestination(reason="no +49 30 123456 here"),
        Ambiguous(reason="https://ann:hush@hooks.example.com/x timed out"),
        TransientError("Bearer eyJhbGciOiJIUzI1NiJ9.hush refused"),
        ValueError("Ann's body cannot be encoded for ann@example.com"),
        ExceptionGroup("The subject", [RuntimeError("ann@example.com")]),
    ]

    async def deliver(attempt):
        if not answers:
            return Sent()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("actors.service.transports.EmailTransport.open", lambda self: Scripted(deliver))
    channels = {"email": {"retry": {"max_attempts": 2}, "circuit_breaker": {"failure_threshold": 2}}}
    async with service(tmp_path, channels=channels) as served:

        @served.server.notifier.bus.subscribe(OrderPlaced)
        def subscriber(event):
            raise LookupError(f"no mail for {event.customer_email}")

        for number in range(6):
            answer = await served.post(
                "/notifications", email(number, message="Ann's body", subject="The subject", metadata={"key": "hush"})
            )
            assert answer.status_code == 202
        await served.post("/notifications", email(1, message="Ann's body", subject="other"))
        await served.post("/notifications", email(1, message="Ann's body"), "no-such-token-0123456789")
        await served.post("/events", PLACED)
        await served.post("/events", PLACED | {"customer_email": 7})
        await served.change(channels=channels, tokens=[{"name": "shop", "role": "ingest", "secret": "hush"}])
        await served.change(channels=channels, tokens=[{"name": "otto", "role": "operator", "secret": OTTO}])
        await trio.sleep(1000)
        await served.server.shut_down()
    text = written.getvalue()
    assert leaked(text) == []
    seen = {line["event"] for line in lines(written)}
    assert seen >= {"NotificationRequested", "NotificationFailed", "NotificationMovedToDeadLetter",
        "BreakerTransitioned", "DuplicateIgnored", "NotificationSent", "settings read again"}  # fmt: skip
    [raised] = [line for line in lines(written) if line["event"].startswith("subscriber")]
    assert raised["error"]["type"] == "LookupError"
    assert "OrderPlaced" in raised["event"]


def test_an_event_has_the_fields_that_tell_what_happened(written):
    log = logging.getLogger("anything")
    log.warning("command %s for %r", COMMAND, COMMAND, extra={"fields": {"reason": "no ann@example.com", "by": "otto"}})
    [line] = lines(written)
    assert line["event"] == "command SendNotification n-1 for SendNotification n-1"
    assert (line["reason"], line["by"], line["level"], line["logger"]) == ("no …", "otto", "warning", "anything")


def test_an_error_is_shown_by_its_types_and_places_not_by_its_text(written):
    try:
        try:
            raise KeyError("Ann's body")
        except KeyError as error:
            raise ExceptionGroup("The subject", [ValueError("ann@example.com")]) from error
    except ExceptionGroup as group:
        logging.getLogger("x").error("failed: %s and %r", group, COMMAND, exc_info=group)
    [line] = lines(written)
    assert leaked(written.getvalue()) == []
    assert line["event"] == "failed: ExceptionGroup and SendNotification n-1"
    assert line["error"]["type"].startswith("ExceptionGroup < ValueError")
    assert any("test_serve_logs.py" in place for place in line["error"]["at"])


@pytest.mark.parametrize(("text", "shown"), TABLES["texts"])
def test_what_looks_private_is_hidden_and_what_does_not_is_not(text, shown):
    assert logs.hide(text) == shown


@given(
    name=st.from_regex(r"[a-z][a-z0-9.]{0,20}", fullmatch=True),
    before=st.sampled_from(["", "<", "to: ", "'", "mail="]),
    behind=st.sampled_from(["", ">", " refused", "'", ", then"]),
)
def test_a_mailbox_is_hidden_wherever_it_stands(name, before, behind):
    hidden = logs.hide(f"{before}{name}@example.org{behind}")
    assert "@" not in hidden
    assert "example.org" not in hidden


def test_text_for_people_is_a_line_with_its_fields():
    stream = io.StringIO()
    record = logging.makeLogRecord(
        {"name": "x", "levelno": 30, "levelname": "WARNING", "msg": "to %s", "args": (COMMAND,), "created": 0.0}
    )
    record.fields = {"attempt": 2, "reason": "\x1b[31mbusy"}
    stream.write(logs.TextFormatter().format(record))
    assert stream.getvalue() == (
        "1970-01-01T00:00:00.000+00:00 warning to SendNotification n-1 attempt=2 reason=…[31mbusy"
    )


@over_each(map(tuple, TABLES["private"]))
def test_what_looks_private_is_hidden(text, shown):
    assert logs.hide(text) == shown


@given(
    at=st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)),
    write=st.sampled_from(
        [
            "{:%Y-%m-%d %H:%M:%S} UTC",
            "{:%Y-%m-%d %H:%M}",
            "{:%Y-%m-%dT%H:%M:%SZ}",
            "{:%Y-%m-%d %H:%M:%S.%f}",
            "{:%Y-%m-%d %H:%M:%S,123}",
            "{:%Y-%m-%dT%H:%M:%S+02:00}",
            "{:%Y-%m-%d}",
        ]
    ),
    around=st.sampled_from(["since {}", "({})", "attempt 3 {} 4 5 6", "{}, {}", "{} {}", "{} to {}", "at={};"]),
)
def test_a_date_and_its_time_stay(at, write, around):
    written = write.format(at)
    text = around.format(written, written)
    assert logs.hide(text) == text


@pytest.mark.parametrize("text", ["x" * 60_000, "a@" * 60_000, "1 (" * 60_000, "://" * 60_000, "a.b " * 60_000])
def test_a_text_of_any_length_is_logged_in_part_and_never_with_half_an_address(text):
    shown = logs.hide(text + " ann@example.com")
    assert len(shown) <= logs.HIDE_LENGTH_MAX
    assert shown.endswith("…")
    assert logs.hide("word " * 799 + "ann@example.com is here").split()[-1] == "word…"


def test_the_cause_of_what_ends_the_service_is_in_the_log(written):
    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise StoreFailed("shop.db: disk I/O error\nDETAIL: Ann's body") from error
    except StoreFailed as error:
        logs.log_end(ExceptionGroup("The subject", [ExceptionGroup("", [error]), StoreFailed("of ann@example.com")]))
    [line] = lines(written)
    assert (line["level"], line["event"]) == ("critical", "the service has failed")
    assert line["cause"] == (
        "StoreFailed: of …; StoreFailed: shop.db: disk I/O error; OSError: [Errno 28] No space left on device"
    )
    assert leaked(written.getvalue()) == []


def test_a_cause_that_is_its_own_comes_to_an_end(written):
    first, second = StoreFailed("first"), StoreFailed("second")
    first.__cause__, second.__cause__ = second, first
    logs.log_end(first)
    assert lines(written)[0]["cause"] == "StoreFailed: first; StoreFailed: second"


async def test_a_store_that_fails_says_so_in_the_log_before_the_service_ends(tmp_path, capsys, written):
    path = tmp_path / "service.yaml"
    text = f"transports: {{email: {{simulated: true}}}}\nstore: {{sqlite: {tmp_path}/such.db}}\nlisten: 127.0.0.1:0\n"
    path.write_text(text + f"tokens: [{{name: shop, role: ingest, secret: {SHOP}}}]\nlogs: {{format: json}}\n")
    with pytest.raises(BaseExceptionGroup) as raised:
        await serve(path, load(path), lambda _url: (tmp_path / "such.db").unlink())
    assert raised.value.split(StoreFailed)[1] is None
    ended = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "the service has failed" in line]
    assert ended[0]["level"] == "critical"
    assert "cannot be written: the file was deleted, moved or replaced" in ended[0]["cause"]


async def test_the_log_tells_at_which_host_an_endpoint_is_disabled(tmp_path, monkeypatch, autojump_clock):
    async def deliver(attempt):
        return Transient(reason="HTTP 503")

    monkeypatch.setattr("actors.service.transports.WebhookTransport.open", lambda self: Scripted(deliver))
    webhook = {"endpoints": {"disable_after": "10s"}, "circuit_breaker": {"enabled": False}}
    said = io.StringIO()
    simulated = {"simulated": True}
    async with service(tmp_path, transports={"webhook": simulated}, channels={"webhook": webhook}) as served:
        logs.set_up(LogsConfig(format="json", level="info"), said)
        url = "https://hooks.example.com:8443/T0/hush?key=hush"
        hook = {"channel": "webhook", "recipient": url, "message": "Hello"}
        for number in range(20):
            await served.post("/notifications", {"notification_id": f"n-{number}", **hook})
            await trio.sleep(2)
    [line] = [line for line in lines(said) if line["event"].startswith("Endpoint ")]
    assert re.fullmatch(
        r"Endpoint https://… of channel webhook is disabled: all attempts have failed since "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, the latest: HTTP 503; retrylab dlq endpoints shows it",
        line["event"],
    )
    assert (line["level"], line["host"]) == ("warning", "hooks.example.com")
    assert "hush" not in said.getvalue()


async def test_a_dead_letter_is_one_line_with_all_that_is_needed(tmp_path, monkeypatch, autojump_clock):
    async def deliver(attempt):
        if attempt.command.notification_id == "n-1":
            return Permanent(reason="550 no such mailbox")
        if attempt.command.notification_id == "n-2":
            return Transient(reason="450 busy")
        return Transient(reason="421 closing") if attempt.number == 1 else Permanent(reason="550 no")

    monkeypatch.setattr("actors.service.transports.EmailTransport.open", lambda self: Scripted(deliver))
    channels = {"email": {"retry": {"max_attempts": 2, "jitter": "none"}}}
    said = io.StringIO()
    async with service(tmp_path, channels=channels) as served:
        logs.set_up(LogsConfig(format="json", level="info"), said)
        await served.post("/notifications", [email(1), email(2, expires_after=0.5), email(3)])
        await trio.sleep(100)
    about = [line for line in lines(said) if "n-" in json.dumps(line)]
    assert [
        {key: value for key, value in line.items() if key not in ("time", "logger")}
        for line in about
        if line["notification_id"] == "n-1"
    ] == [
        {
            "level": "error",
            "event": "NotificationMovedToDeadLetter",
            "notification_id": "n-1",
            "channel": "email",
            "attempts": 1,
            "reason": "550 no such mailbox",
        }
    ]
    # What was not sent for another reason than its last failure has both.
    assert [(line["event"], line["reason"]) for line in about if line["notification_id"] == "n-2"] == [
        ("NotificationFailed", "450 busy"),
        ("NotificationMovedToDeadLetter", "expired"),
    ]
    assert [(line["event"], line["reason"]) for line in about if line["notification_id"] == "n-3"] == [
        ("NotificationFailed", "421 closing"),
        ("NotificationMovedToDeadLetter", "550 no"),
    ]


async def test_an_actor_that_fails_is_one_line_with_the_place(tmp_path, monkeypatch, autojump_clock):
    said = io.StringIO()
    async with service(tmp_path) as served:
        logs.set_up(LogsConfig(format="json", level="info"), said)
        alert = served.server.notifier.pipeline.alert
        monkeypatch.setattr(alert.actor, "_latest_ns", None)
        alert.tell(Alert(notification_id="n", channel=NotificationChannel.EMAIL, reason="x"))
        await trio.sleep(10)
    [line] = lines(said)
    assert (line["level"], line["error"]["type"]) == ("error", "TypeError")
    assert line["event"].startswith("AdminAlert")
    assert any("alert.py" in place for place in line["error"]["at"])
