"""The entries of a workload: the arrivals, their channels, their users, and their classes of traffic."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, StrictBool, ValidationInfo, model_validator

from actors.messages import NotificationChannel, Priority, usual_priority
from actors.settings.base import Settings, at_key, plain_or
from actors.settings.distributions import Distribution
from actors.settings.hints import nearest
from actors.settings.quantities import (
    Duration,
    PositiveDuration,
    PositiveWholeNumber,
    Share,
    Wanted,
    ZoneName,
    matching,
    number,
    wanted,
    whole_number,
)
from simulation.scenario.arrivals import Arrivals
from simulation.scenario.operations import Class

# ── who gets more than others ─────────────────────────────────────────────────────────────────────────────────────────


COUNT_MAX = 1_000_000
"""The most that are spread by Zipf's law: eight bytes of memory for each."""


class ZipfSpread(Settings):
    """Some come more often than others, by Zipf's law: the k-th as often as 1/k^zipf says, number 0 the most often."""

    wanted_text: ClassVar[str] = "a whole number of at least 1, or a mapping such as {count: 10000, zipf: 1.1}"

    count: Annotated[int, whole_number(1, COUNT_MAX)]
    """How many users, hosts or tenants there are, at most a million."""

    zipf: Annotated[float, number(0)]
    """The exponent. 0: all alike. 1: the first comes twice as often as the second, ten times as often as the tenth."""

    def at(self, share: float) -> int:
        """Return the number below which a share of all arrivals falls.

        Args:
            share: at least 0 and less than 1; drawn uniformly at random, it gives each number as often as it comes.
        """
        bounds = _bounds(self.count, self.zipf)
        return min(bisect_right(bounds, share * bounds[-1]), self.count - 1)


class UserSpread(ZipfSpread):
    """The users of an entry, some of whom get more than others, or who are all in one time zone. Users of one zone are
    not those of another: `Asia/Tokyo-user-7` is not `user-7`."""

    zipf: Annotated[float, number(0)] = 0.0
    """The exponent. 0: all alike. 1: the first gets twice as many as the second, ten times as many as the tenth."""

    zone: ZoneName | None = None
    """The users' time zone, which `quiet_hours` without a zone of their own use. None: UTC."""

    @model_validator(mode="after")
    def _more_than_a_number(self) -> Self:
        if self.model_fields_set == {"count"}:
            raise at_key("zipf", wanted("a number of at least 0", "nothing"), self.zipf)
        return self


@lru_cache(maxsize=8)
def _bounds(count: int, exponent: float) -> array[float]:
    return array("d", accumulate(float(rank) ** -exponent for rank in range(1, count + 1)))


Spread: TypeAlias = Annotated[PositiveWholeNumber | ZipfSpread, plain_or(PositiveWholeNumber, ZipfSpread)]
"""A number of users, hosts or tenants that are equally frequent; or a Zipf distribution over them."""

Users: TypeAlias = Annotated[PositiveWholeNumber | UserSpread, plain_or(PositiveWholeNumber, UserSpread)]
"""A number of users or a distribution over them; a distribution may put all of them in one time zone."""


def count_of(spread: int | ZipfSpread) -> int:
    return spread.count if isinstance(spread, ZipfSpread) else spread


def share_of_the_first(spread: int | ZipfSpread, many: int = 1) -> float:
    """Return the share of arrivals that the most frequent users, hosts or tenants have, `many` of them together."""
    if not isinstance(spread, ZipfSpread):
        return min(1.0, many / spread)
    bounds = _bounds(spread.count, spread.zipf)
    return bounds[min(many, spread.count) - 1] / bounds[-1] if many else 0.0


_GOLDEN = 0x9E37_79B9_7F4A_7C15
"""The golden section of 2^64: its multiples fill the circle more evenly than any other's (Knuth, volume 3, 6.4)."""


def host_of(user: int, hosts: int | ZipfSpread) -> int:
    """Return at which host a user is, by number: always the same, and each host has its share of any many users."""
    if isinstance(hosts, ZipfSpread):
        return hosts.at((user * _GOLDEN % 2**64) / 2**64)
    return user % hosts


_NAME = "[A-Za-z0-9_-]{1,60}"

EntryName = Annotated[
    str,
    matching("a name of letters, digits, _ and -, such as password-reset", _NAME),
]
"""The name of an entry of the workload, as it stands in the paths of metrics."""

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
    """How the sender offers a refused arrival again: after a wait, and a limited number of times."""

    wanted_text: ClassVar[str] = "a wait and how often, such as {after: 30s, at_most: 5}"

    after: PositiveDuration
    """How long the sender waits each time."""

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
    """The name of the entry in the summary. None: the name of its channel or event, numbered if several share it."""

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
    """How the sender offers a refused arrival again. None: the arrival is lost."""

    @property
    def channels(self) -> tuple[NotificationChannel, ...]:
        """The channels that it uses."""
        return CHANNELS_OF_EVENT[self.event]

    @property
    def called(self) -> str:
        return self.event


class ChannelWorkload(Settings):
    """Notifications, sent directly to one channel."""

    name: EntryName | None = None
    """The name of the entry in the summary. None: the name of its channel or event, numbered if several share it."""

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
    """The class that decides the order of waiting notifications; it bypasses nothing. None: `normal`, or `critical` by
    the flag."""

    resend: ResendConfig | None = None
    """How the sender offers a refused arrival again. None: the arrival is lost."""

    repeats: Share = 0.0
    """The share of arrivals that repeat the id of one of the latest hundred, as a sender does that got no answer and
    does not know that the notification was accepted."""

    calls: Calls | None = None
    """The code or request by which an arrival enters a service under test: a function `module:name`, imported only with
    `--code`, or a request to a port of its own such as `POST http://localhost:8080/orders`. None: the service's main
    function, if that takes an argument. A simulation of the pipeline ignores it."""

    @property
    def channels(self) -> tuple[NotificationChannel, ...]:
        """The channels that it uses."""
        return (self.channel,)

    @property
    def called(self) -> str:
        return self.channel.value


class ClosedWorkload(Settings):
    """Clients that each wait for the end of their notification, think, and send the next one."""

    name: EntryName | None = None
    """The name of the entry in the summary. None: the name of its channel or event, numbered if several share it."""

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
    """The class that decides the order of waiting notifications; it bypasses nothing. None: `normal`, or `critical` by
    the flag."""

    calls: Calls | None = None
    """The code or request by which a notification enters a service under test, as in entries that are not closed."""

    @property
    def channels(self) -> tuple[NotificationChannel, ...]:
        """The channels that it uses."""
        return (self.channel,)

    @property
    def called(self) -> str:
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
    if isinstance(entry, EventWorkload):
        return NORMAL  # its subscribers' own
    return entry.priority or usual_priority(entry.critical).value
