"""What the service writes to its log: a JSON document a line, or text on a terminal.

Nothing of what people write to each other is in it: no body, subject or address, and no secret. That is kept in two
ways. The service itself logs events by their fields, and of those only such as cannot hold any of it, but for reasons.
Whatever else is logged, by a library or of an error, goes through the same formatter, which

* writes a message as its type and the id of its notification, never its content;
* of an exception shows the types and where it was raised, not its text, which may have any value in it;
* hides what looks like an address, a phone number or a key in all text, reasons included.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from actors.errors import ConfigurationError, described
from actors.instants import NS_PER_S
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)
from actors.service.config import LogsConfig

events = logging.getLogger("retrylab.events")
_LOGGED: dict[type, tuple[int, tuple[str, ...]]] = {
    NotificationSent: (logging.DEBUG, ("attempt", "provider")),
    NotificationFailed: (logging.INFO, ("attempt", "kind", "reason", "provider")),
    NotificationMovedToDeadLetter: (logging.ERROR, ("attempts", "reason")),
    NotificationSuppressed: (logging.INFO, ("reason",)),
    NotificationDeferred: (logging.DEBUG, ("cause",)),
    NotificationRedriven: (logging.INFO, ("by",)),
    DeadLetterDiscarded: (logging.INFO, ("by", "reason")),
    DuplicateIgnored: (logging.INFO, ("conflict",)),
    BreakerTransitioned: (logging.WARNING, ("breaker", "host", "from_state", "to_state", "cause")),
    ActorFailed: (logging.DEBUG, ("actor", "error", "decision")),  # its supervisor has logged it, with the place
}
"""The level of each type of event, and the fields that the log has of it, and no others; see above. Further types are
logged at the level debug, by their ids alone."""

_ID_ALONE: tuple[int, tuple[str, ...]] = (logging.DEBUG, ())

_SAID_BY_EVENTS = frozenset({"actors.pipeline.dead_letter_queue"})
"""Loggers of what the events of this log say as well, and with fields."""

_HIDDEN = "…"

HIDE_LENGTH_MAX = 4_000
"""Characters of a text that are logged; reasons are shorter."""

# Linear, whatever the text: no word is begun twice, and where a repetition may have to give back, it is short.
_MAILBOX = re.compile(r"""(?<![^\s@<>"'(),;:])[^\s@<>"'(),;:]++@[^\s@<>"'(),;]++""")
_DATE = r"(?<!\d[-/)])(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?![\d/-])"
_TIME = r"[T\s]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?"
"""As RFC 3339 has them, 5.6, to the second or less; and no part of a phone number."""
_LOOKS_PRIVATE = re.compile(
    rf"""
    (?<=://)[^\s"'<>]+                    # where a URL leads, and its credentials
    | \b(?:whsec_|eyJ|Bearer\s)\S+          # keys and tokens
    | [A-Za-z0-9_~+/=:-]{{40,}}               # of a device, or any other long key
    | (?<![\w.])(?P<date>{_DATE}(?:{_TIME})?)(?!\w)  # stays
    | (?<![\w.])\+?\d(?:(?!(?<![\w.]){_DATE})[\d\s()/-]){{6,60}}\d(?!\w)  # a phone number, to the next date
    """,
    re.VERBOSE,
)


def hide(text: str) -> str:
    """Return a text without what looks like an address, a phone number or a key; of a long one, its beginning."""
    if len(text) > HIDE_LENGTH_MAX:
        # By whole words: half of an address or a key may no longer look like one.
        text = text[:HIDE_LENGTH_MAX].rpartition(" ")[0] + _HIDDEN
    return _LOOKS_PRIVATE.sub(lambda found: found["date"] or _HIDDEN, _MAILBOX.sub(_HIDDEN, text))


def set_up(config: LogsConfig, stream: TextIO | None = None) -> logging.Handler:
    """Have all that is logged in this process written as the settings say, in place of what was set up before.

    `stream` None: to the standard error output.
    """
    stream = sys.stderr if stream is None else stream
    as_json = config.format == "json" or (config.format == "auto" and not stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    if config.level != "debug":
        handler.addFilter(lambda record: record.name not in _SAID_BY_EVENTS)
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, _Formatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(config.level.upper())
    for chatty in ("httpcore2", "httpx2", "mail.log"):  # of what each request and reply says
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    return handler


def log_event(event: RecordedEvent) -> None:
    level = level_of(event)
    if events.isEnabledFor(level):
        events.log(level, type(event).__name__, extra={"fields": fields_of(event)})


def level_of(event: RecordedEvent) -> int:
    if isinstance(event, NotificationFailed) and event.given_up == event.reason:
        return logging.DEBUG  # the line of its dead letter follows, for the same reason
    return _LOGGED.get(type(event), _ID_ALONE)[0]


def log_end(error: BaseException) -> None:
    """Log what ends the service: the first line of each error within, and of what each was raised from.

    Unlike any other error it is shown with its text: an operator needs the reason to mend a store.
    """
    causes: dict[str, None] = {}
    waiting: list[BaseException | None] = [error]
    for _ in range(_CAUSES_MAX):
        found = waiting.pop(0) if waiting else None
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
        elif found is not None:
            causes[described(found).partition("\n")[0]] = None
            waiting.append(found.__cause__ or (None if found.__suppress_context__ else found.__context__))
    fields = {"cause": "; ".join(causes)}
    logging.getLogger(__name__).critical("the service has failed", extra={"fields": fields})


_CAUSES_MAX = 20
"""Errors that are looked at; one may be the cause of itself."""


def fields_of(event: RecordedEvent) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if isinstance(event, NotificationEvent):
        fields = {"notification_id": event.notification_id, "channel": event.channel.value}
    fields |= {name.removesuffix("_state"): getattr(event, name) for name in _LOGGED.get(type(event), _ID_ALONE)[1]}
    match event:
        case NotificationSent():
            fields["delivery_s"] = round((event.at_ns - event.requested_at_ns) / NS_PER_S, 6)
        case NotificationFailed(next_retry_at_ns=int(retry_at_ns)):
            fields["retry_in_s"] = round((retry_at_ns - event.at_ns) / NS_PER_S, 6)
        case ActorFailed():
            fields["error"] = event.error.partition(":")[0]
    return {key: value for key, value in fields.items() if value is not None}


class _Formatter(logging.Formatter):
    """Reads a record, but nothing private in it."""

    def read(self, record: logging.LogRecord) -> dict[str, Any]:
        read: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": hide(_message(record)),
        }
        for key, value in getattr(record, "fields", {}).items():
            read[key] = hide(value) if isinstance(value, str) and key not in _NAMES else value
        if record.exc_info and record.exc_info[1] is not None:
            read["error"] = _without_text(record.exc_info[1])
        return read


_NAMES = frozenset({"notification_id", "channel", "provider", "breaker", "host", "by", "url"})
"""Fields that are as they are: names and ids. An id with an address in it is its sender's choice."""


class JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.read(record), ensure_ascii=False, default=str)


class TextFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        read = self.read(record)
        time, level, _, event = (read.pop(key) for key in ("time", "level", "logger", "event"))
        error = read.pop("error", None)
        fields = "".join(f" {key}={value}" for key, value in read.items())
        behind = "" if error is None else f" [{error['type']}]" + "".join(f"\n    {at}" for at in error["at"])
        return f"{time} {level:7} {event}{fields}{behind}".replace("\x1b", _HIDDEN)


def _message(record: logging.LogRecord) -> str:
    given: Any = record.args
    if not given:
        return str(record.msg)
    shown: Any
    if isinstance(given, Mapping):
        shown = {key: _argument(value) for key, value in given.items()}
    else:
        shown = tuple(map(_argument, given))
    text = str(record.msg)
    try:
        return text % shown  # type: ignore[no-any-return]
    except (TypeError, ValueError):  # a format of its caller's that does not fit, or %d of what is not shown
        return text


def _argument(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        notification_id = getattr(value, "notification_id", None)
        return _Named(type(value).__name__ + (f" {notification_id}" if notification_id is not None else ""))
    if isinstance(value, ConfigurationError):
        return value
    if isinstance(value, BaseException):
        return _Named(type(value).__name__)
    return value


class _Named(str):
    """A name that stands for a value, also where its `repr` is asked for."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _without_text(error: BaseException) -> dict[str, Any]:
    kinds: list[str] = []
    at: list[str] = []
    found: BaseException | None = error
    while found is not None and len(kinds) < 10:
        kinds.append(type(found).__name__)
        at += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(found.__traceback__)]
        if isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        else:
            found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return {"type": " < ".join(kinds), "at": at[-30:]}
