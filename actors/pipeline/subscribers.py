"""Which notifications a domain event leads to; the subscribers that every notifier starts with.

The id carries the type of the event, so that a second event on the same order is not taken for a duplicate.
"""

from __future__ import annotations

from collections.abc import Callable
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
