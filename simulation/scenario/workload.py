"""The entries of a workload: what arrives, on which channels, of whom, and which class of traffic it is."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, StrictBool, ValidationInfo

from actors.messages import NotificationChannel, Priority, usual_priority
from actors.settings.base import Settings, plain_or
from actors.settings.distributions import Distribution
from actors.settings.hints import nearest
from actors.settings.quantities import (
    Duration,
    PositiveDuration,
    PositiveWholeNumber,
    Share,
    Wanted,
    wanted,
    whole_number,
)
from simulation.scenario.arrivals import Arrivals
from simulation.scenario.operations import Class
from simulation.scenario.popularity import Spread, Users, UserSpread


def _entry_name(value: Any, _unit_required: bool) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(_NAME, value) else None


_NAME = "[A-Za-z0-9_-]{1,60}"

EntryName = Annotated[
    str,
    Wanted(
        "a name of letters, digits, _ and -, such as password-reset",
        _entry_name,
        {"type": "string", "pattern": f"^{_NAME}$"},
    ),
]
"""What an entry of the workload is called: it stands in the paths of metrics."""

EventName: TypeAlias = Literal["UserRegistered", "OrderPlaced", "OrderShipped", "PaymentReceived"]

CHANNELS_OF_EVENT: dict[str, tuple[NotificationChannel, ...]] = {
    "UserRegistered": (NotificationChannel.EMAIL,),
    "OrderPlaced": (NotificationChannel.EMAIL, NotificationChannel.SMS),
    "OrderShipped": (NotificationChannel.EMAIL,),
    "PaymentReceived": (NotificationChannel.EMAIL,),
}
"""The channels on which a domain event ends up as notifications."""

HOST_OF_EVENTS = "example.com"
"""The host of the email addresses in domain events."""


def host_name(number: int) -> str:
    """Return the name of one of the hosts that recipients are spread over; the first is number 0."""
    return f"host-{number}.example"


def user_name(number: int, zone: str | None) -> str:
    """Return the id of one of the users that notifications are spread over; the first is number 0."""
    return f"user-{number}" if zone is None else f"{zone}{_USER}{number}"


def zone_of_user(user: str) -> str | None:
    """Return the time zone in an id that :func:`user_name` gave, or in one that begins so; None: there is none."""
    zone, has_zone, _ = user.partition(_USER)
    return zone if has_zone else None


_USER = "-user-"


def tenant_name(number: int) -> str:
    """Return the name of one of the tenants that notifications are spread over; the first is number 0."""
    return f"tenant-{number}"


CLIENTS_MAX = 100_000
"""Each takes 4 kB of memory and a random stream of its own."""

NORMAL, CRITICAL = Priority.NORMAL.value, Priority.CRITICAL.value

Age: TypeAlias = Annotated[PositiveDuration | Distribution, plain_or(PositiveDuration, Distribution)]
"""How old a notification may become, or how that is distributed."""


class ResendConfig(Settings):
    """What the sender of an arrival that is refused does: it offers it once more after a while."""

    wanted_text: ClassVar[str] = "a wait and how often, such as {after: 30s, at_most: 5}"

    after: PositiveDuration
    """How long it waits each time."""

    at_most: PositiveWholeNumber
    """How often an arrival is offered again; refused once more it is lost. A run goes on for it until the end of its
    `drain`; an arrival that waits then counts as refused."""


_CALLS = re.compile(r"[\w.]+:[\w.]+|[A-Z]+ http://(?:localhost|127\.0\.0\.1)(?::\d{1,5})?(?:/\S*)?")

Calls: TypeAlias = Annotated[
    str,
    Wanted(
        "a function such as shop.app:order, or a request such as POST http://localhost:8080/orders",
        lambda value, _: value if isinstance(value, str) and _CALLS.fullmatch(value) else None,
        {"type": "string", "pattern": f"^({_CALLS.pattern})$"},
    ),
]


class EventWorkload(Settings):
    """Domain events, which go the whole way: bus, subscribers, notifications."""

    name: EntryName | None = None
    """What the summary calls it. None: as its channel or event, numbered where several would be called so."""

    event: EventName
    """Which domain event arrives."""

    arrivals: Arrivals
    """When they arrive."""

    at: Duration = 0.0
    """When its window starts, from the start of the run: they arrive as if the run began then."""

    for_: PositiveDuration | None = Field(None, alias="for")
    """How long its window lasts: it is [at, at + for), and cut at `duration`. A ramp goes over all of it. None: to
    `duration`; a trace to its end."""

    users: Users | None = None
    """How many users the events have, at random, evenly or by Zipf's law. None: each event has its own."""

    resend: ResendConfig | None = None
    """What the sender does with an arrival that is refused. None: the arrival is lost."""

    @property
    def channels(self) -> tuple[NotificationChannel, ...]:
        """The channels that it uses."""
        return CHANNELS_OF_EVENT[self.event]

    @property
    def called(self) -> str:
        """What it is called without a name."""
        return self.event


class ChannelWorkload(Settings):
    """Notifications, sent directly to one channel."""

    name: EntryName | None = None
    """What the summary calls it. None: as its channel or event, numbered where several would be called so."""

    channel: NotificationChannel
    """The channel that they are sent on."""

    arrivals: Arrivals
    """When they arrive."""

    at: Duration = 0.0
    """When its window starts, from the start of the run: they arrive as if the run began then."""

    for_: PositiveDuration | None = Field(None, alias="for")
    """How long its window lasts: it is [at, at + for), and cut at `duration`. A ramp goes over all of it. None: to
    `duration`; a trace to its end."""

    users: Users | None = None
    """How many users get the notifications, at random, evenly or by Zipf's law. None: each notification has its own."""

    hosts: Spread | None = None
    """How many hosts the users' addresses have in turn: of 20, user 27 has `user-27@host-7.example`; by Zipf's law,
    hosts differ in their share of the users. None: addresses have no host."""

    tenants: Spread | None = None
    """How many tenants send to the users in turn: of 20, user 27 has `metadata.tenant: tenant-7`; by Zipf's law,
    tenants differ in their share of the users. None: there is no tenant."""

    expires_after: Age | None = None
    """A notification older than this is dead-lettered as expired. From a distribution each notification draws its own
    time. A redrive begins the count anew. None: never."""

    not_before: Age | None = None
    """Each is scheduled for so long after it arrives, and waits until then; expiry and delivery time count from there.
    From a distribution each notification draws its own time. None: it goes at once."""

    critical: StrictBool = False
    """Bypasses preferences and quiet hours; and means `priority: critical` where none is given."""

    priority: Class | None = None
    """Who goes first where notifications wait for their turn; bypasses nothing. None: `normal`, or `critical` by the
    flag."""

    resend: ResendConfig | None = None
    """What the sender does with an arrival that is refused. None: the arrival is lost."""

    repeats: Share = 0.0
    """So many of the arrivals are no new notification, but one of the latest hundred once more with the same id, as of
    a sender that got no answer and does not know that it was accepted."""

    calls: Calls | None = None
    """What each arrival calls in a service under test: a function `module:name`, which is code and so imported only
    with `--code`, or a request to a port of its own such as `POST http://localhost:8080/orders`. None: the service's
    main function, if that takes an argument. A simulation of the pipeline does not look at it."""

    @property
    def channels(self) -> tuple[NotificationChannel, ...]:
        """The channels that it uses."""
        return (self.channel,)

    @property
    def called(self) -> str:
        """What it is called without a name."""
        return self.channel.value


class ClosedWorkload(Settings):
    """Clients that each wait for the end of their notification, think, and send the next one."""

    name: EntryName | None = None
    """What the summary calls it. None: as its channel or event, numbered where several would be called so."""

    channel: NotificationChannel
    """The channel that they are sent on."""

    clients: Annotated[int, whole_number(1, CLIENTS_MAX)]
    """How many clients there are, at most 100,000."""

    think: Distribution
    """How long a client waits before the next one."""

    at: Duration = 0.0
    """When the clients come, from the start of the run; each thinks first."""

    for_: PositiveDuration | None = Field(None, alias="for")
    """How long they send: in [at, at + for), and not from `duration` on. None: to `duration`."""

    users: Users | None = None
    """How many users get the notifications, at random, evenly or by Zipf's law. None: each notification has its own."""

    hosts: Spread | None = None
    """How many hosts the users' addresses have in turn: of 20, user 27 has `user-27@host-7.example`; by Zipf's law,
    hosts differ in their share of the users. None: addresses have no host."""

    tenants: Spread | None = None
    """How many tenants send to the users in turn: of 20, user 27 has `metadata.tenant: tenant-7`; by Zipf's law,
    tenants differ in their share of the users. None: there is no tenant."""

    expires_after: Age | None = None
    """A notification older than this is dead-lettered as expired. From a distribution each notification draws its own
    time. A redrive begins the count anew. None: never."""

    critical: StrictBool = False
    """Bypasses preferences and quiet hours; and means `priority: critical` where none is given."""

    priority: Class | None = None
    """Who goes first where notifications wait for their turn; bypasses nothing. None: `normal`, or `critical` by the
    flag."""

    calls: Calls | None = None
    """What each notification calls in a service under test, as in entries that are not closed."""

    @property
    def channels(self) -> tuple[NotificationChannel, ...]:
        """The channels that it uses."""
        return (self.channel,)

    @property
    def called(self) -> str:
        """What it is called without a name."""
        return self.channel.value


_ENTRY = "an entry such as {event: OrderPlaced, arrivals: {poisson: 20/s}}"
_ENTRY_BY_KEY: dict[str, type[EventWorkload] | type[ChannelWorkload] | type[ClosedWorkload]] = {
    "clients": ClosedWorkload,
    "think": ClosedWorkload,
    "event": EventWorkload,
    "channel": ChannelWorkload,
}


def by_its_keys(value: Any, _handler: Any, info: ValidationInfo) -> Any:
    """Validate an entry as the one kind that its keys show, so that problems are those of that kind alone."""
    if isinstance(value, (EventWorkload, ChannelWorkload, ClosedWorkload)):
        return value
    if not isinstance(value, dict):
        raise wanted(_ENTRY)
    if "event" in value and "channel" in value:
        raise wanted("either event or channel", "both")
    found = next((kind for key, kind in _ENTRY_BY_KEY.items() if key in value), None)
    if found is None:
        meant = {nearest(str(key), _ENTRY_BY_KEY) for key in value}
        found = next((kind for key, kind in _ENTRY_BY_KEY.items() if key in meant), None)
    if found is None:
        raise wanted("an entry with event or channel", "neither")
    return found.model_validate(value, context=info.context)


WorkloadEntry: TypeAlias = EventWorkload | ChannelWorkload | ClosedWorkload


def zone_of(entry: WorkloadEntry) -> str | None:
    """Return the time zone that the users of an entry are in; None where it says none."""
    return entry.users.zone if isinstance(entry.users, UserSpread) else None


def class_of(entry: WorkloadEntry) -> str:
    """Return the class of traffic that an entry's notifications are of."""
    if isinstance(entry, EventWorkload):
        return NORMAL  # its subscribers' own
    return entry.priority or usual_priority(entry.critical).value
