"""Your own event types: the settings say which notifications they lead to, without any code.

::

    events:
      PasswordResetRequested:            # the `type` of what is posted to /events
        - channel: email
          recipient: user.email          # which field of the event has the address; dots lead into objects
          id: request_id                 # which field tells one such event from another
          user: user.id
          template: password-reset       # its variables are the event's fields
          priority: critical
      OrderPlaced: []                    # a built-in type here is one's own: this leads to nothing

An event leads to one notification for each entry, with the id ``email-password-reset-requested-17``. A field that is
null says that there is no such address: then nothing goes to that channel. A missing field is a mistake of the sender,
and the event is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from actors.domain.ids import problem_of_id
from actors.frozen import FrozenDict
from actors.instants import time_zone
from actors.messages import NotificationChannel, Priority, SendNotification, usual_priority
from actors.pipeline.event_bus import EventBus
from actors.pipeline.subscribers import BUILT_IN_SUBSCRIBERS, Subscribers
from actors.settings.base import Settings
from actors.settings.quantities import PositiveDuration, Text, Wanted

_PATH = re.compile(r"[^.\s]+(\.[^.\s]+)*")
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,99}", re.ASCII)
_SEAM = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_.:]+")


def _matching(pattern: re.Pattern[str]) -> Callable[[Any, bool], str | None]:
    return lambda value, _unit_required: value if isinstance(value, str) and pattern.fullmatch(value) else None


FieldPath = Annotated[
    str, Wanted("the name of a field of the event, such as email or user.email", _matching(_PATH), {"type": "string"})
]
EventType = Annotated[
    str,
    Wanted(
        "a type of events such as PasswordResetRequested: a letter, then letters, digits, _, -, . or :, at most 100",
        _matching(_TYPE),
        {"type": "string", "pattern": f"^{_TYPE.pattern}$"},
    ),
]


class EventRule(Settings):
    """A notification that an event leads to."""

    wanted_text: ClassVar[str] = (
        "a notification such as {channel: email, recipient: email, id: request_id, template: welcome}"
    )
    channel: NotificationChannel
    recipient: FieldPath
    """The field with the address. Null in an event: nothing goes to this channel."""
    template: Text
    """The template of its text; the fields of the event are its variables, and its metadata."""
    id: FieldPath = "id"
    """The field that tells one event of this type from another: text or a whole number."""
    user: FieldPath | None = None
    """The field with the user whose preferences and limits apply. None, or null in an event: the recipient."""
    zone: FieldPath | None = None
    """The field with the time zone of that user's quiet hours, such as ``Asia/Tokyo``. None, or null in an event: the
    quiet hours' own zone."""
    addresses: dict[NotificationChannel, FieldPath] = Field(default_factory=dict)
    """The fields with the same person's addresses on other channels, for a fallback; null: there is none."""
    critical: bool = False
    """Whether it passes the user's preferences and quiet hours, as what someone waits for does."""
    priority: Priority | None = None
    """The class of traffic. None: critical by the flag, else normal."""
    expires_after: PositiveDuration | None = None
    """How old it may become before it is dead-lettered and not sent. None: any age."""

    @property
    def effective_priority(self) -> Priority:
        return self.priority or usual_priority(self.critical)

    def paths(self) -> Iterator[tuple[str, bool]]:
        """Return each field that it needs, and whether that may be null."""
        yield self.id, False
        yield self.recipient, True
        for path in (self.user, self.zone):
            if path is not None:
                yield path, True
        for path in self.addresses.values():
            yield path, True


class OwnEvent:
    """An event of a type that the settings describe; each type is a class of its own for the bus."""

    __slots__ = ("fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields

    def __repr__(self) -> str:
        return f"an event of type {type(self).__name__}"  # without its content, as this may be logged


class OwnEvents:
    """The types of events that the settings describe.

    Args:
        rules: by type, the notifications that an event leads to.
    """

    def __init__(self, rules: Mapping[str, tuple[EventRule, ...]]) -> None:
        self._rules = rules
        self._kinds = {name: type(name, (OwnEvent,), {"__slots__": ()}) for name in rules}

    def __contains__(self, name: object) -> bool:
        return name in self._rules

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def read(self, name: str, item: Mapping[str, Any]) -> OwnEvent | list[tuple[str, str]]:
        """Return an event of this type, or its wrong fields, each with its problem."""
        problems: dict[str, str] = {}
        for rule in self._rules[name]:
            for path, may_be_null in rule.paths():
                problem = _problem_of(item, path, may_be_null, is_id=path == rule.id)
                if problem is None and path == rule.zone and (zone := _at(item, path)) is not None:
                    problem = _problem_of_zone(zone)
                if problem is not None:
                    problems.setdefault(path, problem)
        if problems:
            return list(problems.items())
        event: OwnEvent = self._kinds[name](FrozenDict({key: value for key, value in item.items() if key != "type"}))
        return event

    def subscribe_to(self, bus: EventBus) -> None:
        for name, rules in self._rules.items():
            for rule in rules:
                bus.subscribe(self._kinds[name], priority=rule.effective_priority)(_Leads(name, rule))
            if not rules:
                bus.subscribe(self._kinds[name])(lambda _event: None)


def built_in_beside(names: Collection[str]) -> Subscribers:
    """Return the built-in subscribers, except those to types that the settings describe."""
    return {kind: functions for kind, functions in BUILT_IN_SUBSCRIBERS.items() if kind.__name__ not in names}


class _Leads:
    def __init__(self, name: str, rule: EventRule) -> None:
        self._prefix = f"{rule.channel}-{_SEAM.sub('-', name).lower()}"
        self._rule = rule

    def __call__(self, event: OwnEvent) -> SendNotification | None:
        rule, fields = self._rule, event.fields
        recipient = _at(fields, rule.recipient)
        if recipient is None:
            return None
        user = None if rule.user is None else _at(fields, rule.user)
        addresses = {channel: _at(fields, path) for channel, path in rule.addresses.items()}
        return SendNotification(
            notification_id=f"{self._prefix}-{_at(fields, rule.id)}",
            channel=rule.channel,
            recipient=recipient,
            message="",
            metadata={**fields, "template": rule.template},
            user_id=None if user is None else str(user),
            critical=rule.critical,
            priority=rule.effective_priority,
            expires_after=rule.expires_after,
            addresses={channel: address for channel, address in addresses.items() if address is not None},
            zone=None if rule.zone is None else _at(fields, rule.zone),
        )


_MISSING = object()


def _at(fields: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path; the whole path, dots included, may be the name of one field."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return _MISSING
        value = value[name]
    return value


def _problem_of_zone(name: str) -> str | None:
    try:
        time_zone(name)
    except ValueError:
        return "wanted a time zone such as Asia/Tokyo"
    return None


def _problem_of(item: Mapping[str, Any], path: str, may_be_null: bool, *, is_id: bool) -> str | None:
    value = _at(item, path)
    kinds = "text or a whole number" if is_id else "text"
    if value is _MISSING:
        return f"wanted {kinds}{', or null where there is none' if may_be_null else ''}, got nothing"
    if value is None and may_be_null:
        return None
    if is_id and isinstance(value, int) and not isinstance(value, bool):
        return None
    if not isinstance(value, str):
        return f"wanted {kinds}"
    if not value.strip():
        return "wanted text that is not empty"
    return problem_of_id(value) if is_id else None
