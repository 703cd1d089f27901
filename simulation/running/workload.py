"""The workload: actors that send the arrivals of a scenario at their instants.

An open workload does not depend on the outcome. In a closed one each client waits for the end of its notification, so a
slow service is asked less often, and never more notifications are in flight than there are clients.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any, assert_never

import msgspec
from msgspec.structs import force_setattr, replace
from pykka import ActorDeadError

from actors.errors import ConfigurationError
from actors.instants import ns, seconds, utc
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.turns import OTHER, takes_turn
from actors.messages import (
    NotificationChannel,
    NotificationMovedToDeadLetter,
    NotificationSent,
    NotificationSuppressed,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    Priority,
    SendNotification,
    UserRegistered,
)
from actors.settings.distributions import Distribution
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.identity import has_recipients, host_of_user, id_prefix, is_call, tenant_of_user
from simulation.scenario.workload import HOST_OF_EVENTS, UserSpread, class_of, user_name

TEXT = "simulated"
USERS_KEPT = 4096
REPEATED = 100
"""A repeated arrival is one of so many latest notifications."""
ENDS = (NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)
"""The events with which a notification ends."""


class Forgotten(msgspec.Struct, frozen=True, gc=False):
    """The process has crashed, and knows of no other notifications that are under way than of these."""

    known: frozenset[str]


Refuse = Callable[[str], None]
"""Called when a message is not accepted, with the reason: ``down``, ``overloaded`` or ``unhandled``."""

Lose = Callable[[Any, str], None]
"""Called with an arrival that is refused for good, and the reason."""

Send = Callable[[Any, Refuse], None]
"""Sends a message, with a function that is called if it is not accepted."""


ROUNDS_AT_ONCE = 1000
"""With more notifications of each client at one instant than this, time will never go on."""


class _TurnedAway(msgspec.Struct, frozen=True, gc=False):
    message: Any
    why: str
    resent: int = 0
    """How often it has been sent again."""


class _SendAgain(msgspec.Struct, frozen=True, gc=False):
    """Offer the refused arrival again that has waited the longest."""


class RunEnds(msgspec.Struct, frozen=True, gc=False):
    """The run is about to end: refused arrivals are not sent again."""


class _Arrive(msgspec.Struct, frozen=True, gc=False):
    """The next one arrives now."""


_ARRIVE, _SEND_AGAIN = _Arrive(), _SendAgain()


class _Next(msgspec.Struct, frozen=True, gc=False):
    """This client has finished thinking, and sends its next notification."""

    client: int


class Source(Actor):
    supervision = Supervision(max_restarts=0, then="escalate")

    def __init__(
        self,
        number: int,
        scenario: Scenario,
        entry: ChannelWorkload | EventWorkload,
        send: Callable[[Any], None] | None,
        offer: Send,
        lose: Lose,
    ) -> None:
        """Send the arrivals of an entry: by `send`, the shortest way, where no arrival is ever refused, else by
        `offer`.

        `lose` is called with each arrival that is refused for good."""
        super().__init__()
        self._offer_to = offer
        self._lose = lose
        self._resend = entry.resend
        self._to_send_again: deque[_TurnedAway] = deque()
        """Refused arrivals that wait to be offered again."""
        self._run_ends = False
        self._offered: set[str] | None = set() if isinstance(entry, ChannelWorkload) and entry.repeats else None
        """The ids that have come, where some come once more: a refused repeat loses nothing."""
        self._send = send or (self._offer_once if self._offered is None else self._offer)
        self._make = _maker(number, scenario, entry, self)
        self._times = scenario.arrival_times_ns(entry, self.stream(f"workload.{number}.arrivals"))
        self._arrived = 0

    def on_start(self) -> None:
        first_ns = next(self._times, None)
        if first_ns is not None:
            self.at(first_ns, _ARRIVE)

    @handles(_Arrive)
    @takes_turn(OTHER)
    def on_arrive(self, _: _Arrive) -> None:
        self._send(self._make(self._arrived))
        self._arrived += 1
        next_ns = next(self._times, None)
        if next_ns is not None:
            self.system.set_timer(next_ns, self, _ARRIVE)

    def _offer(self, message: Any) -> None:
        assert self._offered is not None
        if message.notification_id in self._offered:
            self._offer_to(message, _ignore)
        else:
            self._offered.add(message.notification_id)
            self._offer_once(message)

    def _offer_once(self, message: Any, resent: int = 0) -> None:
        def refuse(why: str) -> None:
            with suppress(ActorDeadError):  # as the run is being ended
                self.actor_ref.tell(_TurnedAway(message, why, resent))

        self._offer_to(message, refuse)

    @handles(_TurnedAway)
    def on_turned_away(self, turned_away: _TurnedAway) -> None:
        if self._resend is None or turned_away.resent == self._resend.at_most or self._run_ends:
            self._lose(turned_away.message, turned_away.why)
            return
        self._to_send_again.append(turned_away)
        self.after(self._resend.after, _SEND_AGAIN)

    @handles(_SendAgain)
    @takes_turn(OTHER)
    def on_send_again(self, _: _SendAgain) -> None:
        if not self._run_ends:
            again = self._to_send_again.popleft()  # each waits for as long as the others
            self._offer_once(again.message, again.resent + 1)

    @property
    def sends_again(self) -> bool:
        return bool(self._to_send_again)

    @handles(RunEnds)
    def on_run_ends(self, _: RunEnds) -> None:
        self._run_ends = True
        while self._to_send_again:
            turned_away = self._to_send_again.popleft()
            self._lose(turned_away.message, turned_away.why)


class Clients(Actor):
    """The clients of a closed entry of the workload, each of which sends, waits for the end, and thinks.

    The actor receives every event with which a notification ends; it ignores those of other entries, and the second end
    that a redrive gives a notification. Each client thinks once before its first notification too, and with draws of
    its own, so that the k-th time it thinks takes as long whatever the others do.
    """

    supervision = Supervision(max_restarts=0, then="escalate")

    def __init__(
        self,
        number: int,
        scenario: Scenario,
        entry: ClosedWorkload,
        send: Callable[[Any], None] | None,
        offer: Send,
        lose: Lose,
    ) -> None:
        super().__init__()
        self._path = f"workload.{number}.think"
        self._send = send if send is not None else self._offer
        self._offer_to = offer
        self._lose = lose
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
    @takes_turn(OTHER)
    def on_next(self, message: _Next) -> None:
        self._look_out_for_standstill()
        notification = self._make(self._count)
        self._count += 1
        self._waiting[notification.notification_id] = message.client
        self._send(notification)

    def _offer(self, notification: SendNotification) -> None:
        def refuse(why: str) -> None:
            self.actor_ref.tell(_TurnedAway(notification, why))

        self._offer_to(notification, refuse)

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

    @handles(_TurnedAway)
    def on_turned_away(self, turned_away: _TurnedAway) -> None:
        self._lose(turned_away.message, turned_away.why)
        self._let_go_on(turned_away.message.notification_id)

    def _let_go_on(self, notification_id: str) -> None:
        client = self._waiting.pop(notification_id, None)
        if client is not None:
            self._let_think(client, self.system.now_ns)

    @handles(*ENDS)
    def on_end(self, event: NotificationSent | NotificationSuppressed | NotificationMovedToDeadLetter) -> None:
        self._let_go_on(event.notification_id)


def _ignore(_why: str) -> None:
    """Leave it at that."""


def _maker(
    number: int, scenario: Scenario, entry: ChannelWorkload | EventWorkload | ClosedWorkload, source: Actor
) -> Callable[[int], Any]:
    user_of = _user_chooser(number, entry.users, source)
    match entry:
        case ChannelWorkload() | ClosedWorkload():
            channel, critical = entry.channel, entry.critical
            priority = Priority(class_of(entry))
            prefix = id_prefix(number, channel)
            further = _further_fields(number, scenario, entry, source)
            has_recipient = has_recipients(entry, scenario)
            alike = SendNotification(
                notification_id=prefix,
                channel=channel,
                recipient=prefix if has_recipient else "",
                message=TEXT,
                critical=critical,
                priority=priority,
            )
            copy: Callable[[], SendNotification] = alike.__copy__  # type: ignore[attr-defined]

            def notification(k: int) -> SendNotification:
                user = user_of(k)
                if further:
                    recipient = user if has_recipient else ""
                    fields = {"recipient": recipient, **{name: of(user) for name, of in further.items()}}
                    return replace(alike, notification_id=f"{prefix}{k}", **fields)
                made = copy()  # as `alike` has been checked; to check each command takes 2% of a run
                force_setattr(made, "notification_id", f"{prefix}{k}")
                if has_recipient:
                    force_setattr(made, "recipient", user)
                return made

            if isinstance(entry, ChannelWorkload) and entry.repeats:
                return _repeating(notification, entry.repeats, source.stream(f"workload.{number}.repeats"))
            return notification
        case EventWorkload():
            make = _EVENTS[entry.event]
            return lambda k: make(f"{number}-{k}", user_of(k), utc(source.epoch_ns + source.now_ns))
        case _:
            assert_never(entry)


def _further_fields(
    number: int, scenario: Scenario, entry: ChannelWorkload | ClosedWorkload, source: Actor
) -> dict[str, Callable[[str], Any]]:
    """Return the fields of a command that only some entries set, each with a function that makes it for a user."""
    further: dict[str, Callable[[str], Any]] = {}
    if (host_of := host_of_user(entry)) is not None:
        further["recipient"] = lambda user: f"{user}@{host_of(user)}"
        further["user_id"] = lambda user: user
    if (tenant_of := tenant_of_user(entry)) is not None:
        further["metadata"] = lambda user: {"tenant": tenant_of(user)}
    if entry.expires_after is not None:
        age_of = _age_chooser(f"workload.{number}.ages", entry.expires_after, source)
        further["expires_after"] = lambda _: age_of()
    others = [other for other in _fallbacks_of(entry.channel, scenario) if not is_call(scenario, other)]
    if others:
        further["addresses"] = lambda user: {other: f"{other} of {user}" for other in others}
    if isinstance(entry, ChannelWorkload) and entry.not_before is not None:
        wait_of = _age_chooser(f"workload.{number}.not_before", entry.not_before, source)
        further["not_before"] = lambda _: utc(source.epoch_ns + source.now_ns + ns(wait_of()))
    return further


def _repeating(
    make: Callable[[int], SendNotification], share: float, random: Random
) -> Callable[[int], SendNotification]:
    latest: deque[SendNotification] = deque(maxlen=REPEATED)

    def make_or_repeat(k: int) -> SendNotification:
        if latest and random.random() < share:
            return random.choice(latest)
        latest.append(make(k))
        return latest[-1]

    return make_or_repeat


def _fallbacks_of(channel: NotificationChannel, scenario: Scenario) -> list[NotificationChannel]:
    others: list[NotificationChannel] = []
    while (fallback := scenario.channel_config(channel).fallback) is not None:
        channel = fallback.channel
        others.append(channel)
    return others


def _user_chooser(number: int, users: int | UserSpread | None, source: Actor) -> Callable[[int], str]:
    if users is None:
        return lambda k: f"user-{number}-{k}"
    draw = source.stream(f"workload.{number}.users").random
    if isinstance(users, UserSpread):
        at, named = users.at, _Users(users.zone)
        return lambda _: named[at(draw())]
    named = _Users(None)
    return lambda _: named[int(draw() * users)]


class _Users(dict[int, str]):
    """The users by number: one text for all that are in flight to a user, where these are not many thousands."""

    def __init__(self, zone: str | None) -> None:
        self._zone = zone

    def __missing__(self, number: int) -> str:
        user = user_name(number, self._zone)
        if len(self) < USERS_KEPT:
            self[number] = user
        return user


def _age_chooser(stream: str, age: float | Distribution, source: Actor) -> Callable[[], float]:
    """Return a function that draws an age of the next notification, in seconds, from a stream: for its expiry, or for
    the time at which it is to be sent."""
    if isinstance(age, Distribution):
        return age.sampler(source.stream(stream))
    return lambda: age


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
