"""The workload: actors that send what a scenario says arrives, at the instants at which it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, assert_never

import msgspec

from actors.actor import Actor, Supervision, handles
from actors.instants import utc
from actors.messages import (
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    SendNotification,
    UserRegistered,
)
from simulation.arrivals import arrival_times_ns
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario

TEXT = "simulated"


class _Arrive(msgspec.Struct, frozen=True, gc=False):
    """The next one arrives now."""


_ARRIVE = _Arrive()


class Source(Actor):
    """One entry of the workload."""

    supervision = Supervision(max_restarts=0, then="escalate")

    def __init__(self, number: int, scenario: Scenario, send: Callable[[Any], None]) -> None:
        super().__init__()
        entry = scenario.workload[number]
        assert not isinstance(entry, ClosedWorkload), "the loader lets none through"
        self._send = send
        self._make = _maker(number, entry, self)
        self._times: Iterator[int] = arrival_times_ns(
            entry.arrivals,
            self.stream(f"workload.{number}.arrivals"),
            scenario.arrivals_end_of(entry),
            time_of_day_ns=scenario.time_of_day_ns,
        )
        self._arrived = 0

    def on_start(self) -> None:
        first_ns = next(self._times, None)
        if first_ns is not None:
            self.at(first_ns, _ARRIVE)

    @handles(_Arrive)
    def on_arrive(self, _: _Arrive) -> None:
        self._send(self._make(self._arrived))
        self._arrived += 1
        next_ns = next(self._times, None)
        if next_ns is not None:
            self.system.set_timer(next_ns, self, _ARRIVE)


def _maker(number: int, entry: ChannelWorkload | EventWorkload, source: Source) -> Callable[[int], Any]:
    """Return what makes the k-th message of an entry."""
    user_of = _user_chooser(number, entry.users, source)
    match entry:
        case ChannelWorkload():
            channel, critical, expires_after = entry.channel, entry.critical, entry.expires_after
            prefix = f"{channel}-{number}-"

            def notification(k: int) -> SendNotification:
                user = user_of(k)
                return SendNotification(
                    notification_id=f"{prefix}{k}",
                    channel=channel,
                    recipient=user,
                    message=TEXT,
                    critical=critical,
                    expires_after=expires_after,
                )

            return notification
        case EventWorkload():
            make = _EVENTS[entry.event]
            return lambda k: make(f"{number}-{k}", user_of(k), utc(source.epoch_ns + source.now_ns))
        case _:
            assert_never(entry)


def _user_chooser(number: int, users: int | None, source: Source) -> Callable[[int], str]:
    if users is None:
        return lambda k: f"user-{number}-{k}"
    draw = source.stream(f"workload.{number}.users").random
    return lambda _: f"user-{int(draw() * users)}"


def _user_registered(key: str, user: str, at: datetime) -> UserRegistered:
    # Registered once: the id of the welcome email is the user's.
    return UserRegistered(user_id=f"{user}/{key}", email=f"{user}@example.com", name=user, registered_at=at)


def _order_placed(key: str, user: str, at: datetime) -> OrderPlaced:
    return OrderPlaced(
        order_id=key,
        user_id=user,
        customer_email=f"{user}@example.com",
        customer_phone=f"phone of {user}",
        total_amount=_AMOUNT,
        placed_at=at,
    )


def _order_shipped(key: str, user: str, at: datetime) -> OrderShipped:
    return OrderShipped(
        order_id=key,
        user_id=user,
        customer_email=f"{user}@example.com",
        carrier="carrier",
        tracking_number=key,
        shipped_at=at,
    )


def _payment_received(key: str, user: str, at: datetime) -> PaymentReceived:
    return PaymentReceived(
        payment_id=key,
        order_id=key,
        user_id=user,
        customer_email=f"{user}@example.com",
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
