"""Which notifications a domain event leads to: the subscribers of a notifier that is given no others.

The id carries the type of the event, so that a second event on the same order is not taken for a duplicate.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TypeAlias

from actors.messages import (
    DomainEvent,
    NotificationChannel,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    SendNotification,
    UserRegistered,
)
from actors.pipeline.event_bus import EventBus, Subscriber

logger = logging.getLogger(__name__)


def welcome_email(event: UserRegistered) -> SendNotification:
    return SendNotification(
        notification_id=f"email-user-registered-{event.user_id}",
        channel=NotificationChannel.EMAIL,
        recipient=event.email,
        user_id=event.user_id,
        subject="Welcome!",
        message=f"Hello {event.name}, thank you for joining.",
        metadata={"template": "welcome", "name": event.name},
    )


def order_email(event: OrderPlaced) -> SendNotification:
    return SendNotification(
        notification_id=f"email-order-placed-{event.order_id}",
        channel=NotificationChannel.EMAIL,
        recipient=event.customer_email,
        user_id=event.user_id,
        subject=f"Order Confirmation: {event.order_id}",
        message=f"Thank you for your order {event.order_id} over {event.total_amount}.",
        addresses={NotificationChannel.SMS: event.customer_phone},
    )


def order_sms(event: OrderPlaced) -> SendNotification:
    return SendNotification(
        notification_id=f"sms-order-placed-{event.order_id}",
        channel=NotificationChannel.SMS,
        recipient=event.customer_phone,
        user_id=event.user_id,
        message=f"Order {event.order_id} confirmed!",
        addresses={NotificationChannel.EMAIL: event.customer_email},
    )


def shipping_email(event: OrderShipped) -> SendNotification:
    return SendNotification(
        notification_id=f"email-order-shipped-{event.order_id}",
        channel=NotificationChannel.EMAIL,
        recipient=event.customer_email,
        user_id=event.user_id,
        subject=f"Order {event.order_id} is on its way",
        message=f"{event.carrier} brings it; the tracking number is {event.tracking_number}.",
    )


def receipt_email(event: PaymentReceived) -> SendNotification:
    return SendNotification(
        notification_id=f"email-payment-received-{event.payment_id}",
        channel=NotificationChannel.EMAIL,
        recipient=event.customer_email,
        user_id=event.user_id,
        subject=f"Receipt for order {event.order_id}",
        message=f"We received your payment of {event.amount}.",
    )


_LEADS_TO: tuple[tuple[Subscriber, NotificationChannel], ...] = (
    (welcome_email, NotificationChannel.EMAIL),
    (order_email, NotificationChannel.EMAIL),
    (order_sms, NotificationChannel.SMS),
    (shipping_email, NotificationChannel.EMAIL),
    (receipt_email, NotificationChannel.EMAIL),
)
"""The channels of the built-in ones: each is subscribed where its channel is configured."""

BUILT_IN_SUBSCRIBERS: Mapping[type, tuple[Subscriber, ...]] = MappingProxyType(
    {
        UserRegistered: (welcome_email,),
        OrderPlaced: (order_email, order_sms),
        OrderShipped: (shipping_email,),
        PaymentReceived: (receipt_email,),
    }
)
"""By type of event, the subscribers of a notifier that is given no others."""

Subscribers: TypeAlias = Mapping[type, Subscriber | Collection[Subscriber]]
"""By type of event, the function or functions that are called with each event of that type."""


def commands_of(event: DomainEvent) -> list[SendNotification]:
    """Return the commands that the built-in subscribers make of an event, in their order."""
    return [function(event) for function in BUILT_IN_SUBSCRIBERS[type(event)]]


def subscribe_all(bus: EventBus, channels: Collection[NotificationChannel], subscribers: Subscribers) -> None:
    """Subscribe these functions; a built-in one only if its channel is configured.

    Raises:
        WrongType: a key is no class.
    """
    for event_type, functions in subscribers.items():
        for function in _several(functions):
            if _leads_to(function) in (None, *channels):
                bus.subscribe(event_type)(function)


def log_unserved(channels: Collection[NotificationChannel], subscribers: Subscribers) -> None:
    """Log which channels built-in subscribers lead to that are not configured, a line each: nothing is sent there."""
    events: dict[NotificationChannel, list[str]] = {}
    for event_type, functions in subscribers.items():
        for function in _several(functions):
            channel = _leads_to(function)
            if channel is not None and channel not in channels:
                events.setdefault(channel, []).append(event_type.__name__)
    for channel, names in events.items():
        logger.info("no channel %s is configured: %s leads to nothing there", channel, " or ".join(names))


def problems_of_subscribers(subscribers: object) -> list[str]:
    if not isinstance(subscribers, Mapping):
        return [f"subscribers: wanted a mapping such as {{OrderPlaced: function}}, got {subscribers!r:.100}"]
    problems = []
    for event_type, functions in subscribers.items():
        if not isinstance(event_type, type):
            problems.append(f"subscribers: wanted a type of events as each key, got {event_type!r:.100}")
        elif not callable(functions) and not (
            isinstance(functions, Collection) and all(callable(function) for function in functions)
        ):
            problems.append(
                f"subscribers: {event_type.__name__}: wanted a function of an event, or several, got {functions!r:.100}"
            )
    return problems


def _several(functions: Subscriber | Collection[Subscriber]) -> tuple[Subscriber, ...]:
    return (functions,) if callable(functions) else tuple(functions)


def _leads_to(function: Subscriber) -> NotificationChannel | None:
    return next((channel for own, channel in _LEADS_TO if own is function), None)
