"""The workload: actors that send what a scenario says arrives, at the instants at which it arrives.

An open one does not depend on the outcome. In a closed one each client waits for the end of its notification, so a
slow service is asked less often, and what is under way is never more than there are clients.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any, assert_never

import msgspec

from actors.errors import ConfigurationError, NotifierClosed, Overloaded
from actors.instants import ns, seconds, utc
from actors.kernel.actor import Actor, Supervision, handles
from actors.messages import (
    NO_METADATA,
    NotificationChannel,
    NotificationMovedToDeadLetter,
    NotificationSent,
    NotificationSuppressed,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    SendNotification,
    UserRegistered,
)
from actors.settings.distributions import Distribution
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.identity import id_prefix
from simulation.scenario.model import HOST_OF_EVENTS, host_name
from simulation.scenario.popularity import ZipfSpread, host_of

TEXT = "simulated"
REPEATED = 100
"""What comes once more is one of so many, the latest."""
ENDS = (NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)
"""The events with which a notification ends."""


class Forgotten(msgspec.Struct, frozen=True, gc=False):
    """The process has crashed, and knows of no other notifications that are under way than of these."""

    known: frozenset[str]


class TurnedAway(msgspec.Struct, frozen=True, gc=False):
    """This notification was not accepted, for lack of room."""

    notification_id: str


ROUNDS_AT_ONCE = 1000
"""More than so many notifications of each client at one instant, and time will never go on."""


class _Arrive(msgspec.Struct, frozen=True, gc=False):
    """The next one arrives now."""


_ARRIVE = _Arrive()


class _Next(msgspec.Struct, frozen=True, gc=False):
    """This client has thought enough, and sends its next one."""

    client: int


class Source(Actor):
    """One open entry of the workload."""

    supervision = Supervision(max_restarts=0, then="escalate")

    def __init__(
        self, number: int, scenario: Scenario, entry: ChannelWorkload | EventWorkload, send: Callable[[Any], None]
    ) -> None:
        super().__init__()
        self._send = send
        self._make = _maker(number, scenario, entry, self)
        self._times = scenario.arrival_times_ns(entry, self.stream(f"workload.{number}.arrivals"))
        self._arrived = 0

    def on_start(self) -> None:
        first_ns = next(self._times, None)
        if first_ns is not None:
            self.at(first_ns, _ARRIVE)

    @handles(_Arrive)
    def on_arrive(self, _: _Arrive) -> None:
        try:  # noqa: SIM105  # suppress() costs something for each arrival
            self._send(self._make(self._arrived))
        except (NotifierClosed, Overloaded):
            pass  # refused, which is counted where it is
        self._arrived += 1
        next_ns = next(self._times, None)
        if next_ns is not None:
            self.system.set_timer(next_ns, self, _ARRIVE)


class Clients(Actor):
    """One closed entry of the workload: so many clients, each of which sends, waits for the end, and thinks.

    It receives every event with which a notification ends, of whichever channel; those that are none of its own, or
    that a redrive gives a second end, are nothing to it. Each client thinks once before its first notification too, and
    with draws of its own, so that the k-th time it thinks takes as long whatever the others do.
    """

    supervision = Supervision(max_restarts=0, then="escalate")

    def __init__(self, number: int, scenario: Scenario, entry: ClosedWorkload, send: Callable[[Any], None]) -> None:
        super().__init__()
        self._path = f"workload.{number}.think"
        self._send = send
        self._make = _maker(number, scenario, entry, self)
        self._think = [
            entry.think.sampler(self.stream(f"workload.{number}.client.{client}.think"))
            for client in range(entry.clients)
        ]
        self._come_ns, self._until_ns = ns(entry.at), scenario.arrivals_end_of(entry)
        self._waiting: dict[str, int] = {}
        """Which client waits for the end of which notification."""
        self._count = 0
        self._instant_ns = -1
        self._count_before_instant = 0

    def on_start(self) -> None:
        for client in range(len(self._think)):
            self._let_think(client, self._come_ns)

    def _let_think(self, client: int, from_ns: int) -> None:
        next_ns = from_ns + ns(self._think[client]())
        if next_ns < self._until_ns:
            self.system.set_timer(next_ns, self, _Next(client))

    @handles(_Next)
    def on_next(self, message: _Next) -> None:
        self._look_out_for_standstill()
        notification = self._make(self._count)
        self._count += 1
        self._waiting[notification.notification_id] = message.client
        try:
            self._send(notification)
        except NotifierClosed:
            self._let_go_on(notification.notification_id)

    def _look_out_for_standstill(self) -> None:
        now_ns = self.system.now_ns
        if now_ns != self._instant_ns:
            self._instant_ns = now_ns
            self._count_before_instant = self._count
        elif self._count - self._count_before_instant >= ROUNDS_AT_ONCE * len(self._think):
            raise ConfigurationError(
                [
                    f"{self._path}: wanted clients that think for some time, or a provider that takes some: at "
                    f"{seconds(now_ns):g} s {self._count - self._count_before_instant:,} notifications have been sent "
                    "and have ended, and time does not go on"
                ]
            )

    @handles(Forgotten)
    def on_forgotten(self, message: Forgotten) -> None:
        for notification_id in [each for each in self._waiting if each not in message.known]:
            self._let_go_on(notification_id)

    @handles(TurnedAway)
    def on_turned_away(self, message: TurnedAway) -> None:
        self._let_go_on(message.notification_id)

    def _let_go_on(self, notification_id: str) -> None:
        """Have the client that waits for this notification think of its next one."""
        client = self._waiting.pop(notification_id, None)
        if client is not None:
            self._let_think(client, self.system.now_ns)

    @handles(*ENDS)
    def on_end(self, event: NotificationSent | NotificationSuppressed | NotificationMovedToDeadLetter) -> None:
        self._let_go_on(event.notification_id)


def _maker(
    number: int, scenario: Scenario, entry: ChannelWorkload | EventWorkload | ClosedWorkload, source: Actor
) -> Callable[[int], Any]:
    """Return what makes the k-th message of an entry."""
    user_of = _user_chooser(number, entry.users, source)
    match entry:
        case ChannelWorkload() | ClosedWorkload():
            channel, critical, hosts = entry.channel, entry.critical, entry.hosts
            age_of = _age_chooser(number, entry.expires_after, source)
            prefix = id_prefix(number, channel)
            others = _fallbacks_of(channel, scenario)

            def notification(k: int) -> SendNotification:
                user = user_of(k)
                return SendNotification(
                    notification_id=f"{prefix}{k}",
                    channel=channel,
                    recipient=user if hosts is None else _address(user, hosts),
                    user_id=None if hosts is None else user,
                    message=TEXT,
                    critical=critical,
                    expires_after=age_of(),
                    addresses={other: f"{other} of {user}" for other in others} if others else NO_METADATA,
                )

            if isinstance(entry, ChannelWorkload) and entry.repeats:
                return _repeating(notification, entry.repeats, source.stream(f"workload.{number}.repeats"))
            return notification
        case EventWorkload():
            make = _EVENTS[entry.event]
            return lambda k: make(f"{number}-{k}", user_of(k), utc(source.epoch_ns + source.now_ns))
        case _:
            assert_never(entry)


def _repeating(
    make: Callable[[int], SendNotification], share: float, random: Random
) -> Callable[[int], SendNotification]:
    """Return what makes the k-th message where some are made once more."""
    latest: deque[SendNotification] = deque(maxlen=REPEATED)

    def make_or_repeat(k: int) -> SendNotification:
        if latest and random.random() < share:
            return random.choice(latest)
        latest.append(make(k))
        return latest[-1]

    return make_or_repeat


def _fallbacks_of(channel: NotificationChannel, scenario: Scenario) -> list[NotificationChannel]:
    """Return the channels that a notification on this one may fall back to, one after the other."""
    others: list[NotificationChannel] = []
    while (fallback := scenario.channel_config(channel).fallback) is not None:
        channel = fallback.channel
        others.append(channel)
    return others


def _user_chooser(number: int, users: int | ZipfSpread | None, source: Actor) -> Callable[[int], str]:
    if users is None:
        return lambda k: f"user-{number}-{k}"
    draw = source.stream(f"workload.{number}.users").random
    if isinstance(users, ZipfSpread):
        at = users.at
        return lambda _: f"user-{at(draw())}"
    return lambda _: f"user-{int(draw() * users)}"


def _age_chooser(number: int, age: float | Distribution | None, source: Actor) -> Callable[[], float | None]:
    """Return what says how old the next notification may become."""
    if isinstance(age, Distribution):
        return age.sampler(source.stream(f"workload.{number}.ages"))
    return lambda: age


def _address(user: str, hosts: int | ZipfSpread) -> str:
    """Return the address of a user at one of so many hosts, always the same."""
    return f"{user}@{host_name(host_of(int(user.rpartition('-')[2]), hosts))}"


def _user_registered(key: str, user: str, at: datetime) -> UserRegistered:
    # Registered once: the id of the welcome email is the user's.
    return UserRegistered(user_id=f"{user}/{key}", email=f"{user}@{HOST_OF_EVENTS}", name=user, registered_at=at)


def _order_placed(key: str, user: str, at: datetime) -> OrderPlaced:
    return OrderPlaced(
        order_id=key,
        user_id=user,
        customer_email=f"{user}@{HOST_OF_EVENTS}",
        customer_phone=f"phone of {user}",
        total_amount=_AMOUNT,
        placed_at=at,
    )


def _order_shipped(key: str, user: str, at: datetime) -> OrderShipped:
    return OrderShipped(
        order_id=key,
        user_id=user,
        customer_email=f"{user}@{HOST_OF_EVENTS}",
        carrier="carrier",
        tracking_number=key,
        shipped_at=at,
    )


def _payment_received(key: str, user: str, at: datetime) -> PaymentReceived:
    return PaymentReceived(
        payment_id=key,
        order_id=key,
        user_id=user,
        customer_email=f"{user}@{HOST_OF_EVENTS}",
        amount=_AMOUNT,
        received_at=at,
    )


_AMOUNT = Decimal("42.00")
_EVENTS: dict[str, Callable[[str, str, datetime], Any]] = {
    "UserRegistered": _user_registered,
    "OrderPlaced": _order_placed,
    "OrderShipped": _order_shipped,
    "PaymentReceived": _payment_received,
}
