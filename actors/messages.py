"""The messages: commands, domain events, and the events that make up the history of a run.

Every message is immutable, built from keywords, and serialisable with msgspec. Instants on the system's clock are
whole nanoseconds since the start of the run and end in ``_ns``; the same name without the suffix is a property that
gives the timezone-aware UTC datetime. Domain events carry the datetimes they were given. The types of fields that
callers fill in are checked when a message is built, where the mistake is made, and not when a store reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Any, cast

import msgspec

from actors.channel_names import (
    ChannelKind as ChannelKind,
    ChannelName as ChannelName,
    NamedChannel,
    NotificationChannel as NotificationChannel,
    channel_named,
)
from actors.endpoints import EndpointMark
from actors.field_types import check_types, quantities
from actors.frozen import NO_METADATA, FrozenDict
from actors.instants import time_zone, utc


class Priority(StrEnum):
    """The classes of traffic, the most urgent first: who goes first where notifications wait for their turn."""

    CRITICAL = "critical"
    """A person waits for the notification, such as for a login code."""
    NORMAL = "normal"
    """The notification is for one person, who does not wait for it."""
    BULK = "bulk"
    """The notification goes to many people at once and may be late, such as a newsletter."""


class BreakerState(StrEnum):
    """The answer of a circuit breaker to a request for a permit."""

    CLOSED = "closed"
    """Admits, and counts failures; for a while after it has closed it may admit only a growing share."""
    OPEN = "open"
    """Refuses until its time has passed."""
    HALF_OPEN = "half-open"
    """Admits a few probes."""
    FORCED_OPEN = "forced-open"
    """Refuses until an operator says otherwise."""
    DISABLED = "disabled"
    """Admits, and counts nothing."""
    METRICS_ONLY = "metrics-only"
    """Admits, counts, and never opens: to watch its decisions before they take effect."""


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """The base of all messages. A message never refers back to itself, so the garbage collector can skip it."""


class _Utc:
    """A property: the instant of the field with this name and ``_ns``, in UTC."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._field = f"{name}_ns"

    def __get__(self, message: Any, owner: type | None = None) -> datetime:
        return self if message is None else utc(message.epoch_ns + getattr(message, self._field))  # type: ignore[return-value]


class _OptionalUtc(_Utc):
    """As `_Utc`, for a field that may be None."""

    def __get__(self, message: Any, owner: type | None = None) -> datetime | None:  # type: ignore[override]
        return None if message is not None and getattr(message, self._field) is None else super().__get__(message)


_TEXT = frozenset({str})
_MAPPINGS = (dict, Mapping)
"""Mappings; dicts are the quickest to tell."""


_NUMBERS = frozenset({int, float})
_FOUR = frozenset(NotificationChannel)
_PRIORITIES = frozenset(Priority)
RANKS = {priority: rank for rank, priority in enumerate(Priority)}
"""By class of traffic, its place among them: 0 is the most urgent."""


def usual_priority(critical: bool) -> Priority:
    """Return the class of traffic of a command without one, which may pass the user's preferences and quiet hours."""
    return Priority.CRITICAL if critical else Priority.NORMAL


def _are_addresses(addresses: Mapping[Any, Any]) -> bool:
    return addresses.keys() <= _FOUR and _TEXT.issuperset(map(type, addresses.values()))


def _priority(given: object, critical: bool) -> object:
    if given is None:
        return usual_priority(critical is True)
    if not isinstance(given, str):
        return given
    if given not in _PRIORITIES:
        raise ValueError(f"priority: wanted one of {', '.join(Priority)}, got {given!r:.100}")
    return Priority(given)


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────


class SendNotification(Message, frozen=True, kw_only=True, gc=False):
    """Command: deliver this notification, once.

    Raises:
        TypeError: fields hold a wrong type, such as a number for an id; the text names all of them.
        ValueError: `expires_after` is negative or no number, `not_before` has no time zone, `priority` is no class of
            traffic, `zone` is unknown, or `metadata` is nested too deep for the stack.
    """

    notification_id: str
    """Unique for all time: the same id is sent once, and goes to the provider as its idempotency key."""

    channel: NamedChannel
    """Or its name. The receiver reports an unknown one."""

    recipient: str = cast(Any, None)
    """The address as the channel writes it: mailbox, phone number, device token, URL; a `call` needs none."""

    message: str
    subject: str | None = None
    metadata: Mapping[str, Any] = NO_METADATA
    """Values for templates and transports (`template`, `lang`, `badge`, …); copied and frozen."""

    user_id: str | None = None
    """The user whose preferences and limits apply; the recipient when None. `user` is this, and empty without both."""

    critical: bool = False
    """Bypasses preferences and quiet hours; and means `priority` critical where none is given."""

    priority: Priority = cast(Any, None)
    """Its class of traffic, or the name of one; bypasses nothing. None, or left out: normal; critical by the flag."""

    expires_after: float | None = None
    """Seconds; when it is older than this it is dead-lettered as expired and not sent. None: never."""

    addresses: Mapping[NotificationChannel, str] = NO_METADATA
    """The recipient's addresses on other channels, for a fallback; copied and frozen."""

    not_before: datetime | None = None
    """The notification waits until then, and may be cancelled meanwhile; expiry and delivery time count from then on.
    None: it is sent at once."""

    zone: str | None = None
    """The time zone of the user's quiet hours for this notification, such as ``Asia/Tokyo``. None: the quiet hours'."""

    def __post_init__(self) -> None:
        if (  # a run makes millions of such
            self.subject is not None
            or self.user_id is not None
            or self.expires_after is not None
            or self.not_before is not None
            or self.zone is not None
            or not (self.metadata is self.addresses is NO_METADATA)
            or type(self.priority) is not Priority
            or type(self.channel) is not NotificationChannel
            or type(self.critical) is not bool
            or not type(self.notification_id) is type(self.recipient) is type(self.message) is str
        ):
            self._complete_and_check()

    def _complete_and_check(self) -> None:
        if type(self.channel) is not NotificationChannel and (named := channel_named(self.channel)) is not None:
            msgspec.structs.force_setattr(self, "channel", named)
        if self.recipient is None and type(self.channel) is NotificationChannel and self.channel.is_own:
            msgspec.structs.force_setattr(self, "recipient", "")
        if type(self.metadata) is not FrozenDict and isinstance(self.metadata, _MAPPINGS):
            try:
                frozen = FrozenDict(self.metadata)
            except RecursionError:
                raise ValueError("metadata: wanted lists and mappings that are nested less deep") from None
            msgspec.structs.force_setattr(self, "metadata", frozen)
        if type(self.addresses) is not FrozenDict and isinstance(self.addresses, _MAPPINGS):
            msgspec.structs.force_setattr(self, "addresses", FrozenDict(self.addresses))
        if type(self.priority) is not Priority:
            msgspec.structs.force_setattr(self, "priority", _priority(self.priority, self.critical))
        # The same checks as check_types, in a twentieth of the time.
        if not (
            type(self.notification_id) is type(self.recipient) is type(self.message) is str
            and (self.user_id is None or type(self.user_id) is str)
            and (self.subject is None or type(self.subject) is str)
            and (self.expires_after is None or type(self.expires_after) in _NUMBERS)
            and type(self.critical) is bool
            and type(self.priority) is Priority
            and type(self.metadata) is type(self.addresses) is FrozenDict
            and (not self.addresses or _are_addresses(self.addresses))
            and self.not_before is None
            and self.zone is None
        ):
            check_types(self, but=("channel",))  # the receiver reports an unknown channel
        if self.expires_after is not None and not self.expires_after >= 0:
            raise ValueError(f"expires_after: wanted seconds of at least 0, got {self.expires_after!r}")
        if self.not_before is not None and self.not_before.tzinfo is None:
            raise ValueError("not_before: wanted a time with its offset from UTC, such as 2026-01-31T12:00:00Z")
        if self.zone is not None:
            try:
                time_zone(self.zone)
            except ValueError as problem:
                raise ValueError(f"zone: {problem}") from None

    @property
    def user(self) -> str:
        """The user whose preferences and limits apply; empty without user and recipient."""
        return self.user_id if self.user_id is not None else self.recipient

    @property
    def has_implied_priority(self) -> bool:
        """Whether it would have the same class of traffic if none had been given."""
        return self.priority is usual_priority(self.critical)


# ── domain events ───────────────────────────────────────────────────────────────────────────────────────────────


class _Fact(Message, frozen=True, kw_only=True, gc=False):
    """The base of the domain events.

    Raises:
        TypeError: fields hold a wrong type, such as a number for an id; the text names all of them.
        ValueError: a number is infinite or NaN.
    """

    def __post_init__(self) -> None:
        check_types(self)
        for name in quantities(type(self)):
            value = getattr(self, name)
            # An order of NaN is a mistake; an int is finite.
            if not (
                value.is_finite() if isinstance(value, Decimal) else not isinstance(value, float) or isfinite(value)
            ):
                raise ValueError(f"{name}: wanted a finite number, got {value}")


class UserRegistered(_Fact, frozen=True, kw_only=True, gc=False):
    """A user signed up."""

    user_id: str
    email: str
    name: str
    registered_at: datetime


class OrderPlaced(_Fact, frozen=True, kw_only=True, gc=False):
    """An order came in."""

    order_id: str
    user_id: str
    customer_email: str
    customer_phone: str
    total_amount: Decimal | float
    placed_at: datetime


class OrderShipped(_Fact, frozen=True, kw_only=True, gc=False):
    """A parcel is on its way."""

    order_id: str
    user_id: str
    customer_email: str
    carrier: str
    tracking_number: str
    shipped_at: datetime


class PaymentReceived(_Fact, frozen=True, kw_only=True, gc=False):
    """Money arrived."""

    payment_id: str
    order_id: str
    user_id: str
    customer_email: str
    amount: Decimal | float
    received_at: datetime


DomainEvent = UserRegistered | OrderPlaced | OrderShipped | PaymentReceived


# ── events of the system: published on the bus, and recorded in order as the history of the run ─────────────────


class RecordedEvent(Message, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Something that happened, at an instant of the system's clock."""

    at_ns: int
    """When, in nanoseconds since the start of the run."""

    epoch_ns: int
    """The calendar date of 0 on the run's clock, by the wall clock at this instant, in nanoseconds since 1970. It
    differs between events of one run if the wall clock was stepped between them; `at_ns` gives their order and the time
    between them."""

    node: int | None = None
    """At which node of a fleet, from 1 on; None where there is one process alone."""

    def _happened_at(self, node: int) -> None:
        msgspec.structs.force_setattr(self, "node", node)

    at = _Utc()


class NotificationEvent(RecordedEvent, frozen=True, kw_only=True, gc=False):
    """Something that happened to one notification."""

    notification_id: str
    channel: NotificationChannel


class NotificationRequested(NotificationEvent, frozen=True, kw_only=True, gc=False):
    """The notification is accepted: it will end as sent, dead-lettered or suppressed."""

    user_id: str

    instead_of: str | None = None
    """The id of the notification on another channel that it is a fallback for."""

    waited_since_ns: int | None = None
    """Since when its user waits: the acceptance of the first of its chain of fallbacks, or its scheduled instant."""

    priority: Priority = Priority.NORMAL
    """The class of traffic of the notification."""

    traceparent: str | None = None
    """The trace of its sender, as W3C Trace Context writes it (section 3.2). None: no trace."""

    waited_since = _OptionalUtc()


class NotificationSent(NotificationEvent, frozen=True, kw_only=True, gc=False):
    """The provider accepted it."""

    attempt: int
    """The number of the attempt that succeeded, the first is 1."""

    started_ns: int
    """When that attempt started."""

    requested_at_ns: int
    """When the notification was accepted."""

    provider: str | None = None
    """The provider that accepted it, where the channel has several."""

    hedges: int = 0
    """Hedged copies of that attempt."""

    priority: Priority = Priority.NORMAL
    """The class of traffic of the notification."""

    started = _Utc()

    requested_at = _Utc()


class NotificationFailed(NotificationEvent, frozen=True, kw_only=True, gc=False):
    """An attempt failed; published for every failed attempt, the last one too."""

    reason: str
    kind: str
    """The outcome's class name, as in :mod:`actors.outcomes`."""

    attempt: int
    """How many attempts are used up with this one; a ChannelFault uses none, so it may be 0."""

    started_ns: int
    """When the attempt started."""

    next_retry_at_ns: int | None = None
    """When it will be tried again; None when it will not."""

    answer: str | None = None
    """The provider's answer as it came; where a breaker has refused the attempt, the provider's latest failure."""

    throttled: bool = False
    """Whether the provider said that we send too fast."""

    given_up: str | None = None
    """Why it will not be tried again, which is the reason of the dead letter; None when it will be."""

    provider: str | None = None
    """The provider that failed, where the channel has several."""

    hedges: int = 0
    """Hedged copies of the attempt."""

    refused: bool = False
    """Whether it was refused on our side, at an open breaker or by the adaptive throttle, and no provider was asked."""

    endpoint: EndpointMark | None = None
    """The new state of the endpoint; None: it stays as it was."""

    unlimited: bool = False
    """Whether its kind may fail without a limit: of such attempts a history keeps the first 20 and the last 80."""

    started = _Utc()

    next_retry_at = _OptionalUtc()


class UpstreamRequested(NotificationEvent, frozen=True, kw_only=True, gc=False):
    """A simulated provider asked its upstream, for an attempt at it."""

    attempt: int
    """The number of the attempt, the first is 1."""

    number: int
    """The number of the request for this attempt, or for a request of the layer above; all but the first are
    retries."""

    provider: str | None = None
    """Which provider asked, where the channel has several."""

    layer: int = 1
    """The layer that is asked: 1 is the service that the provider itself asks, 2 the service behind that."""


class NotificationMovedToDeadLetter(NotificationEvent, frozen=True, kw_only=True, gc=False):
    """No further attempt will be made, unless it is redriven."""

    reason: str
    attempts: int
    requested_at_ns: int
    """When the notification was accepted."""

    priority: Priority = Priority.NORMAL
    """The class of traffic of the notification."""

    requested_at = _Utc()


class NotificationSuppressed(NotificationEvent, frozen=True, kw_only=True, gc=False):
    """Not sent because the person does not want it, or the address is known to be dead."""

    reason: str


class DeferralCause(StrEnum):
    """The reason for which a deferred notification waits."""

    RATE_LIMIT = "rate_limit"
    CIRCUIT_BREAKER = "circuit_breaker"
    QUIET_HOURS = "quiet_hours"


class NotificationDeferred(NotificationEvent, frozen=True, kw_only=True, gc=False):
    """Waits without using up an attempt; one event a wait, however long."""

    cause: DeferralCause
    resumes_at_ns: int | None = None
    """When the first notification in its line goes on, as far as is known now: it goes then, or later if others go
    before it. None: only an operator or the end of an attempt ends the wait."""

    resumes_at = _OptionalUtc()


class DuplicateIgnored(NotificationEvent, frozen=True, kw_only=True, gc=False):
    """A known id came again. With another payload it is a conflict, which is reported to the sender."""

    conflict: bool


class NotificationRedriven(NotificationEvent, frozen=True, kw_only=True, gc=False):
    """Taken out of the dead letter queue for a fresh set of attempts."""

    by: str | None = None
    """Who asked for it; None when not given."""

    why: str | None = None
    """Why; None when not given."""

    edit: Mapping[str, Any] = NO_METADATA
    """The changes to its command: new values by field. Copied and frozen."""

    without_operator: bool = False
    """Whether the redrive is automatic: its channel is set to redrive, and a circuit breaker has closed."""

    include_served: bool = False
    """Whether it was asked for even if its recipient had been reached otherwise, so that they may be reached twice."""

    def __post_init__(self) -> None:
        if type(self.edit) is not FrozenDict:
            msgspec.structs.force_setattr(self, "edit", FrozenDict(self.edit))


class DeadLetterDiscarded(NotificationEvent, frozen=True, kw_only=True, gc=False):
    """Removed from the dead letter queue for good. It stays dead-lettered in the count."""

    reason: str
    by: str | None = None
    """Who asked for it; None when not given."""


class BreakerTransitioned(RecordedEvent, frozen=True, kw_only=True, gc=False):
    """A circuit breaker changed its state."""

    breaker: str
    """Its name: the channel's, and for a further provider of the channel ``email/backup``."""

    from_state: str
    to_state: str
    cause: str
    """The event of the transition table that caused it."""

    host: str | None = None
    """The host of recipients, where each has a breaker; ``""`` for recipients without a host."""


class ActorFailed(RecordedEvent, frozen=True, kw_only=True, gc=False):
    """An actor raised, and its supervisor decided."""

    actor: str
    error: str
    decision: str


class OwnActorMessage(RecordedEvent, frozen=True, kw_only=True, gc=False):
    """An own actor handles a message of a class, or sends a notification; the id names the message's subject."""

    actor: str
    message: str
    notification_id: str | None = None
    is_sent: bool = False


class NodeTookOver(RecordedEvent, frozen=True, kw_only=True, gc=False):
    """A node of a fleet owns the notifications of another node from now on, which is gone."""

    from_node: int
    notification_ids: tuple[str, ...]
    """The ids of the notifications that had not ended."""


# ── the dead letter queue ───────────────────────────────────────────────────────────────────────────────────────


class DeadLetterMessage(Message, frozen=True, kw_only=True, gc=False):
    """A notification in the dead letter queue, with all that is needed to find out why and to try again."""

    notification_id: str
    command: SendNotification
    """As it was last tried, with its edits."""

    failure_reason: str
    attempts: int
    """Attempts used since it was accepted or last redriven."""

    requested_at_ns: int
    """When the notification was accepted."""

    first_failure_ns: int
    """When it first failed: not when it was first tried."""

    last_failure_ns: int

    moved_at_ns: int
    """When it was dead-lettered; the latest time if it has been redriven."""

    epoch_ns: int
    history: tuple[NotificationFailed, ...] = ()
    """Every failed attempt, those before a redrive included."""

    accepted: SendNotification | None = None
    """The command as it was accepted, where it has been edited since; else None."""

    edits: int = 0
    """How often it was redriven with another payload."""

    redriven_without_operator: int = 0
    """How often it was redriven automatically, because a circuit breaker had closed."""

    served: bool = False
    """Whether its fallback, or another notification of the same request, was delivered or may yet be: then a redrive
    takes it only when asked to. As it was when the letter was read."""

    @property
    def channel(self) -> NotificationChannel:
        """The channel it should have gone out on."""
        return self.command.channel

    requested_at = _Utc()

    first_failure = _Utc()

    last_failure = _Utc()

    moved_at = _Utc()
