"""Which notifications a domain event leads to; the subscribers that every notifier starts with.

The id carries the type of the event, so that a second event on the same order is not taken for a duplicate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any

from actors.messages import (
    NotificationChannel,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    SendNotification,
    UserRegistered,
)
from actors.pipeline.event_bus import EventBus

logger = logging.getLogger(__name__)


def welcome_email(event: UserRegistered) -> SendNotification:
    """Welcome a new user."""
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
    """Confirm an order by email."""
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
    """Confirm an order by SMS."""
    return SendNotification(
        notification_id=f"sms-order-placed-{event.order_id}",
        channel=NotificationChannel.SMS,
        recipient=event.customer_phone,
        user_id=event.user_id,
        message=f"Order {event.order_id} confirmed!",
        addresses={NotificationChannel.EMAIL: event.customer_email},
    )


def shipping_email(event: OrderShipped) -> SendNotification:
    """Tell that a parcel is on its way."""
    return SendNotification(
        notification_id=f"email-order-shipped-{event.order_id}",
        channel=NotificationChannel.EMAIL,
        recipient=event.customer_email,
        user_id=event.user_id,
        subject=f"Order {event.order_id} is on its way",
        message=f"{event.carrier} brings it; the tracking number is {event.tracking_number}.",
    )


def receipt_email(event: PaymentReceived) -> SendNotification:
    """Send a receipt."""
    return SendNotification(
        notification_id=f"email-payment-received-{event.payment_id}",
        channel=NotificationChannel.EMAIL,
        recipient=event.customer_email,
        user_id=event.user_id,
        subject=f"Receipt for order {event.order_id}",
        message=f"We received your payment of {event.amount}.",
    )


NOTIFICATIONS: tuple[tuple[type, NotificationChannel, Callable[[Any], SendNotification]], ...] = (
    (UserRegistered, NotificationChannel.EMAIL, welcome_email),
    (OrderPlaced, NotificationChannel.EMAIL, order_email),
    (OrderPlaced, NotificationChannel.SMS, order_sms),
    (OrderShipped, NotificationChannel.EMAIL, shipping_email),
    (PaymentReceived, NotificationChannel.EMAIL, receipt_email),
)


def subscribe_all(bus: EventBus, channels: frozenset[NotificationChannel]) -> None:
    """Subscribe each of them whose channel is configured."""
    for event_type, channel, function in NOTIFICATIONS:
        if channel in channels:
            bus.subscribe(event_type)(function)


def log_unserved(channels: Collection[NotificationChannel]) -> None:
    """Log which channels events lead to that are not configured, a line each: nothing is sent there."""
    events: dict[NotificationChannel, list[str]] = {}
    for event_type, channel, _ in NOTIFICATIONS:
        if channel not in channels:
            events.setdefault(channel, []).append(event_type.__name__)
    for channel, names in events.items():
        logger.info("no channel %s is configured: %s leads to nothing there", channel, " or ".join(names))
